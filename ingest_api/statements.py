"""The SQL that lands a group of batches. Every value is a parameter, one array a column."""

import json
from collections.abc import Iterable, Sequence
from functools import cache, partial
from typing import Any

from psycopg.types.json import Json
from pydantic_core import to_json

from am_assets.schemas.columns import KEY, Column, ColumnType, columns
from am_assets.schemas.postgres import SQL_TYPES, qualified
from am_assets.streams.stream import Stream
from ingest_api.batch import DeadLetter
from ingest_api.elements import NewRow, plain

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
    reason, payload, payload_key, request)
SELECT * FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::text[], %s::date[], %s::text[],
    %s::text[], %s::text[], %s::bytea[], %s::text[], %s::jsonb[])
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
    duplicate, rejected, grown)
SELECT told.* FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::text[], %s::date[], %s::text[],
    %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[]) AS told
"""


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


@cache
def land(stream: Stream) -> str:
    """Store rows and account for them; how many are new, by line of the ledger.

    Parameters: `row_texts`, and what each line of the ledger tells: batch, user, device, stream,
    day, door, rows received.
    """
    stored = [column for column in columns(stream) if column.name != "received_at"]
    names, key = ", ".join(column.name for column in stored), ", ".join(KEY)
    typed = ", ".join(f"{column.name} {SQL_TYPES[column.type]}" for column in stored)
    return f"""
WITH told AS (
    SELECT * FROM ROWS FROM (json_to_recordset(%s::json) AS ({typed}, am_line bigint))
    WITH ORDINALITY AS told ({names}, am_line, am_ordinal)
), new AS (
    INSERT INTO {qualified(stream)} ({names}, received_at)
    SELECT {names}, now() FROM told ORDER BY {key} ON CONFLICT DO NOTHING RETURNING {key}
), first AS (
    SELECT DISTINCT ON ({key}) {key}, am_line FROM told ORDER BY {key}, am_ordinal
), counted AS (
    SELECT am_line, count(*) AS number FROM first JOIN new USING ({key}) GROUP BY am_line
)
INSERT INTO am.landing (batch_id, user_id, device_id, stream, day, door, received, stored,
    duplicate, rejected)
SELECT batch_id, user_id, device_id, stream, day, door, received, coalesce(number, 0),
    received - coalesce(number, 0), 0
FROM unnest(%s::uuid[], %s::text[], %s::text[], %s::text[], %s::date[], %s::text[], %s::bigint[])
    WITH ORDINALITY AS told (batch_id, user_id, device_id, stream, day, door, received, am_line)
    LEFT JOIN counted USING (am_line)
RETURNING batch_id, user_id, device_id, day, stored"""


def row_texts(rows: Iterable[tuple[NewRow, int]]) -> str:
    """Rows, each with its line of the ledger, as one JSON array of objects by column."""
    told = [{**row.values, **_envelope_values(row), "am_line": line} for row, line in rows]
    return to_json(told).decode()


@cache
def grow(stream: Stream) -> str:
    """Raise the column that grows where these values are greater; give back the keys."""
    return (
        f"UPDATE {qualified(stream)} AS known SET {stream.grows} = told.value FROM unnest("
        "%s::text[], %s::text[], %s::timestamptz[], %s::uuid[], %s::double precision[]) "
        "AS told (user_id, device_id, ts, event_id, value) "
        "WHERE (known.user_id, known.device_id, known.ts, known.event_id) "
        "= (told.user_id, told.device_id, told.ts, told.event_id) "
        f"AND (known.{stream.grows} IS NULL OR known.{stream.grows} < told.value) "
        "RETURNING known.user_id, known.device_id, known.ts, known.event_id"
    )


@cache
def copy(stream: Stream, *, schema: str) -> str:
    """Take a sheet's rows; one that is there already breaks it."""
    return f"COPY {qualified(stream, schema=schema)} ({_names(stream)}) FROM STDIN (FORMAT binary)"


@cache
def staging(stream: Stream, *, schema: str) -> tuple[str, ...]:
    """Make the connection's own table for sheets that bring known rows; it is empty then."""
    return (
        f"CREATE TEMPORARY TABLE IF NOT EXISTS {_staged(stream)} "
        f"(LIKE {qualified(stream, schema=schema)}, "
        "am_ordinal bigint GENERATED ALWAYS AS IDENTITY) ON COMMIT DELETE ROWS",
        f"TRUNCATE {_staged(stream)} RESTART IDENTITY",
    )


@cache
def copy_to_staging(stream: Stream) -> str:
    """Take sheets' rows, one sheet after the other."""
    return f"COPY {_staged(stream)} ({_names(stream)}) FROM STDIN (FORMAT binary)"


@cache
def insert_staged(stream: Stream, *, schema: str) -> str:
    """Store staged rows that are new; how many, by sheet (from 1), device and day.

    The parameter is the ordinal of each sheet's first row.
    """
    key = ", ".join(KEY)
    return f"""
WITH new AS (
    INSERT INTO {qualified(stream, schema=schema)} ({_names(stream)})
    SELECT {_names(stream)} FROM {_staged(stream)} ORDER BY {key}
    ON CONFLICT DO NOTHING RETURNING {key}
), first AS (
    SELECT DISTINCT ON ({key}) {key}, am_ordinal FROM {_staged(stream)} ORDER BY {key}, am_ordinal
)
SELECT width_bucket(am_ordinal, %s::bigint[]), device_id, (ts AT TIME ZONE 'UTC')::date, count(*)
FROM first JOIN new USING ({key}) GROUP BY 1, 2, 3"""


def _staged(stream: Stream) -> str:
    return f"pg_temp.{stream.table}"


def _names(stream: Stream) -> str:
    return ", ".join(column.name for column in columns(stream))


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
            None if letter.request is None else Json(letter.request),
        )
        for letter, key in letters
    ]
    return [list(column) for column in zip(*rows, strict=True)]


def _adapted(value: Any, column: Column) -> Any:
    return _json(value) if column.type is ColumnType.JSON and value is not None else value


def _json(value: Any) -> Json:
    """JSON of what a client sent; Arrow has values that JSON lacks."""
    return Json(value, dumps=partial(json.dumps, default=plain))


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
