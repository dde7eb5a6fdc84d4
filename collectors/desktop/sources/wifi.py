"""The Wi-Fi networks in reach, as NetworkManager sees them."""

from collections.abc import Iterator
from typing import Any

from jeepney import DBusAddress

from am_assets.streams.network import WIFI
from collectors.desktop.dbus import Bus, BusError
from collectors.desktop.errors import SourceUnavailableError
from collectors.desktop.observation import Moment, Observation
from collectors.desktop.sources.source import Polled

MANAGER = "org.freedesktop.NetworkManager"
ROOT = DBusAddress("/org/freedesktop/NetworkManager", bus_name=MANAGER, interface=MANAGER)
IS_WIFI = 2  # NM_DEVICE_TYPE_WIFI
NOTHING = "/"
PRIVACY = 0x1  # of the flags
SAE = 0x400  # of the RSN flags: the key exchange that came with WPA 3


class WifiSource(Polled):
    """All networks that were found in the last scan; it starts none of its own."""

    name = "wifi"
    interval_s = 120.0

    def __init__(self, bus: str = "SYSTEM") -> None:
        """`bus` as `Bus` takes it."""
        self._address = bus
        self._bus: Bus | None = None

    def open(self) -> None:
        """Find NetworkManager and a Wi-Fi device. Raises: SourceUnavailableError."""
        self._bus = Bus(self._address)
        try:
            if not self._devices():
                raise SourceUnavailableError("NetworkManager knows no Wi-Fi device here")
        except BusError as error:
            told = f"NetworkManager does not answer on D-Bus ({error}); it is what is asked"
            raise SourceUnavailableError(told) from error

    def poll(self, moment: Moment) -> list[Observation]:
        """One row a network; access points that vanish meanwhile are left out."""
        try:
            found = [row for device in self._devices() for row in self._networks(device)]
        except BusError as error:
            raise SourceUnavailableError(f"NetworkManager does not answer: {error}") from error
        return [
            Observation(source=self.name, stream=WIFI.name, ts=moment.ts, values=row)
            for row in found
        ]

    def close(self, _moment: Moment) -> list[Observation]:
        """Leave the bus."""
        if self._bus is not None:
            self._bus.close()
            self._bus = None
        return []

    def _devices(self) -> list[str]:
        paths = self._get(ROOT.object_path, MANAGER, "Devices")
        kind = f"{MANAGER}.Device"
        return [path for path in paths if self._get(path, kind, "DeviceType") == IS_WIFI]

    def _networks(self, device: str) -> Iterator[dict[str, Any]]:
        wireless = f"{MANAGER}.Device.Wireless"
        active = self._get(device, wireless, "ActiveAccessPoint")
        for path in self._get(device, wireless, "AccessPoints"):
            try:
                told = {name: self._get(path, f"{MANAGER}.AccessPoint", name) for name in ASKED}
            except BusError:
                continue
            own_ip = self._own_ip(device) if path == active else None
            yield network(told, is_connected=path == active, ip_address=own_ip)

    def _own_ip(self, device: str) -> str | None:
        config = self._get(device, f"{MANAGER}.Device", "Ip4Config")
        if config == NOTHING:
            return None
        found = self._get(config, f"{MANAGER}.IP4Config", "AddressData")
        return str(found[0]["address"][1]) if found else None

    def _get(self, path: str, interface: str, name: str) -> Any:
        assert self._bus is not None, "open() comes first"
        address = DBusAddress(path, bus_name=MANAGER, interface=interface)
        return self._bus.get(address, name)


ASKED = ("Ssid", "HwAddress", "Strength", "Frequency", "Flags", "WpaFlags", "RsnFlags")


def network(told: dict[str, Any], *, is_connected: bool, ip_address: str | None) -> dict[str, Any]:
    """A row of `device.network.wifi.raw` from what an access point says; strength in %. Pure."""
    frequency = int(told["Frequency"])
    return {
        "ssid": bytes(told["Ssid"]).decode("utf-8", errors="replace").replace("\0", ""),
        "bssid": str(told["HwAddress"]).lower(),
        "signal_strength": float(told["Strength"]),
        "frequency_mhz": float(frequency),
        "channel": channel(frequency),
        "security": security(told["Flags"], told["WpaFlags"], told["RsnFlags"]),
        "is_connected": is_connected,
        "ip_address": ip_address,
    }


def channel(frequency_mhz: int) -> int | None:
    """The channel's number; None for a frequency that has none. Pure."""
    if frequency_mhz == 2484:
        return 14
    for lowest, highest, base in ((2412, 2472, 2407), (5160, 5885, 5000), (5955, 7115, 5950)):
        if lowest <= frequency_mhz <= highest and (frequency_mhz - base) % 5 == 0:
            return (frequency_mhz - base) // 5
    return None


def security(flags: int, wpa: int, rsn: int) -> str:
    """open, wep, wpa, wpa2, wpa3. Pure."""
    if rsn & SAE:
        return "wpa3"
    if rsn:
        return "wpa2"
    if wpa:
        return "wpa"
    return "wep" if flags & PRIVACY else "open"
