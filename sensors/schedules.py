"""When the upkeep of the stores runs: by the clock, in UTC, each at a time of its own."""

from collections.abc import Iterable, Mapping

from dagster import AssetsDefinition, DefaultScheduleStatus, ScheduleDefinition

# By the asset, as cron has it.
TIMES: Mapping[str, str] = {
    "retention": "30 1 * * *",
    "partitions": "10 1 * * *",
    "blob_retention": "40 3 * * *",  # before the sizes are taken
    "lake_files": "20 2 * * *",
    "vectors": "50 2 * * *",
    "lake_check": "20 4 * * *",  # after all that changes the lake
    "sizes": "50 4 * * *",
    "restore_drill": "15 2 * * 0",
    "rollups": "20 * * * *",  # today's are looked at today
}


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
