"""When the upkeep of the stores runs: by the clock, in UTC, each at a time of its own."""

from collections.abc import Iterable, Mapping

from dagster import AssetsDefinition, DefaultScheduleStatus, ScheduleDefinition

# By the asset, as cron has it.
TIMES: Mapping[str, str] = {}


def upkeep_schedules(assets: Iterable[AssetsDefinition]) -> list[ScheduleDefinition]:
    """One schedule an asset, running from the first start. Raises: KeyError for one without a time.

    A tick that was missed because the machine slept is made up for once when it wakes.
    """
    return [
        ScheduleDefinition(
            name=f"{asset.key.path[-1]}_schedule",
            target=asset,
            cron_schedule=TIMES[asset.key.path[-1]],
            execution_timezone="UTC",
            default_status=DefaultScheduleStatus.RUNNING,
        )
        for asset in assets
    ]
