"""Health Connect Webhook for Android: what is new in Health Connect, by type of record.

Metric units, ISO times in UTC. What has no stream of its own becomes a generic reading under Health
Connect's name for it.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from ingest_api.adapters.adapter import (
    Adapter,
    AppRequest,
    Event,
    Item,
    Landed,
    Reply,
    json_reply,
    unread,
    url_setting,
)
from ingest_api.adapters.position import given
from ingest_api.adapters.readings import GENERIC, reading
from ingest_api.adapters.units import number
from ingest_api.bodies import read_json
from ingest_api.errors import MalformedBodyError, Reason

HEART_RATE = "device.health.heartrate.raw"
STEPS = "device.health.steps.raw"
SPO2 = "device.health.blood_oxygen.raw"
PRESSURE = "device.health.blood_pressure.raw"
SLEEP = "device.health.sleep.raw"
STAGES = ("awake", "light", "deep", "rem")
VALUES = {
    "heart_rate_variability": ("rmssd_millis", "ms"),
    "distance": ("meters", "m"),
    "active_calories": ("calories", "kcal"),
    "total_calories": ("calories", "kcal"),
    "weight": ("kilograms", "kg"),
    "height": ("meters", "m"),
    "blood_glucose": ("mmol_per_liter", "mmol/L"),
    "body_temperature": ("celsius", "degC"),
    "respiratory_rate": ("rate", "count/min"),
    "hydration": ("liters", "L"),
    "basal_metabolic_rate": ("watts", "W"),
    "vo2_max": ("ml_per_kg_per_min", "mL/kg/min"),
}

Fields = Mapping[str, Any]


def read(request: AppRequest) -> list[Item]:
    """All records of an increment.

    Raises: MalformedBodyError.
    """
    content = read_json(request.body)
    if not isinstance(content, dict):
        raise MalformedBodyError("the body must be an object")
    told = {name: part for name, part in content.items() if not isinstance(part, list)}
    about = {"app_version": told.get("app_version"), "device_id": told.get("device_id")}
    return [
        item
        for kind, records in content.items()
        if isinstance(records, list)
        for record in records
        for item in _items(kind, record, about)
    ]


def reply(_request: AppRequest, _landed: Landed) -> Reply:
    """Any 2xx will do."""
    return json_reply({"success": True})


def _items(kind: str, record: Any, about: Fields) -> Iterator[Item]:
    if not isinstance(record, dict):
        yield unread(record, code=Reason.NOT_AN_OBJECT, reason=f"{kind} must hold objects")
        return
    sent = {"record_type": kind, **about, **record}
    if kind in READERS:
        yield READERS[kind](sent)
    elif kind in VALUES:
        field, unit = VALUES[kind]
        value = number(record.get(field))
        yield reading(kind, value, of=_when(sent), unit=unit, readings=record, sent=about)
    else:
        yield reading(kind, None, of=_when(sent), readings=record, sent=about)
    if kind == "sleep":
        yield from _stages(record)


def _when(sent: Fields) -> dict[str, Any]:
    when = given(sent, "time", "start_time", "session_start_time", "session_end_time", "end_time")
    return {"recorded_at": when, "device_id": given(sent, "device_id")}


def _event(stream: str, sent: Fields, **columns: Any) -> Event:
    return Event(stream=stream, columns={**_when(sent), **columns}, sent=sent)


def _stages(record: Fields) -> Iterator[Item]:
    """Each stage of a night that is one of the four; the others stay with the session."""
    stages = record.get("stages")
    for stage in stages if isinstance(stages, list) else []:
        name = stage.get("stage") if isinstance(stage, dict) else None
        if str(name).lower() in STAGES:
            seconds = number(stage.get("duration_seconds"))
            yield _event(SLEEP, stage, sleep_stage=str(name).lower(), duration_seconds=seconds)


def _steps(sent: Fields) -> Event:
    return _event(STEPS, sent, step_count=number(sent.get("count")))


def _beat(kind: str | None) -> Callable[[Fields], Event]:
    def read_beat(sent: Fields) -> Event:
        return _event(HEART_RATE, sent, bpm=number(sent.get("bpm")), measurement_type=kind)

    return read_beat


def _oxygen(sent: Fields) -> Event:
    return _event(SPO2, sent, spo2_percentage=number(sent.get("percentage")))


def _pressure(sent: Fields) -> Event:
    parts = {part: number(sent.get(part)) for part in ("systolic", "diastolic")}
    return _event(PRESSURE, sent, **parts)


READERS: Mapping[str, Callable[[Fields], Event]] = {
    "steps": _steps,
    "heart_rate": _beat(None),
    "resting_heart_rate": _beat("resting"),
    "oxygen_saturation": _oxygen,
    "blood_pressure": _pressure,
}

ADAPTER = Adapter(
    name="health-connect",
    app="Health Connect Webhook",
    systems="Android",
    streams=(STEPS, HEART_RATE, SPO2, PRESSURE, SLEEP, GENERIC),
    read=read,
    reply=reply,
    settings=url_setting("health-connect", at="Webhook URL"),
)
