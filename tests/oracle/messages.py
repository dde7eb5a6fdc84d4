"""What the oracle sends: messages with an id of their own, and what must be kept of each.

What is kept is written down here by hand, column by column, so that the product's own reading of a
message is never its own judge.
"""

import base64
import io
import math
import struct
import wave
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

ID = "oracle_id"
MARK = "orc-"  # every id begins so, wherever it is found again
DEVICES = ("phone", "watch", "laptop")
USERS = ("ada", "ben")
SPREAD = timedelta(days=4)
Fields = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Message:
    """One message: how it is sent (`element`) and what its row must hold (`kept`, by column).

    `blob` is what the row's blob must be; `is_good` False: it must become a dead letter.
    """

    id: str
    user: str
    device: str
    stream: str
    ts: datetime
    element: Mapping[str, Any] = field(repr=False)
    kept: Mapping[str, Any] = field(repr=False)
    blob: bytes | None = field(default=None, repr=False)
    is_good: bool = True

    @property
    def uuid(self) -> str:
        """The id as clients of AM send one."""
        return str(UUID(self.id.removeprefix(MARK)))


@dataclass(frozen=True, kw_only=True)
class Content:
    """A kind of message without its envelope: fields as sent, columns as kept, bytes."""

    stream: str
    sent: Fields
    kept: Fields
    blob: bytes | None = None
    needs_id: bool = False  # two of them may say the same at another time


