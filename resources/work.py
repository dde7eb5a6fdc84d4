"""The work queue: who does which of an enrichment's items now, and how they ended.

An item belongs to the database session that claimed it. A session that is gone (its process was
killed, the database was) owns nothing any more, so its items can be claimed at once.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.rows import class_row
from psycopg.types.json import Json

from am_assets.schemas.columns import ColumnType, columns
from am_assets.schemas.postgres import qualified
from am_assets.streams.stream import Stream
from resources.hot import table_of
from resources.lake import hold_hot, mark_stale
from resources.work_items import Recent, Unit, Work, enqueue

DAY = timedelta(days=1)  # a derived row lies within a day of the row it was made from
MAX_CLAIMS = 8  # workers also die with their machine or database, not only of an item
GONE = "gone"  # the fingerprint of an item whose source row was replaced by none


class State(StrEnum):
    """How an item ended."""

    DONE = "done"
    EMPTY = "empty"
    FAILED = "failed"
    BLOCKED = "blocked"


@dataclass(frozen=True)
class Claimed:
    """One item that this session works on."""

    user_id: str
    item_id: UUID
    source_stream: str
    device_id: str
    day: date
    ts: datetime
    fingerprint: str


@dataclass(frozen=True)
class Settled:
    """How an item ended. `rows` are whole rows of the output but for `received_at`.

    `keeps_rows`: what was derived from it before stays as it is.
    """

    item: Claimed
    state: State
    reason: str | None = None
    rows: Sequence[Mapping[str, Any]] = ()
    derived_count: int | None = None  # where the rows are kept elsewhere
    keeps_rows: bool = False

    @property
    def row_count(self) -> int:
        """How many rows were derived from it."""
        return len(self.rows) if self.derived_count is None else self.derived_count


@dataclass(frozen=True)
class Worker:
    """One database session, told from a later one with the same process id by its start."""

    pid: int
    started: datetime


@dataclass(frozen=True)
class OpenDay:
    """A day on which an enrichment has something to do, and since when nothing has moved.

    `open_count` are items that could be claimed, blocked ones included; none = yet to be made.
    """

    day: date
    open_count: int
    blocked_count: int
    since: datetime

    @property
    def is_blocked(self) -> bool:
        """Whether nothing but the model is missing."""
        return 0 < self.open_count == self.blocked_count


@dataclass(frozen=True)
class WorkQueue:
    """The queue in `am.work_item`. Nothing is connected before a session begins."""

    database_url: str

    @contextmanager
    def session(self) -> Iterator["WorkSession"]:
        """A worker; what it has claimed and not finished is free again when this ends.

        Raises: psycopg.Error.
        """
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            connection.execute("SET TIME ZONE 'UTC'")
            row = connection.execute(
                "SELECT pid, backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()"
            ).fetchone()
            assert row is not None
            yield WorkSession(connection, Worker(*row))

    def open_days(
        self, work: Work, *, recent_lines: int | None = None, day: date | None = None
    ) -> list[OpenDay]:
        """Days with items to do, or with source rows that no item stands for; oldest first.

        `recent_lines` looks only at days that the last so many lines of the ledger touched, `day`
        at one. Blocked items count: whether their model is there now, the caller knows.
        """
        with psycopg.connect(self.database_url) as connection:
            cursor = connection.cursor(row_factory=class_row(OpenDay))
            cursor.execute(_OPEN_DAYS, {**_open_days_values(work, recent_lines), "day": day})
            return cursor.fetchall()


@dataclass(frozen=True)
class WorkSession:
    """What one worker may do."""

    connection: psycopg.Connection
    worker: Worker

    def enqueue(self, work: Work, day: date, *, recent: Recent | None = None) -> int:
        """Make the day's items pending that are new or whose source has changed.

        `recent` looks at no others. Returns how many became pending.
        """
        return enqueue(self.connection, work, day, recent=recent)

    def claim(
        self, work: Work, day: date, limit: int, *, recent: Recent | None = None
    ) -> list[Claimed]:
        """Take up to `limit` items, newest first; none = nothing left to do.

        An item that was claimed before without being finished is taken alone, so that one that
        kills its worker takes no neighbour with it; after three such claims it has failed.
        """
        self._give_up(work, day)
        scope = _scope(work, recent)
        return self._take(work, day, limit, scope, tried=False) or self._take(
            work, day, 1, scope, tried=True
        )

    def finish(self, work: Work, settled: Iterable[Settled], *, run_id: str) -> int:
        """Replace the items' derived rows and note how each ended, in one transaction.

        Items that this session has lost in the meantime are left alone. Returns how many were kept.
        Raises: resources.lake.DayLeftError where rows of theirs may have left the hot store.
        """
        with self.connection.transaction():
            ordered = _ordered(settled)
            if work.output:
                hold_hot(self.connection, work.output, near_days(one.item.day for one in ordered))
            held = self._hold(work, [one.item for one in ordered])
            kept = [one for one in ordered if _key(one.item) in held]
            replaced = [
                one for one in kept if one.state is not State.BLOCKED and not one.keeps_rows
            ]
            if work.output:
                self._replace_rows(work, work.output, replaced, run_id=run_id)
            self._close(work, kept, run_id=run_id)
        return len(kept)

    def release(self, work: Work, items: Sequence[Claimed], *, reason: str) -> None:
        """Give items back after an error that is not theirs."""
        self.connection.cursor().executemany(
            "UPDATE am.work_item SET state = 'pending', reason = %s, worker_pid = NULL, "
            "worker_started = NULL, updated_at = now() "
            f"WHERE {_ITEM} AND {_MINE}",
            [(reason, *self._item(work, item), *self._mine()) for item in items],
        )

    def block(self, work: Work, day: date, *, reason: str) -> int:
        """Set the day's open items aside until the model is there. Returns how many there are."""
        cursor = self.connection.execute(
            "UPDATE am.work_item SET state = 'blocked', reason = %s, attempts = 0, "
            "worker_pid = NULL, worker_started = NULL, updated_at = now() "
            f"WHERE {_WORK_DAY} AND {_CLAIMABLE.format(extra=' OR state = ' + _BLOCKED)}",
            (reason, *_work_day(work, day)),
        )
        return cursor.rowcount

    def unblock(self, work: Work, day: date) -> int:
        """Make blocked items pending again. Returns how many."""
        cursor = self.connection.execute(
            "UPDATE am.work_item SET state = 'pending', reason = NULL, updated_at = now() "
            f"WHERE {_WORK_DAY} AND state = 'blocked'",
            _work_day(work, day),
        )
        return cursor.rowcount

    def count_open(self, work: Work, day: date, *, recent: Recent | None = None) -> int:
        """How many of the day's items this session could claim, blocked ones included."""
        scope = _scope(work, recent)
        row = self.connection.execute(
            "SELECT count(*) FROM am.work_item WHERE "
            f"{_WORK_DAY} AND {_CLAIMABLE.format(extra=' OR state = ' + _BLOCKED)}{scope.text}",
            (*_work_day(work, day), *scope.values),
        ).fetchone()
        assert row is not None
        return int(row[0])

    def _give_up(self, work: Work, day: date) -> None:
        self.connection.execute(
            "UPDATE am.work_item SET state = 'failed', updated_at = now(), "
            "reason = concat_ws(': ', %s::text, reason) "
            f"WHERE {_WORK_DAY} AND {_CLAIMABLE.format(extra='')} AND attempts >= %s",
            (f"its worker died {MAX_CLAIMS} times", *_work_day(work, day), MAX_CLAIMS),
        )

    def _take(
        self, work: Work, day: date, limit: int, scope: "_Scope", *, tried: bool
    ) -> list[Claimed]:
        cursor = self.connection.cursor(row_factory=class_row(Claimed))
        cursor.execute(
            "WITH picked AS MATERIALIZED (SELECT enrichment, version, user_id, item_id "
            f"FROM am.work_item WHERE {_WORK_DAY} AND {_CLAIMABLE.format(extra='')}{scope.text} "
            "AND (attempts > 0) = %s ORDER BY ts DESC LIMIT %s FOR UPDATE SKIP LOCKED) "
            "UPDATE am.work_item w SET state = 'running', attempts = attempts + 1, "
            "worker_pid = %s, worker_started = %s, updated_at = now() FROM picked p "
            "WHERE (w.enrichment, w.version, w.user_id, w.item_id) "
            "= (p.enrichment, p.version, p.user_id, p.item_id) "
            "RETURNING w.user_id, w.item_id, w.source_stream, w.device_id, w.day, w.ts, "
            "w.fingerprint",
            (*_work_day(work, day), *scope.values, tried, limit, *self._mine()),
        )
        return sorted(cursor.fetchall(), key=lambda item: item.ts, reverse=True)

    def _hold(self, work: Work, items: Sequence[Claimed]) -> set[tuple[str, UUID]]:
        rows = self.connection.execute(
            "SELECT user_id, item_id FROM am.work_item WHERE enrichment = %s AND version = %s "
            "AND (user_id, item_id) IN (SELECT * FROM unnest(%s::text[], %s::uuid[])) "
            f"AND {_MINE} ORDER BY user_id, item_id FOR UPDATE",
            (
                work.name,
                work.version,
                [item.user_id for item in items],
                [item.item_id for item in items],
                *self._mine(),
            ),
        )
        return set(rows.fetchall())

    def _replace_rows(
        self, work: Work, output: Stream, settled: Sequence[Settled], *, run_id: str
    ) -> None:
        removed = self._delete_rows(output, [one.item for one in settled])
        rows = [row for one in settled for row in one.rows]
        if rows:
            self.connection.cursor().executemany(_insert(output), [_row(output, r) for r in rows])
        written = {row["event_id"] for row in rows}
        gone = [(user, event) for user, event, _ in removed if event not in written]
        days = {ts.astimezone(UTC).date() for *_, ts in removed}
        days |= {row["ts"].astimezone(UTC).date() for row in rows}
        mark_stale(self.connection, output, days, run_id=run_id)
        self._reopen_downstream(work, gone)

    def _delete_rows(
        self, output: Stream, items: Sequence[Claimed]
    ) -> list[tuple[str, UUID, datetime]]:
        return self.connection.execute(
            sql.SQL(
                "DELETE FROM {} WHERE (user_id, source_event_id) IN "
                "(SELECT * FROM unnest(%s::text[], %s::uuid[])) RETURNING user_id, event_id, ts"
            ).format(table_of(output)),
            ([item.user_id for item in items], [item.item_id for item in items]),
        ).fetchall()

    def _reopen_downstream(self, work: Work, gone: Sequence[tuple[str, UUID]]) -> None:
        """What was derived from rows that are no more has to go as well: it gets nothing."""
        self.connection.execute(
            "UPDATE am.work_item SET state = 'pending', fingerprint = %s, attempts = 0, "
            "reason = NULL, worker_pid = NULL, worker_started = NULL, updated_at = now() "
            "WHERE (user_id, item_id) IN (SELECT * FROM unnest(%s::text[], %s::uuid[])) "
            "AND enrichment <> %s",
            (GONE, [user for user, _ in gone], [event for _, event in gone], work.name),
        )

    def _close(self, work: Work, settled: Sequence[Settled], *, run_id: str) -> None:
        self.connection.cursor().executemany(
            "UPDATE am.work_item SET state = %s, reason = %s, derived_rows = %s, run_id = %s, "
            "attempts = 0, worker_pid = NULL, worker_started = NULL, updated_at = now() "
            f"WHERE {_ITEM}",
            [
                (one.state.value, one.reason, one.row_count, run_id, *self._item(work, one.item))
                for one in settled
            ],
        )

    def _item(self, work: Work, item: Claimed) -> tuple[str, int, str, UUID]:
        return work.name, work.version, item.user_id, item.item_id

    def _mine(self) -> tuple[int, datetime]:
        return self.worker.pid, self.worker.started


