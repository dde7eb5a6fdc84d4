"""Battery and supply, as the kernel tells them under /sys/class/power_supply."""

from pathlib import Path
from typing import Any

from am_assets.streams.state import POWER
from collectors.desktop.errors import SourceUnavailableError
from collectors.desktop.observation import Moment, Observation
from collectors.desktop.sources.source import Polled

MICRO = 1_000_000  # volts and the like come in millionths, temperatures in tenths
SUPPLIES = {"Mains": "ac", "USB": "usb", "Wireless": "wireless"}
LID = Path("/proc/acpi/button/lid")


class BatterySource(Polled):
    """One reading a minute of the fullest battery, which is the one that is used last."""

    name = "battery"
    interval_s = 60.0

    def __init__(self, folder: Path = Path("/sys/class/power_supply"), lid: Path = LID) -> None:
        """`folder` and `lid` as the kernel lays them out."""
        self._folder = folder
        self._lid = lid

    def open(self) -> None:
        """See that there is a battery. Raises: SourceUnavailableError."""
        if not self._battery():
            raise SourceUnavailableError(f"this machine has no battery in {self._folder}")

    def poll(self, moment: Moment) -> list[Observation]:
        """The reading; nothing while the battery is out."""
        battery = self._battery()
        if battery is None:
            return []
        supplies = [facts(path) for path in self._parts() if path != battery]
        values = reading(facts(battery), supplies, is_lid_closed=self._is_lid_closed())
        if values is None:
            return []
        return [Observation(source=self.name, stream=POWER.name, ts=moment.ts, values=values)]

    def _battery(self) -> Path | None:
        """The machine's own; a mouse's battery has the scope Device."""
        found = [path for path in self._parts() if is_own_battery(facts(path))]
        return max(found, key=lambda path: float(facts(path).get("capacity", 0)), default=None)

    def _parts(self) -> list[Path]:
        return sorted(self._folder.iterdir()) if self._folder.is_dir() else []

    def _is_lid_closed(self) -> bool | None:
        for path in sorted(self._lid.glob("*/state")):
            return "closed" in path.read_text()
        return None


def facts(folder: Path) -> dict[str, str]:
    """What the kernel says of one supply, in the words of its `uevent`."""
    try:
        lines = (folder / "uevent").read_text().splitlines()
    except OSError:  # it was unplugged meanwhile
        return {}
    pairs = (line.partition("=") for line in lines)
    return {name.removeprefix("POWER_SUPPLY_").lower(): value for name, _, value in pairs}


def is_own_battery(told: dict[str, str]) -> bool:
    """Whether these facts are of a battery that the machine itself lives on. Pure."""
    is_battery = told.get("type") == "Battery" and told.get("scope") != "Device"
    return is_battery and "capacity" in told and told.get("present", "1") == "1"


def reading(
    battery: dict[str, str], supplies: list[dict[str, str]], *, is_lid_closed: bool | None
) -> dict[str, Any] | None:
    """A row of `device.state.power.raw`; None where the kernel does not know the level. Pure."""
    if "capacity" not in battery:
        return None
    source = next((SUPPLIES.get(told.get("type", "")) for told in supplies if _is_on(told)), None)
    told_of = [told for told in supplies if "online" in told]
    return {
        "battery_level": min(100.0, float(battery["capacity"])),
        "is_charging": battery.get("status") == "Charging",
        "is_plugged_in": any(map(_is_on, told_of)) if told_of else None,
        "power_source": source or ("battery" if told_of else None),
        "is_lid_closed": is_lid_closed,
        "voltage_v": _scaled(battery.get("voltage_now"), MICRO),
        "battery_temperature_c": _scaled(battery.get("temp"), 10),
    }


def _is_on(told: dict[str, str]) -> bool:
    return told.get("online", "0") != "0"


def _scaled(value: str | None, divisor: int) -> float | None:
    return None if value is None else float(value) / divisor
