"""The doors that take requests: each makes a sending of fresh messages, as its clients make them.

A sending can be sent any number of times; an upload goes on where it was, as real clients do.
"""

import gzip
import json
import zlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from typing import Any

import httpx
import pyarrow as pa

from am_assets.streams.registry import REGISTRY
from tests.oracle.book import Book
from tests.oracle.messages import ID, KINDS, Author, Content, Message

FOUNDING = {
    "gps": "/sensor/gps",
    "accelerometer": "/sensor/accelerometer",
    "heartrate": "/sensor/heartrate",
    "clipboard": "/digital/clipboard",
    "note": "/notes/digital",
    "lifecycle": "/os-events/app-lifecycle",
    "audio": "/audio/upload",
    "photo": "/images/upload",
    "screenshot": "/images/screenshot",
    "document": "/documents/upload",
}
TYPES = {
    "gps": "gps_reading",
    "accelerometer": "accelerometer",
    "heartrate": "heartrate",
    "clipboard": "clipboard",
    "note": "digital_note",
    "lifecycle": "app_lifecycle",
    "audio": "audio_chunk",
    "photo": "camera_photo",
    "screenshot": "screenshot",
}
CONFLICT = 409
JSON = {"Content-Type": "application/json"}
NDJSON = {"Content-Type": "application/x-ndjson"}
ARROW = {"Content-Type": "application/vnd.apache.arrow.stream"}


@dataclass(frozen=True)
class Caller:
    """One user's connection to AM, and the book in which blobs are noted as they are acked."""

    client: httpx.AsyncClient
    book: Book

    async def post(self, path: str, content: Any, **more: Any) -> httpx.Response:
        """Send JSON."""
        return await self.client.post(path, content=dumps(content), headers=JSON, **more)


Go = Callable[[Caller], Awaitable[httpx.Response]]


@dataclass(frozen=True)
class Sending:
    """Messages of one user that go through a door together.

    `has_counts`: the answer counts. `is_upload`: who gives it up leaves an open upload behind, and
    a user may have only so many.
    """

    door: str
    user: str
    messages: tuple[Message, ...]
    go: Go
    has_counts: bool = True
    is_upload: bool = False

    @property
    def ids(self) -> list[str]:
        """The messages' ids."""
        return [message.id for message in self.messages]

    @property
    def bad_count(self) -> int:
        """How many of them become dead letters."""
        return sum(not message.is_good for message in self.messages)


Door = Callable[[Author], Sending]


def dumps(content: Any) -> bytes:
    """JSON as most clients write it."""
    return json.dumps(content).encode()


def founding(author: Author, *, kind: str, path: str) -> Sending:
    """One object to its own path."""
    message = author.write(kind, user=author.any_user())
    return _posting(path, [message], dumps(message.element))


def stream_object(author: Author) -> Sending:
    """One object to its stream."""
    message = author.write(author.random.choice(list(KINDS)), user=author.any_user())
    return _posting(f"/v1/streams/{message.stream}", [message], dumps(message.element))


def any_stream(author: Author) -> Sending:
    """The example of any stream there is."""
    stream = author.random.choice(REGISTRY.raw)
    content = Content(stream=stream.name, sent=dict(stream.example), kept={}, needs_id=True)
    message = author.put(content, user=author.any_user(), device="any")
    path = f"/v1/streams/{stream.name}"
    return replace(_posting(path, [message], dumps(message.element)), door="/v1/streams/*")


def stream_array(author: Author, *, encoding: str = "") -> Sending:
    """Many in an array, bad ones among them, encoded or plain."""
    messages = _several(author)
    body = dumps([message.element for message in messages])
    return _encoded(messages, body, JSON, encoding)


