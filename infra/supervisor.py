"""Talking to supervisord: its configuration, its start, and its answers about the parts."""

import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xmlrpc.client import Fault, ServerProxy  # our own supervisor's answers # nosec B411

from supervisor.xmlrpc import SupervisorTransport  # type: ignore[import-untyped] # ships no types

from infra.errors import HomeError, PartFailedError
from infra.home import Home, write_private
from infra.launch import HOME_VARIABLE
from infra.parts import NEVER_WRITTEN, Part
from infra.processes import MARK, processes_of

NAME = "supervisord"
LOG_BYTES = "10MB"
LOG_BACKUPS = 3
START_PATIENCE_S = 20
ALREADY_STARTED, NOT_RUNNING = 60, 70  # supervisor's fault codes
DOWN = frozenset({"STOPPED", "EXITED", "FATAL", "UNKNOWN"})


@dataclass(frozen=True)
class ProcessState:
    """What supervisord knows of one part. `pid` and `started` (epoch s) are 0 while it is down."""

    name: str
    state: str
    pid: int
    started: float
    reason: str

    @property
    def is_up(self) -> bool:
        """Whether there is a process."""
        return self.pid > 0


def render(home: Home, parts: Sequence[Part]) -> str:
    """The configuration file. Raises: HomeError where the home's path cannot be written in it."""
    socket = home.sockets() / "supervisor.sock"
    head = [
        "[unix_http_server]",
        f"file={_plain(socket)}",
        "chmod=0600",
        "[supervisord]",
        f"logfile={_plain(home.log_of(NAME))}",
        f"logfile_maxbytes={LOG_BYTES}",
        f"logfile_backups={LOG_BACKUPS}",
        f"pidfile={_plain(home.run / 'supervisord.pid')}",
        f"directory={_plain(home.run)}",
        "umask=077",
        f"identifier=am-{home.stack_id}",
        "[rpcinterface:supervisor]",
        "supervisor.rpcinterface_factory=supervisor.rpcinterface:make_main_rpcinterface",
    ]
    return "\n".join([*head, *(line for part in parts for line in _section(home, part)), ""])


def _section(home: Home, part: Part) -> list[str]:
    return [
        f"[program:{part.name}]",
        f'command="{_plain(Path(sys.executable))}" -m infra.launch {part.name}',
        f"directory={_plain(home.run)}",
        f"priority={100 * (part.stage + 1)}",
        "autostart=false",
        "autorestart=true",
        "startsecs=2",
        "startretries=1000000",  # a full disk may last; it waits a second longer each time
        f"stopsignal={part.stop_signal}",
        f"stopwaitsecs={part.stop_patience_s}",
        "killasgroup=true",
        "redirect_stderr=true",
        f"stdout_logfile={_plain(home.log_of(part.name))}",
        f"stdout_logfile_maxbytes={LOG_BYTES}",
        f"stdout_logfile_backups={LOG_BACKUPS}",
    ]


def _plain(path: Path) -> str:
    text = str(path)
    if any(sign in text for sign in ('"', "\n", " ;", " #", "\\")):
        raise HomeError(f"{text}: quotes, ` ;` and ` #` in this path are more than we can quote.")
    return text.replace("%", "%%")


@dataclass(frozen=True)
class Supervisor:
    """The supervisord of one home, running or not."""

    home: Home

    @property
    def is_alive(self) -> bool:
        """Whether it answers."""
        try:
            self._rpc().getState()
        except (OSError, Fault):
            return False
        return True

    def launch(self, parts: Sequence[Part]) -> None:
        """Start supervisord (it detaches itself) and wait until it answers. Starts no part.

        Raises: PartFailedError where it does not.
        """
        configuration = self.home.run / "supervisord.conf"
        write_private(configuration, render(self.home, parts))
        command = [sys.executable, "-m", "supervisor.supervisord", "-c", str(configuration)]
        started = subprocess.run(
            command, env=self._environment(), capture_output=True, text=True, check=False
        )
        if started.returncode != 0:
            reason = (started.stderr or started.stdout).strip()
            raise PartFailedError(NAME, reason, log_tail="")
        self._wait_until_alive()

    def _wait_until_alive(self) -> None:
        deadline = time.monotonic() + START_PATIENCE_S
        while not self.is_alive:
            if time.monotonic() > deadline:
                raise PartFailedError(NAME, "it does not answer", log_tail="")
            time.sleep(0.02)

    def _environment(self) -> Mapping[str, str]:
        ours = {
            MARK: f"{self.home.stack_id}/{NAME}",
            HOME_VARIABLE: str(self.home.root),
            "PYTHONUNBUFFERED": "1",
        }
        kept = {n: v for n, v in os.environ.items() if not n.startswith(("AM_", "SUPERVISOR_"))}
        given = {n: os.environ[n] for n in NEVER_WRITTEN if n in os.environ}
        return {**kept, **given, **ours}

    def states(self) -> dict[str, ProcessState]:
        """What it knows of each part; nothing where it does not run."""
        try:
            found: Any = self._rpc().getAllProcessInfo()
        except OSError:
            return {}
        return {info["name"]: _state(info) for info in found}

    def start(self, part: str) -> None:
        """Start a part; nothing where it runs already. Returns before it is ready."""
        self._ignoring(ALREADY_STARTED, "startProcess", part)

    def stop(self, part: str) -> None:
        """Ask a part to end; nothing where it is down. Returns before it has ended."""
        self._ignoring(NOT_RUNNING, "stopProcess", part)

    def shutdown(self) -> None:
        """End supervisord and wait for it; the parts should be down before."""
        processes = processes_of(self.home, NAME)
        try:
            self._rpc().shutdown()
        except OSError:
            return
        for process in processes:
            process.wait(timeout=START_PATIENCE_S)

    def _ignoring(self, code: int, method: str, part: str) -> None:
        try:
            getattr(self._rpc(), method)(part, False)
        except Fault as fault:
            if fault.faultCode != code:
                raise PartFailedError(part, fault.faultString, log_tail="") from fault

    def _rpc(self) -> Any:
        socket = self.home.sockets() / "supervisor.sock"
        transport = SupervisorTransport(None, None, f"unix://{socket}")
        return ServerProxy("http://127.0.0.1", transport=transport).supervisor


def _state(info: Mapping[str, Any]) -> ProcessState:
    is_up = bool(info["pid"])
    return ProcessState(
        name=info["name"],
        state=info["statename"],
        pid=info["pid"],
        started=float(info["start"]) if is_up else 0.0,
        reason=info["spawnerr"] or "",
    )
