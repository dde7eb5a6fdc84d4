"""What a source is, and what sources share."""

from collections.abc import Callable
from typing import Protocol

from collectors.desktop.observation import Moment, Observation
from collectors.desktop.x11 import Desk

DeskMaker = Callable[[], Desk]


class Source(Protocol):
    """Something that can be looked at again and again. Used from one thread.

    `open` raises SourceUnavailableError where it can't run here, and so do `poll` and `fileno`
    once it can't any more; it may be opened again then.
    """

    name: str
    interval_s: float

    def open(self) -> None:
        """Take hold of what it looks at."""

    def fileno(self) -> int | None:
        """What becomes readable when a look is worth while before its time; None = nothing."""

    def soon_s(self) -> float | None:
        """Seconds until a look is worth while before its time; None = there is no hurry."""

    def poll(self, moment: Moment) -> list[Observation]:
        """What there is to tell since the last look."""

    def close(self, moment: Moment) -> list[Observation]:
        """Let go, and tell what ends with that."""


class Polled:
    """A source that has nothing to hold, or whose end has nothing to tell."""

    def open(self) -> None:
        """Nothing to take hold of."""

    def fileno(self) -> int | None:
        """Nothing tells when a look is worth while."""
        return None

    def soon_s(self) -> float | None:
        """There is no hurry."""
        return None

    def close(self, _moment: Moment) -> list[Observation]:
        """Nothing ends."""
        return []


class OnDesk:
    """A source that looks at an X server over a connection of its own."""

    def __init__(self, make_desk: DeskMaker) -> None:
        """`make_desk` raises SourceUnavailableError where there is no X server to look at."""
        self._make_desk = make_desk
        self._desk: Desk | None = None

    @property
    def desk(self) -> Desk:
        """The connection, once it is open."""
        assert self._desk is not None, "open() comes first"
        return self._desk

    def open(self) -> None:
        """Connect. Raises: SourceUnavailableError."""
        self.let_go()
        self._desk = self._make_desk()

    def fileno(self) -> int | None:
        """The connection."""
        return self.desk.fileno()

    def soon_s(self) -> float | None:
        """There is no hurry."""
        return None

    def close(self, _moment: Moment) -> list[Observation]:
        """Leave."""
        self.let_go()
        return []

    def let_go(self) -> None:
        """End the connection, if there is one."""
        if self._desk is not None:
            self._desk.close()
            self._desk = None
