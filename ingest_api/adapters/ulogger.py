"""µLogger: a login, a track, then one position a POST. Speed is in m/s, times are seconds."""

import base64
from collections.abc import Mapping
from typing import Any

from ingest_api.adapters.adapter import (
    Adapter,
    AppRequest,
    Event,
    Item,
    Landed,
    Reply,
    json_reply,
    url_setting,
)
from ingest_api.adapters.forms import form_and_files
from ingest_api.adapters.parameters import parameters
from ingest_api.adapters.position import GPS, fix, given, spelled_fix
from ingest_api.adapters.times import utc
from ingest_api.adapters.units import known, speed

METADATA = "device.metadata.raw"
PHOTO = "device.image.camera.raw"
NAMES = {"latitude": ("lat",), "longitude": ("lon",), "altitude_m": ("altitude",)}
LOGIN = ("user", "pass")


def read(request: AppRequest) -> list[Item]:
    """The position of `addpos`, the name of `addtrack`; a login says nothing worth keeping.

    Raises: MalformedBodyError.
    """
    fields, files = _fields(request)
    sent = {name: value for name, value in fields.items() if name not in LOGIN}
    match sent.get("action"):
        case "auth":
            return []
        case "addtrack":
            return [_track(sent, request)]
        case _:
            here = _position(sent)
            return [here, *(_photo(content, here) for content in files)]


def reply(request: AppRequest, _landed: Landed) -> Reply:
    """No error; the track's number is the same for all, as AM needs none."""
    is_track = request.query.get("action") == "addtrack" or b"addtrack" in request.body
    return json_reply({"error": False, **({"trackid": 1} if is_track else {})})


def _fields(request: AppRequest) -> tuple[Mapping[str, Any], list[bytes]]:
    if request.media_type != "multipart/form-data":
        return parameters(request), []
    fields, files = form_and_files(request)
    return {**request.query, **fields}, [content for _, content in files]


def _position(sent: Mapping[str, Any]) -> Event:
    columns = {
        **spelled_fix(sent, NAMES),
        "device_id": given(sent, "device_id", "device"),
        "recorded_at": utc(given(sent, "time")),
        "accuracy_m": known(given(sent, "accuracy")),
        "heading_deg": known(given(sent, "bearing")),
        "speed_m_s": speed(given(sent, "speed")),
    }
    return fix(columns, sent)


def _photo(content: bytes, here: Event) -> Event:
    told = {name: here.columns[name] for name in ("device_id", "recorded_at")}
    picture = base64.b64encode(content).decode()
    return Event(stream=PHOTO, columns={**told, "image_data": picture})


def _track(sent: Mapping[str, Any], request: AppRequest) -> Event:
    columns = {
        "device_id": given(sent, "device_id", "device"),
        "recorded_at": request.received_at,
        "metadata_type": "ulogger_track",
        "metadata": dict(sent),
    }
    return Event(stream=METADATA, columns=columns)


ADAPTER = Adapter(
    name="ulogger",
    app="μlogger",
    systems="Android, iOS",
    streams=(GPS, METADATA, PHOTO),
    read=read,
    reply=reply,
    settings=url_setting("ulogger", at="Server (user and password: anything)"),
)
