"""Erasure: what one user's data of a span is in every tier, and how it goes, for good.

`Erasures.plan` only counts. `begin` notes what is asked; `run` does it step by step, each of which
can be done again, so that a crash costs a repetition; `finish` gives a receipt to be signed. What
arrives while it runs is new data and stays, but for a row in a table that was not reached yet.

ErasureError
├── HeldError        a legal hold forbids it
├── BusyError        somebody has been reading for long, so that old pages can't go
└── UnfinishedError  another erasure of this user was asked for and has not ended
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb

from am_assets.streams.registry import Registry
from am_assets.streams.stream import Stream
from resources.blob_retention import holds
from resources.blobs import BlobStore
from resources.connections import Connections
from resources.erasure_blobs import BlobErasure
from resources.erasure_lake import LakeErasure, VectorErasure
from resources.erasure_letters import letters_of
from resources.erasure_rows import (
    EDGE,
    Scope,
    count_records,
    count_rows,
    note,
    note_sources,
    note_table,
    noted,
    remove_derived,
    remove_items,
    remove_records,
    remove_rows,
)
from resources.hot import DAY, Span
from resources.keys import KeyRing
from resources.lake import left_days
from resources.removals import removing
from resources.retention import Retention
from resources.rollups import Rollups

VERSION = 1  # of the receipt's form
MOMENT = timedelta(microseconds=1)
Counts = dict[str, int]
Report = Callable[[str], None]


class ErasureError(Exception):
    """An erasure that is not done; the message says what to do."""


class HeldError(ErasureError):
    """Something of it is under a legal hold."""


class UnfinishedError(ErasureError):
    """Another erasure of this user has to end first."""


@dataclass(frozen=True)
class Plan:
    """What there is of a span, by tier and there by stream or table; nothing is not named."""

    scope: Scope
    rows: Counts
    lake: Counts
    digests: int
    vectors: Counts
    blobs: int
    blob_bytes: int
    records: Counts

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing of it."""
        return not (
            self.rows or self.lake or self.digests or self.vectors or self.blobs or self.records
        )


@dataclass(frozen=True)
class Asked:
    """An erasure as it was asked for. `counts` by tier, as far as it has come."""

    erasure_id: UUID
    scope: Scope
    asked_at: datetime
    done: tuple[str, ...] = ()
    counts: Mapping[str, Counts] = field(default_factory=dict)


