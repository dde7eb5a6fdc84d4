"""What has just landed, worked off before everything else: what the hot worker does, step by step.

No Dagster and no threads here: reading the ledger's news, which news goes first, one pass over it.
The ledger is polled: a NOTIFY in each landing holds a lock of the whole server until its commit is
on disk, and writers then commit one after the other.
"""

from collections.abc import Callable, Collection, Iterable, Sequence, Set
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import psycopg
from psycopg.rows import class_row

from am_assets.derived.catalog import downstream_of
from am_assets.derived.enrichment import Enrichment
from am_assets.process import Counts, Progress, Tools, process
from resources.work_items import Recent

RUN_ID = "hot"  # of the rows that no Dagster run made
LIVE_FOR = timedelta(minutes=5)  # what could not be done so long after it landed is backlog
EARLIER = timedelta(seconds=5)  # a row may have been stamped before its line in the ledger
LINES_A_LOOK = 5_000
# A live pass takes a part of a batch, so that the newest item need not wait for older ones.
PARTS_OF_BATCH = 4

NEWS = """
SELECT l.xid::text::bigint AS xid, l.seq, l.user_id, l.day, l.stream, l.received_at AS since,
    l.stored + l.grown > 0 AS is_news, l.xid < pg_snapshot_xmin(pg_current_snapshot()) AS is_settled
FROM am.landing AS l WHERE (l.xid, l.seq) > (%s::text::xid8, %s::bigint)
ORDER BY l.xid, l.seq LIMIT %s
"""
NEWEST_OLD_LINE = """
SELECT xid::text::bigint, seq FROM am.landing WHERE received_at < now() - %s
ORDER BY seq DESC LIMIT 1
"""


@dataclass(frozen=True)
class Line:
    """One line of the ledger. `is_settled`: no line can appear before it any more."""

    xid: int
    seq: int
    user_id: str
    day: date
    stream: str
    since: datetime
    is_news: bool
    is_settled: bool


@dataclass(frozen=True)
class Place:
    """How far the ledger was read: all up to (xid, seq), and `ahead` of it these numbers."""

    xid: int = 0
    seq: int = 0
    ahead: frozenset[int] = frozenset()


@dataclass(frozen=True)
class News:
    """Rows of one user and day that have landed in a stream since."""

    user_id: str
    day: date
    stream: str
    since: datetime


def first_place(connection: psycopg.Connection[Any]) -> Place:
    """Behind the last line that is no news any more. Raises: psycopg.Error."""
    row = connection.execute(NEWEST_OLD_LINE, (LIVE_FOR,)).fetchone()
    return Place(*row) if row else Place()


def read_lines(connection: psycopg.Connection[Any], place: Place) -> list[Line]:
    """Lines after a place in the ledger, those of slow neighbours not waited for.

    Raises: psycopg.Error.
    """
    cursor = connection.cursor(row_factory=class_row(Line))
    return cursor.execute(NEWS, (place.xid, place.seq, LINES_A_LOOK)).fetchall()


def advance(place: Place, lines: Sequence[Line]) -> tuple[Place, list[Line]]:
    """Where to read on, and the lines that were not there before. `lines` in the ledger's order.

    Lines of transactions that an older one may still precede are taken at once, and remembered.
    """
    settled = [line for line in lines if line.is_settled]
    ahead = frozenset(line.seq for line in lines if not line.is_settled)
    fresh = [line for line in lines if line.seq not in place.ahead]
    mark = (settled[-1].xid, settled[-1].seq) if settled else (place.xid, place.seq)
    return Place(*mark, ahead), fresh


def news_of(lines: Iterable[Line], streams: Collection[str]) -> list[News]:
    """What the lines mean for these streams: one for each user, day and stream."""
    found: dict[tuple[str, date, str], News] = {}
    for line in lines:
        if line.is_news and line.stream in streams:
            key = (line.user_id, line.day, line.stream)
            since = min(line.since, found[key].since) if key in found else line.since
            found[key] = News(*key, since)
    return list(found.values())


class Agenda:
    """News that nobody has looked after yet: one a user, day and stream, since its oldest."""

    def __init__(self) -> None:
        self._since: dict[tuple[str, date, str], datetime] = {}

    def __len__(self) -> int:
        return len(self._since)

    def note(self, news: Iterable[News]) -> None:
        """Add to it."""
        for one in news:
            key = (one.user_id, one.day, one.stream)
            self._since[key] = min(one.since, self._since.get(key, one.since))

    def take(self, stream: str, *, now: datetime) -> News | None:
        """A stream's news of the newest day, the latest first; None = there is none.

        What has become backlog is forgotten.
        """
        self._since = {k: since for k, since in self._since.items() if now - since <= LIVE_FOR}
        mine = [(key[1], since, key) for key, since in self._since.items() if key[2] == stream]
        if not mine:
            return None
        _, since, key = max(mine)
        del self._since[key]
        return News(*key, since)


def live_streams(enrichments: Sequence[Enrichment], streams: Iterable[str]) -> Set[str]:
    """Those of the streams from which anything is derived."""
    return {stream for stream in streams if downstream_of(stream, enrichments)}


def follow(
    news: News,
    tools: Tools,
    *,
    enrichments: Sequence[Enrichment],
    on_progress: Callable[[Progress], None],
    attempt: Callable[[Enrichment, Callable[[], Counts]], Counts],
) -> bool:
    """One pass: of each enrichment that follows a part of a batch, the newest items first.

    `attempt` calls what it is given, and decides what an error means. Returns whether anything was
    done, that is whether another pass may find more to do.
    """
    recent = Recent(news.user_id, news.since - EARLIER)
    is_moving = False
    for enrichment in downstream_of(news.stream, enrichments):
        counts = attempt(enrichment, lambda e=enrichment: _part(e, news.day, tools, recent))  # type: ignore[misc]  # mypy knows no lambda's default
        if counts.done or counts.empty or counts.failed:
            is_moving = True
            on_progress(Progress(enrichment.name, news.day, counts))
    return is_moving


def _part(enrichment: Enrichment, day: date, tools: Tools, recent: Recent) -> Counts:
    limit = -(-enrichment.batch // PARTS_OF_BATCH)
    return process(enrichment, day, tools, run_id=RUN_ID, recent=recent, limit=limit)
