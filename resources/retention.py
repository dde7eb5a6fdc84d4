"""Retention: a day leaves the hot store when the lake has it, read back and compared; never before.

What comes late for such a day brings it back first (`Lake.reopen`), so that both are merged; then
it is published, and leaves again another night. See the decision page 0014.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, timedelta
from math import ceil

import psycopg
from deltalake.exceptions import DeltaError
from psycopg import sql
from psycopg.errors import DeadlockDetected, LockNotAvailable, SerializationFailure
from psycopg.rows import class_row

from am_assets.streams.registry import Registry
from am_assets.streams.stream import Stream
from resources.connections import Connections
from resources.hot import DAY, Fingerprint, Snapshot, Span, connect, fingerprint, names_of, table_of
from resources.lake import RUNLESS, STALE, Lake, Receipt, ReceiptError, receipt
from resources.rollups import Rollups
from resources.staged import Staged

ATTEMPTS = 3  # a day of which rows come at the very moment is published again
# Less than the second after which the database looks for deadlocks: this side is the one to yield.
PATIENCE = "500ms"


class RetentionError(Exception):
    """A day that stays in the hot store, and why.

    RetentionError
    ├── HeldError       something is still to be made of its rows
    ├── UnknownError    its table has a column with content that no declaration names
    └── UnsettledError  its rows change all the time, or others have locked them
    """


class HeldError(RetentionError):
    """Enrichments have open items of that day, or of a day beside it."""


class UnknownError(RetentionError):
    """The lake lacks a column that the table has."""


class UnsettledError(RetentionError):
    """It did not stay as it was published for long enough; trying again later is safe."""


class _MovedError(Exception):
    """The hot rows are not those that were published just before."""


@dataclass(frozen=True)
class Candidate:
    """A day in the hot store that is older than its stream keeps there.

    `held_by` says why it stays for now; None = it is due.
    """

    stream: str
    day: date
    row_count: int
    held_by: str | None = None


@dataclass(frozen=True)
class Left:
    """A day that has left. `row_count` 0 = it had before. `delta_version` is where it was found."""

    stream: str
    day: date
    row_count: int
    delta_version: int


@dataclass(frozen=True)
class Departures:
    """What a night did. `waiting` and `failed` say why, by stream and day."""

    left: tuple[Left, ...]
    waiting: Mapping[tuple[str, date], str]
    failed: Mapping[tuple[str, date], str]


_OPEN = "('pending', 'running', 'blocked')"
# Items of an older version are nobody's work any more.
_OPEN_ITEMS = f"""
SELECT w.enrichment, w.source_stream, w.day, w.state FROM am.work_item AS w WHERE w.state IN {_OPEN}
    AND w.version = (SELECT max(v.version) FROM am.work_item AS v WHERE v.enrichment = w.enrichment)
"""
_CANDIDATES = f"""
WITH old AS (
    SELECT p.stream, p.day, p.row_count, p.checksum, s.table_name, s.is_derived
    FROM am.publication AS p JOIN unnest(
        %(names)s::text[], %(tables)s::text[], %(derived)s::boolean[], %(kept)s::date[]
    ) AS s (stream, table_name, is_derived, kept_from) ON s.stream = p.stream
    WHERE p.left_hot_at IS NULL AND p.row_count > 0 AND p.day < s.kept_from
), open AS ({_OPEN_ITEMS}), told AS (
    SELECT stream, day, sum(stored) AS stored FROM am.landing
    WHERE (stream, day) IN (SELECT stream, day FROM old WHERE NOT is_derived) GROUP BY stream, day
)
SELECT old.stream, old.day, old.row_count, CASE
    WHEN old.checksum = '{STALE}' OR NOT is_derived AND coalesce(told.stored, 0) <> old.row_count
        THEN 'the lake is behind'
    ELSE (SELECT string_agg(DISTINCT format('%%s (%%s)', open.enrichment, open.state), ', ')
        FROM open WHERE open.day BETWEEN old.day - 1 AND old.day + 1
            AND (open.source_stream = old.stream OR open.enrichment = old.table_name))
END AS held_by
FROM old LEFT JOIN told ON told.stream = old.stream AND told.day = old.day
ORDER BY old.day, old.stream
"""
_HOLDERS = f"""
SELECT DISTINCT enrichment FROM ({_OPEN_ITEMS}) AS open
WHERE day BETWEEN %(day)s::date - 1 AND %(day)s::date + 1
    AND (source_stream = %(stream)s OR enrichment = %(table)s) ORDER BY 1
