"""The asset that records how large everything is, so that its growth is known."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from dagster import (
    AssetExecutionContext,
    AssetsDefinition,
    MaterializeResult,
    MetadataValue,
    TableRecord,
)

from am_assets.process import Tools
from am_assets.upkeep.asset import upkeep_asset
from resources.disk import free_on_disk
from resources.growth import days_until_full, growth_per_day, history
from resources.hot import connect
from resources.sizes import Size, measure, record


def sizes_asset(*, home: Path) -> AssetsDefinition:
    """The asset `upkeep/sizes`; `home` tells which disk the stores are on."""

    @upkeep_asset(
        "sizes",
        description="Bytes a stream and store, how well they are compressed, how fast they grow.",
    )
    def measure_all(context: AssetExecutionContext) -> MaterializeResult[None]:
        tools: Tools = context.resources.tools
        found = measure(tools.lake.connections, tools.registry)
        for fault in found.faults:
            context.log.warning(f"not measured: {fault}")
        with connect(tools.database_url) as connection:
            record(connection, found.sizes, day=datetime.now(UTC).date())
            growth = growth_per_day(history(connection))
        free = free_on_disk(home)
        return MaterializeResult(metadata=_metadata(found.sizes, growth, free))

    return measure_all


def _metadata(
    sizes: Iterable[Size], growth: float | None, free_bytes: int
) -> dict[str, MetadataValue]:
    totals: dict[str, int] = defaultdict(int)
    for one in sizes:
        totals[f"{one.tier}_bytes"] += one.byte_count
    left = days_until_full(free_bytes, growth)
    told = {name: MetadataValue.int(value) for name, value in sorted(totals.items())}
    told["disk_free_bytes"] = MetadataValue.int(free_bytes)
    if growth is not None:
        told["growth_bytes_a_day"] = MetadataValue.int(round(growth))
    if left is not None:
        told["days_until_full"] = MetadataValue.int(round(left))
    return {
        **told,
        "by_stream": MetadataValue.table([_record(one) for one in sizes if one.byte_count]),
    }


def _record(one: Size) -> TableRecord:
    ratio = "" if one.ratio is None else f"{one.ratio:.1f}"
    rows = "" if one.row_count is None else str(one.row_count)
    return TableRecord(
        {
            "stream": one.stream,
            "store": one.tier,
            "bytes": one.byte_count,
            "rows": rows,
            "JSON to stored": ratio,
        }
    )
