"""One message as a device would send it, the doors it may go through, and who writes it.

What a message says belongs in `payloads`, when it is said in `day` and `month`.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from typing import Any, Literal
from uuid import UUID, uuid5
from zoneinfo import ZoneInfo

AUDIO = "device.audio.raw"
PHOTO = "device.image.camera.raw"
SCREENSHOT = "device.image.screenshot.raw"
GPS = "device.sensor.gps.raw"
ACCELEROMETER = "device.sensor.accelerometer.raw"
HEART_RATE = "device.health.heartrate.raw"
POWER = "device.state.power.raw"
APP = "os.events.app_lifecycle.raw"
CLIPBOARD = "digital.clipboard.raw"
NOTE = "digital.notes.raw"

NAMESPACE = UUID("6f0d5c1e-3c7b-5d4e-9a51-0f6f2f6f8a10")
CLIENT_SCHEMA_VERSION = "1.0"


@dataclass(frozen=True, kw_only=True)
class Door:
    """Where a message goes in.

    `rest`: POST of one object. `batch`: POST of an array, so that the sender may join messages.
    `socket`: a WebSocket, one message at a time, each acknowledged.
    """

    path: str
    kind: Literal["rest", "batch", "socket"] = "rest"


REST_PATHS: Mapping[str, str] = {
    AUDIO: "/audio/upload",
    PHOTO: "/images/upload",
    SCREENSHOT: "/images/screenshot",
    GPS: "/sensor/gps",
    ACCELEROMETER: "/sensor/accelerometer",
    HEART_RATE: "/sensor/heartrate",
    POWER: "/sensor/power",
    APP: "/os-events/app-lifecycle",
    CLIPBOARD: "/digital/clipboard",
    NOTE: "/notes/digital",
}


def rest(stream: str) -> Door:
    """The door the stream's devices have always used."""
    return Door(path=REST_PATHS[stream])


def batch(stream: str) -> Door:
    """The door for many messages of one stream at once."""
    return Door(path=f"/v1/streams/{stream}", kind="batch")


@dataclass(frozen=True, kw_only=True)
class Device:
    """A thing that sends: its id is opaque to the server."""

    device_id: str
    name: str
    client: str

    @property
    def audio_socket(self) -> Door:
        """The WebSocket on which this device streams sound."""
        return Door(path=f"/audio/stream/{self.device_id}", kind="socket")


PHONE = Device(device_id=str(uuid5(NAMESPACE, "phone")), name="Ivo's phone", client="mobile-client")
WATCH = Device(
    device_id=f"wearable_{uuid5(NAMESPACE, 'watch')}", name="Ivo's watch", client="wearable-client"
)
LAPTOP = Device(
    device_id=str(uuid5(NAMESPACE, "laptop")), name="Ivo's laptop", client="desktop-client"
)
DEVICES = (PHONE, WATCH, LAPTOP)


@dataclass(frozen=True, kw_only=True)
class Message:
    """One element of one stream: `ts` is aware UTC, `body` the JSON object a client sends.

    `is_generated`: no sensor recorded it; it comes from a seed or was written for the demo.
    """

    ts: datetime
    stream: str
    device_id: str
    door: Door
    body: Mapping[str, Any]
    is_generated: bool

    @property
    def message_id(self) -> str:
        """The client's id: the same message always has the same."""
        return str(self.body["message_id"])


@dataclass
class Scribe:
    """Writes the messages of one day: gives each its envelope and its id, and keeps them.

    The id follows from seed, day, stream and the message's number in its stream. Messages of the
    streams in `batched` go through the door for many, unless another is named.
    """

    day: date
    seed: int
    zone: ZoneInfo
    batched: frozenset[str] = frozenset()
    messages: list[Message] = field(default_factory=list)
    _written: Counter[str] = field(default_factory=Counter)

    def local(self, clock: str) -> datetime:
        """An instant of the day, in UTC, from the owner's clock: `"07:15"` or `"07:15:50"`."""
        naive = datetime.fromisoformat(f"{self.day.isoformat()}T{clock}")
        return naive.replace(tzinfo=self.zone).astimezone(UTC)

    def write(
        self,
        ts: datetime,
        stream: str,
        device: Device,
        own: Mapping[str, Any],
        *,
        door: Door | None = None,
        is_generated: bool = True,
    ) -> Message:
        """Add a message; `own` are the stream's fields as its clients name them."""
        message = Message(
            ts=ts,
            stream=stream,
            device_id=device.device_id,
            door=door or (batch(stream) if stream in self.batched else rest(stream)),
            body={**self._envelope(ts, stream, device), **own},
            is_generated=is_generated,
        )
        self.messages.append(message)
        return message

    def in_order(self) -> list[Message]:
        """All messages by time; those of one instant stay as they were written."""
        return sorted(self.messages, key=lambda message: message.ts)

    def _envelope(self, ts: datetime, stream: str, device: Device) -> dict[str, Any]:
        number = self._written[stream]
        self._written[stream] += 1
        name = f"{self.seed}/{self.day.isoformat()}/{stream}/{number}"
        return {
            "schema_version": CLIENT_SCHEMA_VERSION,
            "device_id": device.device_id,
            "recorded_at": ts.astimezone(self.zone).isoformat(),
            "message_id": str(uuid5(NAMESPACE, name)),
            "services_encountered": [device.client],
        }
