"""Arrow and Delta schemas: what a stream's table looks like in memory and in the lake."""

from collections.abc import Mapping

import pyarrow as pa

from am_assets.schemas.columns import KEY, ColumnType, columns
from am_assets.schemas.row_ids import leaves_ids_out
from am_assets.streams.stream import Stream

ARROW_TYPES: Mapping[ColumnType, pa.DataType] = {
    ColumnType.TEXT: pa.string(),
    ColumnType.INTEGER: pa.int64(),
    ColumnType.REAL: pa.float64(),
    ColumnType.BOOLEAN: pa.bool_(),
    ColumnType.INSTANT: pa.timestamp("us", tz="UTC"),
    ColumnType.UUID: pa.string(),  # Delta has no UUID
    ColumnType.JSON: pa.string(),  # nor JSON; DuckDB and Trino parse it
}
DAY = pa.field("day", pa.date32(), nullable=False)


def row_schema(stream: Stream) -> pa.Schema:
    """The stream's columns as Arrow fields, described, in the order of the hot table."""
    return pa.schema(
        pa.field(
            column.name,
            ARROW_TYPES[column.type],
            nullable=column.is_nullable,
            metadata={"comment": column.description},
        )
        for column in columns(stream)
    )


def delta_schema(stream: Stream) -> pa.Schema:
    """`row_schema` and the partition column `day`, the UTC date of `ts`.

    Only the key is required: a column that was added later is null in older days. An id that
    follows from its row may be left out (`row_ids`).
    """
    required = {*KEY} - ({"event_id"} if leaves_ids_out(stream) else set())
    fields = [field.with_nullable(field.name not in required) for field in row_schema(stream)]
    return pa.schema([*fields, DAY])
