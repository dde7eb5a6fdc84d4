"""Erasure in the database: what of one user and span there is in each table, and its removal.

Every step of removal is one transaction that also notes what later steps have to look at (blobs,
days, tables), so that a crash between two of them loses nothing. Never any content is noted.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql

from am_assets.schemas.columns import columns
from am_assets.streams.stream import Stream
from resources.hot import Span, table_of
from resources.lake import STALE

DOOR = "erase"  # of the lines of the ledger that take off what was erased
EDGE = timedelta(days=1)  # nothing that is derived lies farther from its source, or is longer
PATIENCE_S = 120.0
POLL_S = 0.2


@dataclass(frozen=True)
class Scope:
    """Whose data, from `begin` until before `end`; None = without limit. Aware times."""

    user_id: str
    begin: datetime | None = None
    end: datetime | None = None

    @property
    def is_whole(self) -> bool:
        """Whether the user goes with all there is."""
        return self.begin is None and self.end is None

    @property
    def first_day(self) -> date | None:
        """The first UTC day with a part of it; None = without limit."""
        return None if self.begin is None else self.begin.astimezone(UTC).date()

    @property
    def last_day(self) -> date | None:
        """The last UTC day with a part of it; None = without limit."""
        moment = timedelta(microseconds=1)
        return None if self.end is None else (self.end - moment).astimezone(UTC).date()

    def has_all_of(self, day: date) -> bool:
        """Whether the whole UTC day is in it."""
        span = Span.of_day(day)
        return (self.begin is None or self.begin <= span.begin) and (
            self.end is None or self.end >= span.end
        )

    def cut_days(self) -> list[date]:
        """The days of which a part is in it and another is not: two at most."""
        edges = {self.first_day, self.last_day} - {None}
        return sorted(day for day in edges if day is not None and not self.has_all_of(day))

    def days_at_edges(self) -> list[date]:
        """The local days, of whatever zone, of which a part may be in it and another not."""
        edges = [edge.astimezone(UTC).date() for edge in (self.begin, self.end) if edge]
        day = timedelta(days=1)
        return sorted({near for edge in edges for near in (edge - day, edge, edge + day)})

    def values(self) -> dict[str, Any]:
        """Parameters of the statements here."""
        return {
            "user": self.user_id,
            "begin": self.begin or datetime.min.replace(tzinfo=UTC),
            "end": self.end or datetime.max.replace(tzinfo=UTC),
            "first": self.first_day or date.min,
            "last": self.last_day or date.max,
            "whole": self.is_whole,
            "edge": EDGE,
        }


IN_SPAN = "user_id = %(user)s AND ts >= %(begin)s AND ts < %(end)s"
# What reaches into the span from before it; by whatever column tells how long it is.
REACHES_IN = (
    "user_id = %(user)s AND ts >= %(begin)s::timestamptz - %(edge)s::interval "
    "AND ts < %(begin)s AND {} > %(begin)s"
)
ENDS = {"end_ts": "end_ts", "duration_ms": "ts + duration_ms * interval '1 millisecond'"}
# What was made of something in the span and lies beside it.
MADE_OF_IT = (
    "user_id = %(user)s AND (ts >= %(begin)s::timestamptz - %(edge)s::interval AND ts < %(begin)s "
    "OR ts >= %(end)s AND ts < %(end)s::timestamptz + %(edge)s::interval) "
    "AND source_event_id IN (SELECT name::uuid FROM am.erasure_todo "
    "WHERE erasure_id = %(id)s AND kind = 'source')"
)
_REMOVE = """
WITH gone AS (
    DELETE FROM {table} WHERE {where}
    RETURNING event_id, device_id, (ts AT TIME ZONE 'UTC')::date AS day, {blob} AS blob_key,
        ts >= %(begin)s AND ts < %(end)s AS is_in_span
), lines AS (
    INSERT INTO am.landing (batch_id, user_id, device_id, stream, day, door, received, stored,
        duplicate, rejected)
    SELECT %(id)s, %(user)s, device_id, %(stream)s, day, %(door)s, -count(*), -count(*), 0, 0
    FROM gone WHERE %(is_raw)s GROUP BY device_id, day
), stale AS (
    UPDATE am.publication SET checksum = %(stale)s, published_at = clock_timestamp()
    WHERE stream = %(stream)s AND left_hot_at IS NULL AND day IN (SELECT day FROM gone)
), todo AS (
    INSERT INTO am.erasure_todo (erasure_id, kind, name, detail)
    SELECT %(id)s, 'blob', blob_key, '' FROM gone WHERE blob_key IS NOT NULL
    UNION SELECT %(id)s, 'day', %(stream)s, day::text FROM gone
    UNION SELECT %(id)s, 'table', %(table)s, '' FROM gone
    UNION SELECT %(id)s, 'source', event_id::text, '' FROM gone WHERE NOT is_in_span
    ON CONFLICT DO NOTHING
) SELECT count(*) FROM gone
"""
# Only of what lies near an edge can something lie beyond it.
_NOTE_SOURCES = """
INSERT INTO am.erasure_todo (erasure_id, kind, name)
SELECT DISTINCT %(id)s::uuid, 'source', item_id::text FROM am.work_item
WHERE user_id = %(user)s AND ts >= %(begin)s AND ts < %(end)s
    AND (ts < %(begin)s::timestamptz + %(edge)s::interval
        OR ts >= %(end)s::timestamptz - %(edge)s::interval)
