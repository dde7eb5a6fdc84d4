"""Removing the blobs that may go, and holds, which keep them from it.

A blob goes in three steps, each of which may be the last before a crash: its line in `am.blob`
becomes one in `am.blob_removed`, its bytes go, that is noted. Rows go on naming it.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from uuid import UUID

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from am_assets.streams.registry import Registry
from am_assets.streams.stream import Stream
from resources.advisory_locks import locked
from resources.blob_candidates import Shelf, days_and_shelves
from resources.blob_plan import BlobRules, Candidate, Hold, Plan, is_held, make_plan
from resources.blobs import BlobStore
from resources.growth import used_bytes
from resources.hot import RowReader, table_of
from resources.removals import removing
from resources.work_items import Work

BATCH = 200  # blobs that are decided on, and gone, before the next are
LOCK_NUMBER = 0x616D5F626C6F6273  # of the one who removes

log = logging.getLogger(__name__)

_COLUMNS = 'hold_id, user_id, stream, begin_at AS begin, end_at AS "end", reason'
_LIVE = f"SELECT {_COLUMNS} FROM am.legal_hold WHERE released_at IS NULL"
_DECIDE = """
WITH gone AS (
    DELETE FROM am.blob AS b USING unnest(%(users)s::text[], %(keys)s::text[]) AS told (u, k)
    WHERE b.user_id = told.u AND b.blob_key = told.k AND b.stored_at <= %(planned)s
    RETURNING b.*
)
INSERT INTO am.blob_removed AS known (user_id, blob_key, sha256, byte_count, media_type, stored_at,
    stream, begin_at, end_at, reason, kept_key, decided_at)
SELECT gone.user_id, gone.blob_key, sha256, byte_count, media_type, stored_at, stream, begin_at,
    end_at, reason, kept_key, %(planned)s
FROM gone JOIN unnest(%(users)s::text[], %(keys)s::text[], %(streams)s::text[],
    %(begins)s::timestamptz[], %(ends)s::timestamptz[], %(reasons)s::text[], %(kept)s::text[])
    AS told (user_id, blob_key, stream, begin_at, end_at, reason, kept_key)
    USING (user_id, blob_key)
ON CONFLICT (user_id, blob_key) DO UPDATE SET reason = excluded.reason, removed_at = NULL,
    kept_key = excluded.kept_key, decided_at = excluded.decided_at, stored_at = excluded.stored_at,
    begin_at = excluded.begin_at, end_at = excluded.end_at
"""
_OPEN = """
SELECT user_id, blob_key, stream, begin_at, end_at FROM am.blob_removed WHERE removed_at IS NULL
ORDER BY decided_at, user_id, blob_key LIMIT %s FOR UPDATE
"""
_REINSTATE = """
WITH back AS (DELETE FROM am.blob_removed WHERE (user_id, blob_key)
    IN (SELECT * FROM unnest(%s::text[], %s::text[])) RETURNING *)
INSERT INTO am.blob (user_id, sha256, blob_key, byte_count, media_type, stored_at, is_sealed)
SELECT user_id, sha256, blob_key, byte_count, media_type, stored_at, false FROM back
ON CONFLICT DO NOTHING
"""
_THESE = "WHERE (user_id, blob_key) IN (SELECT * FROM unnest(%s::text[], %s::text[]))"
_GONE = (
    f"UPDATE am.blob_removed SET removed_at = now() {_THESE}",
    f"DELETE FROM am.blob {_THESE}",
    f"DELETE FROM am.blob_look {_THESE}",
)

Key = tuple[str, str]


@dataclass(frozen=True)
class RemovedBlob:
    """What is known of a blob that is no more, or is about to go (`removed_at` None)."""

    blob_key: str
    sha256: str
    byte_count: int
    reason: str
    kept_key: str | None
    decided_at: datetime
    removed_at: datetime | None

    @property
    def told(self) -> str:
        """When and why, for a person."""
        at = (self.removed_at or self.decided_at).astimezone(UTC)
        return f"the blob {self.blob_key!r} was removed on {at:%Y-%m-%d}: {self.reason}"


@dataclass(frozen=True)
class Pruned:
    """What was done: the plan, and how many blobs went (also those of a run that had broken off).

    `kept_count`: planned, but held, sent again or named by a new row in the meantime.
    """

    plan: Plan
    removed_count: int
    removed_bytes: int
    kept_count: int


def add_hold(
    connection: psycopg.Connection,
    *,
    user_id: str,
    reason: str,
    stream: str | None = None,
    begin: datetime | None = None,
    end: datetime | None = None,
) -> UUID:
    """Hold one user's data, of a stream (None = all), from `begin` until before `end`.

    Where blobs are being removed at this moment, it waits; once it has returned, none under it is.
    Raises: psycopg.errors.CheckViolation for no reason, or an end that is not after the begin.
    """
    row = connection.execute(
        "INSERT INTO am.legal_hold (user_id, stream, begin_at, end_at, reason) "
        "VALUES (%s, %s, %s, %s, %s) RETURNING hold_id",
        (user_id, stream, begin, end, reason),
    ).fetchone()
    assert row is not None
    hold_id: UUID = row[0]
    return hold_id


def release_hold(connection: psycopg.Connection, hold_id: UUID) -> bool:
    """Let go of a hold; whether there was such a one."""
    cursor = connection.execute(
        "UPDATE am.legal_hold SET released_at = now() WHERE hold_id = %s AND released_at IS NULL",
        (hold_id,),
    )
    return cursor.rowcount > 0


def live_holds(connection: psycopg.Connection) -> list[Hold]:
    """All holds of all users."""
    cursor = connection.cursor(row_factory=class_row(Hold))
    return cursor.execute(f"{_LIVE} ORDER BY created_at, hold_id").fetchall()


def holds(
    connection: psycopg.Connection,
    user_id: str,
    begin: datetime | None = None,
    end: datetime | None = None,
) -> Sequence[Hold]:
    """One user's holds on anything from `begin` until before `end`; None = without limit."""
    cursor = connection.cursor(row_factory=class_row(Hold))
    return cursor.execute(
        f"{_LIVE} AND user_id = %(user)s "
        "AND (end_at IS NULL OR %(begin)s::timestamptz IS NULL OR end_at > %(begin)s) "
        "AND (begin_at IS NULL OR %(end)s::timestamptz IS NULL OR begin_at < %(end)s) "
        "ORDER BY created_at, hold_id",
        {"user": user_id, "begin": begin, "end": end},
    ).fetchall()


