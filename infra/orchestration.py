"""Dagster as three parts of the stack: the code location, the daemon, the web page."""

import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg

from infra.api import get_json
from infra.errors import NotReadyError
from infra.home import Home, write_private
from infra.parts import Part
from infra.ports import LOOPBACK

DEFINITIONS = "am_assets.definitions"
LOCATION = "am"
KEEP_TICK_DAYS = 7
MAX_CONCURRENT_RUNS = 2
STALE_S = 120  # the daemons report every 30 s
START_S = 300  # of a run, on a machine that is busy with something else; Dagster's own is 60


@dataclass(frozen=True)
class Orchestration:
    """The Dagster of one home."""

    home: Home
    env: Mapping[str, str]
    database_url: str
    code_port: int
    web_port: int
    definitions: str = DEFINITIONS

    @property
    def url(self) -> str:
        """Where the web page is."""
        return f"http://{LOOPBACK}:{self.web_port}"

    def parts(self) -> list[Part]:
        """Code location, daemon, web page; they may start in any order."""
        return [self._code(), self._daemon(), self._web()]

    def _code(self) -> Part:
        where = [f"--host={LOOPBACK}", f"--port={self.code_port}", f"--location-name={LOCATION}"]
        words = ["api", "grpc", f"--module-name={self.definitions}", *where]
        return self._part(
            "dagster-code",
            [_program("dagster"), *words],
            port=self.code_port,
            check=lambda _: self._check_code(),
        )

    def _daemon(self) -> Part:
        words = ["run", f"--workspace={self.workspace}"]
        part = self._part(
            "dagster-daemon",
            [_program("dagster-daemon"), *words],
            port=self.code_port,
            check=self._check_daemon,
        )
        # It waits until a run's process has begun. A run that it gives up is failed and tried again
        # while the first process still starts, and the machine is busier than before.
        return replace(part, env={**part.env, "DAGSTER_GRPC_TIMEOUT_SECONDS": str(START_S)})

    def _web(self) -> Part:
        port = self.web_port
        words = [f"--host={LOOPBACK}", f"--port={port}", f"--workspace={self.workspace}"]
        return self._part(
            "dagster-web",
            [_program("dagster-webserver"), *words],
            port=port,
            check=lambda _: get_json(LOOPBACK, port, "/server_info"),
        )

    def _part(
        self, name: str, argv: list[str], *, port: int, check: Callable[[float], None]
    ) -> Part:
        return Part(
            name=name,
            argv=argv,
            cwd=self.home.run,
            port=port,
            env={**self.env, "DAGSTER_HOME": str(self.home.dagster)},
            prepare=self.prepare,
            check=check,
        )

    @property
    def workspace(self) -> Path:
        """The file that tells daemon and web page where the code location answers."""
        return self.home.dagster / "workspace.yaml"

    def prepare(self) -> None:
        """Write `dagster.yaml` and `workspace.yaml`."""
        write_private(self.home.dagster / "dagster.yaml", _as_yaml(self.instance()))
        server = {"host": LOOPBACK, "port": self.code_port, "location_name": LOCATION}
        write_private(self.workspace, _as_yaml({"load_from": [{"grpc_server": server}]}))

    def instance(self) -> dict[str, Any]:
        """What `dagster.yaml` says."""
        folder = self.home.dagster
        kept = {"skipped": 1, "success": KEEP_TICK_DAYS, "failure": 30, "started": 1}
        return {
            "storage": {"postgres": {"postgres_url": self.database_url}},
            "telemetry": {"enabled": False},
            "freshness": {"enabled": True},
            "nux": {"enabled": False},  # no invitation to a newsletter
            "run_coordinator": {
                "module": "dagster.core.run_coordinator",
                "class": "QueuedRunCoordinator",
                "config": {"max_concurrent_runs": MAX_CONCURRENT_RUNS},
            },
            "run_launcher": {
                "module": "infra.run_launcher",
                "class": "WatchedRunLauncher",
                "config": {"code_port": self.code_port},
            },
            "run_monitoring": {
                "enabled": True,
                "start_timeout_seconds": START_S + 60,
                "cancel_timeout_seconds": 60,
                "max_resume_run_attempts": 0,
                "poll_interval_seconds": 20,
            },
            "run_retries": {"enabled": True, "max_retries": 2},
            "compute_logs": _local_folder(
                "dagster.core.storage.local_compute_log_manager",
                "LocalComputeLogManager",
                folder / "compute_logs",
            ),
            "local_artifact_storage": _local_folder(
                "dagster.core.storage.root", "LocalArtifactStorage", folder
            ),
            "retention": {
                "schedule": {"purge_after_days": kept},
                "sensor": {"purge_after_days": kept},
                "auto_materialize": {"purge_after_days": kept},
            },
            "sensors": {"use_threads": True, "num_workers": 4},
            "schedules": {"use_threads": True, "num_workers": 2},
        }

    def _check_code(self) -> None:
        # Heavy, and only the running stack needs them. Neither ships types.
        import grpc  # type: ignore[import-untyped]  # noqa: PLC0415
        from grpc_health.v1 import (  # type: ignore[import-untyped]  # noqa: PLC0415
            health_pb2,
            health_pb2_grpc,
        )

        options = [("grpc.enable_http_proxy", 0)]
        address = f"{LOOPBACK}:{self.code_port}"
        with grpc.insecure_channel(address, options=options) as channel:
            request = health_pb2.HealthCheckRequest(service="DagsterApi")
            try:
                answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=5)
            except grpc.RpcError as cause:
                raise NotReadyError(f"code location: {cause.code()}") from cause
        if answer.status != health_pb2.HealthCheckResponse.SERVING:
            raise NotReadyError("code location: not serving yet")

    def _check_daemon(self, started: float) -> None:
        query = (
            "SELECT count(*) FROM daemon_heartbeats"
            " WHERE timestamp > to_timestamp(%s) AT TIME ZONE 'UTC'"
        )
        try:
            with psycopg.connect(self.database_url, connect_timeout=2) as connection:
                row = connection.execute(query, [max(started, time.time() - STALE_S)]).fetchone()
        except psycopg.Error as cause:
            raise NotReadyError(f"daemon: {str(cause).strip()}") from cause
        if row is None or not row[0]:
            raise NotReadyError("daemon: no heartbeat yet")


def _program(name: str) -> str:
    return str(Path(sys.executable).parent / name)


def _local_folder(module: str, name: str, folder: Path) -> dict[str, Any]:
    return {"module": module, "class": name, "config": {"base_dir": str(folder)}}


def _as_yaml(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2) + "\n"  # JSON is YAML, and needs no second library
