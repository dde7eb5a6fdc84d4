"""Where observations go once the rules have let them through: into the spool, or on the screen."""

import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Protocol
from uuid import uuid4

from collectors.desktop.errors import SpoolError
from collectors.desktop.observation import Observation
from collectors.desktop.settings import MIB, SpoolSettings
from collectors.desktop.spool import Spool

log = logging.getLogger(__name__)


class Sink(Protocol):
    """Takes what may be kept, and counts what may not."""

    def keep(self, observation: Observation) -> bool:
        """Whether it was taken."""

    def count(self, fate: str, *, source: str, reason: str) -> None:
        """Note what became of an observation that was not."""


def local_time(ts: datetime) -> datetime:
    """An instant in the zone that the machine is in now: people travel while this runs."""
    time.tzset()
    return ts.astimezone()


def element(observation: Observation, *, device_id: str, local: datetime) -> dict[str, Any]:
    """The message of an observation. Its id is made now and stays: sending again is the same row.

    `local` is the same instant in the zone of the machine.
    """
    offset = local.utcoffset()
    envelope = {
        "event_id": observation.event_id or str(uuid4()),
        "device_id": device_id,
        "recorded_at": observation.ts.isoformat(),
        "tz_offset_min": None if offset is None else int(offset.total_seconds() // 60),
    }
    values = {name: value for name, value in observation.values.items() if value is not None}
    return {**envelope, **values}


class SpoolSink:
    """Keeps observations in a spool, as long as there is room.

    Screenshots are the first to be left out. Nothing is left out without being counted, and a
    count that can't be written is written later.
    """

    def __init__(self, spool: Spool, settings: SpoolSettings, *, device_id: str) -> None:
        """`settings` say how much there is room for."""
        self._spool = spool
        self._device_id = device_id
        self._limit = settings.limit_mb * MIB
        self._limit_with_picture = self._limit * settings.screenshots_until
        self._counts: Counter[tuple[str, str, str]] = Counter()
        self._trouble: str | None = None

    def keep(self, observation: Observation) -> bool:
        """Whether there was room."""
        limit = self._limit_with_picture if observation.picture else self._limit
        if self._spool.byte_count >= limit:
            self._leave_out(observation, "spool full")
            return False
        message = element(observation, device_id=self._device_id, local=local_time(observation.ts))
        try:
            self._spool.add(observation.stream, message, observation.picture)
        except SpoolError as error:
            self._leave_out(observation, "disk trouble", why=str(error))
            return False
        self._say(None)
        return True

    def count(self, fate: str, *, source: str, reason: str) -> None:
        """Note it in the spool, or in memory until that can be written again."""
        self._counts[fate, source, reason] += 1
        try:
            for (known, named, told), count in list(self._counts.items()):
                self._spool.count(known, source=named, reason=told, count=count)
                del self._counts[known, named, told]
        except SpoolError as error:
            self._say(str(error))

    def _leave_out(self, observation: Observation, reason: str, *, why: str = "") -> None:
        self._say(why or f"{reason}: {self._spool.byte_count / MIB:.0f} MiB wait to be sent")
        self.count("left_out", source=observation.source, reason=reason)

    def _say(self, trouble: str | None) -> None:
        """Once, when it changes."""
        if bool(trouble) != bool(self._trouble):
            log.warning("%s; what is new is left out" if trouble else "%s", trouble or "room again")
        self._trouble = trouble


class PrintSink:
    """Shows what would be sent, and stores nothing."""

    def __init__(self, show: Callable[[str], None], *, device_id: str) -> None:
        """`show` takes one line."""
        self._show = show
        self._device_id = device_id

    def keep(self, observation: Observation) -> bool:
        """Always taken."""
        message = element(observation, device_id=self._device_id, local=local_time(observation.ts))
        picture = observation.picture
        told: Mapping[str, Any] = (
            {**message, "picture": f"{picture.media_type}, {len(picture.content)} bytes"}
            if picture
            else message
        )
        self._show(f"{observation.stream} {json.dumps(told, ensure_ascii=False)}")
        return True

    def count(self, fate: str, *, source: str, reason: str) -> None:
        """One line without the content."""
        self._show(f"{fate}: {source} ({reason})")