"""
_STRANGERS = """
SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0
    AND NOT attisdropped AND NOT attname = ANY(%s) ORDER BY attname
"""


@dataclass(frozen=True)
class Retention:
    """Who moves days out of the hot store, and back. `keep_at_least` overrules shorter keeping."""

    connections: Connections
    registry: Registry
    keep_at_least: timedelta = timedelta(0)

    def candidates(self, today: date) -> list[Candidate]:
        """All days past their keeping that are in the hot store, oldest first."""
        streams = list(self.registry.values())
        values = {
            "names": [stream.name for stream in streams],
            "tables": [stream.table for stream in streams],
            "derived": [stream.is_derived for stream in streams],
            "kept": [self.kept_from(stream, today) for stream in streams],
        }
        with psycopg.connect(self._url) as connection:
            cursor = connection.cursor(row_factory=class_row(Candidate))
            return cursor.execute(_CANDIDATES.encode(), values).fetchall()

    def due(self, today: date) -> list[tuple[Stream, date]]:
        """The days that may leave now: published as they are, and nothing left to make of them."""
        return [
            (self.registry[one.stream], one.day)
            for one in self.candidates(today)
            if one.held_by is None
        ]

    def kept_from(self, stream: Stream, today: date) -> date:
        """The first UTC day that the hot store keeps of a stream."""
        return today - timedelta(days=ceil(max(stream.keep_hot, self.keep_at_least) / DAY))

    def leave(self, stream: Stream, day: date, *, run_id: str = RUNLESS) -> Left:
        """Publish a day if it is behind, read it back, and delete the hot rows that are the same.

        In one transaction: the comparison, the deletion, and the note that the day has left. A row
        that is committed meanwhile stays, and is late.
        Raises: RetentionError, resources.lake.ReceiptError, psycopg.Error, DeltaError. Nothing has
        left then.
        """
        with self._lake.write_lock(stream):
            for _ in range(ATTEMPTS):
                published = self._lake.publish(stream, day, run_id=run_id)
                if published.has_left:
                    return Left(stream.name, day, 0, published.delta_version)
                # Nothing can make them later; what comes after this publishes the day once more.
                Rollups(self.connections).refresh(stream, day)
                try:
                    return self._take_out(stream, day)
                except (_MovedError, SerializationFailure, LockNotAvailable, DeadlockDetected) as e:
                    reason = e
        raise UnsettledError(f"{stream.name} of {day} does not rest: {reason}") from reason

    def leave_due(self, today: date, *, run_id: str = RUNLESS) -> Departures:
        """Let every day leave that is due; one that can't keeps no other. Raises: psycopg.Error."""
        left: list[Left] = []
        waiting, failed = {}, {}
        for stream, day in self.due(today):
            try:
                left.append(self.leave(stream, day, run_id=run_id))
            except (HeldError, UnsettledError) as error:
                waiting[stream.name, day] = str(error)
            except (RetentionError, ReceiptError, DeltaError, psycopg.Error, OSError) as error:
                failed[stream.name, day] = str(error)
        return Departures(tuple(left), waiting, failed)

    def reopen(self, stream: Stream, day: date, *, run_id: str = RUNLESS) -> int:
        """Bring a day back into the hot store; how many rows came back. See `Lake.reopen`."""
        return self._lake.reopen(stream, day, run_id=run_id)

    def resign(self, stream: Stream, day: date) -> Receipt:
        """Give a day that has left a new true receipt, of what the lake has now.

        For who changed its files on purpose, and knows that what is there is right.
        Raises: RetentionError where the day is in the hot store, psycopg.Error, DeltaError.
        """
        with self._lake.write_lock(stream), self._staged(stream, day) as (staged, version):
            names = names_of(stream)
            found = staged.fingerprint(names)
            signed = staged.connection.execute(
                "UPDATE am.publication SET row_count = %s, checksum = %s, columns = %s, "
                "delta_version = %s, published_at = clock_timestamp() "
                "WHERE stream = %s AND day = %s AND left_hot_at IS NOT NULL",
                (found.row_count, found.checksum, names, version, stream.name, day),
            )
            if not signed.rowcount:
                raise RetentionError(f"{stream.name} of {day} has not left: publish it instead")
            staged.connection.commit()
            written = receipt(staged.connection, stream, day)
            assert written is not None
            return written

    def verify(self, stream: Stream, day: date) -> Receipt:
        """Read a published day back and compare it with its receipt. Returns the receipt.

        Raises: resources.lake.ReceiptError where they differ, or there is none; psycopg.Error,
        DeltaError.
        """
        with self._lake.write_lock(stream), self._staged(stream, day) as (staged, _):
            signed = receipt(staged.connection, stream, day)
            if signed is None or signed.checksum == STALE:
                raise ReceiptError(f"{stream.name} of {day} has no receipt that holds: publish it")
            _check(stream, day, staged, signed)
            return signed

    @property
    def _lake(self) -> Lake:
        return Lake(self.connections)

    @property
    def _url(self) -> str:
        return self.connections.database_url

    @contextmanager
    def _staged(self, stream: Stream, day: date) -> Iterator[tuple[Staged, int]]:
        version = self._lake.version(stream)
        with connect(self._url) as connection:
            yield self._lake.stage(connection, stream, day, version=version), version

    def _take_out(self, stream: Stream, day: date) -> Left:
        with self._staged(stream, day) as (staged, version):
            staged.connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            with staged.connection.transaction():
                signed = _lock(staged.connection, stream, day)
                _refuse_held(staged.connection, stream, day)
                now = self._compare(staged, day, signed)
                _delete(staged.connection, stream, day, now)
                staged.connection.execute(
                    "UPDATE am.publication SET left_hot_at = clock_timestamp(), row_count = %s, "
                    "checksum = %s, columns = %s, delta_version = %s "
                    "WHERE stream = %s AND day = %s",
                    (*(now.row_count, now.checksum), names_of(stream), version, stream.name, day),
                )
            return Left(stream.name, day, now.row_count, version)

    def _compare(self, staged: Staged, day: date, signed: Receipt) -> Fingerprint:
        """What both stores have over all columns. As long as the transaction, nothing else."""
        stream, names = staged.stream, names_of(staged.stream)
        _refuse_strangers(staged.connection, stream, day, names)
        hot = fingerprint(staged.connection, table_of(stream), names, span=Span.of_day(day))
        if hot != staged.fingerprint(names):
            _check(stream, day, staged, signed)
            raise _MovedError("rows came while it was published")
        return hot


