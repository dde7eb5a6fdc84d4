"""The partitions of what stays only briefly, on plain PostgreSQL: made ahead, dropped when empty.

What a partition is for and which streams have some is in `am_assets.schemas.postgres`; TimescaleDB
makes its chunks itself.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import psycopg

from am_assets.schemas.columns import columns
from am_assets.schemas.postgres import (
    DAY,
    PARTS,
    SCHEMA,
    partition_span,
    qualified,
    rest_of,
)
from am_assets.streams.stream import Stream
from resources.hot import Span, connect

AHEAD = timedelta(days=3)
# Whoever waits for our lock makes all others wait: give up soon, and try again tomorrow.
PATIENCE = "5s"
# Each partition with its bounds; -infinity where it has none below, none for a default partition.
BOUNDS = f"""
SELECT parent.relname, part.relname, CASE WHEN bound LIKE 'FOR VALUES FROM (MINVALUE)%'
    THEN NULL ELSE substring(bound FROM $$FROM \\('([^']+)'$$)::timestamptz END,
    substring(bound FROM $$TO \\('([^']+)'$$)::timestamptz
FROM pg_inherits JOIN pg_class AS parent ON parent.oid = inhparent
JOIN pg_class AS part ON part.oid = inhrelid
CROSS JOIN LATERAL pg_get_expr(part.relpartbound, part.oid) AS bound
WHERE parent.relnamespace = '{SCHEMA}'::regnamespace AND parent.relkind = 'p' AND bound <> 'DEFAULT'
"""
KIND = f"SELECT relname FROM pg_class WHERE relnamespace = '{SCHEMA}'::regnamespace AND relkind='p'"


@dataclass(frozen=True)
class Part:
    """One partition: from `begin` (None = from ever) to before `end`."""

    table: str
    name: str
    begin: datetime | None
    end: datetime


@dataclass(frozen=True)
class Kept:
    """What was done, by the partitions' names; `busy` are tables that others held for too long."""

    made: tuple[str, ...]
    dropped: tuple[str, ...]
    busy: tuple[str, ...] = ()


def spans(stream: Stream, today: date) -> Iterator[tuple[datetime, datetime]]:
    """The partitions that a stream should have: of the span before this one, to some days ahead.

    Days begin at midnight UTC, weeks on a Monday. None for a stream that has no partitions.
    """
    span = partition_span(stream)
    if span is None:
        return
    back = today.weekday() if span > DAY else 0
    begin = datetime(today.year, today.month, today.day, tzinfo=UTC) - timedelta(days=back) - span
    until = datetime(today.year, today.month, today.day, tzinfo=UTC) + AHEAD
    while begin < until:
        yield begin, begin + span
        begin += span


def make_ahead(
    connection: psycopg.Connection, streams: Iterable[Stream], *, today: date
) -> tuple[str, ...]:
    """Make the partitions that are missing, in the caller's transaction. Returns their names.

    Rows of theirs in the default partition move over.
    """
    divided = _divided(connection)
    known = list(read_parts(connection))
    missing = [
        (stream, begin, end)
        for stream in streams
        if stream.table in divided
        for begin, end in spans(stream, today)
        if not _is_covered(known, stream, begin, end)
    ]
    script = ";\n".join(text for one in missing for text in _making(*one))
    if script:
        connection.execute(script.encode(), prepare=False)
    return tuple(_name(stream, begin) for stream, begin, _ in missing)


def read_parts(connection: psycopg.Connection) -> Iterator[Part]:
    """All partitions but the default ones."""
    for row in connection.execute(BOUNDS.encode()).fetchall():
        yield Part(*row)


@dataclass(frozen=True)
class Partitions:
    """The partitions of one database; on TimescaleDB there are none and nothing is done."""

    database_url: str
    patience: str = PATIENCE

    def keep(self, streams: Iterable[Stream], *, today: date) -> Kept:
        """Make what is missing, drop what is empty and too old to be filled; a stream at a time.

        Raises: psycopg.Error.
        """
        kept, busy = [], []
        with connect(self.database_url) as connection:
            for stream in streams:
                if partition_span(stream) is None:
                    continue
                try:
                    kept.append(self._keep_one(connection, stream, today))
                except psycopg.errors.LockNotAvailable:
                    busy.append(stream.table)
        made = [name for names, _ in kept for name in names]
        dropped = [name for _, names in kept for name in names]
        return Kept(tuple(made), tuple(dropped), tuple(busy))

    def _keep_one(
        self, connection: psycopg.Connection, stream: Stream, today: date
    ) -> tuple[tuple[str, ...], list[str]]:
        with connection.transaction():
            connection.execute("SELECT set_config('lock_timeout', %s, true)", (self.patience,))
            made = make_ahead(connection, [stream], today=today)
            return made, _drop_empty(connection, stream, today)


def _divided(connection: psycopg.Connection) -> set[str]:
    return {name for (name,) in connection.execute(KIND.encode())}


def _is_covered(known: list[Part], stream: Stream, begin: datetime, end: datetime) -> bool:
    """Whether some partition has a part of this span: then there can't be another one."""
    return any(
        part.table == stream.table and (part.begin is None or part.begin < end) and begin < part.end
        for part in known
    )


def _name(stream: Stream, begin: datetime) -> str:
    return f"{stream.table}_{begin:%Y%m%d}"


def _making(stream: Stream, begin: datetime, end: datetime) -> tuple[str, ...]:
    """Statements; nobody writes the table until the transaction ends."""
    name, part = qualified(stream), f"{PARTS}.{_name(stream, begin)}"
    names = ", ".join(column.name for column in columns(stream))
    low, high = f"'{begin.isoformat()}'", f"'{end.isoformat()}'"
    return (
        f"LOCK TABLE {name} IN ACCESS EXCLUSIVE MODE",
        f"CREATE TABLE {part} (LIKE {name} INCLUDING INDEXES)",
        f"WITH gone AS (DELETE FROM {rest_of(stream)} WHERE ts >= {low} AND ts < {high} "
        f"RETURNING {names}) INSERT INTO {part} ({names}) SELECT {names} FROM gone",
        f"ALTER TABLE {name} ATTACH PARTITION {part} FOR VALUES FROM ({low}) TO ({high})",
    )


def _drop_empty(connection: psycopg.Connection, stream: Stream, today: date) -> list[str]:
    midnight = Span.of_day(today).begin
    oldest = midnight - stream.keep_hot - DAY
    old = [p for p in read_parts(connection) if p.table == stream.table and p.end <= oldest]
    return [part.name for part in old if _drop(connection, stream, part)]


def _drop(connection: psycopg.Connection, stream: Stream, part: Part) -> bool:
    """Whether it was empty, and is gone now; looked at first without making anybody wait."""
    look = f"SELECT EXISTS (SELECT FROM {PARTS}.{part.name})".encode()
    if connection.execute(look).fetchone() == (True,):
        return False
    connection.execute(f"LOCK TABLE {qualified(stream)} IN ACCESS EXCLUSIVE MODE".encode())
    if connection.execute(look).fetchone() == (True,):
        return False
    connection.execute(f"DROP TABLE {PARTS}.{part.name}".encode())
    return True
