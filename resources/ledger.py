"""The ledger: what arrived for each user, device, stream and day, and whether it adds up.

It does when received = stored + duplicate + rejected, and as many rows as were stored are there.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from am_assets.streams.registry import Registry
from am_assets.streams.stream import Stream
from resources.hot import Span, table_of
from resources.whole import Away, WholeSnapshot

SUMS = """
SELECT user_id, device_id, stream, day, sum(received)::bigint AS received,
    sum(stored)::bigint AS stored, sum(duplicate)::bigint AS duplicate,
    sum(rejected)::bigint AS rejected
FROM am.landing WHERE %(day)s::date IS NULL OR day = %(day)s::date
GROUP BY user_id, device_id, stream, day ORDER BY day, user_id, device_id, stream
"""
COUNTS = """
SELECT user_id, device_id, (ts AT TIME ZONE 'UTC')::date AS day, count(*)
FROM {} WHERE ts >= %(begin)s AND ts < %(end)s GROUP BY 1, 2, 3
"""

Key = tuple[str, str, str, date]  # stream, user, device, day


@dataclass(frozen=True)
class Sums:
    """What the landing ledger says of one user, device, stream and day."""

    user_id: str
    device_id: str
    stream: str
    day: date
    received: int
    stored: int
    duplicate: int
    rejected: int


@dataclass(frozen=True)
class Line:
    """One line of the ledger. `rows` there are now; None: its day is in the lake alone, and was not
    counted there.
    """

    sums: Sums
    rows: int | None

    @property
    def is_adding_up(self) -> bool:
        """Whether nothing is missing and nothing too many."""
        sums = self.sums
        is_received = sums.received == sums.stored + sums.duplicate + sums.rejected
        return is_received and self.rows in (None, sums.stored)


@dataclass(frozen=True)
class Totals:
    """Sums over lines; `rows` only over those that have them, like `stored_in_reach`."""

    received: int
    stored: int
    duplicate: int
    rejected: int
    stored_in_reach: int
    rows: int


@dataclass(frozen=True)
class Ledger:
    """All lines, from early to late."""

    lines: tuple[Line, ...]

    @property
    def is_adding_up(self) -> bool:
        """Whether every line does."""
        return all(line.is_adding_up for line in self.lines)

    @property
    def totals(self) -> Totals:
        """Sums over all lines."""
        sums = [line.sums for line in self.lines]
        return Totals(
            received=sum(line.received for line in sums),
            stored=sum(line.stored for line in sums),
            duplicate=sum(line.duplicate for line in sums),
            rejected=sum(line.rejected for line in sums),
            stored_in_reach=sum(line.sums.stored for line in self.lines if line.rows is not None),
            rows=sum(line.rows for line in self.lines if line.rows is not None),
        )


def read_ledger(reader: WholeSnapshot, registry: Registry, *, day: date | None) -> Ledger:
    """The ledger of one UTC day or (None) of all, of the users that the reader may see.

    Rows of days that have left the hot store are counted for a day that is asked for, and not for
    all. Raises: psycopg.Error, resources.lake_files.LakeFilesError, DeltaError.
    """
    with reader.connection.cursor(row_factory=class_row(Sums)) as rows:
        sums = rows.execute(SUMS.encode(), {"day": day}).fetchall()
    counts = Counter(_counts(reader.connection, registry, sums))
    away = _away(reader, registry, sums)
    if day is not None:
        counts.update(_left_counts(reader, away, day))
    unknown = {
        _key(line)
        for line in sums
        if line.stream not in registry or (day is None and (line.stream, line.day) in away)
    }
    return Ledger(
        tuple(Line(one, None if _key(one) in unknown else counts[_key(one)]) for one in sums)
    )


def _key(line: Sums) -> Key:
    return line.stream, line.user_id, line.device_id, line.day


def _counts(
    connection: psycopg.Connection[Any], registry: Registry, sums: Sequence[Sums]
) -> dict[Key, int]:
    """How many rows there are by stream, user, device and day, over the days of the lines."""
    days: dict[str, list[date]] = {}
    for line in sums:
        days.setdefault(line.stream, []).append(line.day)
    return {
        (stream, user, device, day): count
        for stream, wanted in days.items()
        if stream in registry
        for user, device, day, count in _count(connection, registry[stream], wanted)
    }


def _count(
    connection: psycopg.Connection[Any], stream: Stream, days: Iterable[date]
) -> list[tuple[str, str, date, int]]:
    wanted = sorted(days)
    query = sql.SQL(COUNTS).format(table_of(stream))
    span = Span.of_days(wanted[0], wanted[-1])
    return connection.execute(query, {"begin": span.begin, "end": span.end}).fetchall()


def _away(
    reader: WholeSnapshot, registry: Registry, sums: Sequence[Sums]
) -> dict[tuple[str, date], Away]:
    """What of the lines' days is in the lake alone, by stream and day."""
    if not sums:
        return {}
    streams = [registry[name] for name in {line.stream for line in sums} if name in registry]
    days = {line.day for line in sums}
    span = Span.of_days(min(days), max(days))
    return {(one.stream.name, day): one for one in reader.away(streams, span) for day in one.days}


def _left_counts(
    reader: WholeSnapshot, away: Mapping[tuple[str, date], Away], day: date
) -> dict[Key, int]:
    """Rows in the lake by stream, user and device. What came again has been counted as stored."""
    names = ["user_id", "device_id"]
    return {
        (one.stream.name, row["user_id"], row["device_id"], day): row["user_id_count"]
        for one in away.values()
        for row in reader.lake(one, Span.of_day(day), names=names)
        .group_by(names)
        .aggregate([("user_id", "count")])
        .to_pylist()
    }
