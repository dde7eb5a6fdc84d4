"""The hot worker as a part of the stack, and its process.

It listens nowhere. That it is well is told by a file that it writes every second.
"""

import json
import logging
import signal
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from infra.errors import NotReadyError
from infra.home import Home
from infra.parts import Part

if TYPE_CHECKING:
    from sensors.hot_worker import Pulse

NAME = "hot"
PULSE_FILE = "hot.json"
PULSE_EVERY_S = 1.0
STALE_S = 30  # a busy machine may keep it waiting
STOP_PATIENCE_S = 30  # the batch that it is at: a few recordings


@dataclass(frozen=True)
class Hot:
    """The hot worker of one home. `prepare` makes Dagster's own files, which it reads."""

    home: Home
    env: Mapping[str, str]
    prepare: Callable[[], None]

    def part(self) -> Part:
        """The supervised process."""
        return Part(
            name=NAME,
            argv=[sys.executable, "-m", "infra.hot", str(self.pulse_file)],
            cwd=self.home.run,
            port=None,
            env={**self.env, "DAGSTER_HOME": str(self.home.dagster)},
            prepare=self.prepare,
            check=self._check,
            stop_patience_s=STOP_PATIENCE_S,
        )

    @property
    def pulse_file(self) -> Path:
        """Where it tells how it is."""
        return self.home.run / PULSE_FILE

    def _check(self, started: float) -> None:
        try:
            told = json.loads(self.pulse_file.read_text())
        except FileNotFoundError:
            raise NotReadyError("hot worker: has not begun yet") from None
        if told["at"] < max(started, time.time() - STALE_S):
            raise NotReadyError("hot worker: no sign of life")
        if problems := [one for one in told["problems"] if one.startswith("the ledger")]:
            raise NotReadyError(f"hot worker: {problems[0]}")


class PulseWriter:
    """Writes the worker's state to a file, at most once a second."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last = 0.0

    def __call__(self, pulse: "Pulse") -> None:
        """Write it, if it is time."""
        at = pulse.at.timestamp()
        if abs(at - self._last) < PULSE_EVERY_S:
            return
        self._last = at
        told = {"at": at, "waiting": pulse.waiting, "problems": list(pulse.problems)}
        beside = self._path.with_suffix(".new")
        beside.write_text(json.dumps(told))
        beside.replace(self._path)


def main(pulse_file: Path) -> None:
    """Be the worker of the stack that the `AM_…` variables name, until SIGTERM or SIGINT."""
    # Dagster and the models' packages: the part's description above must load fast.
    from am_assets.definitions import tools_from_environment  # noqa: PLC0415
    from sensors.hot_worker import HotWorker  # noqa: PLC0415

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
    for ours in ("am_assets", "infra", "resources", "sensors", __name__):
        logging.getLogger(ours).setLevel(logging.INFO)
    worker = HotWorker(tools_from_environment(), on_pulse=PulseWriter(pulse_file))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: worker.end())
    logging.getLogger(__name__).info("looking for what lands")
    worker.run()
    logging.getLogger(__name__).info("ended")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