ON CONFLICT DO NOTHING
"""
_ITEMS = """
user_id = %(user)s AND (ts >= %(begin)s AND ts < %(end)s OR item_id IN (
    SELECT name::uuid FROM am.erasure_todo WHERE erasure_id = %(id)s AND kind = 'source'
))
"""
_IS_WORKED_ON = """
state = 'running' AND EXISTS (SELECT FROM pg_stat_activity AS a
    WHERE a.pid = worker_pid AND a.backend_start = worker_started)
"""
_LETTERS = "user_id = %(user)s AND dead_letter_id = ANY(%(letters)s)"
# Uploads know their day only: those of a day that is touched go.
_DAYS = "user_id = %(user)s AND day BETWEEN %(first)s AND %(last)s"
_SEEN = "user_id = %(user)s AND ts >= %(begin)s AND ts < %(end)s"
_AT = "user_id = %(user)s AND {} >= %(begin)s AND {} < %(end)s"
_WHOLE = "user_id = %(user)s AND %(whole)s"
# table: what of it goes. In the order in which foreign keys let it.
RECORDS: Mapping[str, str] = {
    "dead_letter": _LETTERS,
    "seen": _SEEN,
    "notification": _AT.format("created_at", "created_at"),
    "blob_upload": _DAYS,
    "blob_removed": _AT.format("begin_at", "begin_at"),
    "audit": _WHOLE,
    "invite": _WHOLE,
    "api_token": _WHOLE,
    "trust": _WHOLE,
    "watch_bucket": _WHOLE,
    "device": _WHOLE,
    "legal_hold": _WHOLE,  # those that were released: a live one forbids it all
    "landing": _WHOLE,
}
_NOTE_LETTERS = f"""
WITH gone AS (SELECT * FROM am.dead_letter WHERE {_LETTERS}), blobs AS (
    INSERT INTO am.erasure_todo (erasure_id, kind, name)
    SELECT %(id)s, 'blob', payload_key FROM gone WHERE payload_key IS NOT NULL
    ON CONFLICT DO NOTHING
)
INSERT INTO am.landing (batch_id, user_id, device_id, stream, day, door, received, stored,
    duplicate, rejected)
SELECT %(id)s, user_id, device_id, stream, day, %(door)s, -count(*), 0, 0, -count(*)
FROM gone WHERE state = 'open' GROUP BY user_id, device_id, stream, day
"""


# The pieces of an upload lie in a folder of its own.
_NOTE_UPLOADS = f"""
INSERT INTO am.erasure_todo (erasure_id, kind, name)
SELECT %(id)s, 'blob', concat('uploads/', user_id, '/', upload_id, '/') FROM am.blob_upload
WHERE {_DAYS} ON CONFLICT DO NOTHING
"""


def conditions(stream: Stream) -> list[str]:
    """What of a stream's table goes, each a condition of its own that an index answers."""
    names = {column.name for column in columns(stream)}
    found = [IN_SPAN]
    if stream.is_derived:
        found += [REACHES_IN.format(end) for name, end in ENDS.items() if name in names]
        found += [MADE_OF_IT]
    return found


def count_rows(
    connection: psycopg.Connection, streams: Iterable[Stream], scope: Scope
) -> dict[str, int]:
    """Rows of the span by stream; none = not named. Of derived ones also what reaches into it."""
    found = {}
    for stream in streams:
        terms = [one for one in conditions(stream) if one is not MADE_OF_IT]
        where = " OR ".join(f"({one})" for one in terms)
        query = sql.SQL("SELECT count(*) FROM {} WHERE " + where).format(table_of(stream))
        found[stream.name] = _one(connection, query, scope.values())
    return {name: count for name, count in found.items() if count}


def count_records(
    connection: psycopg.Connection, scope: Scope, letters: Sequence[UUID]
) -> dict[str, int]:
    """Lines by table of what is no stream; none = not named. `letters`: the dead ones that go."""
    wanted, values = {"work_item": IN_SPAN, **RECORDS}, {**scope.values(), "letters": [*letters]}
    found = {
        table: _one(connection, f"SELECT count(*) FROM am.{table} WHERE {where}", values)
        for table, where in wanted.items()
    }
    return {name: count for name, count in found.items() if count}


