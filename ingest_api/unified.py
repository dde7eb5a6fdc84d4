"""Messages that name their type themselves: `{message_type_id, device_id, data, metadata}`. Pure.

Phones and watches send all they have in this one form, over `POST /ingest/message` and over their
socket. Which types there are, the stream of each, and how a message becomes that stream's element.
"""

from collections.abc import Mapping
from typing import Any

from am_assets.streams.registry import Registry
from am_assets.streams.stream import Media, Stream
from ingest_api.batch import ElementRouter
from ingest_api.envelope import TIME_FIELDS
from ingest_api.errors import Reason, RejectedError

# Where several types mean one stream, the first one is its own name; a row keeps the others.
TYPES: Mapping[str, str] = {
    "audio_chunk": "device.audio.raw",
    "gps_reading": "device.sensor.gps.raw",
    "accelerometer": "device.sensor.accelerometer.raw",
    "heartrate": "device.health.heartrate.raw",
    "power_state": "device.state.power.raw",
    "wifi_state": "device.network.wifi.raw",
    "bluetooth_scan": "device.network.bluetooth.raw",
    "temperature": "device.sensor.temperature.raw",
    "barometer": "device.sensor.barometer.raw",
    "device_metadata": "device.metadata.raw",
    "camera_photo": "device.image.camera.raw",
    "screenshot": "device.image.screenshot.raw",
    "twitter_screenshot": "external.twitter.images.raw",
    "app_lifecycle": "os.events.app_lifecycle.raw",
    "system_event": "os.events.system.raw",
    "notification": "os.events.notifications.raw",
    "macos_apps": "device.system.apps.macos.raw",
    "android_apps": "device.system.apps.android.raw",
    "digital_note": "digital.notes.raw",
    "clipboard": "digital.clipboard.raw",
    "twitter_liked": "external.twitter.liked.raw",
    "email_event": "external.email.events.raw",
    "calendar_event": "external.calendar.events.raw",
    "url_to_process": "task.url.ingest",
    # What phones and watches send besides.
    "screen_text": "digital.screen_text.raw",
    "gps": "device.sensor.gps.raw",
    "heart_rate": "device.health.heartrate.raw",
    "power_event": "device.state.power.raw",
    "sleep_state": "device.health.sleep.raw",
    "sleep": "device.health.sleep.raw",
    "on_body_status": "device.sensor.on_body.raw",
    "light": "device.sensor.light.raw",
    "gyroscope": "device.sensor.gyroscope.raw",
    "magnetometer": "device.sensor.magnetometer.raw",
    "steps": "device.health.steps.raw",
    "blood_oxygen": "device.health.blood_oxygen.raw",
    "blood_pressure": "device.health.blood_pressure.raw",
    "body_weight": "device.health.body_weight.raw",
}
HINTS = {Media.AUDIO: "audio_transcription", Media.IMAGE: "ocr_extraction"}
OWN_NAMES = {stream: kind for kind, stream in reversed(list(TYPES.items()))}


def by_type(registry: Registry) -> ElementRouter:
    """The router of the doors for such messages."""

    def route(message: Any) -> tuple[Stream, Any]:
        if not isinstance(message, Mapping):
            raise RejectedError(Reason.NOT_AN_OBJECT, "a message must be a JSON object")
        name = TYPES.get(str(message.get("message_type_id")))
        if name is None:
            raise RejectedError(
                Reason.UNKNOWN_TYPE,
                f"message_type_id {str(message.get('message_type_id'))[:64]!r} is none of "
                "GET /ingest/message-types",
            )
        return registry[name], flattened(message)

    return route


def flattened(message: Mapping[str, Any]) -> dict[str, Any]:
    """The element within a message: its data, and of the envelope what the data does not tell.

    The data's own time goes before that of `metadata`, that before the envelope's. What the data
    may have of its own is kept beside it: `message_metadata`, `message_timestamp`.
    Raises: RejectedError where the data is no object.
    """
    data, metadata = message.get("data"), message.get("metadata")
    if not isinstance(data, Mapping):
        raise RejectedError(Reason.BAD_VALUE, "data must be an object with the type's fields")
    besides = {name: message[name] for name in message if name not in ("message_type_id", "data")}
    element = {
        f"message_{name}" if name in ("metadata", *TIME_FIELDS) else name: value
        for name, value in besides.items()
        if value not in (None, {})
    }
    element |= {name: value for name, value in data.items() if value is not None}
    if OWN_NAMES[TYPES[message["message_type_id"]]] != message["message_type_id"]:
        element["message_type_id"] = message["message_type_id"]
    return element | _time_besides(data, (metadata, message))


def _time_besides(data: Mapping[str, Any], others: tuple[Any, ...]) -> dict[str, Any]:
    """The time that others tell, where the data tells none."""
    if time_in(data) is not None:
        return {}
    times = (time_in(other) for other in others if isinstance(other, Mapping))
    found = next((time for time in times if time is not None), None)
    return {} if found is None else {TIME_FIELDS[0]: found}


def time_in(fields: Mapping[str, Any]) -> Any:
    """When, as these fields tell it; None where they don't."""
    return next((fields[name] for name in TIME_FIELDS if fields.get(name) is not None), None)


def describe_types(registry: Registry) -> dict[str, dict[str, Any]]:
    """Each type with its stream and the fields that a message of it must have."""
    return {kind: describe_type(kind, registry[name]) for kind, name in TYPES.items()}


def describe_type(kind: str, stream: Stream) -> dict[str, Any]:
    """One type; fields by the names that clients send."""
    return {
        "message_type_id": kind,
        "topic": stream.name,
        "pipeline_hint": HINTS[stream.blob.media] if stream.blob else "direct_storage",
        "validation_rules": {"required_fields": required_fields(stream)},
    }


def required_fields(stream: Stream) -> list[str]:
    """The fields without which no row is made; what is measured from a blob is not among them."""
    sent_as = {column: alias for alias, column in reversed(list(stream.aliases.items()))}
    measured = stream.blob.facts if stream.blob else ()
    own = [
        sent_as.get(name, name)
        for name, field in stream.row.model_fields.items()
        if field.is_required() and name not in measured
    ]
    return [stream.blob.field, *own] if stream.blob else own
