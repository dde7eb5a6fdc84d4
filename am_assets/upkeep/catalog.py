"""The list of what keeps the stores in order; one module an asset."""

from datetime import timedelta
from pathlib import Path

from dagster import AssetsDefinition

from am_assets.upkeep.blob_retention import blob_retention_asset
from am_assets.upkeep.lake_check import lake_check_asset
from am_assets.upkeep.lake_files import lake_files_asset
from am_assets.upkeep.partitions import partitions_asset
from am_assets.upkeep.restore_drill import restore_drill_asset
from am_assets.upkeep.retention import retention_asset
from am_assets.upkeep.rollups import rollups_asset
from am_assets.upkeep.sizes import sizes_asset
from am_assets.upkeep.vectors import vectors_asset
from resources.blob_plan import BlobRules


def upkeep_assets(
    *,
    rules: BlobRules | None = None,
    home: Path = Path(),
    backups: Path | None = None,
    keep_hot: timedelta = timedelta(0),
) -> list[AssetsDefinition]:
    """All of them, in no order that matters. `home` is a folder on the disk of the stores.

    `keep_hot`: how long days stay in the database at least.
    `backups`: the folder of the backups, for the drill; None = there is none.
    """
    return [
        blob_retention_asset(rules or BlobRules(), home=home),
        sizes_asset(home=home),
        partitions_asset(),
        lake_files_asset(),
        vectors_asset(),
        lake_check_asset(),
        rollups_asset(),
        retention_asset(keep_at_least=keep_hot),
        *([restore_drill_asset(backups)] if backups else []),
    ]
