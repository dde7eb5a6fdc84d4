"""From an adapter's items to what the landing stage takes: elements that know their stream."""

from collections.abc import Iterable, Mapping
from typing import Any

from am_assets.streams.registry import Registry
from am_assets.streams.stream import Stream
from ingest_api.adapters.adapter import Event, Item, Unread
from ingest_api.batch import ElementRouter
from ingest_api.envelope import ID_FIELDS, TIME_FIELDS
from ingest_api.errors import Reason, RejectedError

ENVELOPE = frozenset({"device_id", "tz_offset_min", "trace_id", "content_hash", *ID_FIELDS})
AS_SENT = "_as_sent"


class Addressed(dict[str, Any]):
    """An element, and the name of the stream that it is for."""

    def __init__(self, stream: str, content: Mapping[str, Any]) -> None:
        """Holds a copy."""
        super().__init__(content)
        self.stream = stream


class Refused(bytes):
    """What no adapter understands, and why."""

    code: Reason
    reason: str


def addressed(items: Iterable[Item], *, registry: Registry, device_id: str | None) -> list[Any]:
    """The elements of a request, in order.

    A token that is for one device (`device_id`) speaks for that one whatever the app calls it; the
    app's own name for it is kept.
    """
    return [_element(item, registry=registry, device_id=device_id) for item in items]


def by_address(registry: Registry) -> ElementRouter:
    """The router for such elements.

    It raises RejectedError for what was refused, for a stream that is not declared, and for one
    that only AM writes.
    """

    def route(element: Any) -> tuple[Stream, Any]:
        if isinstance(element, Refused):
            raise RejectedError(element.code, element.reason)
        stream = registry.get(element.stream)
        if stream is None or stream.is_derived:
            raise RejectedError(
                Reason.UNKNOWN_TYPE,
                f"{element.stream!r} is no stream that takes data; GET /v1/streams lists them",
            )
        return stream, element

    return route


def content_of(event: Event, *, stream: Stream | None, device_id: str | None) -> dict[str, Any]:
    """The columns, and all that was sent and that they don't say.

    A sent field that the stream would read as a column of its own is named `…_as_sent`, because the
    adapter alone knows the app's units.
    """
    columns = {name: value for name, value in event.columns.items() if value is not None}
    own_name = columns.get("device_id")
    if chosen := device_id or own_name:
        columns["device_id"] = str(chosen)
    sent = {**({"device_id": own_name} if own_name else {}), **event.sent}
    rest = {
        _kept_name(name, columns=columns, stream=stream): value
        for name, value in sent.items()
        if not _is_said(name, value, columns=columns, stream=stream)
    }
    return {**rest, **columns}


def _element(item: Item, *, registry: Registry, device_id: str | None) -> Any:
    if isinstance(item, Unread):
        refused = Refused(item.content)
        refused.code, refused.reason = item.code, item.reason
        return refused
    stream = registry.get(item.stream)
    content = content_of(item, stream=stream, device_id=device_id)
    return Addressed(item.stream, content)


def _is_said(name: str, value: Any, *, columns: Mapping[str, Any], stream: Stream | None) -> bool:
    """Whether a column says the same, under this name or the one that this is an alias of."""
    column = name if name in columns or stream is None else stream.aliases.get(name, name)
    is_there = column in columns and type(columns[column]) is type(value)
    return is_there and bool(columns[column] == value)


def _kept_name(name: str, *, columns: Mapping[str, Any], stream: Stream | None) -> str:
    is_time = name in TIME_FIELDS and "recorded_at" not in columns
    is_taken = name in columns or name in ENVELOPE or is_time or _is_read(name, columns, stream)
    return f"{name}{AS_SENT}" if is_taken else name


def _is_read(name: str, columns: Mapping[str, Any], stream: Stream | None) -> bool:
    """Whether the stream takes the field for a column that the adapter left open."""
    if stream is None:
        return False
    blob = (stream.blob.field, *stream.blob.aliases) if stream.blob else ()
    alias_of = stream.aliases.get(name)
    is_alias = alias_of is not None and alias_of not in columns
    return name in stream.columns or name in blob or is_alias
