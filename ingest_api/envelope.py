"""The envelope of an element: whose device, when, and under which id."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

from pydantic_core import to_json

from am_assets.schemas.row_ids import NAMESPACE, NUMBER_LETTERS, TINY
from am_assets.streams.stream import Stream
from ingest_api.errors import Reason, RejectedError
from ingest_api.instants import Instant, check_plausible, read_instant, read_offset

TIME_FIELDS = ("recorded_at", "timestamp", "ts")
ID_FIELDS = ("message_id", "event_id")
MAX_DEVICE_ID = 128


@dataclass(frozen=True)
class StoredBlob:
    """One of the sender's blobs that came before the message that names it, and where it lies."""

    content: bytes = field(repr=False)
    keys: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class Sender:
    """Who sends, through which door, and what is known before the message is read.

    `bound_device_id` is the one device a token may speak for; `default_device_id` stands in where
    the message names none. `offsets_min` are the devices' last known offsets from UTC; `blobs` the
    stored ones that the message names, by SHA-256, as far as they were found. `request` is kept
    with what is refused, for the adapter that reads it once more.
    """

    user_id: str
    door: str
    received_at: datetime
    max_future: timedelta
    trace_id: str | None = None
    bound_device_id: str | None = None
    default_device_id: str | None = None
    offsets_min: Mapping[str, int] = field(default_factory=dict)
    blobs: Mapping[str, StoredBlob] = field(default_factory=dict, repr=False)
    request: Mapping[str, Any] | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class Envelope:
    """What every stream's rows begin with, as far as the sender decides it.

    `taken` are the element's fields that are told whole by the others here.
    """

    device_id: str
    instant: Instant
    taken: frozenset[str]
    trace_id: str | None
    own_id: UUID | None
    content_hash: str | None

    @property
    def ts(self) -> datetime:
        """When it happened, aware UTC."""
        return self.instant.ts

    def event_id(self, stream: Stream, identity: Mapping[str, Any]) -> UUID:
        """The client's UUID, else one made from its content hash, else from the identity columns.

        The same message always gets the same id, so that sending it again is the same row.
        """
        if self.own_id is not None:
            return self.own_id
        when = "" if stream.is_resent_with_new_time else self.ts.isoformat()
        content = self.content_hash or _listed([identity.get(name) for name in stream.identity])
        return uuid5(NAMESPACE, "\n".join((stream.name, self.device_id, when, content)))


def _listed(values: list[Any]) -> str:
    """`repr` of the values; lists of numbers, which are long, by way of their JSON."""
    return f"[{', '.join(_represented(value) for value in values)}]"


def _represented(value: Any) -> str:
    if not isinstance(value, list):
        return repr(value)
    text = to_json(value)
    are_numbers = not text.translate(None, NUMBER_LETTERS) and TINY not in text
    return text.decode().replace(",", ", ") if are_numbers else repr(value)


def read_envelope(element: Mapping[str, Any], *, sender: Sender) -> Envelope:
    """Understand an element's envelope; nulls are left out before.

    Raises: RejectedError.
    """
    device_id = device_of(element, sender=sender)
    offset = read_offset(element.get("tz_offset_min"))
    known = offset if offset is not None else sender.offsets_min.get(device_id)
    time_field = next((name for name in TIME_FIELDS if name in element), None)
    if time_field is None:
        raise RejectedError(Reason.NO_TIME, f"one of {', '.join(TIME_FIELDS)} must say when")
    instant = read_instant(element[time_field], known_offset_min=known)
    check_plausible(instant.ts, received_at=sender.received_at, max_future=sender.max_future)
    content_hash = element.get("content_hash")
    told = {time_field, "device_id", "trace_id", *(["tz_offset_min"] if offset is not None else [])}
    return Envelope(
        device_id=device_id,
        instant=instant,
        taken=frozenset(told),
        trace_id=str(element.get("trace_id") or sender.trace_id or "") or None,
        own_id=_own_id(element),
        content_hash=content_hash if isinstance(content_hash, str) else None,
    )


def device_of(element: Mapping[str, Any], *, sender: Sender) -> str:
    """The device an element speaks of.

    Raises: RejectedError when it names none that this sender may speak for.
    """
    device_id = element.get("device_id") or sender.default_device_id or sender.bound_device_id
    if not isinstance(device_id, str) or not 0 < len(device_id) <= MAX_DEVICE_ID:
        raise RejectedError(Reason.NO_DEVICE, "device_id must be text of 1 to 128 characters")
    if sender.bound_device_id not in (None, device_id):
        raise RejectedError(
            Reason.WRONG_DEVICE,
            f"this token is for device {sender.bound_device_id!r} alone: make one for {device_id!r}"
            " with `am key create`, or one for all of the user's devices with `--device '*'`",
        )
    return device_id


def _own_id(element: Mapping[str, Any]) -> UUID | None:
    for name in ID_FIELDS:
        if name in element:
            try:
                return UUID(str(element[name]))
            except ValueError:
                continue
    return None