def _lock(connection: psycopg.Connection, stream: Stream, day: date) -> Receipt:
    """Wait for who writes, but not for long. The transaction sees what they have committed.

    A row that is new can be told from those that were compared, one that has grown can't: whoever
    would let it grow has to wait.
    """
    connection.execute(f"SET LOCAL lock_timeout = '{PATIENCE}'".encode())
    if stream.grows:
        connection.execute(
            sql.SQL("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE").format(table_of(stream))
        )
    connection.execute(
        "SELECT FROM am.publication WHERE stream = %s AND day = %s FOR UPDATE", (stream.name, day)
    )
    signed = receipt(connection, stream, day)
    if signed is None or signed.checksum == STALE:
        raise _MovedError("its rows were changed after it was published")
    return signed


def _refuse_held(connection: psycopg.Connection, stream: Stream, day: date) -> None:
    values = {"stream": stream.name, "table": stream.table, "day": day}
    holders = [name for (name,) in connection.execute(_HOLDERS.encode(), values)]
    if holders:
        raise HeldError(f"{stream.name} of {day} is still needed by {', '.join(holders)}")


def _refuse_strangers(
    connection: psycopg.Connection, stream: Stream, day: date, names: list[str]
) -> None:
    found = connection.execute(_STRANGERS, (f"am.{stream.table}", names))
    strangers = [name for (name,) in found]
    if strangers and Snapshot(connection).has_any(stream, day, strangers):
        raise UnknownError(
            f"{stream.name} of {day} has something in {', '.join(strangers)}, which is no column "
            "of the stream any more and so not in the lake"
        )


def _check(stream: Stream, day: date, staged: Staged, signed: Receipt) -> None:
    found = staged.fingerprint(signed.columns or names_of(stream))
    if found != signed.fingerprint:
        raise ReceiptError.of(stream, day, found, signed)


def _delete(connection: psycopg.Connection, stream: Stream, day: date, seen: Fingerprint) -> None:
    """The rows that the transaction sees, which are those that were compared."""
    span = Span.of_day(day)
    gone = connection.execute(
        sql.SQL("DELETE FROM {} WHERE ts >= %s AND ts < %s").format(table_of(stream)),
        (span.begin, span.end),
    )
    if gone.rowcount != seen.row_count:
        raise _MovedError(f"{gone.rowcount} rows instead of {seen.row_count} would go")
