"""What goes wrong under AM while clients send: killed servers, frozen servers, a full disk."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import psutil
import psycopg

from infra.home import load_state
from infra.postgres import ADMIN, Postgres
from infra.processes import processes_of
from infra.stack import Stack

PATIENCE_S = 60.0
POLL_S = 0.1
LOG_FILES = 40  # of 16 MiB: more than are kept to be used again
LIMITED = ("postgres", "objects")
PARTS = ("postgres", "objects", "api")


class NotBackError(Exception):
    """A part does not come back by itself."""


class Disk(Protocol):
    """The disk that AM's data is on."""

    @property
    def name(self) -> str:
        """For people."""

    def fill(self, stack: Stack) -> None:
        """From now on nothing more fits."""

    def free(self, stack: Stack) -> None:
        """There is room again."""


@dataclass(frozen=True)
class Shrinking:
    """A file system of the test's own in memory, made smaller than what is on it needs next."""

    root: Path
    name: str = "a tmpfs that is full"
    size: int = 8 << 30

    def fill(self, stack: Stack) -> None:
        """Leave it as large as what is on it."""
        used = _used(self.root)
        # What is written between looking and shrinking makes it refuse: then look again.
        while not self._resize(used):
            used = _used(self.root)

    def free(self, stack: Stack) -> None:
        """Give it its size again."""
        self._resize(self.size)

    def _resize(self, size: int) -> bool:
        command = ["mount", "-o", f"remount,size={size}", str(self.root)]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0


@dataclass(frozen=True)
class FileLimit:
    """Where nothing may be mounted: the servers may not make a file longer than a page."""

    name: str = "a file size limit for the database and the object store (RLIMIT_FSIZE)"

    def fill(self, stack: Stack) -> None:
        """Limit what runs; what is started anew by the supervisor is free again."""
        self._limit(stack, "8192")

    def free(self, stack: Stack) -> None:
        """Take the limit away."""
        self._limit(stack, "unlimited")

    def _limit(self, stack: Stack, soft: str) -> None:
        for process in (p for part in LIMITED for p in processes_of(stack.home, part)):
            with suppress(psutil.NoSuchProcess):
                _run(
                    [*_as_owner_of(process), "prlimit", f"--pid={process.pid}", f"--fsize={soft}:"]
                )


def _as_owner_of(process: psutil.Process) -> list[str]:
    """Even root may need to be the owner: it may lack the right to limit what is not its own."""
    user, group = process.uids().real, process.gids().real
    if user == os.getuid():
        return []
    return ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups"]


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0 and "No such process" not in done.stderr:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr}")


@contextmanager
def own_disk(root: Path) -> Iterator[Disk]:
    """A disk for one home that can be filled without filling this machine's."""
    disk = Shrinking(root)
    command = ["mount", "-t", "tmpfs", "-o", f"size={disk.size},mode=0700", "am-oracle", str(root)]
    root.mkdir(parents=True, exist_ok=True)
    try:
        mounted = subprocess.run(command, capture_output=True, text=True, check=False)
        is_mounted = mounted.returncode == 0
    except FileNotFoundError:
        is_mounted = False
    if not is_mounted:
        yield FileLimit()
        return
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(root)], check=True)


@dataclass
class Faults:
    """Breaks parts of a stack, and sees that they come back without help."""

    stack: Stack
    disk: Disk
    count: Callable[[], int]  # refusals until now
    told: list[str] = field(default_factory=list)

    def kill(self, *parts: str) -> None:
        """All processes at once, without a word. Then wait until all is well again."""
        for process in [p for part in parts for p in processes_of(self.stack.home, part)]:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        self.await_well(f"kill -9 of {', '.join(parts)}")

    def freeze(self, part: str, *, seconds: float) -> None:
        """Stop a server's processes, and let them go on later: as a machine that swaps."""
        stopped = [p for p in processes_of(self.stack.home, part) if p.is_running()]
        for process in stopped:
            process.suspend()
        time.sleep(seconds)  # this is the fault itself
        for process in stopped:
            process.resume()
        self.await_well(f"{part} frozen for {seconds:g} s")

    def fill_disk(self, *, seconds: float) -> None:
        """No room for so long, and until something was refused."""
        before, deadline = self.count(), time.monotonic() + PATIENCE_S
        self.disk.fill(self.stack)
        try:
            self._use_up_the_log()
            time.sleep(seconds)  # this is the fault itself
            while self.count() == before and time.monotonic() < deadline:
                time.sleep(POLL_S)
        finally:
            self.disk.free(self.stack)
        if self.count() == before:
            self.told.append("the disk was full and nothing was refused")
        self.await_well(f"{self.disk.name} for {seconds:g} s, {self.count() - before} refusals")

    def _use_up_the_log(self) -> None:
        """Have PostgreSQL begin new files of its log until there is no room for one: it panics."""
        state = load_state(self.stack.home)
        assert state is not None
        url = Postgres(self.stack.home, state).url(ADMIN, "postgres")
        with suppress(psycopg.Error), psycopg.connect(url, autocommit=True) as admin:
            for _ in range(LOG_FILES):
                admin.execute("SELECT pg_logical_emit_message(false, 'am', 'full')")
                admin.execute("SELECT pg_switch_wal()")
            self.told.append(f"the log still had room after {LOG_FILES} files")

    def await_well(self, after: str, *, patience_s: float = PATIENCE_S) -> None:
        """Until every part answers. Raises: NotBackError."""
        begin = time.monotonic()
        while ill := [p for p in self.stack.status() if not p.is_ready]:
            if time.monotonic() > begin + patience_s:
                problems = "; ".join(f"{part.name} {part.state} {part.problem}" for part in ill)
                raise NotBackError(f"after {after}: {problems}")
            time.sleep(POLL_S)  # other processes come back; there is nothing to wait on
        self.told.append(f"{after}: well again after {time.monotonic() - begin:.1f} s")


def memory_of(stack: Stack, part: str) -> int:
    """Bytes that a part's processes hold in memory."""
    return sum(_rss(process) for process in processes_of(stack.home, part))


def _rss(process: psutil.Process) -> int:
    try:
        return int(process.memory_info().rss)
    except psutil.Error:  # gone meanwhile
        return 0


def _used(root: Path) -> int:
    found: Any = os.statvfs(root)
    return int((found.f_blocks - found.f_bfree) * found.f_frsize)
