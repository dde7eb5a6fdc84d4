"""Clients that send all the time: `python -m tests.bench.live audio|users PORT SECONDS TOKENS`.

`audio`: a socket a token, on each a second of sound (32 KB of PCM) every second. `users`: every
second, for each token, a packed block of EEG (256 samples of 8 channels) and 50 readings of an
accelerometer. What was sent, what was acknowledged and how long that took is printed as JSON.
"""

import asyncio
import base64
import json
import random
import struct
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import uvloop
import websockets

from tests.bench.load import Target, request_head

SECOND = timedelta(seconds=1)
STEP = SECOND / 50
RATE_HZ = 16_000
EEG = "/v1/streams/device.biosignal.eeg.raw"
ACCELEROMETER = "/v1/streams/device.sensor.accelerometer.raw"
CHANNELS = ["Fp1", "Fp2", "C3", "C4", "P7", "P8", "O1", "O2"]


@dataclass
class Tally:
    """What all clients have seen."""

    sent: int = 0
    acknowledged: int = 0
    refused: list[str] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    late: int = 0  # sent more than a second after their time, because the answers were slow

    async def count(self, send: Callable[[], Awaitable[str | None]]) -> None:
        """Send one thing; `send` gives what is wrong with the answer, or nothing."""
        self.sent += 1
        begin = time.perf_counter()
        problem = await send()
        self.latencies.append(time.perf_counter() - begin)
        if problem is None:
            self.acknowledged += 1
        else:
            self.refused.append(problem)

    def told(self) -> dict[str, Any]:
        """In numbers."""
        ordered = sorted(self.latencies)
        return {
            "sent": self.sent,
            "acknowledged": self.acknowledged,
            "late": self.late,
            "refused": self.refused[:3],
            "p50_ms": 1000 * ordered[len(ordered) // 2],
            "p99_ms": 1000 * ordered[int(len(ordered) * 0.99)],
        }


async def every_second(
    seconds: int, tally: Tally, act: Callable[[int, datetime], Awaitable[None]]
) -> None:
    """Act once a second, from a moment within the first one that differs for each client."""
    begin = time.perf_counter() + random.random()
    first = datetime.now(UTC).replace(microsecond=0) - seconds * SECOND
    for number in range(seconds):
        wait_s = begin + number - time.perf_counter()
        tally.late += wait_s < -1
        await asyncio.sleep(max(0.0, wait_s))
        await act(number, first + number * SECOND)


async def listen(port: int, token: str, device: str, seconds: int, tally: Tally) -> None:
    """One microphone."""
    url = f"ws://127.0.0.1:{port}/audio/stream/{device}?token={token}"
    sound = random.Random(device).randbytes(2 * RATE_HZ - 4)
    async with websockets.connect(url, max_size=None) as socket:

        async def act(number: int, at: datetime) -> None:
            data = base64.b64encode(number.to_bytes(4, "big") + sound).decode()
            chunk = {"recorded_at": at.isoformat(), "data": data, "format": "pcm"}
            frame = {"type": "audio_chunk", "data": {**chunk, "sample_rate": RATE_HZ}}

            async def send() -> str | None:
                await socket.send(json.dumps(frame))
                reply = json.loads(await socket.recv())
                is_stored = reply.get("type") == "ack" and reply.get("stored") == 1
                return None if is_stored else str(reply)[:300]

            await tally.count(send)

        await every_second(seconds, tally, act)


class Line:
    """A client's one connection, kept open: one request at a time.

    A whole HTTP library would use more of the processor than the server that is measured.
    """

    def __init__(self, port: int, token: str) -> None:
        """Connects with the first request."""
        self._port = port
        self._token = token
        self._open: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, path: str, content: bytes, expected: int) -> str | None:
        """Send JSON; what is wrong with the answer, or nothing where all of it was stored."""
        if self._open is None:
            self._open = await asyncio.open_connection("127.0.0.1", self._port)
        reader, writer = self._open
        head = request_head(Target("127.0.0.1", self._port, path), self._token, content)
        writer.write(head + content)
        told = await reader.readuntil(b"\r\n\r\n")
        length = told.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        body = await reader.readexactly(int(length))
        is_stored = told.startswith(b"HTTP/1.1 200") and json.loads(body)["stored"] == expected
        return None if is_stored else (told + body).decode()[:300]

    def close(self) -> None:
        """Leave."""
        if self._open is not None:
            self._open[1].close()


async def wear(line: Line, seed: str, seconds: int, tally: Tally) -> None:
    """One person."""
    rng = random.Random(seed)
    numbers = struct.pack("<2048f", *(rng.gauss(0, 40) for _ in range(256 * len(CHANNELS))))
    block = {
        "rate_hz": 256,
        "channels": CHANNELS,
        "unit": "µV",
        "sample_type": "f4",
        "samples": base64.b64encode(numbers).decode(),
    }
    signal = json.dumps(block)[1:]  # written once: the client's own work is not to be measured
    axes = [[round(rng.gauss(0, 3), 4) for _ in "xyz"] for _ in range(50)]
    device = {"device_id": "wearable"}

    async def act(_: int, at: datetime) -> None:
        eeg = f'{{"device_id": "wearable", "recorded_at": "{at.isoformat()}", {signal}'.encode()
        motion = [
            {**device, "recorded_at": (at + place * STEP).isoformat(), "x": x, "y": y, "z": z}
            for place, (x, y, z) in enumerate(axes)
        ]
        readings = json.dumps(motion).encode()
        await tally.count(lambda: line.post(EEG, eeg, 1))
        await tally.count(lambda: line.post(ACCELEROMETER, readings, 50))

    await every_second(seconds, tally, act)


async def run(kind: str, port: int, seconds: int, tokens: list[str]) -> dict[str, Any]:
    """All clients at once."""
    tally = Tally()
    if kind == "audio":
        names = [f"microphone-{number}" for number in range(len(tokens))]
        listening = (
            listen(port, token, name, seconds, tally)
            for token, name in zip(tokens, names, strict=True)
        )
        await asyncio.gather(*listening)
        return tally.told()
    lines = [Line(port, token) for token in tokens]
    wearing = (wear(line, token, seconds, tally) for line, token in zip(lines, tokens, strict=True))
    await asyncio.gather(*wearing)
    for line in lines:
        line.close()
    return tally.told()


if __name__ == "__main__":
    kind, port, seconds, tokens = sys.argv[1:]
    print(json.dumps(uvloop.run(run(kind, int(port), int(seconds), tokens.split(",")))))
