"""Overland for iOS (and the apps that copy its format): a batch of GeoJSON features a POST.

-1 means unknown. The phone keeps everything and tries for ever until it reads
`{"result":"ok"}`.
"""

from collections.abc import Mapping
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
from ingest_api.adapters.position import LOCATION_STREAMS, WIFI, battery, fix, given, wifi
from ingest_api.adapters.units import is_number, known, number, percent, speed
from ingest_api.bodies import read_json
from ingest_api.errors import MalformedBodyError, Reason

SYSTEM = "os.events.system.raw"
METADATA = "device.metadata.raw"
CHARGING = {"charging": True, "full": False, "unplugged": False}


def read(request: AppRequest) -> list[Item]:
    """The events of a batch, of a bare array of features, or of a URL template's query.

    Raises: MalformedBodyError.
    """
    if not request.body.strip() and request.query:
        return list(_from_query(request.query))
    content = read_json(request.body)
    batch = {"locations": content} if isinstance(content, list) else content
    if not isinstance(batch, dict) or not isinstance(batch.get("locations", []), list):
        raise MalformedBodyError("the body holds no array of locations")
    current = [batch["current"]] if isinstance(batch.get("current"), dict) else []
    features = [*batch.get("locations", []), *current]
    named = given(batch, "device_id")
    items = [item for feature in features for item in _items(feature, named)]
    return [*items, *_trip(batch, named, request)]


def reply(_request: AppRequest, _landed: Landed) -> Reply:
    """The one answer after which the phone forgets what it sent."""
    return json_reply({"result": "ok"})


def _items(feature: Any, named: str | None) -> list[Item]:
    told = feature.get("properties") if isinstance(feature, dict) else None
    if not isinstance(told, dict):
        return [unread(feature, code=Reason.BAD_VALUE, reason="this is no GeoJSON feature")]
    envelope = {
        "device_id": given(told, "device_id") or named or given(told, "unique_id"),
        "recorded_at": number(told.get("timestamp")),
    }
    where = feature.get("geometry")
    place = where.get("coordinates") if isinstance(where, dict) else None
    if told.get("action"):
        return [_happening(told, envelope, place)]
    here = _fix(told, envelope, place)
    level = percent(told.get("battery_level"))
    power = battery(level, CHARGING.get(str(told.get("battery_state"))), here)
    return [here, *power, *wifi(told.get("wifi"), None, here)]


def _fix(told: Mapping[str, Any], envelope: Mapping[str, Any], place: Any) -> Event:
    pair = place if isinstance(place, list) and len(place) >= 2 else [None, None]
    vertical = number(told.get("vertical_accuracy"))
    has_altitude = not (is_number(vertical) and vertical < 0)
    columns = {
        **envelope,
        "latitude": number(pair[1]),
        "longitude": number(pair[0]),
        "altitude_m": number(told.get("altitude")) if has_altitude else None,
        "accuracy_m": known(told.get("horizontal_accuracy")),
        "heading_deg": known(told.get("course")),
        "speed_m_s": speed(told.get("speed")),
    }
    return fix(columns, told)


def _happening(told: Mapping[str, Any], envelope: Mapping[str, Any], place: Any) -> Event:
    """A visit, or something in the app's life that explains a gap."""
    columns = {
        **envelope,
        "event_type": str(told["action"]),
        "event_category": "location",
        "metadata": {**told, "coordinates": place},
    }
    return Event(stream=SYSTEM, columns=columns)


def _trip(batch: Mapping[str, Any], named: str | None, request: AppRequest) -> list[Event]:
    """The trip that is being recorded, as it stood when the batch came."""
    trip = batch.get("trip")
    if not isinstance(trip, dict) or not trip:
        return []
    columns = {
        "device_id": named,
        "recorded_at": request.received_at,
        "metadata_type": "overland_trip",
        "metadata": trip,
    }
    return [Event(stream=METADATA, columns=columns)]


def _from_query(query: Mapping[str, str]) -> list[Event]:
    """`?ts=%TS&lat=%LAT&lon=%LON&acc=%ACC&spd=%SPD&bat=%BAT&alt=%ALT`."""
    columns = {
        "device_id": given(query, "device_id", "device"),
        "recorded_at": number(query.get("ts")),
        "latitude": number(query.get("lat")),
        "longitude": number(query.get("lon")),
        "altitude_m": number(query.get("alt")),
        "accuracy_m": known(query.get("acc")),
        "speed_m_s": speed(query.get("spd")),
    }
    return [fix(columns, query)]


def _settings(door: Door) -> list[Setting]:
    return [
        Setting(name="Receiver Endpoint URL", value=f"{door.base}/overland"),
        Setting(name="Access Token", value=door.token),
    ]


def _link(door: Door) -> str:
    url = f"{door.base}/overland"
    return "overland://setup?" + urlencode({"url": url, "token": door.token, "unique_id": "yes"})


ADAPTER = Adapter(
    name="overland",
    app="Overland",
    systems="iOS",
    streams=(*LOCATION_STREAMS, WIFI, SYSTEM, METADATA),
    read=read,
    reply=reply,
    settings=_settings,
    link=_link,
)