def near_days(days: Iterable[date]) -> set[date]:
    """The days on which rows may lie that are made from rows of these days."""
    return {day + step for day in days for step in (-DAY, timedelta(0), DAY)}


_ITEM = "enrichment = %s AND version = %s AND user_id = %s AND item_id = %s"
_MINE = "state = 'running' AND worker_pid = %s AND worker_started = %s"
_WORK_DAY = "enrichment = %s AND version = %s AND day = %s"
_BLOCKED = "'blocked'"
_CLAIMABLE = (
    "(state = 'pending'{extra} OR (state = 'running' AND NOT EXISTS (SELECT FROM pg_stat_activity "
    "AS a WHERE a.pid = worker_pid AND a.backend_start = worker_started)))"
)
_IS_RECENT = (
    "(source_stream = %s AND EXISTS (SELECT FROM {} AS s WHERE s.user_id = work_item.user_id "
    "AND s.device_id = work_item.device_id AND s.ts = work_item.ts "
    "AND s.event_id = work_item.item_id AND s.received_at >= %s))"
)
# Sources by what is known of them without reading their rows: the ledger, the receipts.
_OPEN_DAYS = """
WITH recent AS (
    SELECT DISTINCT day FROM (
        SELECT day FROM am.landing WHERE %(recent)s::bigint IS NOT NULL
        ORDER BY seq DESC LIMIT %(recent)s
    ) AS newest
), source AS (
    -- A line that takes back what came twice is no news.
    SELECT day, sum(stored) AS row_count, max(received_at) FILTER (WHERE stored > 0) AS changed_at
    FROM am.landing WHERE stream = ANY(%(raw)s) AND stored <> 0
        AND (%(recent)s::bigint IS NULL OR day IN (SELECT day FROM recent))
        AND (%(day)s::date IS NULL OR day = %(day)s) GROUP BY day
    UNION ALL
    SELECT day, sum(row_count), max(published_at)
    FROM am.publication WHERE stream = ANY(%(derived)s) AND row_count > 0
        AND (%(recent)s::bigint IS NULL OR day IN (SELECT day FROM recent))
        AND (%(day)s::date IS NULL OR day = %(day)s) GROUP BY day
), wanted AS (
    SELECT day, sum(row_count) AS row_count, max(changed_at) AS changed_at FROM source GROUP BY day
), items AS (
    SELECT day, count(*) AS item_count, max(updated_at) AS moved_at,
        count(*) FILTER (WHERE state = 'blocked') AS blocked_count,
        count(*) FILTER (WHERE state IN ('pending', 'blocked') OR (state = 'running'
            AND NOT EXISTS (SELECT FROM pg_stat_activity AS a
                WHERE a.pid = worker_pid AND a.backend_start = worker_started))) AS open_count
    FROM am.work_item WHERE enrichment = %(name)s AND version = %(version)s
        AND (%(day)s::date IS NULL OR day = %(day)s) GROUP BY day
)
SELECT coalesce(w.day, i.day) AS day, coalesce(i.open_count, 0)::int AS open_count,
    coalesce(i.blocked_count, 0)::int AS blocked_count, greatest(w.changed_at, i.moved_at) AS since
FROM wanted AS w FULL JOIN items AS i ON i.day = w.day
WHERE i.open_count > 0
    OR (%(is_row)s AND w.row_count > coalesce(i.item_count, 0))
    OR (NOT %(is_row)s AND w.changed_at > coalesce(i.moved_at, '-infinity'))
ORDER BY day
"""


