"""Every way in that a raw stream has, each as a request or a frame that brings its example.

A route's name is the device that its row is from, so that each row tells which way it came.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from am_assets.streams.registry import REGISTRY
from am_assets.streams.stream import Stream
from ingest_api.mixed_doors import mixed_doors
from ingest_api.unified import TYPES

NOW = "2026-03-01T08:30:00.250+01:00"
ARROW = "application/vnd.apache.arrow.stream"
NDJSON = "application/x-ndjson"
AUDIO_SOCKET = "/audio/stream/{device_id}"
# A list of unlike things has no Arrow type; such a client leaves it out, or sends JSON.
NOT_IN_ARROW = {"external.calendar.events.raw": "attendees"}
SENSOR_BATCH, IMAGE_BATCH, MESSAGE = "/sensor/batch", "/images/batch", "/ingest/message"


@dataclass(frozen=True)
class Request:
    """One way in over HTTP."""

    name: str
    stream: Stream
    path: str
    content: bytes
    media_type: str = "application/json"


@dataclass(frozen=True)
class FrameRoute:
    """One way in over a socket, and the kind of frame that acknowledges it."""

    name: str
    stream: Stream
    path: str
    frame: Mapping[str, Any]
    answer: str


def requests() -> Iterator[Request]:
    """All HTTP ways of all streams."""
    for stream in REGISTRY.raw:
        yield from _own_doors(stream)
        yield from _named_doors(stream)
        yield from _mixed_doors(stream)


def frames() -> Iterator[FrameRoute]:
    """All socket ways of all streams, but for those of notifications."""
    for kind, name in TYPES.items():
        for make in (_data_frame, _bare_frame, _batch_frame):
            yield make(kind, REGISTRY[name])
    for stream in REGISTRY.raw:
        if any(door.path == AUDIO_SOCKET for door in stream.doors):
            yield _audio_frame(stream)


def example(stream: Stream, device_id: str) -> dict[str, Any]:
    """The stream's example as that device would send it."""
    return {**stream.example, "device_id": device_id, "recorded_at": NOW}


def as_arrow(stream: Stream, message: Mapping[str, Any]) -> bytes:
    """One message as an Arrow IPC stream."""
    told = {name: value for name, value in message.items() if name != NOT_IN_ARROW.get(stream.name)}
    table = pa.Table.from_pylist([told])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue().to_pybytes())


def _own_doors(stream: Stream) -> Iterator[Request]:
    """`/v1/streams/{name}`, in each of its forms."""
    path = f"/v1/streams/{stream.name}"
    for form in ("object", "array", "ndjson", "arrow"):
        name = f"{path} {form}"
        message = example(stream, name)
        match form:
            case "ndjson":
                yield Request(name, stream, path, json.dumps(message).encode() + b"\n", NDJSON)
            case "arrow":
                yield Request(name, stream, path, as_arrow(stream, message), ARROW)
            case _:
                content = [message] if form == "array" else message
                yield Request(name, stream, path, json.dumps(content).encode())


def _named_doors(stream: Stream) -> Iterator[Request]:
    for door in stream.doors:
        if door.protocol == "http":
            message = example(stream, door.path)
            content = [message] if door.many else message
            yield Request(door.path, stream, door.path, json.dumps(content).encode())


def _mixed_doors(stream: Stream) -> Iterator[Request]:
    """The doors whose elements name their stream themselves."""
    assert {SENSOR_BATCH, IMAGE_BATCH, MESSAGE} == set(mixed_doors(REGISTRY))
    for door in stream.doors:
        if door.path.startswith("/sensor/"):
            name = f"{SENSOR_BATCH} {door.path}"
            reading = {"sensor_type": door.path.removeprefix("/sensor/"), "value": stream.example}
            content = [{**reading, "device_id": name, "recorded_at": NOW}]
            yield Request(name, stream, SENSOR_BATCH, json.dumps(content).encode())
    if stream.name in ("device.image.camera.raw", "device.image.screenshot.raw"):
        name = f"{IMAGE_BATCH} {stream.kind}"
        content = [example(stream, name)]
        yield Request(name, stream, IMAGE_BATCH, json.dumps(content).encode())
    for kind in (kind for kind, name in TYPES.items() if name == stream.name):
        name = f"{MESSAGE} {kind}"
        message = {"message_type_id": kind, "data": example(stream, name)}
        yield Request(name, stream, MESSAGE, json.dumps(message).encode())


def _data_frame(kind: str, stream: Stream) -> FrameRoute:
    name = f"/realtime/ws data {kind}"
    payload = {"message_type_id": kind, "data": example(stream, name)}
    return _frame(name, stream, {"type": "data", "payload": payload}, "data_ack")


def _bare_frame(kind: str, stream: Stream) -> FrameRoute:
    name = f"/realtime/ws {kind}"
    answer = "audio_ack" if kind == "audio_chunk" else "data_ack"
    return _frame(name, stream, {"type": kind, "payload": example(stream, name)}, answer)


def _batch_frame(kind: str, stream: Stream) -> FrameRoute:
    name = f"/realtime/ws batch {kind}"
    messages = [{"message_type_id": kind, "data": example(stream, name)}]
    frame = {"message_type": "batch_data", "payload": {"messages": messages}}
    return _frame(name, stream, frame, "batch_ack")


def _frame(name: str, stream: Stream, frame: Mapping[str, Any], answer: str) -> FrameRoute:
    return FrameRoute(name, stream, "/realtime/ws/phone", frame, answer)


def _audio_frame(stream: Stream) -> FrameRoute:
    name = AUDIO_SOCKET.replace("{device_id}", "own")
    frame = {"type": "audio_chunk", "data": example(stream, name)}
    return FrameRoute(name, stream, "/audio/stream/phone", frame, "ack")
