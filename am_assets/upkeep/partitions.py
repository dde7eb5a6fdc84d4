"""The asset `upkeep/partitions`: tables of what stays only briefly have their partitions."""

from datetime import UTC, datetime

from dagster import AssetExecutionContext, AssetKey, AssetsDefinition, MaterializeResult, asset
from dagster import MetadataValue as Value

from am_assets.process import Tools
from resources.partitions import Partitions

LAYER = "upkeep"


def partitions_asset() -> AssetsDefinition:
    """The asset; on TimescaleDB, which makes its own chunks, there is nothing for it to do."""

    @asset(
        key=AssetKey([LAYER, "partitions"]),
        group_name=LAYER,
        description="Partitions are made some days ahead, and dropped when they are empty and old.",
        kinds={"postgres"},
        required_resource_keys={"tools"},
    )
    def keep(context: AssetExecutionContext) -> MaterializeResult[None]:
        tools: Tools = context.resources.tools
        today = datetime.now(UTC).date()
        kept = Partitions(tools.database_url).keep(tools.registry.values(), today=today)
        return MaterializeResult(
            metadata={
                "made": Value.int(len(kept.made)),
                "dropped": Value.int(len(kept.dropped)),
                "busy": Value.json(list(kept.busy)),
            }
        )

    return keep
