"""Dagster's own run launcher, and the one thing it lacks: telling that a run's process is gone.

With it, run monitoring marks runs as failed that were in progress when the machine died, and run
retries start them again; without it they would be "started" for ever.

The server is asked, and the process looked at: what in the server clears away ended processes ends
itself when one ends while the database is away, and from then on the server takes each run of its
life for a living one.
"""

from collections.abc import Mapping
from typing import Any, Self

import psutil
from dagster import (
    DagsterEventType,
    DagsterRun,
    DefaultRunLauncher,
    EventLogEntry,
    IntSource,
    TextMetadataValue,
)
from dagster._core.launcher import CheckRunHealthResult, WorkerStatus
from dagster._grpc.types import CanCancelExecutionRequest, CanCancelExecutionResult
from dagster._serdes import ConfigurableClassData, deserialize_value

BEGUN = "Started process for run"  # Dagster's words


class WatchedRunLauncher(DefaultRunLauncher):
    """Runs are processes of the code location's server, which is asked whether it has them."""

    def __init__(self, code_port: int, inst_data: ConfigurableClassData | None = None) -> None:
        super().__init__(inst_data)
        self._code_port = code_port

    @classmethod
    def config_type(cls) -> Any:
        """`code_port`: where the code location answers now."""
        return {"code_port": IntSource}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData, config_value: Mapping[str, Any]
    ) -> Self:
        """Called by Dagster with the configuration above."""
        return cls(inst_data=inst_data, **config_value)

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Makes run monitoring ask."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Whether the run's process lives.

        Raises: DagsterUserCodeUnreachableError while the server restarts; asked again later.
        """
        client = self._get_grpc_client_for_termination(run.run_id)  # type: ignore[no-untyped-call] # Dagster's
        if client is None or client.port != self._code_port:
            return CheckRunHealthResult(WorkerStatus.NOT_FOUND, "its server is gone")
        request = CanCancelExecutionRequest(run_id=run.run_id)
        answer = deserialize_value(client.can_cancel_execution(request), CanCancelExecutionResult)
        if not answer.can_cancel:
            return CheckRunHealthResult(WorkerStatus.NOT_FOUND, "its server has no such process")
        if self._has_ended(run):
            return CheckRunHealthResult(WorkerStatus.NOT_FOUND, "its process has ended")
        return CheckRunHealthResult(WorkerStatus.RUNNING)

    def _has_ended(self, run: DagsterRun) -> bool:
        """Whether the process that the run began in is gone; False where the run names none."""
        found = self._instance.all_logs(run.run_id, of_type=DagsterEventType.ENGINE_EVENT)
        pids = [pid for event in found if (pid := _begun_in(event)) is not None]
        return bool(pids) and not is_alive(pids[0])


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and was not cleared away does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _begun_in(event: EventLogEntry) -> int | None:
    """The process that an event says the whole run was begun in."""
    told = event.get_dagster_event()
    if not (told.message or "").startswith(BEGUN):
        return None
    pid = told.engine_event_data.metadata.get("pid")
    return int(pid.text) if isinstance(pid, TextMetadataValue) and pid.text else None
