"""Moments: the schema of what search finds, one chunk of text a row.

A moment belongs to one row of one stream (`source_stream`, `source_event_id`); a long text gives
several, told apart by `chunk_index`.
"""

from typing import Any
from uuid import NAMESPACE_OID, UUID, uuid5

import pyarrow as pa

_NAMESPACE = uuid5(NAMESPACE_OID, "am.moment")
_INSTANT = pa.timestamp("us", tz="UTC")


def _field(
    name: str, kind: pa.DataType, comment: str, *, is_nullable: bool = False
) -> "pa.Field[Any]":
    return pa.field(name, kind, nullable=is_nullable, metadata={"comment": comment})


def _optional(name: str, kind: pa.DataType, comment: str) -> "pa.Field[Any]":
    return _field(name, kind, comment, is_nullable=True)


FACTS = pa.schema(
    [
        _field("moment_id", pa.string(), "UUIDv5 of source stream, source row and chunk."),
        _field("user_id", pa.string(), "Whose moment this is; part of the key."),
        _field("device_id", pa.string(), "The device the source row came from."),
        _field("ts", _INSTANT, "When it began."),
        _optional("end_ts", _INSTANT, "When it ended; null = at once or unknown."),
        _field("kind", pa.string(), "The source stream's kind: speech, screen text, note, …"),
        _field("text", pa.string(), "What was said, read, written or copied."),
        _field("source_stream", pa.string(), "The stream of the row it came from."),
        _field("source_event_id", pa.string(), "That row's event_id."),
        _field("chunk_index", pa.int32(), "Place in a long text, from 0."),
        _optional("blob_key", pa.string(), "The bytes the text was found in."),
        _optional("latitude", pa.float64(), "WGS 84, degrees north, of the device then."),
        _optional("longitude", pa.float64(), "WGS 84, degrees east, of the device then."),
        _optional("place", pa.string(), "Name of the place, as `resources.places` gives it."),
        _optional("app", pa.string(), "The app in front, or the one it was copied from."),
        _field("model_id", pa.string(), "The model that made the vector."),
        _field("model_version", pa.string(), "Of that model."),
        _field("enrichment_version", pa.int64(), "Of the function that made the moment."),
        _field("run_id", pa.string(), "The run that made it."),
    ]
)
"""All columns but the vector."""


def moment_schema(dimension: int) -> pa.Schema:
    """`FACTS` and `vector`, `dimension` 32-bit numbers of length 1 altogether."""
    vector = pa.list_(pa.float32(), dimension)
    return FACTS.append(_field("vector", vector, "Where the text lies in meaning."))


def moment_id(source_stream: str, source_event_id: UUID | str, chunk_index: int) -> str:
    """The id of one chunk of one row's text: the same whenever it is made again.

    Unique within one user: two users' clients may choose the same event id.
    """
    return str(uuid5(_NAMESPACE, f"{source_stream}/{source_event_id}/{chunk_index}"))
