"""What an adapter is: the vocabulary in which the modules of this folder speak of other apps.

An adapter is pure. It turns an app's request into events and later says the words that the app
wants to hear; reading sockets, checking tokens and storing are the router's.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from ingest_api.adapters.text import fields_of
from ingest_api.errors import Reason


@dataclass(frozen=True, kw_only=True)
class AppRequest:
    """A request as an app sent it, decompressed and without its token.

    `tail` is the path behind the adapter's name, without slashes at its ends; the names of
    `headers` are lower-case; `secret` is the user's own key for apps that encrypt, where set.
    """

    received_at: datetime
    method: str = "POST"
    tail: str = ""
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = field(default=b"", repr=False)
    secret: str | None = field(default=None, repr=False)

    @property
    def media_type(self) -> str:
        """The content type without its parameters, lower-case; empty where none was sent."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()

    @property
    def form(self) -> dict[str, str]:
        """The body's fields where it is a URL-encoded form."""
        return fields_of(self.body)


@dataclass(frozen=True, kw_only=True)
class Event:
    """One event of one stream.

    `columns` are the stream's own names in the stream's own units, and `device_id`, `recorded_at`
    and `tz_offset_min` of the envelope; None where the app said nothing. `sent` is what the app
    said in its own words: all of it that `columns` does not say is kept in `extra`.
    """

    stream: str
    columns: Mapping[str, Any]
    sent: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Unread:
    """A part of a request that means nothing to the adapter: it becomes a dead letter as it is."""

    content: bytes = field(repr=False)
    code: Reason
    reason: str


Item = Event | Unread


@dataclass(frozen=True, kw_only=True)
class Landed:
    """What became of a request's items: received = stored + duplicate + rejected."""

    stored: int = 0
    duplicate: int = 0
    rejected: int = 0


@dataclass(frozen=True, kw_only=True)
class Reply:
    """What the app gets to hear."""

    status: int = 200
    content: bytes = b""
    media_type: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One line of an app's settings: where it is, and what to enter there."""

    name: str
    value: str


@dataclass(frozen=True, kw_only=True)
class Door:
    """Where an app finds AM: `base` without a slash at its end, and the token it may use."""

    base: str
    token: str


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """One app: its name in the path, how it is read and answered, and how it is set up.

    `read` may raise MalformedBodyError or RejectedError; the whole body is a dead letter then.
    `roots` are further full paths of apps that accept no prefix. `own_token` finds a token where
    only this app puts it. `refused_status` is the status with which the app shows its user why a
    token is not accepted, where it is another than AM's. `link` is the app's own setup link.
    `has_own_router`: its doors are not those that all adapters have.
    """

    name: str
    app: str
    systems: str
    streams: tuple[str, ...]
    read: Callable[[AppRequest], Sequence[Item]]
    reply: Callable[[AppRequest, Landed], Reply]
    settings: Callable[[Door], Sequence[Setting]]
    link: Callable[[Door], str] | None = None
    own_token: Callable[[AppRequest], str | None] | None = None
    roots: tuple[str, ...] = ()
    refused_status: int | None = None
    has_own_router: bool = False


def json_reply(content: Any, *, status: int = 200) -> Reply:
    """Compact JSON."""
    text = json.dumps(content, separators=(",", ":"))
    return Reply(status=status, content=text.encode(), media_type="application/json")


def unread(content: Any, *, code: Reason, reason: str) -> Unread:
    """Keep a part of a JSON body that is no event."""
    return Unread(content=json.dumps(content).encode(), code=code, reason=reason)


def url_setting(name: str, *, at: str = "URL") -> Callable[[Door], list[Setting]]:
    """The settings of an app that needs no more than a URL with the token in it."""
    return lambda door: [Setting(name=at, value=f"{door.base}/{name}/{door.token}")]
