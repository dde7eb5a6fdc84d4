"""The asset `upkeep/rollups`: days that changed are rolled up by minute, hour and day."""

from dagster import AssetExecutionContext, AssetsDefinition, MaterializeResult
from dagster import MetadataValue as Value

from am_assets.process import Tools
from am_assets.upkeep.asset import upkeep_asset
from resources.rollups import Rollups


def rollups_asset() -> AssetsDefinition:
    """The asset: on TimescaleDB it refreshes what its own policies look back too little for."""

    @upkeep_asset(
        "rollups",
        description="Numeric streams by minute, hour and day, as their published days are.",
        kinds={"postgres"},
    )
    def keep(context: AssetExecutionContext) -> MaterializeResult[None]:
        tools: Tools = context.resources.tools
        rollups = Rollups(tools.lake.connections)
        days = rollups.due(tools.registry.values())
        made = sum(rollups.refresh(stream, day) for stream, day in days)
        return MaterializeResult(metadata={"days": Value.int(made)})

    return keep
