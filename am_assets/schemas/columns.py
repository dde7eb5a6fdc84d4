"""The columns of a stream's table, in the one order that every store uses."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin
from uuid import UUID

from pydantic import AwareDatetime, JsonValue

from am_assets.streams.stream import Row, Stream


class ColumnType(StrEnum):
    """What a column holds; each store names these in its own way."""

    TEXT = "text"
    INTEGER = "integer"  # 64 bit, signed
    REAL = "real"  # 64 bit
    BOOLEAN = "boolean"
    INSTANT = "instant"  # microseconds, UTC
    UUID = "uuid"
    JSON = "json"


@dataclass(frozen=True)
class Column:
    """One column: its name, what it holds, whether it may be null, and what it means."""

    name: str
    type: ColumnType
    is_nullable: bool
    description: str


def _required(name: str, kind: ColumnType, description: str) -> Column:
    return Column(name, kind, is_nullable=False, description=description)


def _optional(name: str, kind: ColumnType, description: str) -> Column:
    return Column(name, kind, is_nullable=True, description=description)


ENVELOPE = (
    _required("user_id", ColumnType.TEXT, "Whose row this is."),
    _required("device_id", ColumnType.TEXT, "The device, as it names itself."),
    _required("ts", ColumnType.INSTANT, "When it happened."),
    _optional("tz_offset_min", ColumnType.INTEGER, "Local time minus UTC; null = unknown."),
    _required("event_id", ColumnType.UUID, "The client's id, or one made from the content."),
    _required("received_at", ColumnType.INSTANT, "When AM committed it."),
    _optional("trace_id", ColumnType.TEXT, "Of the request that brought it."),
    _required("schema_version", ColumnType.INTEGER, "Of the declaration it was stored under."),
)
BLOB = (
    _required("blob_key", ColumnType.TEXT, "Where the bytes are in the object store."),
    _required("blob_sha256", ColumnType.TEXT, "Of the bytes, in hexadecimal."),
    _required("blob_bytes", ColumnType.INTEGER, "How many bytes."),
    _required("media_type", ColumnType.TEXT, "As the bytes themselves tell, not the client."),
)
LINEAGE = (
    _required("source_stream", ColumnType.TEXT, "The stream this was made from."),
    _required("source_event_id", ColumnType.UUID, "The row (or hour) this was made from."),
    _optional("blob_key", ColumnType.TEXT, "The bytes it was made from, where there are any."),
    _required("model_id", ColumnType.TEXT, "What made it: a model, or a rule's name."),
    _required("model_version", ColumnType.TEXT, "Of the model or the rule."),
    _required("enrichment_version", ColumnType.INTEGER, "Of the function that made it."),
    _required("run_id", ColumnType.TEXT, "The run that made it."),
    _optional("confidence", ColumnType.REAL, "0 to 1, the model's own; null = it gives none."),
)
EXTRA = (_optional("extra", ColumnType.JSON, "All that was sent and has no column."),)

KEY = ("user_id", "device_id", "ts", "event_id")

_TYPES: Mapping[Any, ColumnType] = {
    str: ColumnType.TEXT,
    bool: ColumnType.BOOLEAN,
    int: ColumnType.INTEGER,
    float: ColumnType.REAL,
    datetime: ColumnType.INSTANT,
    AwareDatetime: ColumnType.INSTANT,
    UUID: ColumnType.UUID,
    dict: ColumnType.JSON,
    list: ColumnType.JSON,
    JsonValue: ColumnType.JSON,
}


def columns(stream: Stream) -> tuple[Column, ...]:
    """All columns of a stream: envelope, blob, lineage, its own, `extra`.

    Raises: TypeError for a row field whose type no store can hold.
    """
    blob = BLOB if stream.blob else ()
    lineage = LINEAGE if stream.is_derived else ()
    return (*ENVELOPE, *blob, *lineage, *own_columns(stream.row), *EXTRA)


def own_columns(row: type[Row]) -> tuple[Column, ...]:
    """The columns that a row type declares."""
    return tuple(
        Column(name, *_column_type(field.annotation), field.description or "")
        for name, field in row.model_fields.items()
    )


def _column_type(annotation: Any) -> tuple[ColumnType, bool]:
    """The type and whether it may be null."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _column_type(arguments[0])
    if origin in (Union, UnionType):
        (inner,) = (part for part in arguments if part is not NoneType)
        return _column_type(inner)[0], True
    if origin is Literal:
        return ColumnType.TEXT, False
    try:
        return _TYPES[origin or annotation], False
    except KeyError:
        raise TypeError(f"no column type for {annotation!r}") from None
