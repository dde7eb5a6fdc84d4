"""From one element of a message to one row of one stream, or to the reason why not. Pure."""

import base64
import hashlib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from types import NoneType
from typing import Any
from uuid import UUID

from pydantic import ValidationError

from am_assets.streams.stream import Stream
from ingest_api.envelope import ID_FIELDS, Envelope, Sender, StoredBlob, read_envelope
from ingest_api.errors import NamedBlobError, Reason, RejectedError
from ingest_api.media import decode_base64, measure

INT64 = 2**63
NAMED_BLOB = "blob_sha256"
SHA256 = re.compile(r"^[0-9a-f]{64}$")
MAX_DEPTH = 64
ALWAYS_FINE = frozenset({int, bool, NoneType})
LEAVES = ALWAYS_FINE | {str, float}  # what a look at the type tells sooner than `isinstance`


@dataclass(frozen=True, kw_only=True)
class NewBlob:
    """Bytes on their way to the object store, or there already, and what was measured of them."""

    key: str
    sha256: str
    content: bytes = field(repr=False)
    media_type: str
    facts: Mapping[str, int]
    is_stored: bool = False

    def columns(self) -> dict[str, Any]:
        """The blob's columns."""
        return {
            "blob_key": self.key,
            "blob_sha256": self.sha256,
            "blob_bytes": len(self.content),
            "media_type": self.media_type,
        }


@dataclass(frozen=True, kw_only=True)
class NewRow:
    """A row that is ready to be stored: the envelope, the values of its columns, its bytes."""

    stream: Stream
    user_id: str
    envelope: Envelope
    event_id: UUID
    values: Mapping[str, Any] = field(repr=False)
    extra: Mapping[str, Any] = field(repr=False)
    blob: NewBlob | None = None

    @property
    def day(self) -> date:
        """The UTC day it belongs to."""
        return self.envelope.ts.date()

    @property
    def tz_offset_min(self) -> int | None:
        """The sender's offset from UTC, where it is known."""
        return self.envelope.instant.tz_offset_min

    @property
    def is_timeless(self) -> bool:
        """Whether a copy with another time is a duplicate: the client may stamp it anew."""
        return self.stream.is_resent_with_new_time and self.envelope.own_id is None


def read_element(element: Any, *, stream: Stream, sender: Sender) -> NewRow:
    """Understand one element.

    Raises: RejectedError with what is wrong and what to do.
    """
    present = readable(element)
    envelope = read_envelope(present, sender=sender)
    claimed, rest = _split(present, stream=stream)
    blob = _take_blob(rest, claims=present, stream=stream, sender=sender, day=envelope.ts.date())
    row = _validated({**claimed, **(blob.facts if blob else {})}, stream=stream)
    columns = {**row, **(blob.columns() if blob else {})}
    return NewRow(
        stream=stream,
        user_id=sender.user_id,
        envelope=envelope,
        event_id=envelope.event_id(stream, columns),
        values=columns,
        extra={**_unplaced(rest, envelope=envelope), **_overruled(claimed, blob=blob)},
        blob=blob,
    )


def readable(element: Any) -> dict[str, Any]:
    """The element's fields that are not null.

    Raises: RejectedError when it is no object, or holds what no database can.
    """
    if isinstance(element, bytes):
        raise RejectedError(Reason.NOT_JSON, "this line is not JSON")
    if not isinstance(element, Mapping):
        raise RejectedError(Reason.NOT_AN_OBJECT, "an element must be a JSON object")
    check_content(element)
    return {name: value for name, value in element.items() if value is not None}


def check_content(value: Any, depth: int = 0) -> None:
    """Look at every key and value within an element.

    Raises: RejectedError for what no database can hold.
    """
    if type(value) in LEAVES or not isinstance(value, Mapping | list):
        _check_leaf(value)
        return
    if depth >= MAX_DEPTH:
        raise RejectedError(Reason.BAD_VALUE, f"nested deeper than {MAX_DEPTH} levels")
    if isinstance(value, list) and _are_finite(value):
        return  # a block of samples has thousands of them
    for part in value if isinstance(value, list) else (*value, *value.values()):
        if type(part) not in ALWAYS_FINE:
            check_content(part, depth + 1)


def _check_leaf(value: Any) -> None:
    if isinstance(value, str) and "\x00" in value:
        raise RejectedError(Reason.BAD_TEXT, "text must not hold the NUL character U+0000")
    if isinstance(value, float) and not math.isfinite(value):
        raise RejectedError(Reason.BAD_VALUE, "numbers must be finite")


