"""Programs with a face that run now: those that are installed with a .desktop file."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from am_assets.streams.system import APPS_ANDROID
from collectors.desktop.exclusions import Exclusions
from collectors.desktop.observation import Moment, Observation
from collectors.desktop.programs import Names
from collectors.desktop.sources.source import Polled

LONGEST_SILENCE_S = 3600.0


class AppsSource(Polled):
    """Tells which programs of this user run, whenever that has changed, and once an hour.

    Never their command lines: those hold addresses, names of files, passwords.
    """

    name = "apps"
    interval_s = 60.0

    def __init__(
        self,
        names: Names,
        exclusions: Exclusions,
        processes: Callable[[], Iterator[psutil.Process]] = psutil.process_iter,
    ) -> None:
        """`exclusions` keep programs off the list."""
        self._names = names
        self._exclusions = exclusions
        self._processes = processes
        self._told: tuple[list[dict[str, Any]], float] | None = None

    def poll(self, moment: Moment) -> list[Observation]:
        """The list, if it is not the one told last."""
        running = sorted(self._running(), key=lambda app: (app["package_name"], app["pid"]))
        if self._told is not None:
            known, told_at = self._told
            if known == running and moment.boot_s - told_at < LONGEST_SILENCE_S:
                return []
        self._told = (running, moment.boot_s)
        return [
            Observation(
                source=self.name,
                stream=APPS_ANDROID.name,
                ts=moment.ts,
                values={"running_applications": running, "metadata": {"platform": "linux"}},
            )
        ]

    def _running(self) -> Iterator[dict[str, Any]]:
        """One entry a program: its oldest process."""
        seen: set[str] = set()
        for process in sorted(self._processes(), key=lambda process: process.pid):
            found = self._described(process)
            if found is not None and found["package_name"] not in seen:
                seen.add(found["package_name"])
                yield found

    def _described(self, process: psutil.Process) -> dict[str, Any] | None:
        try:
            if process.uids().real != os.getuid():
                return None
            command, started_at = process.name(), process.create_time()
            cgroup = Path(f"/proc/{process.pid}/cgroup").read_text()
        except (psutil.Error, OSError):  # it has just ended
            return None
        program = self._names.of_process(command, cgroup=cgroup)
        if program is None:
            return None
        names = (command, program.name, program.program_id, program.wm_class)
        if self._exclusions.hides_app(*names):
            return None
        return {
            "pid": process.pid,
            "name": program.name,
            "package_name": program.program_id,
            "launch_date": round(started_at, 3),
        }
