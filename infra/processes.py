"""Finding and ending the processes of one stack, also when their supervisor is gone.

Every part is started with `AM_STACK_PART=<stack id>/<part>` in its environment and its children
inherit it, so no record of pids can go stale. PostgreSQL's children overwrite their environment
with their title; they are known by their working directory and program instead.
"""

import os
import signal
from collections.abc import Iterable
from pathlib import Path

import psutil

from infra.home import Home

MARK = "AM_STACK_PART"
POSTGRES = "postgres"


def part_of(process: psutil.Process, home: Home) -> str | None:
    """The part of this stack that a process belongs to; None where it is somebody else's."""
    try:
        mark = process.environ().get(MARK, "")
        stack, _, part = mark.partition("/")
        if stack == home.stack_id:
            return part
        if not mark and _is_in_cluster(process, home.postgres / "data"):
            return POSTGRES
    except psutil.Error:  # gone, a zombie, or another user's
        return None
    return None


def _is_in_cluster(process: psutil.Process, cluster: Path) -> bool:
    return Path(process.cwd()) == cluster and Path(process.exe()).name == POSTGRES


def processes_of(home: Home, part: str | None = None) -> list[psutil.Process]:
    """The living processes of a stack, or of one part of it, in no order; never the caller."""
    found = ((p, part_of(p, home)) for p in psutil.process_iter() if p.pid != os.getpid())
    return [p for p, name in found if name is not None and part in {None, name}]


def end(processes: Iterable[psutil.Process], *, ask: signal.Signals, patience_s: float) -> None:
    """Ask processes to end, wait, then kill what is left. psutil checks that no pid was reused."""
    asked = list(processes)
    for process in asked:
        _send(process, ask)
    _, alive = psutil.wait_procs(asked, timeout=patience_s)
    for process in alive:
        _send(process, signal.SIGKILL)
    psutil.wait_procs(alive, timeout=patience_s)


def _send(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return


def memory_of(pid: int) -> int | None:
    """Megabytes of memory that a process holds; None where there is none by that id."""
    try:
        return round(psutil.Process(pid).memory_info().rss / 1e6)
    except psutil.NoSuchProcess:
        return None
