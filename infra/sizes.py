"""What `am status` says of sizes: a line from what was recorded, or a table measured now."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import psycopg

from ingest_api.settings import Settings, StackNotFoundError
from resources.disk import free_on_disk
from resources.growth import (
    DayTotal,
    days_until_full,
    growth_per_day,
    history,
    newest,
    used_bytes,
)

if TYPE_CHECKING:
    from resources.sizes import Measured, Size

PATIENCE_MS = 500  # a store with millions of blobs takes longer to add up: then it is left out
TIERS = ("hot", "lake", "lake_old", "blobs", "vectors")
GB = 1e9


@dataclass(frozen=True)
class Told:
    """What is known without measuring. None = not known.

    `is_answered`: whether the database was asked. `measured_at`: when the stores were last
    measured; `budget_bytes` None = there is no budget.
    """

    is_answered: bool
    bytes_by_tier: Mapping[str, int]
    measured_at: datetime | None
    growth_bytes_per_day: float | None
    disk_free_bytes: int
    days_until_full: float | None
    blob_bytes: int | None
    budget_bytes: int | None

    @property
    def over_budget_bytes(self) -> int | None:
        """How much more is stored than the owner wants; None = not known, or no budget."""
        if self.blob_bytes is None or self.budget_bytes is None:
            return None
        return max(0, self.blob_bytes - self.budget_bytes)


def summary(settings: Settings, *, is_database_ready: bool) -> Told:
    """What was recorded last, and the disk. Connects to the database alone, and not for long."""
    free = free_on_disk(settings.home)
    budget = settings.blob_rules().budget_bytes
    totals, used = _recorded(settings) if is_database_ready else (None, None)
    return judge(totals, free_bytes=free, blob_bytes=used, budget_bytes=budget)


def judge(
    totals: Sequence[DayTotal] | None,
    *,
    free_bytes: int,
    blob_bytes: int | None,
    budget_bytes: int | None,
) -> Told:
    """What the recorded totals tell; None = the database does not answer. Pure."""
    last = newest(totals or ())
    growth = growth_per_day(totals or ())
    return Told(
        is_answered=totals is not None,
        bytes_by_tier={tier: last[tier].byte_count for tier in TIERS if tier in last},
        measured_at=max((one.measured_at for one in last.values()), default=None),
        growth_bytes_per_day=growth,
        disk_free_bytes=free_bytes,
        days_until_full=days_until_full(free_bytes, growth),
        blob_bytes=blob_bytes,
        budget_bytes=budget_bytes,
    )


def told_lines(told: Told) -> Iterator[str]:
    """For people."""
    if not told.is_answered:
        yield "sizes: unknown, the database does not answer"
    elif told.measured_at is None:
        yield "sizes: not measured yet; `am status --sizes` does it, and every night does"
    else:
        parts = ", ".join(f"{tier} {size(n)}" for tier, n in told.bytes_by_tier.items())
        yield f"sizes: {parts} ({told.measured_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC)"
    yield f"disk: {size(told.disk_free_bytes)} free; {_growth(told)}"
    if told.budget_bytes is not None:
        yield f"blobs: {_budget(told)}"


def size(byte_count: float) -> str:
    """Bytes in the unit that fits."""
    for unit, least in (("TB", 1e12), ("GB", GB), ("MB", 1e6), ("kB", 1e3)):
        if abs(byte_count) >= least:
            return f"{byte_count / least:.1f} {unit}"
    return f"{byte_count:.0f} B"


def measured(settings: Settings) -> "Measured":
    """Ask every store now, and record it as today's. Raises: StackNotFoundError, psycopg.Error."""
    from am_assets.streams.registry import REGISTRY  # noqa: PLC0415 (heavy)
    from resources.sizes import measure, record  # noqa: PLC0415

    connections = settings.connections()
    found = measure(connections, REGISTRY)
    if not any(fault.startswith("hot store") for fault in found.faults):
        with psycopg.connect(connections.database_url) as connection:
            record(connection, found.sizes, day=datetime.now(UTC).date())
    return found


def table_rows(sizes: Iterable["Size"]) -> list[tuple[str, ...]]:
    """A line a stream: its bytes in each store, and JSON to stored of rows. The largest first."""
    by_stream: dict[str, dict[str, Size]] = defaultdict(dict)
    for one in sizes:
        if one.byte_count:
            by_stream[one.stream][one.tier] = one
    ordered = sorted(by_stream.items(), key=lambda pair: -_sum(pair[1].values()))
    return [
        (
            stream,
            *(size(found[tier].byte_count) if tier in found else "-" for tier in TIERS),
            *(_ratio(found.get(tier)) for tier in ("hot", "lake")),
        )
        for stream, found in ordered
    ]


TABLE_NAMES = ("stream", *TIERS, "JSON : hot", "JSON : lake")


def as_json(found: "Measured") -> Mapping[str, Any]:
    """For programs."""
    return {
        "sizes": [{**asdict(one), "ratio": one.ratio} for one in found.sizes],
        "faults": list(found.faults),
    }


def _recorded(settings: Settings) -> tuple[Sequence[DayTotal] | None, int | None]:
    try:
        url = settings.connections().database_url
        options = f"-c statement_timeout={PATIENCE_MS}"
        with psycopg.connect(
            url, connect_timeout=2, options=options, autocommit=True
        ) as connection:
            totals = history(connection)
            try:
                return totals, used_bytes(connection)
            except psycopg.errors.QueryCanceled:
                return totals, None
    except (psycopg.Error, StackNotFoundError):
        return None, None  # `am status` has said so of the part itself


def _growth(told: Told) -> str:
    if told.growth_bytes_per_day is None:
        return "how it fills is known once it was measured on two days"
    a_day = f"{size(told.growth_bytes_per_day)} a day"
    if told.days_until_full is None:
        return f"{a_day}, it does not fill"
    return f"{a_day}, full in {told.days_until_full:.0f} days"


def _budget(told: Told) -> str:
    assert told.budget_bytes is not None
    limit = size(told.budget_bytes)
    if told.blob_bytes is None:
        return f"budget {limit}; how many there are is not known now"
    if told.over_budget_bytes:
        return (
            f"{size(told.blob_bytes)}, {told.over_budget_bytes:,} bytes above the budget of "
            f"{limit}; `am blobs plan` tells what goes by itself"
        )
    return f"{size(told.blob_bytes)} of {limit}"


def _ratio(one: "Size | None") -> str:
    return "-" if one is None or one.ratio is None else f"{one.ratio:.1f}"


def _sum(sizes: Iterable["Size"]) -> int:
    return sum(one.byte_count for one in sizes)
