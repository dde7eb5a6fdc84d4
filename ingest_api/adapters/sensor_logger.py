"""Sensor Logger (Kelvin Choi): batches of readings, each with its sensor's name.

Times are nanoseconds since 1970, negative accuracies and speeds unknown, the battery a fraction.
What a sensor measures without a stream of its own becomes a generic reading, under its own name.
The pedometer counts since the session's begin, which are no steps of a time: it is generic too.
"""

from collections.abc import Callable, Mapping
from typing import Any

from ingest_api.adapters.adapter import (
    Adapter,
    AppRequest,
    Door,
    Event,
    Item,
    Landed,
    Reply,
    Setting,
    unread,
)
from ingest_api.adapters.position import GPS, POWER, WIFI, battery, fix, given, wifi
from ingest_api.adapters.readings import GENERIC, reading
from ingest_api.adapters.units import known, number, percent, speed
from ingest_api.bodies import read_json
from ingest_api.errors import MalformedBodyError, Reason

ACCELERATION = "device.sensor.accelerometer.raw"
GYROSCOPE = "device.sensor.gyroscope.raw"
MAGNETOMETER = "device.sensor.magnetometer.raw"
BAROMETER = "device.sensor.barometer.raw"
BLUETOOTH = "device.network.bluetooth.raw"
LIGHT = "device.sensor.light.raw"
HEART_RATE = "device.health.heartrate.raw"
NOTE = "digital.notes.raw"
CHARGING = {"charging": True, "full": False, "unplugged": False}

Fields = Mapping[str, Any]


def read(request: AppRequest) -> list[Item]:
    """The readings of a batch, with the session and the number of the message in each.

    Raises: MalformedBodyError.
    """
    batch = read_json(request.body)
    readings = batch.get("payload") if isinstance(batch, dict) else None
    if not isinstance(readings, list):
        raise MalformedBodyError("the body holds no array called payload")
    told = {name: value for name, value in batch.items() if name != "payload"}
    return [item for one in readings for item in _items(one, told)]


def reply(_request: AppRequest, _landed: Landed) -> Reply:
    """200 is what the app counts."""
    return Reply(content=b"OK", media_type="text/plain")


def _items(one: Any, told: Fields) -> list[Item]:
    values = one.get("values") if isinstance(one, dict) else None
    if not isinstance(values, dict):
        return [unread(one, code=Reason.BAD_VALUE, reason="a reading must hold values")]
    name = str(one.get("name")).lower()
    of = {"device_id": given(told, "deviceId"), "recorded_at": number(one.get("time"))}
    about = {part: value for part, value in one.items() if part != "values"}
    sent = {**told, **about}
    if name in READERS:
        return list(READERS[name](values, of, {**sent, **values}))
    return [reading(name, values, of=of, sent=sent)]


def _axes(stream: str, unit: str) -> Callable[[Fields, Fields, Fields], list[Event]]:
    def read_axes(values: Fields, of: Fields, sent: Fields) -> list[Event]:
        axes = {axis: number(values.get(axis)) for axis in ("x", "y", "z")}
        return [Event(stream=stream, columns={**of, **axes, "unit": unit}, sent=sent)]

    return read_axes


def _acceleration(values: Fields, of: Fields, sent: Fields) -> list[Event]:
    axes = {f"{axis}_m_s2": number(values.get(axis)) for axis in ("x", "y", "z")}
    return [Event(stream=ACCELERATION, columns={**of, **axes}, sent=sent)]


def _location(values: Fields, of: Fields, sent: Fields) -> list[Event]:
    columns = {
        **of,
        "latitude": number(values.get("latitude")),
        "longitude": number(values.get("longitude")),
        "altitude_m": number(values.get("altitudeAboveMeanSeaLevel")),
        "accuracy_m": known(values.get("horizontalAccuracy")),
        "heading_deg": known(values.get("bearing")),
        "speed_m_s": speed(values.get("speed")),
    }
    return [fix(columns, sent)]


def _battery(values: Fields, of: Fields, sent: Fields) -> list[Event]:
    source = Event(stream=POWER, columns=of)
    state = CHARGING.get(str(values.get("batteryState")).lower())
    told = battery(percent(values.get("batteryLevel")), state, source)
    if not told:
        return [reading("battery", dict(values), of=of, sent=sent)]
    return [Event(stream=POWER, columns=told[0].columns, sent=sent)]


def _one(stream: str, column: str, field: str, unit: str | None = None) -> "Reader":
    def read_one(values: Fields, of: Fields, sent: Fields) -> list[Event]:
        columns = {**of, column: number(values.get(field)), "unit": unit}
        return [Event(stream=stream, columns=columns, sent=sent)]

    return read_one


def _bluetooth(values: Fields, of: Fields, sent: Fields) -> list[Event]:
    columns = {
        **of,
        "device_name": str(given(values, "name", "localName") or ""),
        "device_address": given(values, "id"),
        "rssi_dbm": number(values.get("rssi")),
    }
    return [Event(stream=BLUETOOTH, columns=columns, sent=sent)]


def _network(values: Fields, of: Fields, sent: Fields) -> list[Event]:
    """The network that the phone is in; others than Wi-Fi are readings."""
    source = Event(stream=WIFI, columns=of)
    told = wifi(given(values, "ssid"), given(values, "bssid"), source)
    if not told:
        return [reading("network", dict(values), of=of, sent=sent)]
    return [Event(stream=WIFI, columns=told[0].columns, sent=sent)]


def _annotation(values: Fields, of: Fields, sent: Fields) -> list[Event]:
    """What was typed is a note; a mark without words is a reading."""
    text = str(values.get("text") or "").strip()
    if not text:
        return [reading("annotation", dict(values), of=of, sent=sent)]
    return [Event(stream=NOTE, columns={**of, "content": text}, sent=sent)]


Reader = Callable[[Fields, Fields, Fields], list[Event]]
READERS: Mapping[str, Reader] = {
    "accelerometer": _acceleration,
    "gyroscope": _axes(GYROSCOPE, "rad/s"),
    "magnetometer": _axes(MAGNETOMETER, "μT"),
    "barometer": _one(BAROMETER, "pressure", "pressure", "hPa"),
    "light": _one(LIGHT, "illuminance_lux", "lux"),
    "heartrate": _one(HEART_RATE, "bpm", "bpm"),
    "heart rate": _one(HEART_RATE, "bpm", "bpm"),
    "location": _location,
    "battery": _battery,
    "bluetooth": _bluetooth,
    "network": _network,
    "annotation": _annotation,
}


def _settings(door: Door) -> list[Setting]:
    return [
        Setting(name="Data Streaming: HTTP Push", value="on"),
        Setting(name="Push URL", value=f"{door.base}/sensor-logger/{door.token}"),
        Setting(name="Standardise Units & Frames", value="on"),
    ]


ADAPTER = Adapter(
    name="sensor-logger",
    app="Sensor Logger",
    systems="Android, iOS",
    streams=(
        ACCELERATION,
        GYROSCOPE,
        MAGNETOMETER,
        BAROMETER,
        LIGHT,
        GPS,
        POWER,
        WIFI,
        BLUETOOTH,
        HEART_RATE,
        NOTE,
        GENERIC,
    ),
    read=read,
    reply=reply,
    settings=_settings,
    refused_status=499,  # the app shows this answer's text to its user
)
