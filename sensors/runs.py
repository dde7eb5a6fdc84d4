"""What is queued or running now, and who asked for it."""

from datetime import date

from dagster import DagsterInstance, DagsterRunStatus, RunsFilter
from dagster._core.storage.tags import PARTITION_NAME_TAG

REQUESTED_BY = "am/requested_by"  # the tag that names the sensor

IN_FLIGHT = (
    DagsterRunStatus.QUEUED,
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
)


def busy_days(instance: DagsterInstance, *, requested_by: str | None = None) -> set[date]:
    """Days for which a run is queued or running: any, or those that one sensor asked for."""
    tags = {} if requested_by is None else {REQUESTED_BY: requested_by}
    runs = instance.get_runs(RunsFilter(statuses=list(IN_FLIGHT), tags=tags))
    partitions = {run.tags.get(PARTITION_NAME_TAG) for run in runs}
    return {date.fromisoformat(partition) for partition in partitions if partition}
