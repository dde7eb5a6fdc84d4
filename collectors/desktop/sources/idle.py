"""Whether somebody uses the keyboard or the mouse: `afk` and `not-afk`, one event a stretch."""

from dataclasses import replace
from datetime import timedelta

from am_assets.streams.os_events import SYSTEM_EVENT
from collectors.desktop.lasting import Lasting
from collectors.desktop.observation import Moment, Observation
from collectors.desktop.sources.source import DeskMaker, OnDesk


class IdleSource(OnDesk):
    """Tells of stretches with somebody there and with nobody there."""

    name = "idle"
    interval_s = 2.0

    def __init__(self, make_desk: DeskMaker, *, after_s: float) -> None:
        """Shorter pauses than `after_s` are part of work."""
        super().__init__(make_desk)
        self._after_s = after_s
        self._state: str | None = None
        self._lasting: Lasting | None = None

    def open(self) -> None:
        """Connect, and see that the server can tell."""
        super().open()
        self.desk.idle_s()

    def fileno(self) -> int | None:
        """Nothing tells of a pause."""
        return None

    def poll(self, moment: Moment) -> list[Observation]:
        """The stretch that goes on; where it has ended, that one and the next."""
        idle_s = self.desk.idle_s()
        state = "afk" if idle_s >= self._after_s else "not-afk"
        lasting = self._lasting
        if lasting is not None and state == self._state:
            return [self._told(lasting, moment)] if lasting.is_due(moment) else []
        # Nobody was there since the last key, and somebody is since the first one after it.
        turned = before(moment, idle_s)
        ended = [] if lasting is None else [self._told(lasting, turned)]
        self._state = state
        self._lasting = Lasting(turned if lasting or state == "afk" else moment)
        return [*ended, self._told(self._lasting, moment)]

    def close(self, moment: Moment) -> list[Observation]:
        """The stretch has lasted until now."""
        told = [] if self._lasting is None else [self._told(self._lasting, moment)]
        self._state = self._lasting = None
        self.let_go()
        return told

    def _told(self, lasting: Lasting, moment: Moment) -> Observation:
        lasting.told_at = moment
        return Observation(
            source=self.name,
            stream=SYSTEM_EVENT.name,
            ts=lasting.since.ts,
            values={
                "event_type": self._state,
                "event_category": "presence",
                "duration_s": lasting.length_s(moment),
            },
            event_id=lasting.event_id,
        )


def before(moment: Moment, seconds: float) -> Moment:
    """The moment so many seconds before. Pure."""
    return replace(
        moment,
        ts=moment.ts - timedelta(seconds=seconds),
        boot_s=moment.boot_s - seconds,
        awake_s=moment.awake_s - seconds,
    )
