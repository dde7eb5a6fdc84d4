"""Anything that can make an HTTP request: Tasker, HTTP Shortcuts, iOS Shortcuts, curl.

`POST /events/{stream}` takes an object, an array or NDJSON; `GET /events/{stream}?value=…` is one
event.
A name without dots is a sensor, not a stream: its values become generic readings. An event without
a time is as old as its arrival.
"""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from ingest_api.adapters.adapter import (
    Adapter,
    AppRequest,
    Door,
    Event,
    Item,
    Landed,
    Reply,
    Setting,
    Unread,
    json_reply,
    unread,
)
from ingest_api.adapters.readings import GENERIC, reading
from ingest_api.adapters.units import number
from ingest_api.bodies import elements_of
from ingest_api.envelope import TIME_FIELDS
from ingest_api.errors import Reason, RejectedError

TOLD = ("device_id", "value", "unit", "device")


def read(request: AppRequest) -> list[Item]:
    """The events of a request.

    Raises: MalformedBodyError; RejectedError without a name in the path.
    """
    name = request.tail.rpartition("/")[2]
    if not name or name == "events":
        raise RejectedError(Reason.UNKNOWN_TYPE, "name a stream or a sensor: /events/{name}")
    if request.method == "GET" or not request.body.strip():
        return [_event(name, {**request.query}, request)]
    if request.media_type == "application/x-www-form-urlencoded" and b"=" in request.body:
        return [_event(name, {**request.query, **request.form}, request)]
    elements, _ = elements_of(request.body, content_type=request.media_type)
    rows = elements.to_pylist() if isinstance(elements, pa.Table) else elements
    return [_item(name, element, request) for element in rows]


def reply(_request: AppRequest, landed: Landed) -> Reply:
    """The counts, for whoever looks."""
    counts = {"stored": landed.stored, "duplicate": landed.duplicate, "rejected": landed.rejected}
    is_well = landed.rejected == 0
    return json_reply({"status": "success" if is_well else "quarantined", **counts})


def _item(name: str, element: Any, request: AppRequest) -> Item:
    if isinstance(element, bytes):
        return Unread(content=element, code=Reason.NOT_JSON, reason="this line is not JSON")
    if isinstance(element, Mapping):
        return _event(name, element, request)
    if "." in name:
        return unread(element, code=Reason.NOT_AN_OBJECT, reason="an event must be an object")
    return _event(name, {"value": element}, request)


def _event(name: str, sent: Mapping[str, Any], request: AppRequest) -> Event:
    times = {time: number(sent[time]) for time in TIME_FIELDS if sent.get(time) not in (None, "")}
    told = {field: value for field, value in sent.items() if field not in times}
    arrival = {} if times else {"is_time_of_arrival": True}
    when = next(iter(times.values()), None) or request.received_at.isoformat()
    if "." in name:
        return Event(stream=name, columns={**told, **arrival, "recorded_at": when})
    rest = {field: value for field, value in told.items() if field not in TOLD}
    return reading(
        name,
        number(sent.get("value")),
        of={"device_id": sent.get("device_id") or sent.get("device"), "recorded_at": when},
        unit=sent.get("unit"),
        readings=rest or None,
        sent=arrival,
    )


def _settings(door: Door) -> list[Setting]:
    return [
        Setting(
            name="POST JSON to", value=f"{door.base}/events/{door.token}/device.sensor.gps.raw"
        ),
        Setting(name="or GET", value=f"{door.base}/events/{door.token}/mood?value=7"),
    ]


ADAPTER = Adapter(
    name="events",
    app="Tasker, HTTP Shortcuts, iOS Shortcuts, curl",
    systems="any",
    streams=(GENERIC,),
    read=read,
    reply=reply,
    settings=_settings,
    roots=("/v1/events/{name}",),
)
