"""The asset that looks every night whether the lake still holds what its receipts say.

By the logs, the lists of objects and the files' own counts; `am doctor --deep` reads every row.
"""

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
from resources.lake_check import REPAIR, Fault, LakeCheck, errors


def look(tools: Tools) -> list[Fault]:
    """What is wrong in any table, and what is on its way. Raises: psycopg.Error, OSError."""
    check = LakeCheck(tools.lake)
    return [fault for stream in tools.registry.values() for fault in check.quick(stream)]


def lake_check_asset() -> AssetsDefinition:
    """The asset `upkeep/lake_check`; its run fails where the lake is short of anything."""

    @upkeep_asset(
        "lake_check",
        description="Every day of the lake is as large as its receipt says, with all its files.",
        kinds={"deltalake"},
    )
    def check(context: AssetExecutionContext) -> MaterializeResult[None]:
        tools: Tools = context.resources.tools
        faults = look(tools)
        if wrong := errors(faults):
            told = "; ".join(f"{one.stream} {one.day or ''}: {one.what}" for one in wrong)
            raise Failure(f"{told}. {REPAIR}", metadata=_metadata(faults))
        return MaterializeResult(metadata=_metadata(faults))

    return check


def _metadata(faults: Sequence[Fault]) -> dict[str, MetadataValue]:
    records = [
        TableRecord({"stream": f.stream or "", "day": str(f.day or ""), "what": f.what})
        for f in faults
    ]
    return {
        "faults": MetadataValue.int(len(errors(faults))),
        "notes": MetadataValue.int(len(faults) - len(errors(faults))),
        **({"found": MetadataValue.table(records)} if records else {}),
    }
