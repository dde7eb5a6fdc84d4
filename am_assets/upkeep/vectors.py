"""The asset that keeps the tables of moments in order: indexes, compaction, old versions."""

from collections.abc import Sequence

from dagster import (
    AssetExecutionContext,
    AssetsDefinition,
    Failure,
    MaterializeResult,
    MetadataValue,
    TableRecord,
)

from am_assets.process import Tools
from am_assets.upkeep.asset import upkeep_asset
from resources.vector_upkeep import KeptMoments, VectorUpkeep


def tidy(upkeep: VectorUpkeep) -> tuple[list[KeptMoments], list[str]]:
    """Put every table in order; what was done, and what stood against it in others."""
    kept, faults = [], []
    for table in upkeep.tables():
        try:
            kept.append(upkeep.keep(table))
        except RuntimeError as error:  # LanceDB has no class of its own for a damaged table
            faults.append(f"{table}: {error}: `am doctor --deep --repair`")
    return kept, faults


def vectors_asset() -> AssetsDefinition:
    """The asset `upkeep/vectors`."""

    @upkeep_asset(
        "vectors",
        description="The tables of moments in order: indexes up to date, small files merged.",
        kinds={"lancedb"},
    )
    def keep(context: AssetExecutionContext) -> MaterializeResult[None]:
        tools: Tools = context.resources.tools
        kept, faults = tidy(VectorUpkeep(tools.lake.connections))
        if faults:
            raise Failure("; ".join(faults), metadata=_metadata(kept))
        return MaterializeResult(metadata=_metadata(kept))

    return keep


def _metadata(kept: Sequence[KeptMoments]) -> dict[str, MetadataValue]:
    before, after = (sum(one.byte_counts[side] for one in kept) for side in (0, 1))
    return {
        "tables": MetadataValue.int(len(kept)),
        "moments": MetadataValue.int(sum(one.row_count for one in kept)),
        "bytes_before": MetadataValue.int(before),
        "bytes_after": MetadataValue.int(after),
        **({"by_table": MetadataValue.table([_record(one) for one in kept])} if kept else {}),
    }


def _record(kept: KeptMoments) -> TableRecord:
    return TableRecord(
        {
            "table": kept.table,
            "moments": kept.row_count,
            "versions": f"{kept.versions[0]} → {kept.versions[1]}",
            "objects": f"{kept.objects[0]} → {kept.objects[1]}",
            "bytes": f"{kept.byte_counts[0]} → {kept.byte_counts[1]}",
        }
    )