class Erasures:
    """All erasures of one set of stores."""

    def __init__(self, connections: Connections, registry: Registry) -> None:
        """Connects to nothing yet."""
        self._connections = connections
        self._registry = registry
        self._retention = Retention(connections, registry)
        self._rollups = Rollups(connections)
        self._lake = LakeErasure(connections, self._retention)
        self._vectors = VectorErasure(connections)
        self._store = BlobStore(connections)
        self._blobs = BlobErasure(connections, registry, blobs=self._store, lake=self._lake)

    def plan(self, scope: Scope) -> Plan:
        """Count what there is; nothing is changed. Raises: HeldError, psycopg.Error."""
        with self._connected() as connection:
            _refuse_held(connection, scope)
            rows = count_rows(connection, self._registry.values(), scope)
            blobs = self._blobs.count(connection, scope)
            letters = letters_of(connection, self._store, scope)
            records = count_records(connection, scope, letters)
            published = self._published(connection, scope)
        lake = {one.name: self._lake.count(one, scope) for one in published}
        return Plan(
            scope=scope,
            rows=rows,
            lake={name: count for name, count in lake.items() if count},
            digests=self._lake.count_digests(scope),
            vectors=self._vectors.count(scope),
            blobs=blobs.object_count,
            blob_bytes=blobs.byte_count,
            records=records,
        )

    def begin(self, scope: Scope) -> Asked:
        """Note what is asked; an unfinished erasure of the same span goes on instead.

        Raises: HeldError, UnfinishedError, psycopg.Error.
        """
        with self._connected() as connection:
            _refuse_held(connection, scope)
            if found := self._unfinished(connection, scope.user_id):
                if found.scope != scope:
                    raise UnfinishedError(_told_unfinished(found.scope))
                return found
            row = connection.execute(
                "INSERT INTO am.erasure (user_id, begin_ts, end_ts) VALUES (%s, %s, %s) "
                "RETURNING erasure_id, asked_at",
                (scope.user_id, scope.begin, scope.end),
            ).fetchone()
            assert row is not None
            if scope.is_whole:  # nothing more arrives
                connection.execute(
                    "UPDATE am.api_token SET revoked_at = now() "
                    "WHERE user_id = %s AND revoked_at IS NULL",
                    (scope.user_id,),
                )
            return Asked(row[0], scope, row[1])

    def run(self, asked: Asked, report: Report) -> Asked:
        """Do every step that is not done yet, and tell of each.

        Raises: ErasureError, psycopg.Error, BlobError, DeltaError; begin it again to go on.
        """
        steps: Mapping[str, Callable[[Asked], None]] = {
            "reopened days": self._reopen,
            "rows": self._remove_raw,
            "derived rows": self._remove_derived,
            "lake": self._remove_lake,
            "digests": self._remove_digests,
            "vectors": self._remove_vectors,
            "roll-ups": self._remove_rollups,
            "records": self._remove_records,
            "blobs": self._remove_blobs,
            "keys": self._remove_keys,
        }
        for name, step in steps.items():
            if name not in asked.done:
                report(name)
                step(asked)
                self._note_done(asked.erasure_id, name)
        with self._connected() as connection:
            found = self._unfinished(connection, asked.scope.user_id)
        assert found is not None
        return found

    def touched(self, asked: Asked) -> list[str]:
        """Tables that have pages with what was deleted, by their names."""
        with self._connected() as connection:
            named = {name for name, _, _ in noted(connection, asked.erasure_id, "table")}
        return sorted({*named, "am.erasure_todo"})

    def finish(
        self, asked: Asked, *, storage: Mapping[str, Any], sign: Callable[[bytes], str]
    ) -> dict[str, Any]:
        """Count what is left, and note a signed receipt. `storage`: what was done to files.

        Returns `{"receipt", "signature"}`.
        """
        left = self.plan(asked.scope)
        receipt = {
            "version": VERSION,
            "erasure_id": str(asked.erasure_id),
            "user_id": asked.scope.user_id,
            "from": _told(asked.scope.begin),
            "to": _told(asked.scope.end),
            "asked_at": _told(asked.asked_at),
            "finished_at": _told(datetime.now(UTC)),
            "erased": {tier: dict(counts) for tier, counts in sorted(asked.counts.items())},
            "left": {k: v for k, v in asdict(left).items() if k != "scope" and v},
            "storage": dict(storage),
        }
        signed = {"receipt": receipt, "signature": sign(signed_bytes(receipt))}
        with self._connected() as connection:
            connection.execute(
                "DELETE FROM am.erasure_todo WHERE erasure_id = %s", (asked.erasure_id,)
            )
            connection.execute(
                "UPDATE am.erasure SET finished_at = clock_timestamp(), receipt = %s "
                "WHERE erasure_id = %s",
                (Jsonb(signed), asked.erasure_id),
            )
        return signed

    def _reopen(self, asked: Asked) -> None:
        """Days that are cut by the span come back, so that all that is made of them is made anew.

        Of derived streams also the days beside it: what was made of the span may lie there.
        """
        for stream in self._registry.values():
            for day in sorted(_edge_days(asked.scope, stream)):
                span = Span.of_day(day)
                if self._has_left(stream, day) and self._lake.count(
                    stream, Scope(asked.scope.user_id, span.begin, span.end)
                ):
                    self._retention.reopen(stream, day)
                    with self._connected() as connection:
                        note(connection, asked.erasure_id, "day", stream.name, detail=str(day))

    def _remove_raw(self, asked: Asked) -> None:
        with self._connected() as connection:
            note_sources(connection, asked.scope, asked.erasure_id)
            for stream in self._registry.raw:
                remove_rows(connection, stream, asked.scope, asked.erasure_id)

    def _remove_derived(self, asked: Asked) -> None:
        """Items before and after: a worker writes what it has in hand, or finds its item gone."""
        with self._connected() as connection:
            remove_items(connection, asked.scope, asked.erasure_id)
            remove_derived(connection, self._registry.derived, asked.scope, asked.erasure_id)
            remove_items(connection, asked.scope, asked.erasure_id)

    def _remove_records(self, asked: Asked) -> None:
        with self._connected() as connection:
            letters = letters_of(connection, self._store, asked.scope)
            remove_records(connection, asked.scope, asked.erasure_id, letters=letters)

    def _remove_lake(self, asked: Asked) -> None:
        with self._connected() as connection:
            published = self._published(connection, asked.scope)
            for stream in published:  # rows may have left the database, and their bytes not
                note_table(connection, asked.erasure_id, f"am.{stream.table}")
        for stream in published:
            found = self._lake.note_left(stream, asked.scope, asked.erasure_id)
            self._tally(asked, "lake", {stream.name: found})
            with removing(self._connections.database_url):
                self._lake.remove(stream, asked.scope, asked.erasure_id)

    def _remove_digests(self, asked: Asked) -> None:
        with removing(self._connections.database_url):
            self._tally(asked, "digests", {"days": self._lake.remove_digests(asked.scope)})

    def _remove_vectors(self, asked: Asked) -> None:
        with self._connected() as connection:
            sources = [name for name, _, _ in noted(connection, asked.erasure_id, "source")]
        with removing(self._connections.database_url):
            self._tally(asked, "vectors", self._vectors.remove(asked.scope, sources))

    def _remove_rollups(self, asked: Asked) -> None:
        """Buckets that the span cuts come back from the rows that stay."""
        scope, counts = asked.scope, {}
        values = scope.values()
        span = Span(values["begin"], values["end"], user_id=scope.user_id)
        for stream in self._registry.values():
            if forgotten := self._rollups.forget(stream, span):
                counts[stream.name] = forgotten
                for day in scope.cut_days():
                    self._rollups.refresh(stream, day)
        self._tally(asked, "roll-ups", counts)
        with self._connected() as connection:
            for name in counts:
                for level in ("minute", "hour", "day"):
                    table = f"am.{self._registry[name].table}_per_{level}"
                    note_table(connection, asked.erasure_id, table)

    def _remove_blobs(self, asked: Asked) -> None:
        removed = self._blobs.remove(asked.scope, asked.erasure_id)
        told = {"objects": removed.object_count, "bytes": removed.byte_count}
        self._tally(asked, "blobs", told)

    def _remove_keys(self, asked: Asked) -> None:
        """With the whole user: whatever copy of a blob there may be, nobody can open it."""
        if asked.scope.is_whole:
            KeyRing(self._connections).destroy(asked.scope.user_id)
            self._tally(asked, "keys", {"destroyed": 1})

    def _published(self, connection: psycopg.Connection, scope: Scope) -> list[Stream]:
        """Streams whose tables in the lake may have something of the span, now or in the past."""
        rows = connection.execute(
            "SELECT DISTINCT stream FROM am.publication WHERE day BETWEEN %(first)s AND %(last)s",
            _widened(scope),
        )
        names = {name for (name,) in rows}
        return [stream for stream in self._registry.values() if stream.name in names]

    def _has_left(self, stream: Stream, day: date) -> bool:
        with self._connected() as connection:
            return bool(left_days(connection, [stream], begin=day, end=day))

    def _tally(self, asked: Asked, tier: str, counts: Mapping[str, int]) -> None:
        """Note counts that a step found first; when it is done again, it finds less."""
        with self._connected() as connection:
            for name, count in counts.items():
                if count:
                    note(connection, asked.erasure_id, "count", tier, detail=name, row_count=count)

    def _note_done(self, erasure_id: UUID, name: str) -> None:
        with self._connected() as connection:
            connection.execute(
                "UPDATE am.erasure SET steps = steps || %s WHERE erasure_id = %s",
                (Jsonb({name: datetime.now(UTC).isoformat()}), erasure_id),
            )

    def _unfinished(self, connection: psycopg.Connection, user_id: str) -> Asked | None:
        row = connection.execute(
            "SELECT erasure_id, begin_ts, end_ts, asked_at, steps FROM am.erasure "
            "WHERE user_id = %s AND finished_at IS NULL",
            (user_id,),
        ).fetchone()
        if row is None:
            return None
        counts: dict[str, Counts] = {}
        for tier, name, count in noted(connection, row[0], "count"):
            counts.setdefault(tier, {})[name] = count
        return Asked(row[0], Scope(user_id, row[1], row[2]), row[3], tuple(row[4]), counts)

    def _connected(self) -> psycopg.Connection:
        return psycopg.connect(self._connections.database_url, autocommit=True)


