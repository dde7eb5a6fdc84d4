"""Clocks, and when it is each source's turn."""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from collectors.desktop.observation import Moment


def look_at_clocks() -> Moment:
    """The clocks of this machine."""
    return Moment(
        ts=datetime.now(UTC),
        boot_s=time.clock_gettime(time.CLOCK_BOOTTIME),
        awake_s=time.monotonic(),
    )


def next_turn(start_s: float, interval_s: float, *, now_s: float) -> float:
    """The first point of the grid `start_s + n * interval_s` after now. Pure.

    Turns that went by, asleep or busy, are not made up for, and none moves those after it.
    """
    passed = math.floor((now_s - start_s) / interval_s) + 1
    turn = start_s + max(0, passed) * interval_s
    return turn if turn > now_s else turn + interval_s  # floating point, far from the start


@dataclass
class Timetable:
    """Whose turn it is, by the clock that goes on in sleep and can't be set."""

    intervals_s: Mapping[str, float]
    start_s: float
    _turns: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Everybody begins at the start."""
        self._turns = dict.fromkeys(self.intervals_s, self.start_s)

    def due(self, now_s: float) -> list[str]:
        """Whose turn has come."""
        return [name for name, turn in self._turns.items() if turn <= now_s]

    def took_turn(self, name: str, *, now_s: float, soon_s: float | None = None) -> None:
        """The next turn is on the grid, or `soon_s` from now if that is earlier."""
        turn = next_turn(self.start_s, self.intervals_s[name], now_s=now_s)
        self._turns[name] = turn if soon_s is None else min(turn, now_s + soon_s)

    def wait(self, name: str, *, until_s: float) -> None:
        """No turn before then."""
        self._turns[name] = until_s

    def next_in_s(self, now_s: float) -> float:
        """Seconds to the next turn of anybody."""
        return max(0.0, min(self._turns.values(), default=now_s) - now_s)
