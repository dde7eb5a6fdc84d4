"""PhoneTrack (the Nextcloud app's logging API), also as its Android client queues points.

`…/logGet/{token}/{device}` and `…/logPost/…` carry one point, `…/logPostMultiple/…` an array of
arrays. Speed is in m/s.
"""

from collections.abc import Mapping
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
    json_reply,
    unread,
)
from ingest_api.adapters.parameters import parameters
from ingest_api.adapters.position import LOCATION_STREAMS, fix, given, spelled_fix
from ingest_api.adapters.times import utc
from ingest_api.adapters.units import known, speed
from ingest_api.errors import MalformedBodyError, Reason

ORDER = ("lat", "lon", "timestamp", "alt", "acc", "bat", "sat", "useragent", "speed", "bearing")
NAMES = {"latitude": ("lat",), "longitude": ("lon",), "altitude_m": ("alt", "altitude")}


def read(request: AppRequest) -> list[Item]:
    """The points of a request; the end of the path names the device.

    Raises: MalformedBodyError.
    """
    verb, device_id = _address(request.tail)
    sent = parameters(request)
    if verb != "logPostMultiple":
        return [_point(sent, device_id)]
    points = sent.get("points")
    if not isinstance(points, list):
        raise MalformedBodyError("the body holds no array of points")
    return [_listed(point, device_id) for point in points]


def reply(_request: AppRequest, _landed: Landed) -> Reply:
    """All is done; nobody else is shown."""
    return json_reply({"done": 1, "friends": []})


def _address(tail: str) -> tuple[str, str | None]:
    """Verb and device of `index.php/apps/phonetrack/logPost/phone`."""
    parts = tail.split("/")
    at = next((index for index, part in enumerate(parts) if part.startswith("log")), None)
    if at is None:
        return "logGet", None
    return parts[at], "/".join(parts[at + 1 :]) or None


def _listed(point: Any, device_id: str | None) -> Item:
    if not isinstance(point, list):
        return unread(point, code=Reason.BAD_VALUE, reason="a point must be an array")
    return _point(dict(zip(ORDER, point, strict=False)), device_id)


def _point(sent: Mapping[str, Any], device_id: str | None) -> Event:
    columns = {
        **spelled_fix(sent, NAMES),
        "device_id": device_id or given(sent, "device", "id"),
        "recorded_at": utc(given(sent, "timestamp", "time")),
        "accuracy_m": known(given(sent, "acc", "accuracy")),
        "heading_deg": known(given(sent, "bearing")),
        "speed_m_s": speed(given(sent, "speed")),
    }
    return fix(columns, sent)


def _settings(door: Door) -> list[Setting]:
    return [
        Setting(name="Nextcloud address", value=f"{door.base}/phonetrack"),
        Setting(name="Session token", value=door.token),
        Setting(name="Other apps", value=f"{door.base}/phonetrack/logGet/{door.token}/phone"),
    ]


ADAPTER = Adapter(
    name="phonetrack",
    app="PhoneTrack",
    systems="Android",
    streams=LOCATION_STREAMS[:1],
    read=read,
    reply=reply,
    settings=_settings,
)
