"""Every other table that holds something of a user: which there are is asked of the catalog.

So a table that comes later is in the exports from its first day, unless it is listed here with the
reason why it is not. Columns that are secrets, or mean nothing elsewhere, are listed too.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import psycopg
import pyarrow as pa
from psycopg import sql

from am_assets.streams.registry import Registry

CHUNK = 20_000
PERIODS = ("minute", "hour", "day")
TABLES = """
SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
WHERE c.relnamespace = 'am'::regnamespace AND c.relkind IN ('r', 'p', 'm') AND NOT c.relispartition
    AND a.attname = 'user_id' AND NOT a.attisdropped ORDER BY 1
"""
COLUMNS = """
SELECT attname, format_type(atttypid, NULL) FROM pg_attribute
WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""
LEFT_OUT: Mapping[str, str] = {
    "blob_look": "measured from the pictures, which are in the export",
}
"""Tables with a `user_id` that are in no export, and why."""
SECRET: Mapping[str, frozenset[str]] = {
    "api_token": frozenset({"token_sha256"}),
    "trust": frozenset({"key_sha256"}),
    "invite": frozenset({"code_sha256"}),
    "data_key": frozenset({"wrapped"}),
}
"""Columns that open something: they stay in the database."""
ARROW: Mapping[str, pa.DataType] = {
    "text": pa.string(),
    "bigint": pa.int64(),
    "integer": pa.int64(),
    "smallint": pa.int64(),
    "boolean": pa.bool_(),
    "double precision": pa.float64(),
    "timestamp with time zone": pa.timestamp("us", tz="UTC"),
    "date": pa.date32(),
    "bytea": pa.binary(),
}
"""By PostgreSQL's name; what is not here is exported as PostgreSQL writes it, as text."""


def user_tables(connection: psycopg.Connection[Any]) -> list[str]:
    """All tables with a user's rows, by the catalog."""
    return [name for (name,) in connection.execute(TABLES)]


def left_out(name: str, registry: Registry) -> str | None:
    """Why a table is not among an export's tables; None = it is."""
    tables = {stream.table for stream in registry.values()}
    if name in tables:
        return "a stream: its rows are exported by day"
    stem, is_rollup, period = name.rpartition("_per_")
    if is_rollup and stem in tables and period in PERIODS:
        return "computed from a stream's rows, which are in the export"
    return LEFT_OUT.get(name)


def read_table(connection: psycopg.Connection[Any], name: str, user_id: str) -> pa.Table:
    """One user's rows of a table, without secrets. Raises: psycopg.Error."""
    columns = [
        (column, kind)
        for column, kind in connection.execute(COLUMNS, (f"am.{name}",))
        if column not in SECRET.get(name, frozenset())
    ]
    schema = pa.schema(pa.field(column, ARROW.get(kind, pa.string())) for column, kind in columns)
    chosen = sql.SQL(", ").join(
        sql.Identifier(column) if kind in ARROW else sql.SQL("{}::text").format(_name(column))
        for column, kind in columns
    )
    query = sql.SQL("SELECT {} FROM {} WHERE user_id = %s").format(
        chosen, sql.Identifier("am", name)
    )
    return pa.Table.from_batches(_batches(connection, query, user_id, schema), schema)


def _batches(
    connection: psycopg.Connection[Any], query: sql.Composed, user_id: str, schema: pa.Schema
) -> Iterator[pa.RecordBatch]:
    with connection.cursor(name="export") as cursor:
        cursor.execute(query, (user_id,))
        while rows := cursor.fetchmany(CHUNK):
            yield _batch(rows, schema)


def _batch(rows: Sequence[Sequence[Any]], schema: pa.Schema) -> pa.RecordBatch:
    columns = zip(*rows, strict=True)
    arrays = [pa.array(values, field.type) for values, field in zip(columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _name(column: str) -> sql.Identifier:
    return sql.Identifier(column)
