"""Which sources this machine can have, put together from its environment and the settings."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from collectors.desktop.errors import SourceUnavailableError
from collectors.desktop.exclusions import Exclusions
from collectors.desktop.lock import LockWatch
from collectors.desktop.programs import Names, data_folders, installed
from collectors.desktop.settings import SOURCES, CollectSettings
from collectors.desktop.sources.apps import AppsSource
from collectors.desktop.sources.battery import BatterySource
from collectors.desktop.sources.clipboard import ClipboardSource
from collectors.desktop.sources.idle import IdleSource
from collectors.desktop.sources.lock import LockSource
from collectors.desktop.sources.machine import MachineSource
from collectors.desktop.sources.network import NetworkSource
from collectors.desktop.sources.screenshots import ScreenshotSource
from collectors.desktop.sources.source import Source
from collectors.desktop.sources.wifi import WifiSource
from collectors.desktop.sources.window import WindowSource
from collectors.desktop.x11 import Desk

# What a Wayland compositor would have to offer. An X server inside of it (Xwayland) knows only the
# windows of old programs: asked, it would give half of the truth, and the rules could not see the
# other half.
WAYLAND = {
    "window": "needs wlr-foreign-toplevel-management (wlroots, KDE) or an extension of GNOME Shell",
    "idle": "needs the ext-idle-notify-v1 protocol, or Mutter's IdleMonitor on GNOME",
    "clipboard": "needs ext-data-control-v1 (wlroots, KDE); GNOME has nothing for it",
    "screenshots": "needs ext-image-copy-capture-v1, or the ScreenCast portal (it asks first)",
}


@dataclass(frozen=True)
class Machine:
    """This machine: its environment variables and its owner's home."""

    environment: Mapping[str, str]
    home: Path

    def lock_watch(self) -> LockWatch:
        """What tells whether the screen is locked."""
        return LockWatch({"system": "SYSTEM", "session": "SESSION"})

    def sources(
        self, settings: CollectSettings, exclusions: Exclusions, *, names: list[str] | None
    ) -> list[Source]:
        """The sources that are wanted: those named, else all that are enabled."""
        makers = self._makers(settings, exclusions)
        wanted = names or [name for name in SOURCES if settings.source(name).enabled]
        return [_paced(makers[name](), settings) for name in wanted]

    def _makers(
        self, settings: CollectSettings, exclusions: Exclusions
    ) -> dict[str, Callable[[], Source]]:
        known = Names(installed(data_folders(self.environment, home=self.home)))
        desk = {name: partial(self.desk, name) for name in WAYLAND}
        return {
            "window": lambda: WindowSource(desk["window"], exclusions, app_name=known.of_app),
            "idle": lambda: IdleSource(desk["idle"], after_s=settings.idle_after_s),
            "lock": LockSource,
            "machine": MachineSource,
            "clipboard": lambda: ClipboardSource(desk["clipboard"]),
            "screenshots": lambda: ScreenshotSource(
                desk["screenshots"], settings.screenshots, exclusions
            ),
            "battery": BatterySource,
            "network": NetworkSource,
            "wifi": WifiSource,
            "apps": lambda: AppsSource(known, exclusions),
        }

    def desk(self, source: str) -> Desk:
        """A connection to the X server. Raises: SourceUnavailableError, also under Wayland."""
        if self.environment.get("WAYLAND_DISPLAY") or (
            self.environment.get("XDG_SESSION_TYPE") == "wayland"
        ):
            raise SourceUnavailableError(
                f"this is a Wayland session: {source} {WAYLAND[source]}, which AM does not speak"
                " yet; log in to an X11 (Xorg) session for it"
            )
        display = self.environment.get("DISPLAY")
        if not display:
            raise SourceUnavailableError(
                "there is no X server (DISPLAY is not set): start it from the graphical session"
            )
        return Desk(display)


def _paced(source: Source, settings: CollectSettings) -> Source:
    interval_s = settings.source(source.name).interval_s
    if interval_s is not None:
        source.interval_s = interval_s
    return source
