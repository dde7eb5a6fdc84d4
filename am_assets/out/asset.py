"""The Dagster side of `out/`: which assets there are, what they follow, and what they report."""

from datetime import UTC, date, datetime

from dagster import (
    AssetDep,
    AssetExecutionContext,
    AssetKey,
    AssetsDefinition,
    MaterializeResult,
    MetadataValue,
    TimeWindowPartitionMapping,
    asset,
)

from am_assets.automation import follow_each_day
from am_assets.derived.asset import key_of
from am_assets.out.day_digest import SOURCES, TABLE, digests_of, keep_digests
from am_assets.partitions import DAYS
from am_assets.process import Tools
from am_assets.raw.asset import AGAIN

LAYER = "out"
# A local day reaches into the UTC days before and after; tomorrow's partition is not there yet.
NEIGHBOURS = TimeWindowPartitionMapping(
    start_offset=-1, end_offset=1, allow_nonexistent_upstream_partitions=True
)


def day_digest_asset() -> AssetsDefinition:
    """The asset `out/day_digest`: every user's local day, kept in Delta."""

    @asset(
        key=AssetKey([LAYER, "day_digest"]),
        deps=[AssetDep(key_of(source), partition_mapping=NEIGHBOURS) for source in SOURCES],
        group_name=LAYER,
        partitions_def=DAYS,
        description="Each user's local day in facts: said, read, done, visited, used, measured.",
        kinds={"deltalake"},
        pool=TABLE,
        required_resource_keys={"tools"},
        retry_policy=AGAIN,
        automation_condition=follow_each_day(),
    )
    def keep(context: AssetExecutionContext) -> MaterializeResult[None]:
        tools: Tools = context.resources.tools
        day, now = date.fromisoformat(context.partition_key), datetime.now(UTC)
        full = digests_of(tools.whole, tools.registry, day, now=now)
        version = keep_digests(tools.lake.connections, day, full)
        return MaterializeResult(
            metadata={
                "users": MetadataValue.int(len(full)),
                "rows_seen": MetadataValue.int(sum(digest.row_count for _, digest in full)),
                "delta_version": MetadataValue.int(version),
            }
        )

    return keep