def keep_holds_as_they_are(connection: psycopg.Connection) -> None:
    """Until the transaction ends nobody adds a hold or lets go of one."""
    connection.execute("LOCK TABLE am.legal_hold IN SHARE MODE")


def removed_blob(connection: psycopg.Connection, user_id: str, blob_key: str) -> RemovedBlob | None:
    """When and why a user's blob was removed; None = it was not."""
    cursor = connection.cursor(row_factory=class_row(RemovedBlob))
    return cursor.execute(
        "SELECT blob_key, sha256, byte_count, reason, kept_key, decided_at, removed_at "
        "FROM am.blob_removed WHERE user_id = %s AND blob_key = %s",
        (user_id, blob_key),
    ).fetchone()


class BlobRetention:
    """What goes, and its removal. Nothing is connected before something is asked."""

    def __init__(
        self,
        database_url: str,
        blobs: BlobStore,
        rows: RowReader,
        *,
        registry: Registry,
        readers: Sequence[Work],
        rules: BlobRules,
    ) -> None:
        """`readers`: the enrichments that read blobs; none is removed before they are done with it.

        Raises: ValueError for a rule about a stream in which nothing is looked for.
        """
        self._url = database_url
        self._blobs = blobs
        self._rows = rows
        self._registry = registry
        self._readers = readers
        self._rules = rules
        for name in rules.keep:
            if not (blob := registry[name].blob) or blob.found_in is None:
                raise ValueError(f"blobs of {name} stay for ever: nothing is looked for in them")

    def plan(self, *, now: datetime) -> Plan:
        """What would go now. Changes nothing, but for remembering how pictures look."""
        with psycopg.connect(self._url, autocommit=True) as connection:
            return self._plan(connection, now)

    def prune(self, *, now: datetime) -> Pruned:
        """Remove what is to go; one at a time over all processes. Doing it again changes nothing.

        Raises: psycopg.Error, resources.blobs.BlobUnreachableError; what was decided by then goes
        at the next call.
        """
        with self._turn() as connection:
            removed = self._finish_all(connection)
            planned_at = _clock(connection)
            plan = self._plan(connection, now)
            waiting = iter(plan.removals)
            while batch := list(islice(waiting, BATCH)):
                self._decide(connection, batch, planned_at)
                removed += self._finish_all(connection)
        gone = {key for key in removed if key in {one.key for one in plan.removals}}
        log.info("%d blobs removed, %d bytes too many", len(removed), plan.over_bytes)
        return Pruned(
            plan=plan,
            removed_count=len(removed),
            removed_bytes=sum(one.byte_count for one in plan.removals if one.key in gone),
            kept_count=len(plan.removals) - len(gone),
        )

    def _plan(self, connection: psycopg.Connection, now: datetime) -> Plan:
        holds, used = live_holds(connection), used_bytes(connection)

        def planned(candidates: Iterable[Candidate]) -> Plan:
            return make_plan(
                candidates,
                holds=holds,
                now=now,
                used_bytes=used,
                budget_bytes=self._rules.budget_bytes,
            )

        found = list(self._without_finding(connection))
        plan = planned(one for one in found if one.due_at is not None and one.due_at <= now)
        if plan.over_bytes:
            found += self._near_duplicates(connection, holds, enough_bytes=plan.over_bytes)
        return planned(found)

    def _without_finding(self, connection: psycopg.Connection) -> Iterator[Candidate]:
        keeps = {
            stream.name: self._rules.keep.get(stream.name, stream.blob.keep_without_finding)
            for stream in self._registry.raw
            if stream.blob and stream.blob.found_in
        }
        kept = {name: keep for name, keep in keeps.items() if keep is not None}
        shelves = [self._shelf(connection, self._registry[name]) for name in kept]
        for day, shelf in days_and_shelves(shelves):
            yield from shelf.without_finding(day, keep=kept[shelf.stream.name])

    def _near_duplicates(
        self, connection: psycopg.Connection, holds: Sequence[Hold], *, enough_bytes: int
    ) -> list[Candidate]:
        """Of so many days, from the oldest on, as it takes to free so many bytes."""
        found: list[Candidate] = []
        repetitive = [s for s in self._registry.raw if s.blob and s.blob.is_repetitive]
        shelves = [self._shelf(connection, stream) for stream in repetitive]
        for day, shelf in days_and_shelves(shelves):
            if enough_bytes <= 0:
                break
            here = shelf.near_duplicates(day, self._blobs)
            enough_bytes -= sum(one.byte_count for one in here if not is_held(one, holds))
            found += here
        return found

    def _shelf(self, connection: psycopg.Connection, stream: Stream) -> Shelf:
        readers = [
            work
            for work in self._readers
            if stream.name in {source.name for source in work.sources}
        ]
        return Shelf(connection, stream, self._rows, readers)

    def _decide(
        self, connection: psycopg.Connection, batch: Sequence[Candidate], planned_at: datetime
    ) -> None:
        """Turn the lines of what may still go into those of what has gone."""
        with connection.transaction():
            keep_holds_as_they_are(connection)
            holds = live_holds(connection)
            named = self._named_since(connection, batch, planned_at)
            going = [one for one in batch if not is_held(one, holds) and one.key not in named]
            connection.execute(_DECIDE, {**_columns(going), "planned": planned_at})

    def _named_since(
        self, connection: psycopg.Connection, batch: Sequence[Candidate], planned_at: datetime
    ) -> set[Key]:
        """Those that a row names which nobody had seen when the plan was made."""
        found: set[Key] = set()
        for name in {one.stream for one in batch}:
            mine = [one for one in batch if one.stream == name]
            query = sql.SQL(
                "SELECT user_id, blob_key FROM {} WHERE blob_key = ANY(%s) "
                "AND ts >= %s AND ts < %s AND received_at >= %s"
            ).format(table_of(self._registry[name]))
            begin = min(one.begin for one in mine) - timedelta(days=1)
            end = max(one.begin for one in mine) + timedelta(days=1)
            keys = [one.blob_key for one in mine]
            found |= set(connection.execute(query, (keys, begin, end, planned_at)).fetchall())
        return found

    def _finish_all(self, connection: psycopg.Connection) -> list[Key]:
        removed: list[Key] = []
        while (gone := self._finish(connection)) is not None:
            removed += gone
        return removed

    def _finish(self, connection: psycopg.Connection) -> list[Key] | None:
        """Make the bytes of some decided ones go; None = none is left.

        One that has come under a hold since, or was sent again, stays.
        """
        with connection.transaction():
            keep_holds_as_they_are(connection)
            holds = live_holds(connection)
            lines = connection.execute(_OPEN, (BATCH,)).fetchall()
            if not lines:
                return None
            again = _stored(connection, [(user, key) for user, key, *_ in lines])
            held = {(user, key) for user, key, *span in lines if _is_covered(holds, user, *span)}
            absent = self._blobs.absent(key for _, key in held | again)
            back = {key for key in held | again if key[1] not in absent}
            gone = [(user, key) for user, key, *_ in lines if (user, key) not in back]
            self._blobs.remove_all(key for _, key in gone)
            connection.execute(_REINSTATE, _lists(sorted(back)))
            for statement in _GONE:
                connection.execute(statement.encode(), _lists(gone))
        return gone

    @contextmanager
    def _turn(self) -> Iterator[psycopg.Connection]:
        with (
            removing(self._url),  # no backup or export is copying them
            locked(self._url, LOCK_NUMBER) as connection,
        ):
            yield connection


