"""The SQL that lands a group of batches. Every value is a parameter, one array a column."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from psycopg.types.json import Json

from am_assets.schemas.columns import Column, ColumnType, columns
from am_assets.schemas.postgres import SQL_TYPES, qualified
from am_assets.streams.stream import Stream
from ingest_api.batch import DeadLetter
from ingest_api.elements import NewRow

# A device's line is touched once a minute, not at every batch; a zone that is learnt, at once.
DEVICES = """
INSERT INTO am.device AS known (user_id, device_id, tz_offset_min, last_data_at)
SELECT *, now() FROM unnest(%s::text[], %s::text[], %s::bigint[])
ON CONFLICT (user_id, device_id) DO UPDATE SET last_seen_at = now(), last_data_at = now(),
    tz_offset_min = coalesce(excluded.tz_offset_min, known.tz_offset_min)
WHERE known.last_data_at IS NULL OR known.last_data_at < now() - interval '1 minute'
    OR excluded.tz_offset_min <> coalesce(known.tz_offset_min, -9999)
"""
SEEN = """
INSERT INTO am.seen (user_id, device_id, stream, event_id, ts)
SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::uuid[], %s::timestamptz[])
ON CONFLICT DO NOTHING RETURNING user_id, device_id, stream, event_id
"""
DEAD_LETTERS = """
INSERT INTO am.dead_letter AS known (dead_letter_id, user_id, device_id, stream, day, door, code,
    reason, payload, payload_key)
SELECT * FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::text[], %s::date[], %s::text[],
    %s::text[], %s::text[], %s::bytea[], %s::text[])
ON CONFLICT (dead_letter_id) DO UPDATE SET last_seen_at = now(),
    times_seen = known.times_seen + 1
"""
BLOBS = """
INSERT INTO am.blob (user_id, sha256, blob_key, byte_count, media_type)
SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::bigint[], %s::text[])
ON CONFLICT DO NOTHING
"""
LANDING = """
INSERT INTO am.landing (batch_id, user_id, device_id, stream, day, door, received, stored,
    duplicate, rejected)
SELECT * FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::text[], %s::date[], %s::text[],
    %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[])
"""
NOTIFY = "NOTIFY am_landing"


@cache
def insert(stream: Stream) -> str:
    """Store rows and give back the keys of those that are new."""
    stored = [column for column in columns(stream) if column.name != "received_at"]
    names = ", ".join(column.name for column in stored)
    arrays = ", ".join(f"%s::{SQL_TYPES[column.type]}[]" for column in stored)
    return (
        f"INSERT INTO {qualified(stream)} ({names}, received_at) "
        f"SELECT *, now() FROM unnest({arrays}) "
        "ON CONFLICT DO NOTHING RETURNING user_id, device_id, ts, event_id"
    )


def insert_parameters(stream: Stream, rows: Sequence[NewRow]) -> list[list[Any]]:
    """One list a column, in the order of `insert`."""
    values = [{**row.values, **_envelope_values(row)} for row in rows]
    return [
        [_adapted(row.get(column.name), column) for row in values]
        for column in columns(stream)
        if column.name != "received_at"
    ]


def dead_letter_parameters(
    letters: Sequence[tuple[DeadLetter, str | None]],
) -> list[list[Any]]:
    """One list a column, in the order of `DEAD_LETTERS`; a letter with a key keeps no payload."""
    rows = [
        (
            letter.dead_letter_id,
            letter.user_id,
            letter.device_id,
            letter.stream,
            letter.day,
            letter.door,
            letter.code.value,
            letter.reason,
            None if key else letter.payload,
            key,
        )
        for letter, key in letters
    ]
    return [list(column) for column in zip(*rows, strict=True)]


def _adapted(value: Any, column: Column) -> Any:
    return Json(value) if column.type is ColumnType.JSON and value is not None else value


def _envelope_values(row: NewRow) -> dict[str, Any]:
    return {
        "user_id": row.user_id,
        "device_id": row.envelope.device_id,
        "ts": row.envelope.ts,
        "tz_offset_min": row.envelope.instant.tz_offset_min,
        "event_id": row.event_id,
        "trace_id": row.envelope.trace_id,
        "schema_version": row.stream.schema_version,
        "extra": dict(row.extra) or None,
    }
