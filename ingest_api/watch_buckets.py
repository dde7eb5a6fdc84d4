"""What AM knows of ActivityWatch's buckets and of the events in them, as the database has it.

Buckets have a table of their own; events are the rows of the streams that they belong to.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import psycopg
from psycopg import AsyncConnection
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from am_assets.schemas.postgres import qualified
from am_assets.streams.registry import Registry
from am_assets.streams.stream import Stream
from ingest_api.adapters.activitywatch import ID_BITS, Bucket, Seen

MAX_EVENTS = 100_000  # in one answer

COLUMNS = "bucket_id, type, client, hostname, name, data, created_at"
ALL = f"SELECT {COLUMNS} FROM am.watch_bucket WHERE user_id = %s ORDER BY created_at, bucket_id"
ONE = f"SELECT {COLUMNS} FROM am.watch_bucket WHERE user_id = %s AND bucket_id = %s"
MAKE = """
INSERT INTO am.watch_bucket (user_id, bucket_id, device_id, type, client, hostname, name, data,
    created_at)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, coalesce(%s, now())) ON CONFLICT DO NOTHING
"""


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which events of a bucket; None: no bound, or all."""

    begin: datetime | None = None
    end: datetime | None = None
    limit: int | None = None
    number: int | None = None


async def make(
    connection: AsyncConnection, *, user_id: str, device_id: str, bucket: Bucket
) -> bool:
    """Keep a bucket; False where there is one by its id already."""
    cursor = await connection.execute(
        MAKE,
        (
            user_id,
            bucket.bucket_id,
            device_id,
            bucket.type,
            bucket.client,
            bucket.hostname,
            bucket.name,
            None if bucket.data is None else Jsonb(dict(bucket.data)),
            bucket.created_at,
        ),
    )
    return cursor.rowcount == 1


async def find(connection: AsyncConnection, *, user_id: str, bucket_id: str) -> Bucket | None:
    """A bucket as it was made; None where nobody has."""
    cursor = connection.cursor(row_factory=class_row(Bucket))
    return await (await cursor.execute(ONE, (user_id, bucket_id))).fetchone()


def all_of(reader: psycopg.Connection, *, user_id: str) -> list[Bucket]:
    """All buckets of a user, the oldest first."""
    return reader.cursor(row_factory=class_row(Bucket)).execute(ALL, (user_id,)).fetchall()


def one_of(reader: psycopg.Connection, *, user_id: str, bucket_id: str) -> Bucket | None:
    """One bucket of a user."""
    cursor = reader.cursor(row_factory=class_row(Bucket))
    return cursor.execute(ONE, (user_id, bucket_id)).fetchone()


async def last_before(
    connection: AsyncConnection,
    *,
    user_id: str,
    device_id: str,
    bucket_id: str,
    stream: Stream,
    at: datetime,
) -> Seen | None:
    """The newest event of a bucket that begins no later than `at`."""
    query = (
        f"SELECT ts, {stream.grows}, {_data(stream)} FROM {qualified(stream)} "
        "WHERE user_id = %s AND device_id = %s AND ts <= %s AND extra->>'bucket' = %s "
        "ORDER BY ts DESC LIMIT 1"
    )
    cursor = await connection.execute(query.encode(), (user_id, device_id, at, bucket_id))
    row = await cursor.fetchone()
    return None if row is None else _seen(row)


def events_of(
    reader: psycopg.Connection,
    *,
    user_id: str,
    bucket: Bucket,
    registry: Registry,
    wanted: Wanted,
) -> list[Seen]:
    """A bucket's events that touch the span, the newest first."""
    sql, values = _select(user_id, bucket, registry, wanted)
    limit = MAX_EVENTS + 1 if wanted.limit is None else min(wanted.limit, MAX_EVENTS + 1)
    found = reader.execute(
        f"SELECT * FROM ({sql}) AS found ORDER BY ts DESC LIMIT %s".encode(), (*values, limit)
    )
    return list(_all_seen(found.fetchall()))


def count_of(
    reader: psycopg.Connection,
    *,
    user_id: str,
    bucket: Bucket,
    registry: Registry,
    wanted: Wanted,
) -> int:
    """How many such events there are."""
    sql, values = _select(user_id, bucket, registry, wanted)
    row = reader.execute(f"SELECT count(*) FROM ({sql}) AS found".encode(), values).fetchone()
    return 0 if row is None else int(row[0])


def _select(
    user_id: str, bucket: Bucket, registry: Registry, wanted: Wanted
) -> tuple[str, list[Any]]:
    """One SELECT over the streams that the bucket's events may be in."""
    selects: list[str] = []
    values: list[Any] = []
    for stream in (registry[name] for name in bucket.streams):
        bounds, bound = _bounds(stream, wanted)
        selects.append(
            f"SELECT ts, {stream.grows} AS duration_s, {_data(stream)} AS data "
            f"FROM {qualified(stream)} WHERE user_id = %s AND extra->>'bucket' = %s{bounds}"
        )
        values += [user_id, bucket.bucket_id, *bound]
    return " UNION ALL ".join(selects), values


def _bounds(stream: Stream, wanted: Wanted) -> tuple[str, list[Any]]:
    length = f"make_interval(secs => coalesce({stream.grows}, 0))"
    number = "('x' || right(replace(event_id::text, '-', ''), 14))::bit(56)::bigint"
    known: Mapping[str, Any] = {
        f"ts + {length} >= %s": wanted.begin,
        "ts <= %s": wanted.end,
        f"{number} & {(1 << ID_BITS) - 1} = %s": wanted.number,
    }
    given = {clause: value for clause, value in known.items() if value is not None}
    return "".join(f" AND {clause}" for clause in given), list(given.values())


def _data(stream: Stream) -> str:
    return "data" if "data" in stream.columns else "extra->'data'"


def _all_seen(rows: Sequence[tuple[Any, ...]]) -> Iterator[Seen]:
    for row in rows:
        yield _seen(row)


def _seen(row: tuple[Any, ...]) -> Seen:
    at, duration_s, data = row
    return Seen(at=at.astimezone(UTC), duration_s=duration_s or 0.0, data=data or {})