def _ordered(settled: Iterable[Settled]) -> list[Settled]:
    # By key: two sessions then never wait for each other's locks.
    return sorted(settled, key=lambda one: _key(one.item))


def _key(item: Claimed) -> tuple[str, UUID]:
    return item.user_id, item.item_id


def _work_day(work: Work, day: date) -> tuple[str, int, date]:
    return work.name, work.version, day


@dataclass(frozen=True)
class _Scope:
    """A condition on `am.work_item` to be added to others, and its values."""

    text: str = ""
    values: tuple[object, ...] = ()


def _scope(work: Work, recent: Recent | None) -> _Scope:
    """Only what is recent. What has no source row any more is backlog."""
    if recent is None:
        return _Scope()
    if work.unit is Unit.HOUR:
        return _Scope(" AND user_id = %s AND ts >= %s", (recent.user_id, recent.first_hour))
    if work.unit is Unit.SEQUENCE:  # its first row may be older than what came last
        return _Scope(" AND user_id = %s AND updated_at >= %s", (recent.user_id, recent.since))
    found = " OR ".join(_IS_RECENT.format(qualified(source)) for source in work.sources)
    values = [value for source in work.sources for value in (source.name, recent.since)]
    return _Scope(f" AND user_id = %s AND ({found})", (recent.user_id, *values))


def _open_days_values(work: Work, recent_lines: int | None) -> dict[str, Any]:
    return {
        "name": work.name,
        "version": work.version,
        "raw": [source.name for source in work.sources if not source.is_derived],
        "derived": [source.name for source in work.sources if source.is_derived],
        "is_row": work.unit is not Unit.HOUR,
        "recent": recent_lines,
    }


def _insert(output: Stream) -> sql.Composed:
    names = [column.name for column in columns(output) if column.name != "received_at"]
    return sql.SQL("INSERT INTO {} ({}, received_at) VALUES ({}, now())").format(
        table_of(output),
        sql.SQL(", ").join(map(sql.Identifier, names)),
        sql.SQL(", ").join(map(sql.Placeholder, names)),
    )


def _row(output: Stream, row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        column.name: _stored(row.get(column.name), column.type)
        for column in columns(output)
        if column.name != "received_at"
    }


def _stored(value: Any, kind: ColumnType) -> Any:
    return Json(value) if kind is ColumnType.JSON and value is not None else value
