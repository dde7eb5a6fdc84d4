"""Rows put straight into the database, for tests of what reads them."""

from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import Any
from uuid import UUID, uuid4

import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from am_assets.schemas.columns import LINEAGE, ColumnType, columns
from am_assets.streams.stream import Stream

RECEIVED = datetime(2026, 6, 1, tzinfo=UTC)
FILL: dict[ColumnType, Any] = {
    ColumnType.TEXT: "x",
    ColumnType.INTEGER: 1,
    ColumnType.REAL: 1.0,
    ColumnType.BOOLEAN: True,
    ColumnType.INSTANT: RECEIVED,
    ColumnType.JSON: [],
}


def row(stream: Stream, **values: Any) -> dict[str, Any]:
    """A legal row: `values`, and something for each other column that may not be null."""
    filled = {
        column.name: FILL[column.type] if column.type in FILL else uuid4()
        for column in columns(stream)
        if not column.is_nullable
    }
    unknown = set(values) - {column.name for column in columns(stream)}
    assert not unknown, unknown
    return {**filled, "device_id": "phone", "received_at": RECEIVED, **values}


def insert(database_url: str, stream: Stream, rows: Iterable[dict[str, Any]]) -> None:
    """Put rows into the stream's table; `rows` give the columns that matter."""
    kinds = {column.name: column.type for column in columns(stream)}
    with psycopg.connect(database_url) as connection:
        for values in rows:
            full = row(stream, **values)
            connection.execute(
                sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
                    sql.Identifier("am", stream.table),
                    sql.SQL(", ").join(map(sql.Identifier, full)),
                    sql.SQL(", ").join(sql.Placeholder() * len(full)),
                ),
                [_adapted(value, kinds[name]) for name, value in full.items()],
            )


def landing(database_url: str, user_id: str, stream: Stream, day: date, *counts: int) -> None:
    """One line of the ledger: received, stored, duplicate, rejected."""
    with psycopg.connect(database_url) as connection:
        connection.execute(
            "INSERT INTO am.landing (batch_id, user_id, device_id, stream, day, door, received, "
            "stored, duplicate, rejected) VALUES (%s, %s, 'phone', %s, %s, 'test', %s, %s, %s, %s)",
            (uuid4(), user_id, stream.name, day, *counts),
        )


def lineage(source: Stream, source_event_id: UUID, **values: Any) -> dict[str, Any]:
    """Lineage columns of a derived row."""
    made = {
        "source_stream": source.name,
        "source_event_id": source_event_id,
        "model_id": "test",
        "model_version": "1",
        "enrichment_version": 1,
        "run_id": "test",
        **values,
    }
    assert set(made) <= {column.name for column in LINEAGE} | set(values)
    return made


def _adapted(value: Any, kind: ColumnType) -> Any:
    return Jsonb(value) if kind is ColumnType.JSON and value is not None else value
