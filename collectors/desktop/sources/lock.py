"""The screen locked and unlocked."""

from am_assets.streams.os_events import SYSTEM_EVENT
from collectors.desktop.observation import Moment, Observation
from collectors.desktop.sources.source import Polled


class LockSource(Polled):
    """Tells of changes; the first look only learns how things are."""

    name = "lock"
    interval_s = 2.0

    def __init__(self) -> None:
        """Nothing is known yet."""
        self._was_locked: bool | None = None

    def poll(self, moment: Moment) -> list[Observation]:
        """`device_lock` or `device_unlock`, if it is not as it was."""
        before, self._was_locked = self._was_locked, moment.is_locked
        if before is None or before == moment.is_locked:
            return []
        event_type = "device_lock" if moment.is_locked else "device_unlock"
        return [
            Observation(
                source=self.name,
                stream=SYSTEM_EVENT.name,
                ts=moment.ts,
                values={"event_type": event_type, "event_category": "lock"},
            )
        ]
