"""From the landing ledger to runs: which days of which streams have new rows.

Sequence numbers are handed out before a transaction commits, so that a later number may be visible
before an earlier one. Lines are therefore read in the order (transaction, number), and only those
of transactions older than every one still running: no line can appear behind the cursor.
"""

import hashlib
import json
import logging
from collections.abc import Iterable, Sequence, Set
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from itertools import groupby
from typing import Self

import psycopg
from dagster import (
    AssetSelection,
    DefaultSensorStatus,
    RunRequest,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    sensor,
)
from psycopg.rows import class_row

from am_assets.partitions import FIRST_DAY
from am_assets.process import Tools
from am_assets.raw.asset import LAYER, raw_key
from am_assets.streams.registry import Registry
from sensors.runs import REQUESTED_BY, busy_days

NAME = "landing"
TICK_S = 2
LINES_A_TICK = 5_000
PARTITIONS_A_TICK = 20
MAX_WAITING = 2_000  # beyond that, lines are left in the ledger until some of it is done
LEDGER = """
SELECT l.xid::text::bigint AS xid, l.seq, l.stream, l.day, l.stored + l.grown > 0 AS is_news
FROM am.landing AS l WHERE l.xid < pg_snapshot_xmin(pg_current_snapshot())
    AND (l.xid, l.seq) > (%s::text::xid8, %s::bigint)
ORDER BY l.xid, l.seq LIMIT %s
"""

log = logging.getLogger(__name__)

Pair = tuple[date, str]  # day and stream name


@dataclass(frozen=True)
class Line:
    """One line of the ledger, as far as this sensor looks at it."""

    xid: int
    seq: int
    stream: str
    day: date
    is_news: bool


@dataclass(frozen=True)
class Cursor:
    """How far the ledger was read, and what of that is still to be requested."""

    xid: int = 0
    seq: int = 0
    waiting: tuple[Pair, ...] = ()

    @classmethod
    def from_text(cls, text: str | None) -> Self:
        """None = nothing was read yet."""
        if text is None:
            return cls()
        found = json.loads(text)
        waiting = tuple((date.fromisoformat(day), stream) for day, stream in found["waiting"])
        return cls(found["xid"], found["seq"], waiting)

    def to_text(self) -> str:
        """As JSON."""
        waiting = [[day.isoformat(), stream] for day, stream in self.waiting]
        return json.dumps({"xid": self.xid, "seq": self.seq, "waiting": waiting})


@dataclass(frozen=True)
class Request:
    """One run: a day, and the streams of which it has new rows."""

    day: date
    streams: tuple[str, ...]
    run_key: str


@dataclass(frozen=True)
class Decision:
    """What to request, and the cursor when that is done."""

    requests: tuple[Request, ...]
    cursor: Cursor


def decide(
    cursor: Cursor, lines: Sequence[Line], *, busy: Iterable[date], limit: int = PARTITIONS_A_TICK
) -> Decision:
    """Request at most `limit` partitions, oldest news first; the rest waits in the cursor.

    A day with a run of this sensor in flight is `busy` and waits: what came in the meantime is one
    run, and a device that sends all the time cannot pile runs up. The run key holds the mark up to
    which the ledger was read and the streams, because Dagster drops a repeated key for ever.
    """
    read = list(lines) if len(cursor.waiting) < MAX_WAITING else []
    pairs = dict.fromkeys((*cursor.waiting, *((x.day, x.stream) for x in read if x.is_news)))
    not_now = set(busy)
    chosen = [pair for pair in pairs if pair[0] not in not_now][:limit]
    waiting = tuple(pair for pair in pairs if pair not in set(chosen))
    mark = (read[-1].xid, read[-1].seq) if read else (cursor.xid, cursor.seq)
    days = groupby(sorted(chosen), key=lambda pair: pair[0])
    requests = tuple(_request(day, [stream for _, stream in pairs], mark) for day, pairs in days)
    return Decision(requests, Cursor(*mark, waiting))


def read_ledger(database_url: str, cursor: Cursor, *, limit: int = LINES_A_TICK) -> list[Line]:
    """The next lines, in the order in which they can no longer be overtaken."""
    with psycopg.connect(database_url) as connection:
        found = connection.cursor(row_factory=class_row(Line))
        return found.execute(LEDGER, (cursor.xid, cursor.seq, limit)).fetchall()


def landing_sensor(registry: Registry) -> SensorDefinition:
    """The sensor that publishes what has landed."""
    known = {stream.name for stream in registry.raw}

    @sensor(
        name=NAME,
        target=AssetSelection.groups(LAYER),
        minimum_interval_seconds=TICK_S,
        default_status=DefaultSensorStatus.RUNNING,
        required_resource_keys={"tools"},
        description="Publishes the days of the streams in which something has landed.",
    )
    def landing(context: SensorEvaluationContext) -> SensorResult:
        tools: Tools = context.resources.tools
        cursor = Cursor.from_text(context.cursor)
        lines = [without_foreign(x, known) for x in read_ledger(tools.database_url, cursor)]
        today = datetime.now(UTC).date()
        busy = busy_days(context.instance, requested_by=NAME) | days_after(today, cursor, lines)
        decision = decide(cursor, lines, busy=busy)
        return SensorResult(
            run_requests=[_run_request(one, registry) for one in decision.requests],
            cursor=decision.cursor.to_text(),
        )

    return landing


def without_foreign(line: Line, known: Set[str]) -> Line:
    """The line, but as no news where there is no partition or stream for it.

    Rows older than the first partition are left to `am process`; they stay behind the ledger.
    """
    is_ours = line.stream in known and line.day >= FIRST_DAY
    if line.is_news and not is_ours:
        log.warning("no partition for %s of %s: run `am process`", line.day, line.stream)
    return replace(line, is_news=line.is_news and is_ours)


def days_after(today: date, cursor: Cursor, lines: Sequence[Line]) -> set[date]:
    """Days that have not begun and so are no partitions yet: a clock that is ahead sends them."""
    days = {day for day, _ in cursor.waiting} | {line.day for line in lines}
    return {day for day in days if day > today}


def _run_request(request: Request, registry: Registry) -> RunRequest:
    return RunRequest(
        run_key=request.run_key,
        partition_key=request.day.isoformat(),
        asset_selection=[raw_key(registry[stream]) for stream in request.streams],
        tags={REQUESTED_BY: NAME},
    )


def _request(day: date, streams: Sequence[str], mark: tuple[int, int]) -> Request:
    digest = hashlib.sha256("\n".join(streams).encode()).hexdigest()[:8]
    return Request(day, tuple(streams), f"{day}:{mark[0]}-{mark[1]}:{digest}")
