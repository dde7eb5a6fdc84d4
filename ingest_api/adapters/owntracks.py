"""OwnTracks in HTTP mode: one message a POST, in the clear or encrypted.

Speed is in km/h, times are seconds since 1970; a field that is zero is left out by the app, so a
missing one stays unknown here.
"""

import json
import re
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
    json_reply,
    unread,
)
from ingest_api.adapters.position import LOCATION_STREAMS, WIFI, battery, charging, fix, wifi
from ingest_api.adapters.sealing import is_usable, seal, unseal
from ingest_api.adapters.units import KM_H, known, number, speed
from ingest_api.bodies import read_json
from ingest_api.errors import Reason

SYSTEM = "os.events.system.raw"
METADATA = "device.metadata.raw"
STEPS = "device.health.steps.raw"
PHOTO = "device.image.camera.raw"
SECRETS = ("password", "encryptionKey")  # of a configuration dump; AM keeps no passwords
OF_PHOTO = ("imagename", "poi", "lat", "lon")
SEALED = re.compile(rb'"_type"\s*:\s*"encrypted"')

Message = dict[str, Any]


def read(request: AppRequest) -> list[Item]:
    """The events of a message, or of several; a body without content is a friend who left.

    Raises: MalformedBodyError; RejectedError for what can't be decrypted.
    """
    if not request.body.strip():
        return []
    opened = _opened(read_json(request.body), request.secret)
    messages = opened if isinstance(opened, list) else [opened]
    return [item for message in messages for item in _items(message, request)]


def reply(request: AppRequest, _landed: Landed) -> Reply:
    """No commands, encrypted where the message was."""
    commands: list[Any] = []
    if request.secret is None or not is_usable(request.secret) or not _is_sealed(request.body):
        return json_reply(commands)
    sealed = seal(json.dumps(commands).encode(), secret=request.secret)
    return json_reply({"_type": "encrypted", "data": sealed})


def _opened(message: Any, secret: str | None) -> Any:
    is_sealed = isinstance(message, dict) and message.get("_type") == "encrypted"
    return read_json(unseal(message.get("data"), secret=secret)) if is_sealed else message


def _is_sealed(body: bytes) -> bool:
    return SEALED.search(body) is not None


def _items(message: Any, request: AppRequest) -> list[Item]:
    if not isinstance(message, dict):
        return [unread(message, code=Reason.NOT_AN_OBJECT, reason="a message must be an object")]
    kind = str(message.get("_type"))
    reader = READERS.get(kind, _metadata)
    return list(reader(message, request))


def device_of(message: Mapping[str, Any], request: AppRequest) -> str | None:
    """The device's name: the app's header, the recorder's query, or the end of the topic."""
    named = request.headers.get("x-limit-d") or request.query.get("d")
    topic = str(message.get("topic") or "").split("/")
    return named or (topic[2] if len(topic) > 2 else None) or None


def _envelope(message: Message, request: AppRequest) -> dict[str, Any]:
    """Whose and when; a message that tells no time of its own happened as it came."""
    times = (message.get("tst"), message.get("created_at"), request.received_at.isoformat())
    when = next(time for time in times if time is not None)
    return {"device_id": device_of(message, request), "recorded_at": number(when)}


def _location(message: Message, request: AppRequest) -> list[Event]:
    envelope = {**_envelope(message, request), "recorded_at": number(message.get("tst"))}
    sent = {name: value for name, value in message.items() if name != "image"}
    here = fix({**envelope, **_position(message, request)}, sent)
    power = battery(message.get("batt"), charging(message.get("bs")), here)
    network = wifi(message.get("SSID"), message.get("BSSID"), here)
    return [here, *power, *network, *_photo(message, envelope)]


def _position(message: Message, request: AppRequest) -> dict[str, Any]:
    # Colota's template for this app keeps Colota's metres a second.
    is_colota = "colota" in request.headers.get("user-agent", "").lower()
    return {
        "latitude": number(message.get("lat")),
        "longitude": number(message.get("lon")),
        "altitude_m": number(message.get("alt")),
        "accuracy_m": known(message.get("acc")),
        "heading_deg": known(message.get("cog")),
        "speed_m_s": speed(message.get("vel"), 1.0 if is_colota else KM_H),
    }


def _photo(message: Message, envelope: Mapping[str, Any]) -> list[Event]:
    """The picture of a point of interest."""
    if not message.get("image"):
        return []
    sent = {name: value for name, value in message.items() if name in OF_PHOTO}
    return [Event(stream=PHOTO, columns={**envelope, "image_data": message["image"]}, sent=sent)]


def _transition(message: Message, request: AppRequest) -> list[Event]:
    """Into or out of a region: the event, and the fix that it was told from."""
    envelope = _envelope(message, request)
    event = Event(
        stream=SYSTEM,
        columns={
            **envelope,
            "event_type": f"region_{message.get('event')}",
            "event_category": "location",
            "description": message.get("desc"),
            "metadata": message,
        },
    )
    if message.get("lat") is None or message.get("lon") is None:
        return [event]
    return [event, fix({**envelope, **_position(message, request)}, message)]


def _last_will(message: Message, request: AppRequest) -> list[Event]:
    columns = {
        **_envelope(message, request),
        "event_type": "connection_lost",
        "event_category": "network",
        "severity": "warning",
        "metadata": message,
    }
    return [Event(stream=SYSTEM, columns=columns)]


def _steps(message: Message, request: AppRequest) -> list[Event]:
    """Steps between two times; -1 says that the phone does not count them."""
    count = known(message.get("steps"))
    if count is None:
        return _metadata(message, request)
    columns = {
        **_envelope(message, request),
        "step_count": count,
        "start_time": number(message.get("from")),
        "end_time": number(message.get("to")),
    }
    return [Event(stream=STEPS, columns=columns, sent=message)]


def _waypoints(message: Message, request: AppRequest) -> list[Event]:
    points = message.get("waypoints")
    if not isinstance(points, list) or not all(isinstance(point, dict) for point in points):
        return _metadata(message, request)
    whose = {"_type": "waypoint", "topic": message.get("topic")}
    return [event for point in points for event in _metadata({**whose, **point}, request)]


def _metadata(message: Message, request: AppRequest) -> list[Event]:
    """All that tells of the app and its settings rather than of the way."""
    kept = {name: "***" if name in SECRETS else value for name, value in _flat(message).items()}
    columns = {
        **_envelope(message, request),
        "metadata_type": f"owntracks_{message.get('_type')}",
        "metadata": kept,
    }
    return [Event(stream=METADATA, columns=columns)]


def _flat(message: Message) -> Message:
    """The message; a configuration's own fields lie one level deeper in some versions."""
    inner = message.get("configuration")
    return {**message, **inner, "configuration": None} if isinstance(inner, dict) else message


READERS: Mapping[str, Callable[[Message, AppRequest], list[Event]]] = {
    "location": _location,
    "transition": _transition,
    "waypoints": _waypoints,
    "lwt": _last_will,
    "steps": _steps,
}


def _settings(door: Door) -> list[Setting]:
    return [
        Setting(name="Mode", value="HTTP"),
        Setting(name="URL", value=f"{door.base}/owntracks/pub"),
        Setting(name="Username", value="anything"),
        Setting(name="Password", value=door.token),
    ]


ADAPTER = Adapter(
    name="owntracks",
    app="OwnTracks",
    systems="Android, iOS",
    streams=(*LOCATION_STREAMS, WIFI, SYSTEM, METADATA, STEPS, PHOTO),
    read=read,
    reply=reply,
    settings=_settings,
)
