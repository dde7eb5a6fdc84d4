"""What is said on a device's sockets: frames as clients write them, and what they hold. Pure.

Phones call a frame's kind `type`, watches and older clients `message_type`; phones and watches put
the content into `payload`, older clients into `data`. What goes out has both, and its content both
in `payload` and beside it, because the clients differ in where they look.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from ingest_api.answers import answer
from ingest_api.batch import ElementRouter
from ingest_api.bodies import read_json
from ingest_api.errors import MalformedBodyError, Reason, RejectedError
from ingest_api.instants import MAX_OFFSET_MIN
from ingest_api.unified import TYPES, time_in
from ingest_api.writer import Receipt

API_VERSION = "1.0"
FEATURES = (
    "health_check",
    "heartbeat",
    "data",
    "batch_data",
    "audio_chunk",
    "device_register",
    "device_update",
    "device_query",
    "notifications",
)
KIND = ("type", "message_type")
OWN = frozenset({*KIND, "metadata"})
LISTS = ("messages", "items", "batch", "data", "readings")
IDS = ("message_id", "event_id")
ZONE_STEP_MIN = 15  # zones differ from UTC by multiples of it
MAX_LAG = timedelta(minutes=1)  # between a live frame's making and its reading


@dataclass(frozen=True)
class Frame:
    """One frame that was understood. `metadata` is empty where it had none."""

    kind: str
    payload: Any
    metadata: Mapping[str, Any]
    fields: Mapping[str, Any]


def read_frame(content: str | bytes, *, kinds: Collection[str]) -> Frame:
    """Understand one frame.

    Raises: RejectedError when it is no JSON object, or none of these kinds.
    """
    try:
        fields = read_json(content)
    except MalformedBodyError as error:
        raise RejectedError(Reason.NOT_JSON, str(error)) from error
    if not isinstance(fields, dict):
        raise RejectedError(Reason.NOT_AN_OBJECT, "a frame must be a JSON object")
    kind = next((fields[name] for name in KIND if isinstance(fields.get(name), str)), None)
    if kind is None or kind not in kinds:
        known = ", ".join(sorted(kinds))
        raise RejectedError(
            Reason.UNKNOWN_TYPE, f"{' or '.join(KIND)} must name the frame, one of: {known}"
        )
    metadata = fields.get("metadata")
    return Frame(kind, _payload(fields), metadata if isinstance(metadata, dict) else {}, fields)


def reply(kind: str, **told: Any) -> dict[str, Any]:
    """A frame to a client."""
    return {"type": kind, "message_type": kind, **told, "payload": told, "metadata": {}}


def messages_of(frame: Frame) -> list[Any]:
    """The messages that a frame brings, each as `POST /ingest/message` would take it.

    A batch that holds no list is one message that can't be read.
    """
    if frame.kind == "batch_data":
        found = _list_in(frame.payload)
        return [frame.payload] if found is None else [_message(part, frame) for part in found]
    if frame.kind in TYPES:
        return [_message({"message_type_id": frame.kind, "data": frame.payload}, frame)]
    return [_message(frame.payload, frame)]


def data_ack(messages: Sequence[Any], receipt: Receipt) -> dict[str, Any]:
    """What became of one message, by the id that its sender gave it."""
    told = answer(receipt, is_single=True, trace_id=None)
    return {**told, "message_id": _sent_id(messages[0]) or told["message_id"]}


def batch_ack(messages: Sequence[Any], receipt: Receipt) -> dict[str, Any]:
    """What became of a batch, with the ids of those that have one."""
    ids = [found for message in messages if (found := _sent_id(message))]
    return {**answer(receipt, is_single=False, trace_id=None), "message_ids": ids}


def refusing(error: RejectedError) -> ElementRouter:
    """The router of what can't be read: it becomes a dead letter with this reason."""

    def route(_element: Any) -> Any:
        raise error

    return route


def zone_of(sent: Any, *, now: datetime) -> int | None:
    """Local time minus UTC in minutes, as a frame that was made just now tells it.

    None where its time names a zone, or lies too far from any zone's time to be a live one.
    """
    try:
        local = datetime.fromisoformat(sent) if isinstance(sent, str) else None
    except ValueError:
        return None
    if local is None or local.tzinfo is not None:
        return None
    ahead = local.replace(tzinfo=UTC) - now
    offset_min = round(ahead / timedelta(minutes=ZONE_STEP_MIN)) * ZONE_STEP_MIN
    is_live = abs(ahead - timedelta(minutes=offset_min)) <= MAX_LAG
    return offset_min if is_live and abs(offset_min) <= MAX_OFFSET_MIN else None


def told_in(frame: Frame) -> Mapping[str, Any]:
    """A frame's content as an object: its payload, or nothing."""
    return frame.payload if isinstance(frame.payload, Mapping) else {}


def _payload(fields: Mapping[str, Any]) -> Any:
    """The content, wherever it is."""
    if "payload" in fields:
        return fields["payload"]
    if "message_type_id" not in fields and "data" in fields:
        return fields["data"]
    return {name: value for name, value in fields.items() if name not in OWN}


def _message(content: Any, frame: Frame) -> Any:
    """A message with what only its frame tells; a time only where it has none."""
    if not isinstance(content, Mapping):
        return content
    message = {**content}
    if frame.metadata:
        message.setdefault("metadata", dict(frame.metadata))
    parts = (message.get("data"), message.get("metadata"), message)
    is_timed = any(time_in(part) is not None for part in parts if isinstance(part, Mapping))
    when = time_in(frame.fields)
    return message if is_timed or when is None else {**message, "timestamp": when}


def _list_in(payload: Any) -> list[Any] | None:
    if isinstance(payload, list):
        return payload
    if not isinstance(payload, Mapping):
        return None
    return next((payload[name] for name in LISTS if isinstance(payload.get(name), list)), None)


def _sent_id(message: Any) -> str | None:
    """The id that a message carries, as it was sent."""
    if not isinstance(message, Mapping):
        return None
    data = message.get("data")
    parts = [part for part in (data, message) if isinstance(part, Mapping)]
    return next((str(part[name]) for part in parts for name in IDS if part.get(name)), None)
