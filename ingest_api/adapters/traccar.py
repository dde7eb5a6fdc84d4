"""Traccar Client, OsmAnd and everything else that speaks the OsmAnd protocol.

In a query or form speed is in knots; in the newer client's JSON it is in m/s, -1 is unknown and
the battery a fraction. Text without a zone is UTC; without any time the fix is as new as it came.
"""

from collections.abc import Mapping
from typing import Any

from ingest_api.adapters.adapter import (
    Adapter,
    AppRequest,
    Event,
    Item,
    Landed,
    Reply,
    unread,
    url_setting,
)
from ingest_api.adapters.parameters import body_fields
from ingest_api.adapters.position import LOCATION_STREAMS, battery, fix, given, spelled_fix
from ingest_api.adapters.times import utc
from ingest_api.adapters.units import KNOT, known, number, percent, speed, truth
from ingest_api.errors import Reason

METADATA = "device.metadata.raw"
NAMES = {"altitude_m": ("altitude",)}


def read(request: AppRequest) -> list[Item]:
    """The fixes of a query, a form, or the newer client's JSON.

    Raises: MalformedBodyError.
    """
    content = body_fields(request)
    messages = content if isinstance(content, list) else [content]
    return [item for message in messages for item in _items(message, request)]


def reply(_request: AppRequest, _landed: Landed) -> Reply:
    """Empty: the app takes any text for a command."""
    return Reply()


def _items(message: Any, request: AppRequest) -> list[Item]:
    if not isinstance(message, dict):
        return [unread(message, code=Reason.NOT_AN_OBJECT, reason="a message must be an object")]
    if "location" not in message or isinstance(message["location"], str):
        return list(_from_fields({**request.query, **message}, request))
    places = message["location"]
    rest = {name: value for name, value in message.items() if name != "location"}
    several = places if isinstance(places, list) else [places]
    return [item for place in several for item in _from_json(place, rest, request)]


def _from_fields(sent: Mapping[str, Any], request: AppRequest) -> list[Event]:
    pair = str(given(sent, "location") or "").split(",")
    lat, lon = pair if len(pair) == 2 else (None, None)
    columns = {
        **spelled_fix(sent, NAMES),
        **_envelope(sent, given(sent, "timestamp"), request),
        "latitude": number(given(sent, "lat")) if lat is None else number(lat),
        "longitude": number(given(sent, "lon")) if lon is None else number(lon),
        "accuracy_m": known(given(sent, "accuracy")),
        "heading_deg": known(given(sent, "bearing", "heading")),
        "speed_m_s": speed(given(sent, "speed"), KNOT),
    }
    if not sent:  # somebody looks whether there is an answer
        return []
    if columns["latitude"] is None and columns["longitude"] is None:
        return [_placeless(sent, columns)]
    here = fix(columns, sent)
    return [here, *battery(given(sent, "batt"), truth(sent.get("charge")), here)]


def _placeless(sent: Mapping[str, Any], columns: Mapping[str, Any]) -> Event:
    """Cells, networks or an alarm, without a position."""
    own = {name: columns[name] for name in ("device_id", "recorded_at")}
    told = {**own, "metadata_type": "traccar_message", "metadata": dict(sent)}
    return Event(stream=METADATA, columns=told)


def _from_json(place: Any, rest: Mapping[str, Any], request: AppRequest) -> list[Item]:
    """One location of the newer client, or the flatter shape that Dawarich takes."""
    if not isinstance(place, dict):
        return [unread(place, code=Reason.NOT_AN_OBJECT, reason="location must be an object")]
    nested = place.get("coords")
    at = nested if isinstance(nested, dict) else place
    columns = {
        **_envelope({**place, **rest}, given(place, "timestamp"), request),
        "latitude": number(at.get("latitude")),
        "longitude": number(at.get("longitude")),
        "altitude_m": number(at.get("altitude")),
        "accuracy_m": known(at.get("accuracy")),
        "heading_deg": known(given(at, "heading", "bearing")),
        "speed_m_s": speed(at.get("speed")),
    }
    here = fix(columns, {**rest, **place})
    power = place.get("battery")
    told = power if isinstance(power, dict) else {"level": power}
    return [here, *battery(percent(told.get("level")), truth(told.get("is_charging")), here)]


def _envelope(sent: Mapping[str, Any], when: Any, request: AppRequest) -> dict[str, Any]:
    return {
        "device_id": given(sent, "id", "deviceid", "device_id"),
        "recorded_at": request.received_at if when is None else utc(when),
        "is_time_of_arrival": True if when is None else None,
    }


ADAPTER = Adapter(
    name="traccar",
    app="Traccar Client, OsmAnd",
    systems="Android, iOS",
    streams=(*LOCATION_STREAMS, METADATA),
    read=read,
    reply=reply,
    settings=url_setting("traccar", at="Server URL"),
)
