"""The asset `upkeep/partitions`: tables of what stays only briefly have their partitions."""

from datetime import UTC, datetime

from dagster import AssetExecutionContext, AssetsDefinition, MaterializeResult
from dagster import MetadataValue as Value

from am_assets.process import Tools
from am_assets.upkeep.asset import upkeep_asset
from resources.partitions import Partitions


def partitions_asset() -> AssetsDefinition:
    """The asset; on TimescaleDB, which makes its own chunks, there is nothing for it to do."""

    @upkeep_asset(
        "partitions",
        description="Partitions are made some days ahead, and dropped when they are empty and old.",
        kinds={"postgres"},
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
