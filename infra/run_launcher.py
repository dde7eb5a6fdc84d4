"""Dagster's own run launcher, and the one thing it lacks: telling that a run's process is gone.

With it, run monitoring marks runs as failed that were in progress when the machine died, and run
retries start them again; without it they would be "started" for ever.
"""

from collections.abc import Mapping
from typing import Any, Self

from dagster import DagsterRun, DefaultRunLauncher, IntSource
from dagster._core.launcher import CheckRunHealthResult, WorkerStatus
from dagster._grpc.types import CanCancelExecutionRequest, CanCancelExecutionResult
from dagster._serdes import ConfigurableClassData, deserialize_value


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
        if answer.can_cancel:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(WorkerStatus.NOT_FOUND, "its server has no such process")
