"""Which sockets are open in this process, and how they learn that there is something to send.

Several sockets of one device live side by side. Other processes have sockets of their own: what has
to be sent is in the database, and every socket looks there at its next tick at the latest.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum

from prometheus_client import Counter

SOCKETS = Counter("websocket_connections", "Sockets opened.", ["kind"])


class Kind(StrEnum):
    """What a socket is for."""

    AUDIO = "audio"
    REALTIME = "realtime"
    NOTIFICATIONS = "notifications"
    HEARTBEAT = "heartbeat"


@dataclass(frozen=True, eq=False)
class LiveSocket:
    """One open socket; `news` is set when it should look for something to send."""

    kind: Kind
    user_id: str
    device_id: str
    news: asyncio.Event = field(default_factory=asyncio.Event)


class LiveSockets:
    """All open sockets of this process."""

    def __init__(self) -> None:
        """None is open yet."""
        self._open: set[LiveSocket] = set()

    @contextmanager
    def entered(self, kind: Kind, *, user_id: str, device_id: str) -> Iterator[LiveSocket]:
        """Count a socket while it is open."""
        live = LiveSocket(kind, user_id, device_id)
        SOCKETS.labels(kind).inc()
        self._open.add(live)
        try:
            yield live
        finally:
            self._open.discard(live)

    def device_ids(self, kind: Kind, *, user_id: str) -> list[str]:
        """The device of each open socket of a user, so that a device may be there twice."""
        return sorted(
            live.device_id for live in self._open if (live.kind, live.user_id) == (kind, user_id)
        )

    def has(self, kind: Kind, *, user_id: str, device_id: str) -> bool:
        """Whether a device has such a socket open here."""
        return device_id in self.device_ids(kind, user_id=user_id)

    def wake(self, user_id: str) -> None:
        """Have the user's sockets look for something to send now."""
        for live in self._open:
            if live.user_id == user_id:
                live.news.set()
