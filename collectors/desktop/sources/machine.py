"""The machine asleep and awake, and clocks that were set."""

from datetime import timedelta

from am_assets.streams.os_events import SYSTEM_EVENT
from collectors.desktop.lasting import slept_s
from collectors.desktop.observation import Moment, Observation
from collectors.desktop.sources.source import Polled

SHORTEST_SLEEP_S = 5.0
SMALLEST_JUMP = timedelta(seconds=2)


class MachineSource(Polled):
    """Compares the clocks with each other: one goes on in sleep, one does not, one can be set."""

    name = "machine"
    interval_s = 1.0

    def __init__(self) -> None:
        """Nothing to compare with yet."""
        self._last: Moment | None = None

    def poll(self, moment: Moment) -> list[Observation]:
        """`suspend` and `resume`, and `clock_changed` with by how much."""
        last, self._last = self._last, moment
        if last is None:
            return []
        told = []
        if slept_s(last, moment) >= SHORTEST_SLEEP_S:
            told += [self._event(last, "suspend"), self._event(moment, "resume")]
        jump = clock_jump(last, moment)
        if abs(jump) >= SMALLEST_JUMP:
            told.append(self._event(moment, "clock_changed", by_s=round(jump.total_seconds(), 3)))
        return told

    def _event(self, moment: Moment, event_type: str, *, by_s: float | None = None) -> Observation:
        return Observation(
            source=self.name,
            stream=SYSTEM_EVENT.name,
            ts=moment.ts,
            values={
                "event_type": event_type,
                "event_category": "power" if by_s is None else "system",
                "metadata": None if by_s is None else {"by_s": by_s},
            },
        )


def clock_jump(earlier: Moment, later: Moment) -> timedelta:
    """By how much the wall clock was set between two moments. Pure."""
    return (later.ts - earlier.ts) - timedelta(seconds=later.boot_s - earlier.boot_s)