def remove_rows(
    connection: psycopg.Connection, stream: Stream, scope: Scope, erasure_id: UUID
) -> int:
    """Delete what of a stream goes, in one transaction. Returns how many rows."""
    names = {column.name for column in columns(stream)}
    table = f"am.{stream.table}"
    values = {
        **scope.values(),
        "id": erasure_id,
        "stream": stream.name,
        "table": table,
        "door": DOOR,
        "is_raw": not stream.is_derived,
        "stale": STALE,
    }
    blob = "blob_key" if "blob_key" in names else "NULL::text"
    with connection.transaction():
        count = sum(
            _one(connection, _REMOVE.format(table=table, where=where, blob=blob), values)
            for where in conditions(stream)
        )
        add(connection, erasure_id, "rows", {stream.name: count})
    return count


def remove_derived(
    connection: psycopg.Connection, streams: Iterable[Stream], scope: Scope, erasure_id: UUID
) -> dict[str, int]:
    """The same of derived streams, until nothing is left that was made of what went."""
    removed: dict[str, int] = {}
    chosen = list(streams)
    while round_ := {
        stream.name: count
        for stream in chosen
        if (count := remove_rows(connection, stream, scope, erasure_id))
    }:
        for name, count in round_.items():
            removed[name] = removed.get(name, 0) + count
    return removed


def note_sources(connection: psycopg.Connection, scope: Scope, erasure_id: UUID) -> None:
    """Note which items near an edge may have left something beyond it."""
    connection.execute(_NOTE_SOURCES, {**scope.values(), "id": erasure_id})
    connection.commit()


def remove_items(connection: psycopg.Connection, scope: Scope, erasure_id: UUID) -> int:
    """Delete the span's work items; those that are worked on, once their worker has ended them.

    A worker that does not end within two minutes loses its item, and with it what it would write.
    """
    values = {**scope.values(), "id": erasure_id}
    removed, deadline = 0, time.monotonic() + PATIENCE_S
    while True:
        is_late = time.monotonic() > deadline
        busy = "" if is_late else f"AND NOT ({_IS_WORKED_ON})"
        query = f"DELETE FROM am.work_item WHERE {_ITEMS} {busy}"
        removed += connection.execute(query.encode(), values).rowcount
        left = _one(connection, f"SELECT count(*) FROM am.work_item WHERE {_ITEMS}", values)
        connection.commit()
        if not left:
            add(connection, erasure_id, "records", {"work_item": removed})
            note_table(connection, erasure_id, "am.work_item")
            return removed
        time.sleep(POLL_S)


def remove_records(
    connection: psycopg.Connection, scope: Scope, erasure_id: UUID, *, letters: Sequence[UUID]
) -> dict[str, int]:
    """Delete dead letters, what was seen, notifications …, in one transaction."""
    values = {**scope.values(), "id": erasure_id, "door": DOOR, "letters": [*letters]}
    with connection.transaction():
        connection.execute(_NOTE_LETTERS.encode(), values)
        connection.execute(_NOTE_UPLOADS.encode(), values)
        removed = {
            table: connection.execute(f"DELETE FROM am.{table} WHERE {where}".encode(), values)
            for table, where in RECORDS.items()
        }
        counts = {name: cursor.rowcount for name, cursor in removed.items() if cursor.rowcount}
        add(connection, erasure_id, "records", counts)
        for name in (*counts, *(("notification_delivery",) if "notification" in counts else ())):
            note_table(connection, erasure_id, f"am.{name}")
    return counts


def note_table(connection: psycopg.Connection, erasure_id: UUID, table: str) -> None:
    """Note that a table has dead lines on disk."""
    note(connection, erasure_id, "table", table)


def note(
    connection: psycopg.Connection,
    erasure_id: UUID,
    kind: str,
    name: str,
    *,
    detail: str = "",
    row_count: int = 0,
) -> None:
    """Note something that a later step has to look at; again changes nothing."""
    connection.execute(
        "INSERT INTO am.erasure_todo (erasure_id, kind, name, detail, row_count) "
        "VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING",
        (erasure_id, kind, name, detail, row_count),
    )


def add(
    connection: psycopg.Connection, erasure_id: UUID, tier: str, counts: Mapping[str, int]
) -> None:
    """Add to what was erased of a tier, in the transaction that does it."""
    for name, count in counts.items():
        if count:
            connection.execute(
                "INSERT INTO am.erasure_todo AS t (erasure_id, kind, name, detail, row_count) "
                "VALUES (%s, 'count', %s, %s, %s) ON CONFLICT (erasure_id, kind, name, detail) "
                "DO UPDATE SET row_count = t.row_count + excluded.row_count",
                (erasure_id, tier, name, count),
            )


def noted(
    connection: psycopg.Connection, erasure_id: UUID, kind: str
) -> Iterator[tuple[str, str, int]]:
    """(name, detail, row count) of what was noted, in order."""
    rows = connection.execute(
        "SELECT name, detail, row_count FROM am.erasure_todo "
        "WHERE erasure_id = %s AND kind = %s ORDER BY name, detail",
        (erasure_id, kind),
    ).fetchall()
    yield from rows


def _one(
    connection: psycopg.Connection, query: str | sql.Composed | sql.SQL, values: Mapping[str, Any]
) -> int:
    asked = query.encode() if isinstance(query, str) else query
    row = connection.execute(asked, values).fetchone()
    assert row is not None
    return int(row[0])