def _is_covered(
    holds: Iterable[Hold], user_id: str, stream: str, begin: datetime, end: datetime
) -> bool:
    return any(hold.covers(user_id, stream, begin, end) for hold in holds)


def _columns(going: Sequence[Candidate]) -> Mapping[str, list[object]]:
    wanted: Mapping[str, Callable[[Candidate], object]] = {
        "users": lambda one: one.user_id,
        "keys": lambda one: one.blob_key,
        "streams": lambda one: one.stream,
        "begins": lambda one: one.begin,
        "ends": lambda one: one.end,
        "reasons": lambda one: one.reason,
        "kept": lambda one: one.kept_key,
    }
    return {name: [value(one) for one in going] for name, value in wanted.items()}


def _stored(connection: psycopg.Connection, keys: Sequence[Key]) -> set[Key]:
    query = f"SELECT user_id, blob_key FROM am.blob {_THESE}"
    return set(connection.execute(query.encode(), _lists(keys)).fetchall())


def _clock(connection: psycopg.Connection) -> datetime:
    row = connection.execute("SELECT clock_timestamp()").fetchone()
    assert row is not None
    at: datetime = row[0]
    return at


def _lists(keys: Sequence[Key]) -> tuple[list[str], list[str]]:
    return [user for user, _ in keys], [key for _, key in keys]
