"""How large the stores were day by day, how fast they grow, and when the disk is full.

Light: `am status` imports it. What measures is `resources.sizes`.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import psycopg
from psycopg.rows import class_row

GROWTH_DAYS = 7


@dataclass(frozen=True)
class DayTotal:
    """What one store held on a day."""

    day: date
    tier: str
    byte_count: int
    measured_at: datetime


_HISTORY = """
SELECT day, tier, sum(byte_count)::bigint AS byte_count, max(measured_at) AS measured_at
FROM am.store_size WHERE day >= (SELECT max(day) FROM am.store_size) - %s::int
GROUP BY day, tier ORDER BY day, tier
"""
_USED = "SELECT coalesce(sum(byte_count), 0)::bigint FROM am.blob"


def history(connection: psycopg.Connection) -> list[DayTotal]:
    """What was recorded in the week until the last time, a line a day and store."""
    cursor = connection.cursor(row_factory=class_row(DayTotal))
    return cursor.execute(_HISTORY, (GROWTH_DAYS,)).fetchall()


def newest(totals: Iterable[DayTotal]) -> Mapping[str, DayTotal]:
    """The last total of each store."""
    return {one.tier: one for one in sorted(totals, key=lambda total: total.day)}


def growth_per_day(totals: Sequence[DayTotal]) -> float | None:
    """Bytes a day over the days that were recorded; None while there are not two of one store.

    Each store over its own days: one that did not answer on a day has not shrunk.
    """
    by_tier: dict[str, list[DayTotal]] = defaultdict(list)
    for one in sorted(totals, key=lambda total: total.day):
        by_tier[one.tier].append(one)
    rates = [_rate(found[0], found[-1]) for found in by_tier.values()]
    known = [rate for rate in rates if rate is not None]
    return sum(known) if known else None


def days_until_full(free_bytes: int, bytes_per_day: float | None) -> float | None:
    """None = not known, or it does not grow."""
    if bytes_per_day is None or bytes_per_day <= 0:
        return None
    return free_bytes / bytes_per_day


def used_bytes(connection: psycopg.Connection) -> int:
    """All blobs of all users, as large as they were sent."""
    row = connection.execute(_USED).fetchone()
    assert row is not None
    return int(row[0])


def _rate(first: DayTotal, last: DayTotal) -> float | None:
    days = (last.day - first.day).days
    return (last.byte_count - first.byte_count) / days if days else None
