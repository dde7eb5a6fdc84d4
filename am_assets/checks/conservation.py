"""Whether anything got lost between the ledger, the hot store and the lake."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date

from dagster import (
    AssetCheckExecutionContext,
    AssetCheckResult,
    AssetChecksDefinition,
    asset_check,
)

from am_assets.derived.asset import key_of
from am_assets.partitions import partition_day
from am_assets.process import Tools
from am_assets.streams.stream import Stream
from resources.hot import Snapshot, Span
from resources.lake import receipt

NAME = "conservation"


@dataclass(frozen=True)
class DayCounts:
    """Rows of one stream and day: as the ledger has it, hot, in the lake, and by the receipt.

    `stored` None = no ledger (derived rows). `has_left`: the day is in the lake alone; rows of it
    that are hot came later, and wait for the day to come back.
    """

    stored: int | None
    hot: int
    lake: int
    signed: int
    has_left: bool = False

    @property
    def waiting(self) -> int:
        """Hot rows that came after the day was published; they are late, not lost."""
        return self.hot if self.has_left else max(self.hot - self.signed, 0)

    @property
    def there(self) -> int:
        """All rows, each as often as it was counted when it came."""
        return self.hot + self.signed if self.has_left else self.hot

    def faults(self) -> list[str]:
        """Where the counts contradict each other; none = nothing is lost."""
        faults = []
        if self.lake != self.signed:
            faults.append(f"the lake has {self.lake} rows, its receipt says {self.signed}")
        if self.stored not in (None, self.there):
            where = "hot store and lake" if self.has_left else "hot store"
            faults.append(f"the ledger has {self.stored} stored rows, the {where} {self.there}")
        if not self.has_left and self.hot < self.signed:
            faults.append(f"{self.signed} rows were published, the hot store has {self.hot}")
        return faults


def count_day(tools: Tools, stream: Stream, day: date) -> DayCounts:
    """Count everywhere, while nobody writes to the lake; the rest as of one moment."""
    with tools.lake.write_lock(stream), tools.hot.snapshot() as snapshot:
        signed = receipt(snapshot.connection, stream, day)
        return DayCounts(
            stored=None if stream.is_derived else _stored(snapshot, stream, day),
            hot=snapshot.count(stream, Span.of_day(day)),
            lake=tools.lake.count_day(stream, day),
            signed=signed.row_count if signed else 0,
            has_left=signed is not None and signed.has_left,
        )


def conservation_check(stream: Stream) -> AssetChecksDefinition:
    """The check of one stream's days."""

    @asset_check(
        asset=key_of(stream),
        name=NAME,
        description="Rows in the ledger, in the hot store and in the lake are as many.",
        required_resource_keys={"tools"},
    )
    def conservation(context: AssetCheckExecutionContext) -> AssetCheckResult:
        tools: Tools = context.resources.tools
        counts = count_day(tools, stream, partition_day(context))
        return AssetCheckResult(
            passed=not counts.faults(),
            description="; ".join(counts.faults()) or None,
            metadata=_metadata(counts),
        )

    return conservation


def _metadata(counts: DayCounts) -> Mapping[str, int]:
    ledger = {} if counts.stored is None else {"ledger": counts.stored}
    return {**ledger, "hot": counts.hot, "lake": counts.lake, "waiting": counts.waiting}


def _stored(snapshot: Snapshot, stream: Stream, day: date) -> int:
    row = snapshot.connection.execute(
        "SELECT coalesce(sum(stored), 0)::bigint FROM am.landing WHERE day = %s AND stream = %s",
        (day, stream.name),
    ).fetchone()
    assert row is not None
    return int(row[0])
