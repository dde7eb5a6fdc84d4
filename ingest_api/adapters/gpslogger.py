"""GPSLogger for Android: a URL or body that the user writes, and whole files of a day.

A live point is dropped after three attempts and comes again with the file, so both forms must give
the same time: `time` (with milliseconds) goes before `timestamp`. Speed is in m/s, but in km/h
where the template says so (`spd_kph`, and `vel` as in OwnTracks).
"""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote_plus

from ingest_api.adapters.adapter import (
    Adapter,
    AppRequest,
    Door,
    Event,
    Item,
    Landed,
    Reply,
    Setting,
)
from ingest_api.adapters.forms import form_and_files
from ingest_api.adapters.parameters import parameters
from ingest_api.adapters.position import LOCATION_STREAMS, battery, fix, given, spelled_fix
from ingest_api.adapters.times import offset_min, utc
from ingest_api.adapters.tracks import is_track, points_of
from ingest_api.adapters.units import KM_H, known, speed, truth
from ingest_api.errors import MalformedBodyError

NAMES = {
    "device_id": ("device_id", "device", "aid"),
    "latitude": ("lat", "latitude"),
    "longitude": ("lon", "longitude"),
    "altitude_m": ("alt", "altitude", "elevation", "ele"),
}
PROFILE = (
    '{"_type":"location","lat":%LAT,"lon":%LON,"tst":%TIMESTAMP,"time":"%TIME",'
    '"timeoffset":"%TIMEOFFSET","acc":%ACC,"alt":%ALT,"vel":%SPD_KPH,"cog":%DIR,"batt":%BATT,'
    '"ischarging":"%ISCHARGING","t":"u","tid":"GL","sat":%SAT,"desc":"%DESC","hdop":"%HDOP"}'
)


def read(request: AppRequest) -> list[Item]:
    """The fixes of a query, a form, a JSON body, or a file in whichever way it was uploaded.

    Raises: MalformedBodyError, RejectedError.
    """
    if request.media_type == "multipart/form-data":
        _, files = form_and_files(request)
        return [item for _, content in files for item in _file(content, request)]
    if is_track(request.body):
        return _file(request.body, request)
    sent = parameters(request)
    if not sent:
        raise MalformedBodyError("neither the query nor the body holds a field")
    return list(_events(sent))


def reply(_request: AppRequest, _landed: Landed) -> Reply:
    """Any 2xx will do."""
    return Reply(content=b"OK", media_type="text/plain")


def _file(content: bytes, request: AppRequest) -> list[Item]:
    points = points_of(content)
    named = given(request.query, "device_id", "device")
    return [event for point in points for event in _events({"device_id": named, **point})]


def _events(sent: Mapping[str, Any]) -> Iterator[Event]:
    zone = given(sent, "timeoffset", "time_offset", "timewithoffset")
    columns = {
        **spelled_fix(sent, NAMES),
        "recorded_at": utc(given(sent, "time", "timestamp_ms", "timestamp", "tst") or zone),
        "tz_offset_min": offset_min(zone),
        "accuracy_m": known(given(sent, "acc", "accuracy")),
        "heading_deg": known(given(sent, "dir", "bearing", "cog", "course")),
        "speed_m_s": _speed(sent),
    }
    here = fix(columns, {**sent, **_description(sent)})
    yield here
    is_charging = truth(given(sent, "ischarging", "battery_charging"))
    yield from battery(given(sent, "batt", "battery"), is_charging, here)


def _speed(sent: Mapping[str, Any]) -> Any:
    metric = given(sent, "speed", "spd")
    return speed(given(sent, "spd_kph", "vel"), KM_H) if metric is None else speed(metric)


def _description(sent: Mapping[str, Any]) -> dict[str, str]:
    """The annotation as it was typed: the template URL-encodes it, even within JSON."""
    text = sent.get("desc")
    is_encoded = isinstance(text, str) and unquote_plus(text) != text
    return {"description": unquote_plus(str(text))} if is_encoded else {}


def _settings(door: Door) -> list[Setting]:
    return [
        Setting(name="Custom URL: URL", value=f"{door.base}/gpslogger/{door.token}"),
        Setting(name="Custom URL: HTTP method", value="POST"),
        Setting(name="Custom URL: HTTP headers", value="Content-Type: application/json"),
        Setting(name="Custom URL: HTTP body", value=PROFILE),
        Setting(name="HTTP file upload: URL", value=f"{door.base}/gpslogger/{door.token}"),
    ]


ADAPTER = Adapter(
    name="gpslogger",
    app="GPSLogger",
    systems="Android",
    streams=LOCATION_STREAMS,
    read=read,
    reply=reply,
    settings=_settings,
)
