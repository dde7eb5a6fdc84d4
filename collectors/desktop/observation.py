"""What sources give: observations, and the windows and moments they are about."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class Moment:
    """One look at the clocks, and whether the screen is locked.

    `boot_s` counts the time asleep, `awake_s` does not; neither can be set.
    """

    ts: datetime
    boot_s: float
    awake_s: float
    is_locked: bool = False


@dataclass(frozen=True)
class Window:
    """A window as its program describes it; empty text where it says nothing.

    `app` and `instance` are the two halves of WM_CLASS, `command` the program's command line.
    """

    app: str = ""
    instance: str = ""
    title: str = field(default="", repr=False)
    pid: int | None = None
    command: tuple[str, ...] = field(default=(), repr=False)

    @property
    def identifier(self) -> str:
        """What to call its app: never empty."""
        return self.app or self.instance or "unknown"


@dataclass(frozen=True)
class Picture:
    """An encoded picture."""

    content: bytes = field(repr=False)
    media_type: str


@dataclass(frozen=True, kw_only=True)
class Observation:
    """One row to be, before the rules have seen it.

    `windows` are those it tells of or shows; `texts` what else people could want kept out;
    `targets` the clipboard's formats. `is_of_screen`: not wanted while the screen is locked.
    `event_id` is given where one event is told again as it grows; else it gets one when it is kept.
    """

    source: str
    stream: str
    ts: datetime
    values: Mapping[str, Any] = field(repr=False)
    windows: tuple[Window, ...] = ()
    texts: tuple[str, ...] = field(default=(), repr=False)
    targets: frozenset[str] = frozenset()
    picture: Picture | None = None
    is_of_screen: bool = False
    event_id: str | None = None
