"""Whether the screen is locked, asked of everything that may know."""

from collections.abc import Mapping
from contextlib import suppress

import psutil
from jeepney import DBusAddress

from collectors.desktop.dbus import Bus, BusError
from collectors.desktop.errors import SourceUnavailableError

SAVERS = (
    ("org.freedesktop.ScreenSaver", "/org/freedesktop/ScreenSaver"),
    ("org.gnome.ScreenSaver", "/org/gnome/ScreenSaver"),
    ("org.cinnamon.ScreenSaver", "/org/cinnamon/ScreenSaver"),
    ("org.mate.ScreenSaver", "/org/mate/ScreenSaver"),
    ("org.xfce.ScreenSaver", "/org/xfce/ScreenSaver"),
)
LOGIND = ("org.freedesktop.login1", "/org/freedesktop/login1/session/auto")
LOGIND_SESSION = "org.freedesktop.login1.Session"
# Programs that lock for as long as they run, and tell nobody.
LOCKERS = frozenset(
    {"i3lock", "slock", "swaylock", "xsecurelock", "xlock", "xtrlock", "hyprlock", "waylock"}
)
CACHED_S = 1.0
AGAIN_S = 30.0  # a bus that is not there is looked for again


class LockWatch:
    """Asks the session's screen savers, the login service and the list of programs.

    One thread at a time. A bus that is not there counts as "knows nothing".
    """

    def __init__(self, buses: Mapping[str, str]) -> None:
        """`buses`: which ones there are, `system` and `session`, as `Bus` takes them."""
        self._addresses = buses
        self._buses: dict[str, Bus] = {}
        self._absent_until: dict[str, float] = {}
        self._known: tuple[float, bool] | None = None

    def is_locked(self, boot_s: float) -> bool:
        """Whether anything says that the screen is locked; asked at most once a second."""
        if self._known is None or not 0 <= boot_s - self._known[0] < CACHED_S:
            found = self._says_saver(boot_s) or self._says_login(boot_s) or has_locker()
            self._known = (boot_s, found)
        return self._known[1]

    def sources(self) -> list[str]:
        """Who can be asked, in words."""
        return [name for name in self._addresses if self._bus(name, 0.0) is not None]

    def close(self) -> None:
        """Leave the buses."""
        for bus in self._buses.values():
            bus.close()
        self._buses.clear()

    def _says_saver(self, boot_s: float) -> bool:
        for name, path in SAVERS:
            address = DBusAddress(path, bus_name=name, interface=name)
            if self._asked("session", address, "GetActive", boot_s=boot_s) is True:
                return True
        return False

    def _says_login(self, boot_s: float) -> bool:
        name, path = LOGIND
        address = DBusAddress(path, bus_name=name, interface=LOGIND_SESSION)
        return self._asked("system", address, "LockedHint", boot_s=boot_s) is True

    def _asked(self, which: str, address: DBusAddress, what: str, *, boot_s: float) -> object:
        """The answer; None where nobody gives one."""
        bus = self._bus(which, boot_s)
        if bus is None:
            return None
        try:
            is_property = address.interface == LOGIND_SESSION
            return bus.get(address, what) if is_property else bus.call(address, what)
        except BusError:
            return None
        except SourceUnavailableError:
            self._buses.pop(which).close()
            return None

    def _bus(self, which: str, boot_s: float) -> Bus | None:
        if which in self._buses or which not in self._addresses:
            return self._buses.get(which)
        if boot_s < self._absent_until.get(which, 0.0):
            return None
        self._absent_until[which] = boot_s + AGAIN_S
        with suppress(SourceUnavailableError):
            self._buses[which] = Bus(self._addresses[which])
        return self._buses.get(which)


def has_locker() -> bool:
    """Whether a program runs that locks the screen."""
    return any(process.info["name"] in LOCKERS for process in psutil.process_iter(["name"]))
