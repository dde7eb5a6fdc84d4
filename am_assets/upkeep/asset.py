"""The factory of upkeep's assets: what all of them declare alike, once."""

from collections.abc import Callable, Iterable

from dagster import AssetExecutionContext, AssetKey, AssetsDefinition, MaterializeResult, asset

LAYER = "upkeep"
Body = Callable[[AssetExecutionContext], MaterializeResult[None]]


def upkeep_asset(
    name: str, *, description: str, kinds: Iterable[str] = (), resources: Iterable[str] = ("tools",)
) -> Callable[[Body], AssetsDefinition]:
    """Makes a function the asset `upkeep/<name>`: no partitions, run by the clock.

    `kinds`: the stores it works on; `resources`: what its context has to carry.
    """
    return asset(
        key=AssetKey([LAYER, name]),
        group_name=LAYER,
        description=description,
        kinds=set(kinds),
        required_resource_keys=set(resources),
    )
