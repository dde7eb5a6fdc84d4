"""What AM knows of ActivityWatch's buckets and of the events in them.

Buckets have a table of their own; events are the rows of the streams that they belong to.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
from psycopg import AsyncConnection, sql
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from am_assets.schemas.columns import KEY
from am_assets.schemas.postgres import qualified
from am_assets.streams.registry import Registry
from am_assets.streams.stream import Stream
from ingest_api.adapters.activitywatch import ID_BITS, Bucket, Seen
from resources.hot import Span
from resources.whole import Away, Rows, WholeSnapshot, as_rows

MAX_EVENTS = 100_000  # in one answer
LONGEST = timedelta(days=7)  # no event is taken to last longer, where its day has left the database
FIRST, LAST = datetime(1900, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)

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
    reader: WholeSnapshot,
    *,
    user_id: str,
    bucket: Bucket,
    registry: Registry,
    wanted: Wanted,
) -> list[Seen]:
    """A bucket's events that touch the span, the newest first."""
    question = _Question(reader, user_id, bucket, registry, wanted)
    limit = MAX_EVENTS + 1 if wanted.limit is None else min(wanted.limit, MAX_EVENTS + 1)
    found = question.newest(limit, away=[])
    away = question.away()
    last = max((one.days[-1] for one in away), default=None)
    # Clients ask for the newest event alone: years that have left need not be read for that.
    if last and (len(found) < limit or any(row[0].astimezone(UTC).date() <= last for row in found)):
        found = question.newest(limit, away=away)
    return list(_all_seen(found))


def count_of(
    reader: WholeSnapshot,
    *,
    user_id: str,
    bucket: Bucket,
    registry: Registry,
    wanted: Wanted,
) -> int:
    """How many such events there are."""
    question = _Question(reader, user_id, bucket, registry, wanted)
    return question.count(away=question.away())


@dataclass(frozen=True)
class _Question:
    """What is asked of the streams that a bucket's events may be in."""

    reader: WholeSnapshot
    user_id: str
    bucket: Bucket
    registry: Registry
    wanted: Wanted

    def newest(self, limit: int, *, away: Sequence[Away]) -> list[tuple[Any, ...]]:
        """Time, length and data of each event."""
        rows = self._rows(away)
        query = sql.SQL("SELECT * FROM {} ORDER BY ts DESC LIMIT %(limit)s").format(rows.text)
        return self.reader.connection.execute(query, {**rows.values, "limit": limit}).fetchall()

    def count(self, *, away: Sequence[Away]) -> int:
        """How many events there are."""
        rows = self._rows(away)
        query = sql.SQL("SELECT count(*) FROM {}").format(rows.text)
        row = self.reader.connection.execute(query, rows.values).fetchone()
        return 0 if row is None else int(row[0])

    def away(self) -> list[Away]:
        """What has left the database of the days that the events may be of."""
        return self.reader.away([self.registry[name] for name in self.bucket.streams], self._span)

    @property
    def _span(self) -> Span:
        """Long enough for events that began before it."""
        begin = max(self.wanted.begin or FIRST, FIRST) - LONGEST
        end = min(self.wanted.end or LAST, LAST) + timedelta(microseconds=1)
        return Span(begin, end, self.user_id)

    def _rows(self, away: Sequence[Away]) -> Rows:
        """All of them, as what stands for a table."""
        streams = [self.registry[name] for name in self.bucket.streams]
        parts = [(stream, Rows(_table(stream), {})) for stream in streams]
        parts += [(one.stream, self._left(one)) for one in away]
        selects = [
            sql.SQL(
                f"SELECT ts, {stream.grows} AS duration_s, {_data(stream)} AS data FROM {{}} "
                "WHERE user_id = %(user)s AND extra->>'bucket' = %(bucket)s{}"
            ).format(rows.text, sql.SQL(_bounds(stream, self.wanted)))
            for stream, rows in parts
        ]
        text = sql.SQL("({}) AS found").format(sql.SQL(" UNION ALL ").join(selects))
        values = {name: value for _, rows in parts for name, value in rows.values.items()}
        asked = {"begin": self.wanted.begin, "end": self.wanted.end, "number": self.wanted.number}
        return Rows(
            text, {**values, **asked, "user": self.user_id, "bucket": self.bucket.bucket_id}
        )

    def _left(self, away: Away) -> Rows:
        stream = away.stream
        data = ["data"] if "data" in stream.columns else []
        names = [*KEY, "extra", *data, *([stream.grows] if stream.grows else [])]
        return as_rows(stream, self.reader.left(away, self._span, names=names))


def _table(stream: Stream) -> sql.Composed:
    return sql.Composed([sql.SQL(qualified(stream))])


def _bounds(stream: Stream, wanted: Wanted) -> str:
    length = f"make_interval(secs => coalesce({stream.grows}, 0))"
    number = "('x' || right(replace(event_id::text, '-', ''), 14))::bit(56)::bigint"
    known: Mapping[str, Any] = {
        f"ts + {length} >= %(begin)s": wanted.begin,
        "ts <= %(end)s": wanted.end,
        f"{number} & {(1 << ID_BITS) - 1} = %(number)s": wanted.number,
    }
    return "".join(f" AND {clause}" for clause, value in known.items() if value is not None)


def _data(stream: Stream) -> str:
    return "data" if "data" in stream.columns else "extra->'data'"


def _all_seen(rows: Sequence[tuple[Any, ...]]) -> Iterator[Seen]:
    for row in rows:
        yield _seen(row)


def _seen(row: tuple[Any, ...]) -> Seen:
    at, duration_s, data = row
    return Seen(at=at.astimezone(UTC), duration_s=duration_s or 0.0, data=data or {})
