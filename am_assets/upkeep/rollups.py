"""The asset `upkeep/rollups`: days that changed are rolled up by minute, hour and day."""

from dagster import AssetExecutionContext, AssetKey, AssetsDefinition, MaterializeResult, asset
from dagster import MetadataValue as Value

from am_assets.process import Tools
from resources.rollups import Rollups

LAYER = "upkeep"


def rollups_asset() -> AssetsDefinition:
    """The asset: on TimescaleDB it refreshes what its own policies look back too little for."""

    @asset(
        key=AssetKey([LAYER, "rollups"]),
        group_name=LAYER,
        description="Numeric streams by minute, hour and day, as their published days are.",
        kinds={"postgres"},
        required_resource_keys={"tools"},
    )
    def keep(context: AssetExecutionContext) -> MaterializeResult[None]:
        tools: Tools = context.resources.tools
        rollups = Rollups(tools.lake.connections)
        days = rollups.due(tools.registry.values())
        made = sum(rollups.refresh(stream, day) for stream, day in days)
        return MaterializeResult(metadata={"days": Value.int(made)})

    return keep