def _are_finite(values: list[Any]) -> bool:
    """Whether they are all numbers and surely finite: one that is not spoils the sum."""
    try:
        return math.isfinite(sum(values))
    except (TypeError, OverflowError):
        return False


def plain(value: Any) -> str:
    """How values that JSON lacks are written into a payload: times as ISO, bytes as base64."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return str(value)


def _split(present: Mapping[str, Any], *, stream: Stream) -> tuple[dict[str, Any], dict[str, Any]]:
    """Values by column name, and all that has no column.

    A column's own name wins over its aliases, and an alias over those declared after it; what does
    not win is kept with the rest.
    """
    names = {name: name for name in stream.columns if name in present}
    for alias, column in stream.aliases.items():
        if alias in present:
            names.setdefault(column, alias)
    placed = set(names.values())
    rest = {name: value for name, value in present.items() if name not in placed}
    return {column: present[name] for column, name in names.items()}, rest


def _take_blob(
    rest: dict[str, Any],
    *,
    claims: Mapping[str, Any],
    stream: Stream,
    sender: Sender,
    day: date,
) -> NewBlob | None:
    """Take the blob's field out of `rest`, or the name of one that came before; measure it."""
    if stream.blob is None:
        return None
    names = (stream.blob.field, *stream.blob.aliases)
    name = next((name for name in names if name in rest), None)
    if name is None:
        stored = _named_blob(rest, names=names, sender=sender)
    else:
        stored = StoredBlob(decode_base64(rest.pop(name)), keys=frozenset())
    content = stored.content
    measured = measure(content, media=stream.blob.media, claims=claims)
    digest = hashlib.sha256(content).hexdigest()
    key = blob_key(stream, user_id=sender.user_id, day=day, sha256=digest)
    return NewBlob(
        key=key,
        sha256=digest,
        content=content,
        media_type=measured.media_type,
        facts=measured.facts,
        is_stored=key in stored.keys,
    )


def _named_blob(rest: dict[str, Any], *, names: Sequence[str], sender: Sender) -> StoredBlob:
    """The blob that an element names, where it was fetched; else a rejection that asks for it."""
    named = rest.get(NAMED_BLOB)
    if not isinstance(named, str) or not SHA256.match(named):
        raise RejectedError(
            Reason.NO_BLOB,
            f"one of {', '.join(names)} must hold base64 bytes, or {NAMED_BLOB} name a stored blob",
        )
    if named not in sender.blobs:
        raise NamedBlobError(named)
    del rest[NAMED_BLOB]
    return sender.blobs[named]


def blob_key(stream: Stream, *, user_id: str, day: date, sha256: str) -> str:
    """Where a stream's bytes live in the object store."""
    return f"blobs/{user_id}/{stream.name}/{day.isoformat()}/{sha256}"


def _validated(values: Mapping[str, Any], *, stream: Stream) -> dict[str, Any]:
    try:
        row = stream.row.model_validate(values)
    except ValidationError as error:
        raise RejectedError(Reason.BAD_VALUE, _sentence(error)) from error
    columns = dict(vars(row))  # a row's values are no models themselves
    for name, value in columns.items():
        if isinstance(value, int) and not -INT64 <= value < INT64:
            raise RejectedError(Reason.BAD_VALUE, f"{name}: does not fit into 64 bits")
    return columns


def _sentence(error: ValidationError) -> str:
    """What is wrong with which field; the values themselves stay in the payload."""
    return "; ".join(
        f"{'.'.join(map(str, part['loc'])) or 'element'}: {part['msg']}"
        for part in error.errors(include_input=False, include_url=False)
    )


def _unplaced(rest: Mapping[str, Any], *, envelope: Envelope) -> dict[str, Any]:
    """What was sent and has no column, the ids and times as sent included where they differ."""
    kept = {
        name: value
        for name, value in rest.items()
        if name not in envelope.taken and not _is_own_id(name, value, envelope)
    }
    if envelope.instant.is_naive:
        kept["recorded_at_as_sent"] = envelope.instant.sent
    return kept


def _is_own_id(name: str, value: Any, envelope: Envelope) -> bool:
    return name in ID_FIELDS and str(value).lower() == str(envelope.own_id)


def _overruled(claimed: Mapping[str, Any], *, blob: NewBlob | None) -> dict[str, Any]:
    """What a client claimed of its bytes and the bytes deny."""
    facts = blob.facts if blob else {}
    return {
        f"claimed_{name}": claimed[name]
        for name, value in facts.items()
        if name in claimed and claimed[name] != value
    }
