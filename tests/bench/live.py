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

import httpx
import uvloop
import websockets

SECOND = timedelta(seconds=1)
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


async def wear(client: httpx.AsyncClient, token: str, seconds: int, tally: Tally) -> None:
    """One person."""
    rng = random.Random(token)
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
    kind = {"Content-Type": "application/json", "X-Device-Id": "wearable"}
    headers = {"Authorization": f"Bearer {token}", **kind}

    async def post(path: str, content: str, expected: int) -> str | None:
        answer = await client.post(path, content=content, headers=headers)
        is_stored = answer.status_code == httpx.codes.OK and answer.json()["stored"] == expected
        return None if is_stored else f"{answer.status_code} {answer.text[:300]}"

    async def act(_: int, at: datetime) -> None:
        eeg = f'{{"recorded_at": "{at.isoformat()}", {signal}'
        motion = [
            {"recorded_at": (at + place * SECOND / 50).isoformat(), "x": x, "y": y, "z": z}
            for place, (x, y, z) in enumerate(axes)
        ]
        await tally.count(lambda: post(EEG, eeg, 1))
        await tally.count(lambda: post(ACCELEROMETER, json.dumps(motion), 50))

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
    limits = httpx.Limits(max_connections=len(tokens), max_keepalive_connections=len(tokens))
    url = f"http://127.0.0.1:{port}"
    async with httpx.AsyncClient(
        base_url=url, timeout=60, limits=limits, trust_env=False
    ) as client:
        await asyncio.gather(*(wear(client, token, seconds, tally) for token in tokens))
    return tally.told()


if __name__ == "__main__":
    kind, port, seconds, tokens = sys.argv[1:]
    print(json.dumps(uvloop.run(run(kind, int(port), int(seconds), tokens.split(",")))))
