"""The asset that keeps the lake's tables in order: compaction, vacuum, checkpoints."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from dagster import (
    AssetExecutionContext,
    AssetsDefinition,
    Failure,
    MaterializeResult,
    MetadataValue,
    TableRecord,
)
from deltalake.exceptions import DeltaError

from am_assets.process import Tools
from am_assets.upkeep.asset import upkeep_asset
from resources.lake_upkeep import Kept, LakeUpkeep, LakeUpkeepError

Metadata = dict[str, MetadataValue]


@dataclass(frozen=True)
class Tidied:
    """The tables that were put in order, and what stood against it in others."""

    kept: Sequence[Kept]
    faults: Sequence[str]


def tidy(tools: Tools, *, now: datetime) -> Tidied:
    """Put every table in order that has changed. One that is damaged does not stop the others.

    Raises: psycopg.Error, and OSError where the object store does not answer at all.
    """
    upkeep = LakeUpkeep(tools.lake)
    kept, faults = [], []
    for stream in upkeep.due(tools.registry.values(), now=now):
        try:
            kept.append(upkeep.keep(stream, now=now))
        except LakeUpkeepError as error:
            faults.append(str(error))
        except (DeltaError, OSError) as error:  # a file that is gone, a disk that is full
            faults.append(f"{stream.name}: {error}")
    return Tidied(kept, faults)


def lake_files_asset() -> AssetsDefinition:
    """The asset `upkeep/lake_files`."""

    @upkeep_asset(
        "lake_files",
        description="The lake's tables in order: few files a day, none that nobody needs.",
        kinds={"deltalake"},
    )
    def keep(context: AssetExecutionContext) -> MaterializeResult[None]:
        tools: Tools = context.resources.tools
        tidied = tidy(tools, now=datetime.now(UTC))
        if tidied.faults:
            raise Failure("; ".join(tidied.faults), metadata=_metadata(tidied.kept))
        return MaterializeResult(metadata=_metadata(tidied.kept))

    return keep


def _metadata(kept: Sequence[Kept]) -> Metadata:
    return {
        "tables": MetadataValue.int(len(kept)),
        "days_compacted": MetadataValue.int(sum(len(one.days) for one in kept)),
        "files_before": MetadataValue.int(sum(one.files[0] for one in kept)),
        "files_after": MetadataValue.int(sum(one.files[1] for one in kept)),
        "bytes_freed": MetadataValue.int(sum(one.bytes_freed for one in kept)),
        "checkpoints": MetadataValue.int(sum(one.has_new_checkpoint for one in kept)),
        **({"by_table": MetadataValue.table([_record(one) for one in kept])} if kept else {}),
    }


def _record(kept: Kept) -> TableRecord:
    return TableRecord(
        {
            "stream": kept.stream,
            "versions": f"{kept.versions[0]} → {kept.versions[1]}",
            "files": f"{kept.files[0]} → {kept.files[1]}",
            "objects": f"{kept.objects[0]} → {kept.objects[1]}",
            "bytes_freed": kept.bytes_freed,
            "days_compacted": len(kept.days),
        }
    )
