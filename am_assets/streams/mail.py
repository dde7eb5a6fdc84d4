"""Mail: as fetched, as parsed, as found by meaning."""

from datetime import timedelta
from typing import Any

from pydantic import AwareDatetime, Field, model_validator

from am_assets.streams.as_sent import with_instants
from am_assets.streams.embedded import EmbeddedText
from am_assets.streams.stream import Row, Sensitivity, Stream

YEAR = timedelta(days=365)
FLOW = "email_processing"


class MailEvent(Row):
    """One message as the mail fetcher gives it: its fields, without the source."""

    message_id_header: str = Field(min_length=1, description="Its Message-ID, or the server's id.")
    thread_id: str | None = Field(default=None, description="Of the conversation.")
    subject: str | None = Field(default=None, description="As written.")
    from_address: str | None = Field(default=None, description="Who sent it.")
    to_addresses: list[str] | None = Field(default=None, description="To whom.")
    cc_addresses: list[str] | None = Field(default=None, description="Who got a copy.")
    receiver: str | None = Field(default=None, description="The account's own address, as sent.")
    body_text: str | None = Field(default=None, description="The plain text.")
    body_html: str | None = Field(default=None, description="The HTML, where there is one.")
    attachments: list[dict[str, Any]] | None = Field(
        default=None, description="As sent: file name, content type, bytes."
    )
    labels: list[str] | None = Field(default=None, description="Folders and flags.")
    is_read: bool | None = Field(default=None, description="When it was fetched.")
    is_starred: bool | None = Field(default=None, description="When it was fetched.")
    importance: str | None = Field(default=None, description="As the mail says.")
    delivered_as_sent: str | None = Field(default=None, description="When it came, as sent.")
    delivered_ts: AwareDatetime | None = Field(
        default=None, description="When it came; null = sent without a zone, or not at all."
    )
    source_account: str | None = Field(default=None, description="The account's address.")
    account_name: str | None = Field(default=None, description="What the owner calls it.")

    @model_validator(mode="before")
    @classmethod
    def _read_times(cls, values: Any) -> Any:
        return with_instants(values, {"delivered_as_sent": "delivered_ts"})


class MailSource(Row):
    """One message as it was transferred (RFC 5322)."""

    rfc822: str = Field(
        min_length=1,
        description="The whole source, headers first; 8-bit parts re-encoded by the fetcher.",
    )
    message_id_header: str | None = Field(default=None, description="Its Message-ID.")
    source_account: str = Field(min_length=1, description="The account's address.")
    folder: str | None = Field(default=None, description="The mailbox it was in.")
    uid: int | None = Field(default=None, gt=0, description="The server's number, in that folder.")


class ParsedMail(Row):
    """One message with its parts told apart."""

    message_id_header: str = Field(min_length=1, description="Its Message-ID.")
    thread_id: str = Field(min_length=1, description="The first message of the conversation.")
    subject: str | None = Field(default=None, description="Decoded.")
    participants: list[dict[str, str]] = Field(description="role (from, to, cc), name, address.")
    text: str = Field(description="The plain text, quotations left out.")
    attachments: list[dict[str, Any]] = Field(description="name, media_type, bytes.")


MAIL_EVENTS = Stream(
    name="external.email.events.raw",
    row=MailEvent,
    summary="Mail, message by message.",
    identity=("message_id_header", "source_account"),
    is_resent_with_new_time=True,
    kind="mail",
    title="{from_address}: {subject}",
    body="{body_text}",
    example={
        "email_id": "<20260301.0815@example.org>",
        "subject": "Flour order",
        "sender": "mill@example.org",
        "receiver": "me@example.org",
        "date_received": "Sun, 01 Mar 2026 08:15:00 +0100",
        "body": "Your 10 kg are on the way.",
        "seen": False,
        "source_account": "me@example.org",
        "account_name": "private",
    },
    aliases={
        "email_id": "message_id_header",
        "sender": "from_address",
        "body": "body_text",
        "seen": "is_read",
        "date_received": "delivered_as_sent",
        "received_date": "delivered_as_sent",
    },
    sent_by="mail fetcher",
    keep_hot=YEAR,
    sensitivity=Sensitivity.SECRET,
)

MAIL_SOURCE = Stream(
    name="external.email.raw",
    row=MailSource,
    summary="Mail as it was transferred, headers and all.",
    identity=("rfc822", "source_account"),
    is_resent_with_new_time=True,
    kind="mail",
    title="Mail of {source_account}",
    is_detail=True,
    example={
        "rfc822": "Message-ID: <20260301.0815@example.org>\r\nSubject: Flour order\r\n\r\n"
        "Your 10 kg are on the way.\r\n",
        "source_account": "me@example.org",
        "folder": "INBOX",
        "uid": 4711,
    },
    sent_by="mail fetcher",
    keep_hot=YEAR,
    sensitivity=Sensitivity.SECRET,
)

MAIL_PARSED = Stream(
    name="external.email.parsed",
    row=ParsedMail,
    summary="Mail with conversation, people and attachments told apart.",
    identity=("message_id_header",),
    is_derived=True,
    planned=FLOW,
    is_detail=True,
    kind="mail",
    title="{subject}",
    body="{text}",
    keep_hot=YEAR,
    sensitivity=Sensitivity.SECRET,
)

MAIL_EMBEDDED = Stream(
    name="external.email.embedded",
    row=EmbeddedText,
    summary="Which mail can be found by meaning.",
    identity=("text_length",),
    is_derived=True,
    planned=FLOW,
    is_detail=True,
    kind="embedding",
    title="{chunk_count} moments",
    keep_hot=YEAR,
    sensitivity=Sensitivity.SECRET,
)

STREAMS = (MAIL_EVENTS, MAIL_SOURCE, MAIL_PARSED, MAIL_EMBEDDED)
