"""The asset that removes the blobs that may go: silence, and above a budget what repeats itself."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

from dagster import AssetExecutionContext, AssetsDefinition, MaterializeResult, MetadataValue

from am_assets.derived.catalog import ENRICHMENTS
from am_assets.process import Tools
from am_assets.streams.registry import REGISTRY, Registry
from am_assets.upkeep.asset import upkeep_asset
from resources.blob_plan import BlobRules, Candidate
from resources.blob_retention import BlobRetention, Pruned
from resources.blobs import BlobStore
from resources.connections import Connections
from resources.disk import free_on_disk
from resources.whole import WholeStore


def blob_retention(
    connections: Connections, rules: BlobRules, *, registry: Registry = REGISTRY
) -> BlobRetention:
    """What removes blobs, over all the rows there are. Connects to nothing.

    Raises: ValueError, am_assets.streams.registry.UnknownStreamError for rules that can't be.
    """
    return BlobRetention(
        connections.database_url,
        BlobStore(connections),
        WholeStore(connections),
        registry=registry,
        readers=[one for one in ENRICHMENTS if one.needs_blob],
        rules=rules,
    )


def blob_retention_asset(rules: BlobRules, *, home: Path) -> AssetsDefinition:
    """The asset `upkeep/blob_retention`; `home` tells which disk the store is on."""

    @upkeep_asset(
        "blob_retention",
        description="Silence goes when it is due; above the budget repeated screenshots go first.",
        kinds={"s3"},
    )
    def prune(context: AssetExecutionContext) -> MaterializeResult[None]:
        tools: Tools = context.resources.tools
        retention = blob_retention(tools.lake.connections, rules, registry=tools.registry)
        pruned = retention.prune(now=datetime.now(UTC))
        if pruned.plan.over_bytes:
            context.log.warning(too_much(pruned.plan.over_bytes))
        return MaterializeResult(metadata=_metadata(pruned, free_on_disk(home)))

    return prune


def too_much(over_bytes: int) -> str:
    """What the owner has to know when all that may go by itself is gone."""
    return (
        f"blobs are {over_bytes / 1e9:.3f} GB above the budget, and what is left is not removed "
        "by itself: raise AM_BLOB_BUDGET_GB, or erase what nobody needs"
    )


def by_ground(candidates: Iterable[Candidate]) -> Mapping[str, tuple[int, int]]:
    """How many there are of each kind, and their bytes."""
    found: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for one in candidates:
        count, byte_count = found[one.ground.value]
        found[one.ground.value] = (count + 1, byte_count + one.byte_count)
    return dict(found)


def _metadata(pruned: Pruned, free_bytes: int) -> dict[str, MetadataValue]:
    plan = pruned.plan
    told = {
        "removed": pruned.removed_count,
        "removed_bytes": pruned.removed_bytes,
        "kept_in_the_meantime": pruned.kept_count,
        "held": len(plan.held),
        "used_bytes": plan.used_bytes - pruned.removed_bytes,
        "over_budget_bytes": plan.over_bytes,
        "disk_free_bytes": free_bytes,
    }
    for ground, (count, byte_count) in by_ground(plan.removals).items():
        told |= {f"{ground}": count, f"{ground}_bytes": byte_count}
    return {name: MetadataValue.int(value) for name, value in told.items()}
