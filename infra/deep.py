"""`am doctor --deep`: whether all that AM has said is still so, read back end to end.

Receipts against the rows of the lake, files, the hot store, the ledger; rows against their blobs
and those against their checksums; derived rows and moments against what they were made of. A fault
names stream and day. What can be made whole from elsewhere, `repair` makes whole.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property
from typing import Any

import psycopg
from deltalake.exceptions import DeltaError

from am_assets.derived import moments
from am_assets.derived.catalog import ENRICHMENTS
from am_assets.streams.registry import REGISTRY, Registry
from am_assets.streams.stream import Stream
from resources.blobs import BlobError
from resources.connections import Connections
from resources.duck import DuckError
from resources.lake import Lake, ReceiptError
from resources.lake_check import BACKUP, REPAIR, Fault, LakeCheck, errors
from resources.lake_files import LakeFilesError
from resources.lake_repair import LakeRepair
from resources.ledger import read_ledger
from resources.references import References, lost_items, make_pending
from resources.vector_upkeep import VectorUpkeep
from resources.whole import WholeStore
from resources.work import WorkQueue
from resources.work_items import Unit

PARALLEL = 4
RUN = "am doctor --deep"
# What a store says that does not answer, or not as it should.
UNANSWERED = (
    psycopg.Error,
    OSError,
    BlobError,
    DuckError,
    DeltaError,
    LakeFilesError,
    RuntimeError,  # LanceDB has no class of its own
)
_DEAD_WORK = """
SELECT enrichment, day, count(*) FROM am.work_item WHERE state = 'running' AND NOT EXISTS (
    SELECT FROM pg_stat_activity AS a WHERE a.pid = worker_pid AND a.backend_start = worker_started
) GROUP BY enrichment, day ORDER BY day, enrichment
"""
# Raw days that are in the lake alone: what came for them, and what their receipts say.
_LEFT_SUMS = """
SELECT p.stream, p.day, p.row_count, coalesce(sum(l.stored), 0)::bigint FROM am.publication AS p
LEFT JOIN am.landing AS l ON l.stream = p.stream AND l.day = p.day
WHERE p.left_hot_at IS NOT NULL AND p.stream = ANY(%s) GROUP BY p.stream, p.day, p.row_count
HAVING p.row_count > coalesce(sum(l.stored), 0) ORDER BY p.day, p.stream
"""
_AHEAD = """
SELECT 'publication', stream, day, count(*), max(published_at)::timestamptz(0)::text
FROM am.publication WHERE published_at > clock_timestamp() + %(slack)s::interval GROUP BY 2, 3
UNION ALL
SELECT 'ledger', stream, day, count(*), max(received_at)::timestamptz(0)::text
FROM am.landing WHERE received_at > clock_timestamp() + %(slack)s::interval GROUP BY 2, 3
UNION ALL
SELECT 'work', enrichment, day, count(*), max(updated_at)::timestamptz(0)::text
FROM am.work_item WHERE updated_at > clock_timestamp() + %(slack)s::interval GROUP BY 2, 3
ORDER BY 3, 2
"""
_EARLY = """
SELECT stream, day, sum(stored)::bigint, min(received_at)::date FROM am.landing
WHERE stored > 0 AND day > (received_at AT TIME ZONE 'UTC')::date + 1
GROUP BY stream, day ORDER BY day, stream
"""
SLACK = "1 minute"


@dataclass(frozen=True)
class Examined:
    """What was found, and what was done about it; `faults` are what is so at the end."""

    faults: Sequence[Fault]
    repaired: Sequence[Fault] = ()

    @property
    def is_well(self) -> bool:
        """Whether nothing is wrong any more."""
        return not errors(self.faults)

    def lines(self) -> Iterator[str]:
        """For people."""
        for fault in self.repaired:
            yield f"repaired {_where(fault)}{fault.what}"
        for fault in self.faults:
            yield f"{fault.level:<6} {_where(fault)}{fault.what}\n       → {fault.todo}"
        if self.is_well:
            yield "ok     deep: all that is stored is as it was signed"


@dataclass(frozen=True)
class Deep:
    """The deep examination of one stack."""

    connections: Connections
    registry: Registry = field(default_factory=lambda: REGISTRY, repr=False)
    on_progress: Callable[[str], None] = lambda _: None
    only: Collection[str] = ()  # sections; none = all of them

    @cached_property
    def sections(self) -> Mapping[str, Callable[[], list[Fault]]]:
        """What is looked at, in this order."""
        known = {
            "lake": self.lake_faults,
            "ledger": self.ledger_faults,
            "work": self.work_faults,
            "clock": self.clock_faults,
            "blobs": self.blob_faults,
            "derived": self.derived_faults,
            "moments": self.moment_faults,
        }
        return {name: look for name, look in known.items() if name in (self.only or known)}

    def examine(self) -> Examined:
        """Look at everything. Changes nothing."""
        return Examined([fault for name in self.sections for fault in self._section(name)])

    def repair(self, *, is_reopening: bool = False) -> Examined:
        """Look, make whole what can be, and look again where something was wrong.

        `is_reopening`: rows that the database lost come back out of the lake.
        """
        before = {name: self._section(name) for name in self.sections}
        for name, faults in before.items():
            if errors(faults):
                self._repair(name, errors(faults), is_reopening=is_reopening)
        after = {
            name: self._section(name) if errors(faults) else faults
            for name, faults in before.items()
        }
        left = {fault for faults in after.values() for fault in faults}
        repaired = [f for faults in before.values() for f in errors(faults) if f not in left]
        return Examined([_tried(name, f) for name, fs in after.items() for f in fs], repaired)

    def lake_faults(self) -> list[Fault]:
        """Logs, files and rows of every table, against receipts and the hot store."""
        check = LakeCheck(self._lake)
        with ThreadPoolExecutor(PARALLEL) as pool:
            found = pool.map(check.deep, self.registry.values())
            return [fault for faults in found for fault in faults]

    def ledger_faults(self) -> list[Fault]:
        """Sums that do not add up, by stream and day."""
        with WholeStore(self.connections).snapshot() as reader:
            ledger = read_ledger(reader, self.registry, day=None)
            raw = [stream.name for stream in self.registry.raw]
            left = reader.connection.execute(_LEFT_SUMS, (raw,)).fetchall()
        hot = [
            Fault("ledger", sums.stream, sums.day, _short(line.rows, sums.stored), BACKUP)
            for line in ledger.lines
            if not line.is_adding_up
            for sums in [line.sums]
        ]
        return hot + [
            Fault("ledger", stream, day, _short(rows, stored), "`am ledger --day` shows whose.")
            for stream, day, rows, stored in left
        ]

    def work_faults(self) -> list[Fault]:
        """Work that nobody does any more."""
        what = "{} items were begun by a process that is gone"
        todo = "Nothing: whoever works on that day next takes them up."
        return [
            Fault("work", name, day, what.format(count), todo, level="note")
            for name, day, count in self._rows(_DEAD_WORK)
        ]

    def clock_faults(self) -> list[Fault]:
        """Traces of clocks that jumped: times that have yet to come, rows before their time."""
        ahead = [
            Fault("clock", name, day, f"the {table} has {count} times ahead: {at}", REPAIR)
            for table, name, day, count, at in self._rows(_AHEAD, {"slack": SLACK})
        ]
        todo = "The device's clock was ahead; the rows are kept as they came."
        return ahead + [
            Fault("clock", name, day, f"{count} rows came on {at}, before it", todo, level="note")
            for name, day, count, at in self._rows(_EARLY)
        ]

    def blob_faults(self) -> list[Fault]:
        """Every blob that a row names or the list has: there, and byte for byte what it was."""
        return self._references.blob_faults(is_deep=True)

    def derived_faults(self) -> list[Fault]:
        """Derived rows without the rows that they were made of."""
        return self._references.derived_faults()

    def moment_faults(self) -> list[Fault]:
        """Tables of moments and their indexes; moments without rows and rows without moments."""
        tables = self._vectors.tables()
        found = [fault for table in tables for fault in self._vectors.faults(table)]
        unreadable = {fault.table for fault in found if fault.part == "table"}
        present = self._vectors.sources(sorted(set(tables) - unreadable))
        return [
            *(Fault("moments", None, None, f"{f.table}: {f.what}", REPAIR) for f in found),
            *self._references.moment_faults(present, version=self._moments_version),
        ]

    def _section(self, name: str) -> list[Fault]:
        self.on_progress(name)
        try:
            return self.sections[name]()
        except UNANSWERED as error:
            what = f"could not be looked at to the end: {error}"
            return [Fault(name, None, None, what.strip(), "`am doctor`, `am up`; then again.")]

    def _repair(self, name: str, faults: Sequence[Fault], *, is_reopening: bool) -> None:
        self.on_progress(f"repairing: {name}")
        if name == "lake":
            for stream in self._streams(faults):
                self._repair_table(stream, faults, is_reopening=is_reopening)
        elif name == "clock":
            self._repair_times(faults)
        elif name == "moments":
            self._repair_moments()

    def _repair_table(self, stream: Stream, faults: Sequence[Fault], *, is_reopening: bool) -> None:
        fix, check = LakeRepair(self._lake), LakeCheck(self._lake)
        mine = [fault for fault in faults if fault.stream == stream.name]
        if any(fault.check == "log" for fault in mine):
            fix.mend_log(stream)
            mine = errors(check.deep(stream))
        for day in _days(mine, is_hot=False):
            fix.repair_day(stream, day, run_id=RUN)
        for day in _days(mine, is_hot=True) if is_reopening else ():
            self._bring_back(fix, stream, day)

    def _bring_back(self, fix: LakeRepair, stream: Stream, day: date) -> None:
        try:
            fix.bring_back(stream, day, run_id=RUN)
        except ReceiptError:
            return  # the next look says what is wrong with the lake's day
        self._lake.publish(stream, day, run_id=RUN)

    def _repair_times(self, faults: Sequence[Fault]) -> None:
        """No time is later than now; and what came while times were wrong is looked for."""
        with psycopg.connect(self.connections.database_url) as connection:
            for table, column in _TIMES:
                connection.execute(
                    f"UPDATE am.{table} SET {column} = clock_timestamp() "  # names of ours
                    f"WHERE {column} > clock_timestamp()".encode()
                )
        days = {fault.day for fault in faults if fault.day}
        with WorkQueue(self.connections.database_url).session() as session:
            for enrichment in ENRICHMENTS:
                for day in sorted(days) if enrichment.unit is Unit.HOUR else ():
                    session.enqueue(enrichment, day)

    def _repair_moments(self) -> None:
        vectors = self._vectors
        for table in vectors.tables():
            parts = {fault.part for fault in vectors.faults(table)}
            if "table" in parts:
                vectors.drop(table)
            elif parts:
                vectors.rebuild_indexes(table)
        present = vectors.sources(vectors.tables())
        for (user, stream), events in self._references.orphaned_moments(present).items():
            for table in vectors.tables():
                vectors.remove(table, events, user_id=user, source_stream=stream)
        # Also of rows that are gone: then their items end as such.
        present, version = vectors.sources(vectors.tables()), self._moments_version
        lost = lost_items(self.connections, present, version=version)
        make_pending(self.connections, lost, version=version)

    def _streams(self, faults: Sequence[Fault]) -> Iterator[Stream]:
        names = {fault.stream for fault in faults}
        return (stream for stream in self.registry.values() if stream.name in names)

    def _rows(
        self, query: str, values: Mapping[str, object] | None = None
    ) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.connections.database_url) as connection:
            return connection.execute(query.encode(), values).fetchall()

    @property
    def _lake(self) -> Lake:
        return Lake(self.connections)

    @property
    def _vectors(self) -> VectorUpkeep:
        return VectorUpkeep(self.connections)

    @property
    def _references(self) -> References:
        return References(self.connections, self.registry)

    @property
    def _moments_version(self) -> int:
        return moments.ENRICHMENT.version


_TIMES = (
    ("publication", "published_at"),
    ("landing", "received_at"),
    ("work_item", "updated_at"),
)


def _tried(section: str, fault: Fault) -> Fault:
    """A fault of the lake as it is told after a repair that did not help."""
    is_beyond = section == "lake" and REPAIR in fault.todo
    return replace(fault, todo=BACKUP) if is_beyond else fault


def _where(fault: Fault) -> str:
    return f"{' '.join(str(part) for part in (fault.check, fault.stream, fault.day) if part)}: "


def _days(faults: Sequence[Fault], *, is_hot: bool) -> list[date]:
    return sorted({f.day for f in faults if f.day and (f.check == "hot") == is_hot})


def _short(rows: int | None, stored: int) -> str:
    return f"the ledger has {stored} stored rows, there are {rows}"
