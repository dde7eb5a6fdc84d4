"""A small HTTP load: keep-alive connections, one request at a time each, latencies noted.

Run as a program of its own, so that the client's work is not counted as the server's:
`python -m tests.bench.load HOST PORT CONNECTIONS SECONDS PATH TOKENS TYPE < bodies`. Every
connection has its own token of those given (with commas between); a body comes after its length in
four bytes, and none is sent twice.
"""

import asyncio
import json
import struct
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import uvloop

LENGTH = struct.Struct(">I")


@dataclass(frozen=True)
class Target:
    """Where to send, and what the bodies are."""

    host: str
    port: int
    path: str
    content_type: str = "application/json"


@dataclass
class Load:
    """What all connections share: what is left to send, until when, and how long each took."""

    target: Target
    bodies: Iterator[bytes]
    deadline: float
    latencies: list[float] = field(default_factory=list)


def request_head(target: Target, token: str, body: bytes) -> bytes:
    """A request up to its body."""
    return (
        f"POST {target.path} HTTP/1.1\r\nHost: {target.host}\r\n"
        f"Authorization: Bearer {token}\r\nContent-Type: {target.content_type}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode()


class Connection(asyncio.Protocol):
    """One client: sends a body, reads the answer, sends the next."""

    def __init__(self, load: Load, token: str) -> None:
        """Ends, in `done`, with the load's time or bodies, or with an answer that is no success."""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._load = load
        self._token = token
        self._answer = b""
        self._begin = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin."""
        self._transport = cast("asyncio.Transport", transport)
        self._send()

    def data_received(self, data: bytes) -> None:
        """A piece of an answer."""
        self._answer += data
        head, gap, body = self._answer.partition(b"\r\n\r\n")
        if not gap:
            return
        if not head.startswith(b"HTTP/1.1 20"):
            self._end(RuntimeError(self._answer.decode()))
        length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
        if len(body) >= int(length or 0):
            self._load.latencies.append(time.perf_counter() - self._begin)
            self._answer = b""
            self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        """The server has gone."""
        self._end(exc or ConnectionError("the server closed the connection"))

    def _send(self) -> None:
        body = next(self._load.bodies, None)
        self._begin = time.perf_counter()
        if body is None or self._begin > self._load.deadline:
            self._end(None)
        else:
            self._transport.write(request_head(self._load.target, self._token, body) + body)

    def _end(self, error: Exception | None) -> None:
        if self.done.done():
            return
        if error is None:
            self.done.set_result(None)
        else:
            self.done.set_exception(error)
        self._transport.close()


async def drive(target: Target, bodies: list[bytes], tokens: list[str], seconds: float) -> Any:
    """Send bodies until the time is up, one connection a token. Latencies in ms."""
    loop = asyncio.get_running_loop()
    begin = time.perf_counter()
    load = Load(target, iter(bodies), begin + seconds)
    made = [
        await loop.create_connection(lambda t=token: Connection(load, t), target.host, target.port)  # type: ignore[misc]  # bound at once
        for token in tokens
    ]
    await asyncio.gather(*(connection.done for _, connection in made))
    elapsed = time.perf_counter() - begin
    latencies = sorted(load.latencies)
    return {
        "requests": len(latencies),
        "seconds": elapsed,
        "per_second": len(latencies) / elapsed,
        "p50_ms": 1000 * latencies[len(latencies) // 2],
        "p99_ms": 1000 * latencies[int(len(latencies) * 0.99)],
    }


def framed(bodies: list[bytes]) -> bytes:
    """Bodies as `main` reads them."""
    return b"".join(LENGTH.pack(len(body)) + body for body in bodies)


def unframed(content: bytes) -> list[bytes]:
    """The other way round."""
    bodies, at = [], 0
    while at < len(content):
        (length,) = LENGTH.unpack_from(content, at)
        bodies.append(content[at + LENGTH.size : at + LENGTH.size + length])
        at += LENGTH.size + length
    return bodies


def main() -> None:
    """Print what came out as JSON."""
    host, port, connections, seconds, path, tokens, content_type = sys.argv[1:]
    given = tokens.split(",")
    chosen = [given[number % len(given)] for number in range(int(connections))]
    target = Target(host, int(port), path, content_type)
    bodies = unframed(sys.stdin.buffer.read())
    print(json.dumps(uvloop.run(drive(target, bodies, chosen, float(seconds)))))


if __name__ == "__main__":
    main()
