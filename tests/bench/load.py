"""A small HTTP load: keep-alive connections, one request at a time each, latencies noted.

Run as a program of its own, so that the client's work is not counted as the server's:
`python -m tests.bench.load HOST PORT CONNECTIONS SECONDS PATH TOKEN < bodies` (one JSON a line).
"""

import asyncio
import json
import sys
import time
from dataclasses import dataclass
from itertools import count
from typing import Any

TEMPLATE = (
    "POST {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n"
    "Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
)


@dataclass(frozen=True)
class Target:
    """Where to send, and as whom."""

    host: str
    port: int
    path: str
    token: str


async def load(target: Target, bodies: list[str], *, connections: int, seconds: float) -> Any:
    """Send bodies in turn until the time is up. Returns requests a second, p50 and p99 in ms."""
    deadline = time.perf_counter() + seconds
    numbers, latencies = count(), list[float]()
    begin = time.perf_counter()
    await asyncio.gather(
        *(_send(target, bodies, numbers, deadline, latencies) for _ in range(connections))
    )
    elapsed = time.perf_counter() - begin
    latencies.sort()
    return {
        "requests": len(latencies),
        "per_second": len(latencies) / elapsed,
        "p50_ms": 1000 * latencies[len(latencies) // 2],
        "p99_ms": 1000 * latencies[int(len(latencies) * 0.99)],
    }


async def _send(
    target: Target, bodies: list[str], numbers: Any, deadline: float, latencies: list[float]
) -> None:
    reader, writer = await asyncio.open_connection(target.host, target.port)
    while time.perf_counter() < deadline and (number := next(numbers)) < len(bodies):
        body = bodies[number].encode()
        head = TEMPLATE.format(
            path=target.path, host=target.host, token=target.token, length=len(body)
        )
        begin = time.perf_counter()
        writer.write(head.encode() + body)
        await _read_answer(reader)
        latencies.append(time.perf_counter() - begin)
    writer.close()


async def _read_answer(reader: asyncio.StreamReader) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200"):
        raise RuntimeError(head.decode())
    length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
    await reader.readexactly(int(length))


if __name__ == "__main__":
    host, port, connections, seconds, path, token = sys.argv[1:]
    print(
        json.dumps(
            asyncio.run(
                load(
                    Target(host, int(port), path, token),
                    sys.stdin.read().splitlines(),
                    connections=int(connections),
                    seconds=float(seconds),
                )
            )
        )
    )