def stream_ndjson(author: Author, *, encoding: str = "") -> Sending:
    """Many, one a line; now and then the last line is cut off."""
    messages = _several(author)
    lines = [dumps(message.element) for message in messages]
    if author.random.random() < 0.2:
        line = dumps({ID: messages[-1].id, **messages[-1].element})
        lines[-1] = line[: len(line) // 2]
        letter = {"cut": lines[-1].decode()}
        messages[-1] = replace(
            messages[-1], is_good=False, element=letter, device="unknown", kept={}
        )
    return _encoded(messages, b"\n".join(lines), NDJSON, encoding)


def stream_arrow(author: Author) -> Sending:
    """Many as an Arrow IPC stream, bytes as bytes."""
    # Arrow has no lists of mixed types, as `lifecycle` has one.
    user, kind = (
        author.any_user(),
        author.random.choice(sorted(KINDS.keys() - {"lifecycle"})),
    )
    messages = [author.write(kind, user=user) for _ in range(author.random.randint(1, 30))]
    table = pa.Table.from_pylist([_for_arrow(message) for message in messages])
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    path = f"/v1/streams/{messages[0].stream}"
    sending = _posting(path, messages, sink.getvalue().to_pybytes(), headers=ARROW)
    return replace(sending, door="/v1/streams Arrow")


def unified(author: Author) -> Sending:
    """Messages of several types in one request to `/ingest/message`."""
    user = author.any_user()
    messages = [typed(author, user=user) for _ in range(author.random.randint(1, 6))]
    author.random.shuffle(messages)
    content = [message.element for message in messages]
    is_one = len(content) == 1
    return _posting("/ingest/message", messages, dumps(content[0] if is_one else content))


def typed(author: Author, *, user: str, device: str | None = None) -> Message:
    """A message that names its type; one in ten has none that there is."""
    kind = author.random.choice(list(TYPES))
    message = author.write(kind, user=user, device=device)
    data = {name: value for name, value in message.element.items() if name != "device_id"}
    element = {"message_type_id": TYPES[kind], "device_id": message.device, "data": data}
    if author.random.random() < 0.1:
        element["message_type_id"] = "mood"
        return replace(message, element=element, stream="unknown", is_good=False, blob=None)
    return replace(message, element=element)


def image_batch(author: Author) -> Sending:
    """Photos and screenshots in one array."""
    user = author.any_user()
    kinds = [author.random.choice(("photo", "screenshot")) for _ in range(3)]
    messages = [author.write(kind, user=user) for kind in kinds]
    return _posting("/images/batch", messages, dumps([m.element for m in messages]))


def sensor_batch(author: Author) -> Sending:
    """Readings that name their sensor."""
    user = author.any_user()
    kinds = [author.random.choice(("gps", "accelerometer", "heartrate")) for _ in range(5)]
    messages = [author.write(kind, user=user) for kind in kinds]
    content = [
        {"sensor_type": kind, "value": dict(message.element)}
        for kind, message in zip(kinds, messages, strict=True)
    ]
    for one, message in zip(content, messages, strict=True):
        one["device_id"] = message.device
    return _posting("/sensor/batch", messages, dumps(content))


def owntracks(author: Author) -> Sending:
    """A fix as OwnTracks posts it."""
    message = _fix(author)
    place = message.kept
    sent = {
        "_type": "location",
        "tst": round(message.ts.timestamp()),
        "lat": place["latitude"],
        "lon": place["longitude"],
        "topic": f"owntracks/{message.user}/{message.device}",
        ID: message.id,
    }
    return _app("/owntracks/pub", [message], dumps(sent))


def overland(author: Author) -> Sending:
    """Fixes as Overland posts them."""
    user = author.any_user()
    messages = [_fix(author, user=user) for _ in range(4)]
    return _app("/overland", messages, dumps({"locations": [_feature(m) for m in messages]}))


def traccar(author: Author) -> Sending:
    """A fix in a query, as OsmAnd sends it."""
    message = _fix(author)
    query = {
        "id": message.device,
        "lat": message.kept["latitude"],
        "lon": message.kept["longitude"],
        "timestamp": round(message.ts.timestamp()),
        ID: message.id,
    }

    async def go(caller: Caller) -> httpx.Response:
        return await caller.client.get("/traccar/", params=query)

    return Sending("/traccar", message.user, (message,), go, has_counts=False)


def influx(author: Author) -> Sending:
    """Points in InfluxDB's line protocol."""
    user = author.any_user()
    messages = [_point(author, user=user) for _ in range(author.random.randint(1, 20))]
    lines = [
        f"oracle,device={m.device},{ID}={m.id} value={m.kept['value']} "
        f"{round(m.ts.timestamp() * 1000)}"
        for m in messages
    ]
    return _app("/influx/api/v2/write?precision=ms", messages, "\n".join(lines).encode())


def events(author: Author) -> Sending:
    """Objects to the door for anything that can post."""
    user = author.any_user()
    messages = [author.write("gps", user=user) for _ in range(3)]
    body = dumps([m.element for m in messages])
    return _app("/events/device.sensor.gps.raw", messages, body)


def blob_put(author: Author) -> Sending:
    """Bytes by their hash, then the message that names them."""
    message, name = _naming(author)
    query = {"stream": message.stream, "day": message.ts.date().isoformat()}

    async def go(caller: Caller) -> httpx.Response:
        stored = await caller.client.put(f"/v1/blobs/{name}", params=query, content=message.blob)
        return await _then_named(caller, message, stored)

    return Sending("/v1/blobs PUT", message.user, (message,), go)


def blob_presigned(author: Author) -> Sending:
    """Bytes past AM to the object store, then completed, then named."""
    message, name = _naming(author)
    place = {"stream": message.stream, "day": message.ts.date().isoformat(), "sha256": name}
    told: list[dict[str, str]] = []

    async def go(caller: Caller) -> httpx.Response:
        if not told:
            answer = await caller.post("/v1/blobs/presign", place)
            if answer.is_error:
                return answer
            told.append(answer.json())
        async with httpx.AsyncClient(trust_env=False) as direct:
            put = await direct.put(told[0]["url"], content=message.blob)
        if put.is_error:
            return _unavailable(put)
        upload = f"/v1/blobs/uploads/{told[0]['upload_id']}"
        return await _then_named(caller, message, await caller.client.post(f"{upload}/complete"))

    return Sending("/v1/blobs/presign", message.user, (message,), go, is_upload=True)


def blob_parts(author: Author) -> Sending:
    """Bytes in parts, the last one first, gone on with after every interruption."""
    message, name = _naming(author)
    place = {"stream": message.stream, "day": message.ts.date().isoformat(), "sha256": name}
    content = message.blob or b""
    cut = len(content) // 2
    parts = {2: content[cut:], 1: content[:cut]}
    begun: list[str] = []

    async def go(caller: Caller) -> httpx.Response:
        if not begun:
            answer = await caller.post("/v1/blobs/uploads", place)
            if answer.is_error:
                return answer
            begun.append(f"/v1/blobs/uploads/{answer.json()['upload_id']}")
        known = await caller.client.get(begun[0])
        if known.is_error:
            return known
        done = {part["part"] for part in known.json()["parts"]}
        for number in parts.keys() - done if not known.json()["is_finished"] else ():
            answer = await caller.client.put(f"{begun[0]}/{number}", content=parts[number])
            if answer.is_error and answer.status_code != CONFLICT:  # a copy of this was faster
                return answer
        return await _then_named(caller, message, await caller.client.post(f"{begun[0]}/complete"))

    return Sending("/v1/blobs/uploads", message.user, (message,), go, is_upload=True)


DOORS: Mapping[str, Door] = {
    **{path: partial(founding, kind=kind, path=path) for kind, path in FOUNDING.items()},
    "/v1/streams object": stream_object,
    "/v1/streams/*": any_stream,
    "/v1/streams array": stream_array,
    "/v1/streams array gzip": partial(stream_array, encoding="gzip"),
    "/v1/streams array zstd": partial(stream_array, encoding="zstd"),
    "/v1/streams NDJSON": stream_ndjson,
    "/v1/streams NDJSON deflate": partial(stream_ndjson, encoding="deflate"),
    "/v1/streams Arrow": stream_arrow,
    "/ingest/message": unified,
    "/images/batch": image_batch,
    "/sensor/batch": sensor_batch,
    "/owntracks": owntracks,
    "/overland": overland,
    "/traccar": traccar,
    "/influx": influx,
    "/events": events,
    "/v1/blobs PUT": blob_put,
    "/v1/blobs/presign": blob_presigned,
    "/v1/blobs/uploads": blob_parts,
}
# Doors that need no object store, for the time when there is none.
ROW_DOORS = ("/sensor/gps", "/notes/digital", "/sensor/batch", "/overland", "/traccar", "/influx")
BLOB_DOORS = ("/audio/upload", "/images/upload", "/images/batch", "/v1/blobs PUT")
ENCODERS: Mapping[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": lambda body: pa.Codec("zstd").compress(body, asbytes=True),
}


def _several(author: Author) -> list[Message]:
    """Messages of one stream in no order of time."""
    user = author.any_user()
    messages = [author.write("gps", user=user) for _ in range(author.random.randint(1, 40))]
    if author.random.random() < 0.3:
        messages += [author.write_bad(user=user) for _ in range(2)]
    author.random.shuffle(messages)
    return messages


def _encoded(
    messages: Sequence[Message], body: bytes, headers: Mapping[str, str], encoding: str
) -> Sending:
    told = {**headers, **({"Content-Encoding": encoding} if encoding else {})}
    path = f"/v1/streams/{messages[0].stream}"
    kind = "NDJSON" if headers is NDJSON else "array"
    sending = _posting(path, messages, ENCODERS[encoding](body), headers=told)
    return replace(sending, door=f"/v1/streams {kind} {encoding}".strip())


def _posting(
    path: str,
    messages: Sequence[Message],
    body: bytes,
    *,
    headers: Mapping[str, str] = JSON,
    has_counts: bool = True,
) -> Sending:
    async def go(caller: Caller) -> httpx.Response:
        return await caller.client.post(path, content=body, headers=dict(headers))

    door = path.partition("?")[0]
    return Sending(door, messages[0].user, tuple(messages), go, has_counts)


def _app(path: str, messages: Sequence[Message], body: bytes) -> Sending:
    sending = _posting(path, messages, body, has_counts=False)
    return replace(sending, door=f"/{path.split('/')[1]}")


def _for_arrow(message: Message) -> dict[str, Any]:
    row = {**message.element, "recorded_at": message.ts.isoformat()}
    blob = REGISTRY[message.stream].blob
    return {**row, blob.field: message.blob} if blob else row


def _fix(author: Author, *, user: str | None = None) -> Message:
    """A position without what only AM's own clients say; to the second."""
    message = author.write("gps", user=user or author.any_user())
    names = ("latitude", "longitude")
    kept = {**{name: message.kept[name] for name in names}, "extra": {ID: message.id}}
    return replace(message, kept=kept, ts=message.ts.replace(microsecond=0))


def _feature(message: Message) -> dict[str, Any]:
    place = [message.kept["longitude"], message.kept["latitude"]]
    told = {"timestamp": message.ts.isoformat(), "device_id": message.device, ID: message.id}
    geometry = {"type": "Point", "coordinates": place}
    return {"type": "Feature", "geometry": geometry, "properties": told}


def _point(author: Author, *, user: str) -> Message:
    value = round(author.random.uniform(-1e6, 1e6), 6)
    kept = {"sensor_type": "oracle", "value": value}
    content = Content(stream="device.sensor.generic.raw", sent={}, kept=kept)
    return replace(author.put(content, user=user, device="meter"), kept=kept)


def _naming(author: Author) -> tuple[Message, str]:
    """A message that names its blob, and the name."""
    message = author.write(author.random.choice(("audio", "photo")), user=author.any_user())
    name = sha256(message.blob or b"").hexdigest()
    blob = REGISTRY[message.stream].blob
    taken = (blob.field,) if blob else ()
    element = {key: value for key, value in message.element.items() if key not in taken}
    return replace(message, element={**element, "blob_sha256": name}), name


async def _then_named(caller: Caller, message: Message, stored: httpx.Response) -> httpx.Response:
    if stored.is_error:
        return stored
    told = stored.json()
    caller.book.blob(told["blob_key"], told["sha256"])
    return await caller.post(f"/v1/streams/{message.stream}", message.element)


def _unavailable(answer: httpx.Response) -> httpx.Response:
    """The object store's refusal, told as AM would tell it."""
    return httpx.Response(503, headers={"Retry-After": "1"}, text=answer.text)
