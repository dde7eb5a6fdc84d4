"""The asset that restores the newest backup into a scratch home and compares it: does it work?"""

import json
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from dagster import (
    AssetExecutionContext,
    AssetsDefinition,
    Failure,
    MaterializeResult,
    MetadataValue,
)

from am_assets.upkeep.asset import upkeep_asset

NAME = "%Y-%m-%dT%H%M%SZ"  # of a backup
OLD_DAYS = 8
SAID = 2_000  # characters of what the command said


def restore_drill_asset(backups: Path) -> AssetsDefinition:
    """The asset `upkeep/restore_drill` over a folder of backups.

    A process of its own does it: it starts servers, and ends them however it ends.
    """

    @upkeep_asset(
        "restore_drill",
        description="The newest backup, restored into a scratch home, is what was backed up.",
        kinds={"postgres", "s3"},
        resources=(),
    )
    def rehearse(context: AssetExecutionContext) -> MaterializeResult[None]:
        found = drill(backups)
        age_days = (datetime.now(UTC) - taken_at(str(found["generation"]))).total_seconds() / 86_400
        if age_days > OLD_DAYS:
            context.log.warning(f"the newest backup is {age_days:.0f} days old: run `am backup`")
        return MaterializeResult(
            metadata={
                "generation": MetadataValue.text(str(found["generation"])),
                "age_days": MetadataValue.float(round(age_days, 2)),
                **{
                    name: MetadataValue.int(int(str(found[name])))
                    for name in ("table_count", "row_count", "object_count", "byte_count")
                },
            }
        )

    return rehearse


def drill(backups: Path) -> Mapping[str, object]:
    """What was compared, all of it as it was. Raises: dagster.Failure with what was not."""
    words = ("-m", "infra.cli", "restore", "--drill", "--json", "--from", str(backups))
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip())[-SAID:]
        raise Failure(f"the backup could not be restored: {said}")
    found: dict[str, object] = json.loads(done.stdout)
    return found


def taken_at(generation: str) -> datetime:
    """When a backup was taken, by its name."""
    return datetime.strptime(generation, NAME).replace(tzinfo=UTC)
