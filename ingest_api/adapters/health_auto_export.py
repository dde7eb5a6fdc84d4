"""Health Auto Export for iOS: windows of Apple Health, exported again and again.

Each value has the unit of the phone's region; it is kept in AM's, the original beside it. Dates are
local with an offset, in some versions with a narrow blank before PM. What has no stream of its own
becomes a generic reading under Apple's name for it.
"""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode

from ingest_api.adapters.adapter import (
    Adapter,
    AppRequest,
    Door,
    Event,
    Item,
    Landed,
    Reply,
    Setting,
    json_reply,
    unread,
)
from ingest_api.adapters.position import GPS, fix, given
from ingest_api.adapters.readings import GENERIC, in_kept_unit, reading
from ingest_api.adapters.times import spelled
from ingest_api.adapters.units import is_number, known, number, scaled, speed
from ingest_api.bodies import read_json
from ingest_api.errors import MalformedBodyError, Reason

HEART_RATE = "device.health.heartrate.raw"
STEPS = "device.health.steps.raw"
SPO2 = "device.health.blood_oxygen.raw"
PRESSURE = "device.health.blood_pressure.raw"
SLEEP = "device.health.sleep.raw"
STAGES = {"awake": "awake", "core": "light", "deep": "deep", "rem": "rem"}
BEATS = {
    "heart_rate": None,
    "resting_heart_rate": "resting",
    "walking_heart_rate_average": "walking",
}
RECORDS = {
    "stateOfMind": "state_of_mind",
    "medications": "medication",
    "symptoms": "symptom",
    "cycleTracking": "cycle_tracking",
    "ecg": "ecg",
    "heartRateNotifications": "heart_rate_notification",
}
TIMES = ("date", "startDate", "start", "timestamp", "scheduledDate")

Fields = Mapping[str, Any]


def read(request: AppRequest) -> list[Item]:
    """All values, workouts and records of an export.

    Raises: MalformedBodyError.
    """
    content = read_json(request.body)
    data = content.get("data") if isinstance(content, dict) else None
    if not isinstance(data, dict):
        raise MalformedBodyError("the body holds no object called data")
    return [*_metrics(data), *_workouts(data), *_records(data)]


def reply(_request: AppRequest, landed: Landed) -> Reply:
    """200 and the counts; the app shows neither."""
    counts = {"stored": landed.stored, "duplicate": landed.duplicate, "rejected": landed.rejected}
    return json_reply({"success": True, **counts})


def _objects(container: Fields, name: str) -> Iterator[tuple[dict[str, Any] | None, Any]]:
    """Each element of an array: as an object where it is one, and as it is."""
    elements = container.get(name)
    for element in elements if isinstance(elements, list) else []:
        yield (element if isinstance(element, dict) else None), element


def _lost(element: Any) -> Item:
    return unread(element, code=Reason.NOT_AN_OBJECT, reason="this must be an object")


def _when(sent: Fields) -> dict[str, Any]:
    return {"recorded_at": spelled(given(sent, *TIMES))}


def _metrics(data: Fields) -> Iterator[Item]:
    for metric, element in _objects(data, "metrics"):
        if metric is None:
            yield _lost(element)
            continue
        name, unit = str(metric.get("name")), metric.get("units")
        for sample, raw in _objects(metric, "data"):
            yield _lost(raw) if sample is None else _sample(name, {"units": unit, **sample})


def _sample(name: str, sent: Fields) -> Event:
    """One value of one metric."""
    told = {"metric": name, **sent}
    quantity = number(sent.get("qty"))
    if name in BEATS:
        return _beat(told, BEATS[name])
    if name == "step_count" and is_number(quantity):
        # A window's border cuts minutes, so that Apple's counts have fractions.
        return _event(STEPS, told, step_count=round(quantity))
    if name == "blood_oxygen_saturation":
        return _event(SPO2, told, spo2_percentage=quantity)
    if name == "blood_pressure":
        both = {part: number(sent.get(part)) for part in ("systolic", "diastolic")}
        return _event(PRESSURE, told, **both)
    stage = STAGES.get(str(sent.get("value")).lower())
    if name == "sleep_analysis" and stage is not None:
        seconds = scaled(quantity, 3600)  # the quantity is in hours
        whole = round(seconds) if is_number(seconds) else seconds
        return _event(SLEEP, told, sleep_stage=stage, duration_seconds=whole)
    return _measured(name, told, quantity)


def _event(stream: str, sent: Fields, **columns: Any) -> Event:
    return Event(stream=stream, columns={**_when(sent), **columns}, sent=sent)


def _beat(sent: Fields, kind: str | None) -> Event:
    rate = number(given(sent, "Avg", "qty", "avg"))
    return _event(HEART_RATE, sent, bpm=rate, measurement_type=kind)


def _measured(name: str, sent: Fields, quantity: Any) -> Event:
    """A generic reading: the quantity in AM's unit, or all parts where there are several."""
    unit = sent.get("units")
    value, kept = in_kept_unit(quantity, unit if isinstance(unit, str) else None)
    if value is None:
        return reading(name, None, of=_when(sent), readings=sent)
    return reading(name, value, of=_when(sent), unit=kept, readings=sent)


def _workouts(data: Fields) -> Iterator[Item]:
    for workout, element in _objects(data, "workouts"):
        if workout is None:
            yield _lost(element)
            continue
        about = {name: part for name, part in workout.items() if name != "route"}
        yield reading("workout", workout.get("name"), of=_when(workout), readings=about)
        of = {"workout_id": workout.get("id"), "workout": workout.get("name")}
        for point, raw in _objects(workout, "route"):
            yield _lost(raw) if point is None else _point({**of, **point})
        for beat, raw in _objects(workout, "heartRateData"):
            yield _lost(raw) if beat is None else _beat({**of, **beat}, "workout")


def _point(sent: Fields) -> Event:
    """A point of a route; the older format calls its coordinates lat and lon."""
    columns = {
        **_when(sent),
        "latitude": number(given(sent, "latitude", "lat")),
        "longitude": number(given(sent, "longitude", "lon")),
        "altitude_m": number(sent.get("altitude")),
        "accuracy_m": known(sent.get("horizontalAccuracy")),
        "heading_deg": known(sent.get("course")),
        "speed_m_s": speed(sent.get("speed")),
    }
    return fix(columns, sent)


def _records(data: Fields) -> Iterator[Item]:
    for name, kind in RECORDS.items():
        for record, element in _objects(data, name):
            if record is None:
                yield _lost(element)
            else:
                yield reading(kind, None, of=_when(record), readings=record)


def _settings(door: Door) -> list[Setting]:
    return [
        Setting(name="Automation type", value="REST API"),
        Setting(name="URL", value=f"{door.base}/health-auto-export"),
        Setting(name="Header", value=f"Authorization: Bearer {door.token}"),
        Setting(name="Export format", value="JSON"),
        Setting(name="Two automations", value="Since Last Sync hourly, Previous 7 Days daily"),
    ]


def _link(door: Door) -> str:
    url = f"{door.base}/health-auto-export/{door.token}"
    return "com.HealthExport://automation?" + urlencode(
        {"name": "AM", "url": url, "format": "json"}
    )


ADAPTER = Adapter(
    name="health-auto-export",
    app="Health Auto Export",
    systems="iOS",
    streams=(HEART_RATE, STEPS, SPO2, PRESSURE, SLEEP, GPS, GENERIC),
    read=read,
    reply=reply,
    settings=_settings,
    link=_link,
)
