"""Things that last: told when they begin, again while they go on, and once more when they end.

It is one event each time: the same id, the same time, a greater length. The server keeps the
greatest, so that little is lost when the machine loses its power in between.
"""

from dataclasses import dataclass, field
from uuid import uuid4

from collectors.desktop.observation import Moment

TOLD_EVERY_S = 60.0


@dataclass
class Lasting:
    """Something that goes on since a moment."""

    since: Moment
    event_id: str = field(default_factory=lambda: str(uuid4()))
    told_at: Moment | None = None

    def is_due(self, moment: Moment) -> bool:
        """Whether it is time to tell it again."""
        return self.told_at is None or moment.boot_s - self.told_at.boot_s >= TOLD_EVERY_S

    def length_s(self, moment: Moment) -> float:
        """How long it has lasted."""
        return round(max(0.0, moment.boot_s - self.since.boot_s), 3)


def slept_s(earlier: Moment, later: Moment) -> float:
    """Seconds the machine was asleep between two moments. Pure."""
    return (later.boot_s - earlier.boot_s) - (later.awake_s - earlier.awake_s)
