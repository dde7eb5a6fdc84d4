"""The window in front: one event for as long as it stays there under one title."""

from collections.abc import Callable
from dataclasses import dataclass

from am_assets.streams.os_events import APP_LIFECYCLE
from collectors.desktop.exclusions import Exclusions
from collectors.desktop.lasting import Lasting, slept_s
from collectors.desktop.observation import Moment, Observation, Window
from collectors.desktop.sources.source import DeskMaker, OnDesk

ASLEEP_S = 2.0


@dataclass(frozen=True)
class Stay:
    """A window that is in front, and since when."""

    window: Window
    lasting: Lasting


class WindowSource(OnDesk):
    """`foreground` for each window, and `background` for the last where nothing follows it.

    A window that is excluded is nothing.
    """

    name = "window"
    interval_s = 1.0

    def __init__(
        self,
        make_desk: DeskMaker,
        exclusions: Exclusions,
        *,
        app_name: Callable[[str], str | None],
    ) -> None:
        """`app_name` tells what people call an app, None = nobody knows."""
        super().__init__(make_desk)
        self._exclusions = exclusions
        self._app_name = app_name
        self._stay: Stay | None = None
        self._hidden: Window | None = None
        self._last: Moment | None = None

    def open(self) -> None:
        """Connect, and be told of changes."""
        super().open()
        self.desk.watch_front()

    def poll(self, moment: Moment) -> list[Observation]:
        """What has changed, and what has lasted; nothing is in front of a locked screen."""
        self.desk.drain()
        front = None if moment.is_locked else self.desk.front()
        told = [] if self._last is None else self._slept(self._last, moment)
        is_hidden = front is not None and bool(self._exclusions.rule_against_window(front))
        told += self._turn(None if is_hidden else front, moment)
        if is_hidden and front is not None and front != self._hidden:
            told.append(self._event("foreground", front, Lasting(moment), moment))  # to be counted
        self._hidden = front if is_hidden else None
        self._last = moment
        return told

    def close(self, moment: Moment) -> list[Observation]:
        """The stay ends."""
        told = self._turn(None, moment)
        self._last = self._hidden = None
        self.let_go()
        return told

    def _slept(self, last: Moment, moment: Moment) -> list[Observation]:
        """A stay ends when the machine falls asleep; another begins when it wakes."""
        return self._turn(None, last) if slept_s(last, moment) >= ASLEEP_S else []

    def _turn(self, front: Window | None, moment: Moment) -> list[Observation]:
        stay = self._stay
        if stay is not None and front == stay.window:
            return self._tell(stay, moment) if stay.lasting.is_due(moment) else []
        told = [] if stay is None else self._tell(stay, moment)
        self._stay = None
        if front is not None:
            self._stay = Stay(front, Lasting(moment))
            return told + self._tell(self._stay, moment)
        if stay is not None:
            told.append(self._event("background", stay.window, Lasting(moment), moment))
        return told

    def _tell(self, stay: Stay, moment: Moment) -> list[Observation]:
        stay.lasting.told_at = moment
        return [self._event("foreground", stay.window, stay.lasting, moment)]

    def _event(
        self, event_type: str, window: Window, lasting: Lasting, moment: Moment
    ) -> Observation:
        identifier = window.identifier
        values = {
            "app_identifier": identifier,
            "app_name": self._app_name(identifier),
            "event_type": event_type,
            "window_title": window.title or None,
            "duration_s": lasting.length_s(moment) if event_type == "foreground" else None,
        }
        return Observation(
            source=self.name,
            stream=APP_LIFECYCLE.name,
            ts=lasting.since.ts,
            values=values,
            windows=(window,),
            event_id=lasting.event_id,
        )
