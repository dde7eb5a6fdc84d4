"""Who keeps the roll-ups true: a day is rolled up when it was published, and again when it changed.

What is published tells which days changed, whatever changed them. A day that has left the database
keeps the roll-ups that it had: its rows are not there to make them from. When it is reopened and
published again, it is rolled up again.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime

import psycopg
from psycopg import sql

from am_assets.schemas.postgres import SCHEMA, STORE
from am_assets.schemas.rollups import (
    Level,
    definition,
    is_numeric,
    refresh_day,
    replace_day,
    rollup_table,
)
from am_assets.streams.stream import Stream
from resources.advisory_locks import number_of
from resources.connections import Connections
from resources.hot import Span, connect

STALE = ""  # as `resources.lake` has it: a receipt that is no longer true
# Nobody may take the day out, or bring it back, while its rows are counted.
HELD = """SELECT checksum FROM am.publication
WHERE stream = %s AND day = %s AND left_hot_at IS NULL FOR SHARE"""
DUE = f"""
SELECT p.stream, p.day FROM am.publication AS p
JOIN unnest(%(names)s::text[], %(definitions)s::text[]) AS s (stream, definition)
    ON s.stream = p.stream
LEFT JOIN am.rollup_day AS r ON r.stream = p.stream AND r.day = p.day
WHERE p.left_hot_at IS NULL AND p.checksum <> '{STALE}'
    AND (r.checksum, r.definition) IS DISTINCT FROM (p.checksum, s.definition)
ORDER BY p.day DESC, p.stream
"""
NOTE = """INSERT INTO am.rollup_day (stream, day, checksum, definition) VALUES (%s, %s, %s, %s)
ON CONFLICT (stream, day) DO UPDATE SET checksum = excluded.checksum,
    definition = excluded.definition, made_at = now()"""
IS_TIMESCALE = "SELECT to_regnamespace(%s) IS NOT NULL"
# Where TimescaleDB keeps what it has computed of a continuous aggregate.
STORED_IN = """
SELECT materialization_hypertable_schema, materialization_hypertable_name
FROM timescaledb_information.continuous_aggregates WHERE (view_schema, view_name) = (%s, %s)"""


@dataclass(frozen=True)
class Rollups:
    """The roll-ups by minute, hour and day of one database."""

    connections: Connections

    def due(self, streams: Iterable[Stream]) -> list[tuple[Stream, date]]:
        """Published days, still in the database, that changed since they were rolled up.

        The newest first. Raises: psycopg.Error.
        """
        numeric = {stream.name: stream for stream in streams if is_numeric(stream)}
        values = {
            "names": list(numeric),
            "definitions": [definition(stream) for stream in numeric.values()],
        }
        with connect(self._url) as connection:
            rows = connection.execute(DUE.encode(), values).fetchall()
        return [(numeric[name], day) for name, day in rows]

    def refresh(self, stream: Stream, day: date) -> bool:
        """Make a day's roll-ups from its rows; twice is once.

        Returns whether that was done: not for a stream that is not numeric, not for a day that was
        never published or has left the database. Raises: psycopg.Error.
        """
        if not is_numeric(stream):
            return False
        span = Span.of_day(day)
        with connect(self._url) as connection, _only_one(connection, stream):
            held = connection.execute(HELD, (stream.name, day)).fetchone()
            if held is None:
                return False
            if self._is_timescale(connection):
                self._refresh_aggregates(stream, span)
            else:
                _replace(connection, stream, span)
            connection.execute(NOTE, (stream.name, day, held[0], definition(stream)))
        return True

    def forget(self, stream: Stream, span: Span) -> int:
        """Delete the buckets that have a part of a span, of one user or device where it names one.

        For erasure; what else is in such a bucket comes back when its day is rolled up again.
        Returns how many went. Raises: psycopg.Error.
        """
        if not is_numeric(stream):
            return 0
        with connect(self._url) as connection:
            is_timescale = self._is_timescale(connection)
            return sum(
                _forget(connection, _place(connection, stream, level, is_timescale), level, span)
                for level in Level
            )

    @property
    def _url(self) -> str:
        return self.connections.database_url

    def _is_timescale(self, connection: psycopg.Connection) -> bool:
        return connection.execute(IS_TIMESCALE, (STORE,)).fetchone() == (True,)

    def _refresh_aggregates(self, stream: Stream, span: Span) -> None:
        """In transactions of its own, as TimescaleDB wants it, while the caller's holds the day."""
        with psycopg.connect(self._url, autocommit=True) as connection:
            for level in Level:
                values = {"begin": span.begin, "end": span.end}
                connection.execute(refresh_day(stream, level).encode(), values)


@contextmanager
def _only_one(connection: psycopg.Connection, stream: Stream) -> Iterator[None]:
    with connection.transaction():
        number = number_of(f"am.rollups/{stream.name}")
        connection.execute("SELECT pg_advisory_xact_lock(%s)", (number,))
        yield


def _replace(connection: psycopg.Connection, stream: Stream, span: Span) -> None:
    values: dict[str, datetime] = {"begin": span.begin, "end": span.end}
    for level in Level:
        for statement in replace_day(stream, level):
            connection.execute(statement.encode(), values)


def _place(
    connection: psycopg.Connection, stream: Stream, level: Level, is_timescale: bool
) -> sql.Identifier:
    """The table that holds the buckets."""
    name = rollup_table(stream, level)
    if not is_timescale:
        return sql.Identifier(SCHEMA, name)
    row = connection.execute(STORED_IN, (STORE, name)).fetchone()
    assert row is not None, f"{STORE}.{name} is no continuous aggregate"
    return sql.Identifier(*row)


def _forget(connection: psycopg.Connection, place: sql.Identifier, level: Level, span: Span) -> int:
    begin = sql.SQL(f"date_trunc('{level}', %(begin)s::timestamptz, 'UTC')")
    values = {
        "begin": span.begin,
        "end": span.end,
        "user": span.user_id,
        "device": span.device_id,
    }
    deleted = connection.execute(
        sql.SQL(
            "DELETE FROM {} WHERE bucket >= {} AND bucket < %(end)s "
            "AND (%(user)s::text IS NULL OR user_id = %(user)s) "
            "AND (%(device)s::text IS NULL OR device_id = %(device)s)"
        ).format(place, begin),
        values,
    )
    return deleted.rowcount
