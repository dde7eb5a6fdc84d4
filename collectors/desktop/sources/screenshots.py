"""Screenshots of an X server, when enough has changed."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageGrab

from am_assets.streams.image import SCREENSHOT
from collectors.desktop.errors import SourceUnavailableError
from collectors.desktop.exclusions import Exclusions
from collectors.desktop.observation import Moment, Observation, Picture, Window
from collectors.desktop.pictures import changed_share, encoded, thumbnail
from collectors.desktop.settings import ScreenshotSettings
from collectors.desktop.sources.source import DeskMaker, OnDesk


@dataclass(frozen=True)
class Held:
    """A screenshot that waits in memory whether something excluded comes up after all."""

    image: Image.Image
    cells: NDArray[np.int16]
    moment: Moment
    windows: tuple[Window, ...]
    front: Window | None


class ScreenshotSource(OnDesk):
    """Takes a picture, keeps it in memory for a while, and gives it out if it may be seen.

    A page may be on the screen before its window has its title: so the windows are looked at
    before the picture is taken, after it, and once more when it has been held. One excluded window,
    covered or not, is enough for no picture to be taken.
    """

    name = "screenshots"
    interval_s = 10.0

    def __init__(
        self, make_desk: DeskMaker, settings: ScreenshotSettings, exclusions: Exclusions
    ) -> None:
        """`exclusions` keep pictures from being taken at all."""
        super().__init__(make_desk)
        self._settings = settings
        self._exclusions = exclusions
        self._held: Held | None = None
        self._last: NDArray[np.int16] | None = None

    def fileno(self) -> int | None:
        """Changes are too many to be told of."""
        return None

    def soon_s(self) -> float | None:
        """When the held picture's time comes."""
        return self._settings.settle_s if self._held else None

    def poll(self, moment: Moment) -> list[Observation]:
        """The picture that was held, if its time has come; else perhaps a new one to hold."""
        if moment.is_locked or self.desk.is_blanked():
            self._held = None
            return []
        if self._held is None:
            before = self.desk.visible()
            if self._is_excluded(before):
                return [self._told(moment, before)]
            self._held = self._taken(moment, before)
        held = self._held
        if held is None or moment.boot_s - held.moment.boot_s < self._settings.settle_s:
            return []
        self._held = None
        return [self._given_out(held)]

    def close(self, _moment: Moment) -> list[Observation]:
        """A picture that is held is thrown away."""
        self._held = None
        self.let_go()
        return []

    def _taken(self, moment: Moment, before: tuple[Window, ...]) -> Held | None:
        """A picture, if it is not like the last one that was given out."""
        front = self.desk.front()
        image = grab(self.desk.name)
        cells = thumbnail(image)
        if self._last is not None and changed_share(self._last, cells) < self._settings.change:
            return None
        return Held(image, cells, moment, before + self.desk.visible(), front)

    def _given_out(self, held: Held) -> Observation:
        windows = held.windows + self.desk.visible()
        if self._is_excluded(windows):
            return self._told(held.moment, windows)
        self._last = held.cells
        picture = encoded(
            held.image,
            kind=self._settings.format,
            quality=self._settings.quality,
            max_side_px=self._settings.max_side_px,
        )
        return self._told(held.moment, windows, picture=picture, front=held.front)

    def _told(
        self,
        moment: Moment,
        windows: tuple[Window, ...],
        *,
        picture: Picture | None = None,
        front: Window | None = None,
    ) -> Observation:
        """One without a picture is there for the rules to hold it back, and count it."""
        shown = {"app": front.identifier, "title": front.title} if front else None
        return Observation(
            source=self.name,
            stream=SCREENSHOT.name,
            ts=moment.ts,
            values={"camera_type": "screen", "metadata": shown},
            windows=windows,
            picture=picture,
            is_of_screen=True,
        )

    def _is_excluded(self, windows: tuple[Window, ...]) -> bool:
        return any(map(self._exclusions.rule_against_window, windows))


def grab(display: str) -> Image.Image:
    """All screens of an X server, in memory. Raises: SourceUnavailableError."""
    try:
        return ImageGrab.grab(xdisplay=display)
    except (OSError, ValueError) as error:
        raise SourceUnavailableError(f"no picture of {display} could be taken: {error}") from error
