"""Where a row came from: the way from what a model said back to what a device sent."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pyarrow.compute as pc
from psycopg import sql
from psycopg.rows import dict_row

from am_assets.schemas.columns import ENVELOPE, LINEAGE
from am_assets.streams.registry import Registry
from am_assets.streams.stream import Stream
from resources.hot import Span, table_of
from resources.whole import WholeSnapshot, as_rows

REACH = timedelta(days=1)  # a derived row lies within the hour or the recording it was made from
MAX_STEPS = 16  # far more than there are layers; ends a circle, should one ever be stored


@dataclass(frozen=True)
class Source:
    """A row, by its stream and id."""

    stream: str
    event_id: UUID


@dataclass(frozen=True)
class Made:
    """By what a derived row was made."""

    model_id: str
    model_version: str
    enrichment_version: int
    run_id: str
    confidence: float | None


@dataclass(frozen=True)
class Step:
    """One row on the way back. `ts` None: the row is nowhere (any more).

    `made` None: a device sent it. `blob_key` is the bytes it holds or was made from.
    `values` are the row's own columns.
    """

    stream: str
    event_id: str
    ts: datetime | None = None
    device_id: str | None = None
    blob_key: str | None = None
    made: Made | None = None
    values: dict[str, Any] | None = None


def trace(
    reader: WholeSnapshot, registry: Registry, source: Source, *, near: datetime
) -> list[Step]:
    """The row itself first, then what it was made from, and so on to what was sent.

    `near` is about when it happened: rows are looked for within a day of it, by the index.
    Sees the rows of the reader's user. Raises: psycopg.Error, UnknownStreamError, LakeFilesError.
    """
    steps: list[Step] = []
    following: Source | None = source
    while following is not None and len(steps) < MAX_STEPS:
        row = _row(reader, registry[following.stream], following.event_id, near=near)
        steps.append(_step(following, row))
        is_derived = row is not None and registry[following.stream].is_derived
        following = _source_of(row) if row and is_derived else None
    return steps


def _source_of(row: dict[str, Any]) -> Source:
    return Source(row["source_stream"], row["source_event_id"])


def _row(
    reader: WholeSnapshot, stream: Stream, event_id: UUID, *, near: datetime
) -> dict[str, Any] | None:
    query = sql.SQL(
        "SELECT * FROM {} WHERE ts >= %s AND ts <= %s AND event_id = %s ORDER BY ts LIMIT 1"
    ).format(table_of(stream))
    with reader.connection.cursor(row_factory=dict_row) as rows:
        found = rows.execute(query, (near - REACH, near + REACH, event_id)).fetchone()
    return found or _left_row(reader, stream, event_id, near=near)


def _left_row(
    reader: WholeSnapshot, stream: Stream, event_id: UUID, *, near: datetime
) -> dict[str, Any] | None:
    """The row as the database would have it, were its day still there."""
    # No row is named whose id the lake leaves out (`row_ids.leaves_ids_out`).
    span = Span(near - REACH, near + REACH + timedelta(microseconds=1))
    for away in reader.away([stream], span):
        is_it = pc.field("event_id") == str(event_id)
        is_left_out = pc.field("event_id").is_null()  # and told when it is read
        found = reader.left(away, span, only=is_it | is_left_out).filter(is_it)
        rows = as_rows(stream, found.sort_by("ts").slice(0, 1))
        query = sql.SQL("SELECT * FROM {}").format(rows.text)
        with reader.connection.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(query, rows.values).fetchone()
    return None


def _step(source: Source, row: dict[str, Any] | None) -> Step:
    stream, event_id = source.stream, str(source.event_id)
    if row is None:
        return Step(stream, event_id)
    is_derived = "source_stream" in row
    hidden = {column.name for column in (*ENVELOPE, *(LINEAGE if is_derived else ()))}
    return Step(
        stream=stream,
        event_id=event_id,
        ts=row["ts"],
        device_id=row["device_id"],
        blob_key=row.get("blob_key"),
        made=_made(row) if is_derived else None,
        values={name: value for name, value in row.items() if name not in hidden},
    )


def _made(row: dict[str, Any]) -> Made:
    return Made(
        model_id=row["model_id"],
        model_version=row["model_version"],
        enrichment_version=row["enrichment_version"],
        run_id=row["run_id"],
        confidence=row["confidence"],
    )
