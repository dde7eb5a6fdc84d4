"""The events that location apps send in one message: a fix, the battery, the network."""

from collections.abc import Mapping
from typing import Any

from ingest_api.adapters.adapter import Event
from ingest_api.adapters.units import is_number, known, number

GPS = "device.sensor.gps.raw"
POWER = "device.state.power.raw"
WIFI = "device.network.wifi.raw"
LOCATION_STREAMS = (GPS, POWER)
# OwnTracks' and Colota's `bs`: unplugged, charging, full; 0 is unknown
BATTERY_STATES = {1: False, 2: True, 3: False}


def fix(columns: Mapping[str, Any], sent: Mapping[str, Any]) -> Event:
    """A position fix; `columns` are those of the stream, already in its units."""
    return Event(stream=GPS, columns=columns, sent=sent)


def battery(level_percent: Any, is_charging: bool | None, of: Event) -> list[Event]:
    """The battery's state when `of` happened; nothing where the app leaves level or state open.

    The level's and the state's own words stay with `of`.
    """
    level = known(level_percent)
    if not is_number(level) or is_charging is None:
        return []
    columns = {**_envelope(of), "battery_level": level, "is_charging": is_charging}
    return [Event(stream=POWER, columns=columns)]


def wifi(ssid: Any, bssid: Any, of: Event) -> list[Event]:
    """The network that the device used when `of` happened; nothing where it names none."""
    if not isinstance(ssid, str) or not ssid:
        return []
    columns = {**_envelope(of), "ssid": ssid, "bssid": bssid, "is_connected": True}
    return [Event(stream=WIFI, columns=columns)]


def _envelope(of: Event) -> dict[str, Any]:
    return {name: of.columns.get(name) for name in ("device_id", "recorded_at", "tz_offset_min")}


def charging(state: Any) -> bool | None:
    """Whether a `bs` says that the battery gains charge."""
    read = number(state)
    return BATTERY_STATES.get(read) if isinstance(read, int) else None


def given(sent: Mapping[str, Any], *names: str) -> Any:
    """The first of several fields that holds something; None where all are missing or blank."""
    for name in names:
        value = sent.get(name)
        if value is not None and value != "":
            return value
    return None


def spelled_fix(sent: Mapping[str, Any], names: Mapping[str, tuple[str, ...]]) -> dict[str, Any]:
    """Columns that need no more than a name: `names` lists each column's fields, best first."""
    return {column: number(given(sent, *fields)) for column, fields in names.items()}
