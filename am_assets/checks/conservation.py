"""Whether anything got lost between the ledger, the hot store and the lake."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime

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

NAME = "conservation"


@dataclass(frozen=True)
class DayCounts:
    """Rows of one stream and day: as the ledger has it, hot, in the lake, and by the receipt.

    `stored` None = no ledger (derived rows). `is_hot` = not yet old enough to leave the hot store.
    """

    stored: int | None
    hot: int
    lake: int
    signed: int
    is_hot: bool = True

    @property
    def waiting(self) -> int:
        """Hot rows that came after the day was published; they are late, not lost."""
        return max(self.hot - self.signed, 0) if self.is_hot else 0

    def faults(self) -> list[str]:
        """Where the counts contradict each other; none = nothing is lost."""
        faults = []
        if self.lake != self.signed:
            faults.append(f"the lake has {self.lake} rows, its receipt says {self.signed}")
        if self.stored is not None and self.is_hot and self.stored != self.hot:
            faults.append(f"the ledger has {self.stored} stored rows, the hot store {self.hot}")
        if self.is_hot and self.hot < self.signed:
            faults.append(f"{self.signed} rows were published, the hot store has {self.hot}")
        return faults


def count_day(tools: Tools, stream: Stream, day: date, *, today: date) -> DayCounts:
    """Count everywhere. The ledger and the hot store are read as of one moment."""
    lake, receipt = tools.lake.count_both(stream, day)
    with tools.hot.snapshot() as snapshot:
        hot = snapshot.count(stream, Span.of_day(day))
        return DayCounts(
            stored=None if stream.is_derived else _stored(snapshot, stream, day),
            hot=hot,
            lake=lake,
            signed=receipt.row_count if receipt else 0,
            is_hot=hot > 0 or today - day < stream.keep_hot,
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
        today = datetime.now(UTC).date()
        counts = count_day(tools, stream, partition_day(context), today=today)
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
