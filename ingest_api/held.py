"""How many bytes of bodies are in memory at once. Who brings more waits, then is sent away.

A body is counted as it arrives, so that nobody holds room by announcing one. One of those who wait
may overdraw: otherwise many half-read bodies could wait for each other for ever. So no more is held
than the limit and one body.
"""

import asyncio
import threading
from collections import deque

from ingest_api.errors import BusyError

HELD = "am.held"  # where a request's scope has what it holds; None = nothing that is counted


class Memory:
    """The room for all bodies together."""

    def __init__(self, limit: int, *, patience_s: float) -> None:
        """`limit` in bytes; a request waits for room for at most `patience_s`."""
        self.limit = limit
        self.patience_s = patience_s
        self.used = 0
        self._overdrawn: Held | None = None
        self._lock = threading.Lock()
        self._waiting: deque[tuple[Held, int, asyncio.Future[None]]] = deque()

    def take(self, held: "Held", byte_count: int) -> bool:
        """Count bytes as held, if there is room or nobody else overdraws. From any thread."""
        with self._lock:
            is_room = self.used + byte_count <= self.limit
            if not is_room and self._overdrawn not in (None, held):
                return False
            if not is_room:
                self._overdrawn = held
            self.used += byte_count
            held.byte_count += byte_count
            return True

    def give_back(self, held: "Held") -> None:
        """All that one body held; who waits longest goes on first."""
        with self._lock:
            self.used -= held.byte_count
            held.byte_count = 0
            if self._overdrawn is held:
                self._overdrawn = None
        while self._waiting:
            waiter, byte_count, turn = self._waiting[0]
            if not turn.done() and not self.take(waiter, byte_count):
                return
            self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)

    async def wait(self, held: "Held", byte_count: int, *, patience_s: float | None) -> None:
        """Until there is room, behind those who wait already. Raises: TimeoutError."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((held, byte_count, turn))
        try:
            async with asyncio.timeout(patience_s):
                await turn
        finally:
            turn.cancel()  # of one who left; of one who had its turn, nothing

    def has_to_queue(self, held: "Held") -> bool:
        """Whether somebody waits already; who overdraws goes on all the same."""
        return held is not self._overdrawn and any(not turn.done() for _, _, turn in self._waiting)


class Held:
    """What one request or frame holds of the room."""

    def __init__(self, memory: Memory) -> None:
        """Nothing yet."""
        self.byte_count = 0
        self._memory = memory

    async def reserve(self, byte_count: int, *, is_patient: bool = False) -> None:
        """Hold more, waiting for it where there is no room; as long as it takes if `is_patient`.

        Raises: BusyError after the memory's patience.
        """
        if byte_count == 0:
            return
        if not self._memory.has_to_queue(self) and self._memory.take(self, byte_count):
            return
        patience_s = None if is_patient else self._memory.patience_s
        try:
            await self._memory.wait(self, byte_count, patience_s=patience_s)
        except TimeoutError:
            raise _busy() from None

    def grow(self, byte_count: int) -> None:
        """Hold more at once, from any thread. Raises: BusyError where there is no room."""
        if not self._memory.take(self, byte_count):
            raise _busy()

    def release(self) -> None:
        """Hold nothing any more."""
        self._memory.give_back(self)


def _busy() -> BusyError:
    return BusyError("AM has as much in memory as it takes at once: try again in a moment")