def signed_bytes(receipt: Mapping[str, Any]) -> bytes:
    """What of a receipt is signed: its JSON in one form."""
    return json.dumps(receipt, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def _edge_days(scope: Scope, stream: Stream) -> set[date]:
    if not stream.is_derived:
        return set(scope.cut_days())
    begins = () if scope.begin is None else (scope.begin - EDGE, scope.begin)
    ends = () if scope.end is None else (scope.end - MOMENT, scope.end, scope.end + EDGE)
    return {at.astimezone(UTC).date() for at in (*begins, *ends)}


def _widened(scope: Scope) -> dict[str, date]:
    """Derived rows may lie a day beside what they were made of."""
    first, last = scope.first_day, scope.last_day
    return {
        "first": first - DAY if first else date.min,
        "last": last + DAY if last else date.max,
    }


def _refuse_held(connection: psycopg.Connection, scope: Scope) -> None:
    found = holds(connection, scope.user_id, scope.begin, scope.end)
    if found:
        told = "; ".join(f"{one.hold_id} ({one.reason})" for one in found)
        raise HeldError(
            f"nothing of {scope.user_id} was erased: a legal hold is on it, {told}. "
            "See `am hold list`; let go of it first if it may go."
        )


def unfinished(connection: psycopg.Connection) -> list[Scope]:
    """Of all users: what was asked to be erased and is not yet, the earliest first."""
    rows = connection.execute(
        "SELECT user_id, begin_ts, end_ts FROM am.erasure WHERE finished_at IS NULL "
        "ORDER BY asked_at"
    ).fetchall()
    return [Scope(*row) for row in rows]


def command_of(scope: Scope) -> str:
    """What begins an erasure of it, or goes on with one."""
    span = "".join(
        f" --{name} {_told(edge)}"
        for name, edge in (("from", scope.begin), ("to", scope.end))
        if edge is not None
    )
    return f"am erase --user {scope.user_id}{span}"


def _told_unfinished(scope: Scope) -> str:
    return (
        f"an earlier erasure of {scope.user_id} has not ended: run "
        f"`{command_of(scope)}` first, which goes on with it"
    )


def _told(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).isoformat()
