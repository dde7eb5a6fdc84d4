"""Network interfaces that come up and go down, with or without wire."""

from collections.abc import Callable

import psutil

from am_assets.streams.os_events import SYSTEM_EVENT
from collectors.desktop.observation import Moment, Observation
from collectors.desktop.sources.source import Polled

# Containers and virtual machines make and remove these all the time.
VIRTUAL = ("lo", "veth", "docker", "br-", "virbr", "vnet", "tap")


def interfaces_up() -> frozenset[str]:
    """The interfaces that carry something now."""
    found = psutil.net_if_stats()
    return frozenset(
        name for name, told in found.items() if told.isup and not name.startswith(VIRTUAL)
    )


class NetworkSource(Polled):
    """Tells of changes; the first look tells of all that is up."""

    name = "network"
    interval_s = 15.0

    def __init__(self, look: Callable[[], frozenset[str]] = interfaces_up) -> None:
        """`look` gives the interfaces that are up."""
        self._look = look
        self._up: frozenset[str] = frozenset()

    def poll(self, moment: Moment) -> list[Observation]:
        """`network_up` and `network_down`, one an interface."""
        before, self._up = self._up, self._look()
        came, went = sorted(self._up - before), sorted(before - self._up)
        return [self._event(moment, "network_up", name) for name in came] + [
            self._event(moment, "network_down", name) for name in went
        ]

    def _event(self, moment: Moment, event_type: str, interface: str) -> Observation:
        return Observation(
            source=self.name,
            stream=SYSTEM_EVENT.name,
            ts=moment.ts,
            values={
                "event_type": event_type,
                "event_category": "network",
                "description": interface,
            },
        )