class Author:
    """Writes messages: the same ones for the same seed, none of them twice."""

    def __init__(
        self, seed: int, *, users: Sequence[str] = USERS, now: datetime | None = None
    ) -> None:
        """`now` is when the messages' clocks are right."""
        self.random = Random(seed)
        self.users = users
        self._now = now or datetime.now(UTC)

    def write(self, kind: str, *, user: str, device: str | None = None) -> Message:
        """One good message of a kind; now and then its clock is wrong, as far as AM bears it."""
        content = KINDS[kind](self.random)
        return self.put(content, user=user, device=device or self.random.choice(DEVICES))

    def write_bad(self, *, user: str) -> Message:
        """A message that can become no row, for one of many reasons."""
        good = self.write("gps", user=user)
        spoil: Fields = self.random.choice(SPOILS)(self._now)
        element = {**good.element, **spoil}
        return Message(
            id=good.id,
            user=user,
            device=good.device,
            stream=good.stream,
            ts=good.ts,
            element=element,
            kept={},
            is_good=False,
        )

    def put(self, content: Content, *, user: str, device: str) -> Message:
        """Content in an envelope."""
        own = self.new_id()
        ts = self.instant()
        envelope = {"device_id": device, "recorded_at": self._spelled(ts), ID: own}
        if content.needs_id or self.random.random() < 0.5:
            envelope["message_id"] = str(UUID(own.removeprefix(MARK)))
        return Message(
            id=own,
            user=user,
            device=device,
            stream=content.stream,
            ts=ts,
            element={**envelope, **content.sent},
            kept={**content.kept, "extra": {ID: own, **content.kept.get("extra", {})}},
            blob=content.blob,
        )

    def any_user(self) -> str:
        """One of those who send."""
        return self.random.choice(self.users)

    def new_id(self) -> str:
        """One that was never given."""
        return f"{MARK}{UUID(int=self.random.getrandbits(128), version=4).hex}"

    def instant(self) -> datetime:
        """Mostly of the last days; sometimes of a clock that was reset or runs ahead."""
        chance = self.random.random()
        if chance < 0.03:
            base, spread = datetime(2001, 9, 9, tzinfo=UTC), timedelta(days=3)
        elif chance < 0.06:
            base, spread = self._now, timedelta(hours=20)
        else:
            base, spread = self._now - SPREAD, SPREAD
        moment = base + spread * self.random.random()
        return moment.replace(microsecond=moment.microsecond // 1000 * 1000)

    def _spelled(self, ts: datetime) -> Any:
        """The time as one client or another writes it."""
        match self.random.randrange(4):
            case 0:
                return ts.isoformat().replace("+00:00", "Z")
            case 1:
                return ts.astimezone(_zone(self.random)).isoformat()
            case 2:
                return round(ts.timestamp() * 1000)
            case _:
                return ts.isoformat()


def _zone(random: Random) -> Any:
    return datetime.strptime(random.choice(("+0200", "-0730", "+0545")), "%z").tzinfo


def _number(random: Random, low: float, high: float) -> float:
    return round(random.uniform(low, high), 6)


def gps(random: Random) -> Content:
    latitude, longitude = _number(random, -90, 90), _number(random, -180, 180)
    accuracy = _number(random, 0, 50)
    sent = {"latitude": latitude, "longitude": longitude, "accuracy": accuracy, "provider": "gps"}
    kept = {"latitude": latitude, "longitude": longitude, "accuracy_m": accuracy}
    return Content(
        stream="device.sensor.gps.raw", sent=sent, kept={**kept, "extra": {"provider": "gps"}}
    )


def accelerometer(random: Random) -> Content:
    x, y, z = (_number(random, -20, 20) for _ in range(3))
    return Content(
        stream="device.sensor.accelerometer.raw",
        sent={"x": x, "y": y, "z": z},
        kept={"x_m_s2": x, "y_m_s2": y, "z_m_s2": z},
    )


def heartrate(random: Random) -> Content:
    bpm, confidence = random.randrange(40, 190), _number(random, 0, 1)
    said = {"bpm": bpm, "confidence": confidence}
    return Content(stream="device.health.heartrate.raw", sent=said, kept=said)


def clipboard(random: Random) -> Content:
    said = {"content_type": "text", "content_text": words(random, 12), "source_app": "firefox"}
    return Content(stream="digital.clipboard.raw", sent=said, kept=said)


def note(random: Random) -> Content:
    said = {"title": words(random, 3), "content": words(random, 60), "tags": ["ä", "日本", "🥖"]}
    return Content(stream="digital.notes.raw", sent=said, kept=said)


def lifecycle(random: Random) -> Content:
    metadata = {"deep": {"list": [1, None, 2.5, "x"], "text": words(random, 4)}}
    said: Fields = {"app_identifier": "org.a", "event_type": "launch", "metadata": metadata}
    return Content(stream="os.events.app_lifecycle.raw", sent=said, kept=said)


def eeg(random: Random) -> Content:
    samples = [[_number(random, -100, 100) for _ in range(4)] for _ in range(16)]
    channels = ["TP9", "AF7", "AF8", "TP10"]
    packed = base64.b64encode(struct.pack("<64d", *(n for sample in samples for n in sample)))
    said = {"channels": channels, "unit": "µV"}
    return Content(
        stream="device.biosignal.eeg.raw",
        sent={**said, "sample_rate_hz": 256, "samples": samples},
        kept={**said, "rate_hz": 256, "samples": packed.decode(), "sample_type": "f8"},
    )


def audio(random: Random) -> Content:
    content = sound(random, seconds=random.choice((0.1, 0.5)))
    return Content(
        stream="device.audio.raw",
        sent={"data": base64.b64encode(content).decode(), "format": "wav"},
        kept={"sample_rate_hz": 8_000, "channels": 1},
        blob=content,
        needs_id=True,
    )


def photo(random: Random) -> Content:
    content = picture(random)
    return Content(
        stream="device.image.camera.raw",
        sent={"image_data": base64.b64encode(content).decode(), "camera_type": "rear"},
        kept={"camera_type": "rear", "width_px": 16, "height_px": 16},
        blob=content,
    )


def screenshot(random: Random) -> Content:
    content = picture(random)
    return Content(
        stream="device.image.screenshot.raw",
        sent={"image_data": base64.b64encode(content).decode(), "camera_type": "screen"},
        kept={"camera_type": "screen", "width_px": 16, "height_px": 16},
        blob=content,
        needs_id=True,
    )


def document(random: Random) -> Content:
    content = words(random, 2_000).encode()
    said = {"filename": f"{words(random, 1)}.txt", "document_type": "text", "priority": 5}
    return Content(
        stream="task.document.ingest",
        sent={**said, "file_data": base64.b64encode(content).decode()},
        kept=said,
        blob=content,
    )


KINDS: Mapping[str, Callable[[Random], Content]] = {
    kind.__name__: kind
    for kind in (
        gps,
        accelerometer,
        heartrate,
        clipboard,
        note,
        lifecycle,
        eeg,
        audio,
        photo,
        screenshot,
        document,
    )
}
ROWS_ONLY = ("gps", "accelerometer", "heartrate", "clipboard", "note", "lifecycle", "eeg")
SPOILS: tuple[Callable[[datetime], Fields], ...] = (
    lambda _: {"latitude": 95},
    lambda _: {"longitude": "east"},
    lambda _: {"note": "a\x00b"},
    lambda _: {"recorded_at": "yesterday"},
    lambda _: {"recorded_at": "1969-12-31T23:00:00Z"},
    lambda now: {"recorded_at": (now + timedelta(days=30)).isoformat()},
    lambda _: {"recorded_at": None},
)


def words(random: Random, count: int) -> str:
    """Text with signs that get lost easily."""
    pool = ("rye", "Brötchen", "220°", "\u202e", "\t", "'", '"', "\\", "パン", "🥖", "<b>", "%s")
    return " ".join(random.choice(pool) for _ in range(count)) + f" {random.getrandbits(40):x}"


def sound(random: Random, *, seconds: float) -> bytes:
    """A tone unlike any other, as WAV."""
    step, count = random.uniform(0.01, 0.5), round(8_000 * seconds)
    samples = [round(9_000 * math.sin(step * i)) for i in range(count)]
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8_000)
        file.writeframes(struct.pack(f"<{count}h", *samples))
    return buffer.getvalue() + random.randbytes(16)


def picture(random: Random) -> bytes:
    """Noise as PNG, 16 × 16."""
    rows = b"".join(b"\x00" + random.randbytes(16) for _ in range(16))
    head = struct.pack(">IIBBBBB", 16, 16, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(*chunk) for chunk in chunks)


def _chunk(kind: bytes, content: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + check
