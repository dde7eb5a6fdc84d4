"""Sends messages through the public doors, as devices do.

Error tree: `SendError`: a door refused a request, or asked to come back later too often.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from infra.demo.message import Door, Message

BATCH = 500
BUSY = frozenset({429, 503})
MAX_TRIES = 10
# For a server that says "later" without saying when.
DEFAULT_WAIT_S = 1.0
TIMEOUT_S = 60.0

Progress = Callable[[int, int], None]


class SendError(Exception):
    """A door's refusal: the path, the status (None on a socket) and what it said."""

    def __init__(self, path: str, status: int | None, text: str) -> None:
        super().__init__(f"{path} answered {status or 'an error'}: {text[:500]}")
        self.path, self.status, self.text = path, status, text


@dataclass(frozen=True)
class Request:
    """What goes over the wire at once: one message, or up to BATCH of them."""

    door: Door
    messages: tuple[Message, ...]

    @property
    def content(self) -> str:
        """The JSON body: an array where the door takes many."""
        bodies = [message.body for message in self.messages]
        return json.dumps(bodies if self.door.kind == "batch" else bodies[0])


@dataclass(frozen=True)
class Failure:
    """A request that was answered, but not with success: the ids and the answer."""

    path: str
    message_ids: tuple[str, ...]
    answer: str


@dataclass(frozen=True)
class SendReport:
    """Messages sent, messages that became rows (or had before), and messages by answered status.

    `failures` are the requests answered "partial" or "quarantined".
    """

    sent: int
    accepted: int
    by_status: dict[str, int]
    failures: tuple[Failure, ...]


@dataclass
class Courier:
    """One sending: the clients it uses and what it has done so far."""

    http: httpx.AsyncClient
    total: int
    on_progress: Progress
    done: int = 0
    accepted: int = 0
    by_status: Counter[str] = field(default_factory=Counter)
    failures: list[Failure] = field(default_factory=list)

    def note(self, request: Request, answer: dict[str, Any]) -> None:
        """Count an answer."""
        status = str(answer.get("status"))
        self.by_status[status] += len(request.messages)
        self.done += len(request.messages)
        self.accepted += _accepted(len(request.messages), answer)
        if status != "success":
            ids = tuple(message.message_id for message in request.messages)
            self.failures.append(Failure(request.door.path, ids, json.dumps(answer)))
        self.on_progress(self.done, self.total)

    def report(self) -> SendReport:
        """What came of it."""
        return SendReport(
            sent=self.done,
            accepted=self.accepted,
            by_status=dict(self.by_status),
            failures=tuple(self.failures),
        )


async def send(
    messages: Iterable[Message],
    *,
    base_url: str,
    token: str,
    concurrency: int,
    on_progress: Progress,
) -> SendReport:
    """Send all messages, `concurrency` requests at a time; `on_progress` gets done and total.

    Requests begin in the order of time; on a socket each waits for the answer to the one before.
    A 429 or 503 is tried again when its Retry-After says. Raises SendError at any other refusal,
    httpx.TransportError or OSError if the server can't be reached.
    """
    every = list(messages)
    headers = {"Authorization": f"Bearer {token}"}
    work = iter(plan(every))
    async with httpx.AsyncClient(base_url=base_url, headers=headers, timeout=TIMEOUT_S) as http:
        courier = Courier(http, len(every), on_progress)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(concurrency):
                    group.create_task(_carry(courier, work))
        except ExceptionGroup as errors:
            # The first refusal stops all; what the others say follows from it.
            raise errors.exceptions[0] from None
    return courier.report()


def plan(messages: Sequence[Message]) -> list[tuple[Request, ...]]:
    """What to send, by the time of its first message: a tuple is sent in turn, on one connection.

    Messages for one batch door are joined, up to BATCH; those for one socket stay one by one.
    """
    by_door: dict[Door, list[Message]] = {}
    for message in messages:
        by_door.setdefault(message.door, []).append(message)
    work = [item for door, group in by_door.items() for item in _split(door, group)]
    return sorted(work, key=lambda requests: requests[0].messages[0].ts)


def _split(door: Door, messages: Sequence[Message]) -> Iterator[tuple[Request, ...]]:
    if door.kind == "batch":
        for start in range(0, len(messages), BATCH):
            yield (Request(door, tuple(messages[start : start + BATCH])),)
        return
    singles = [Request(door, (message,)) for message in messages]
    if door.kind == "socket":
        yield tuple(singles)
    else:
        yield from ((request,) for request in singles)


def _accepted(count: int, answer: dict[str, Any]) -> int:
    """How many of a request's messages were taken; a door without counts takes all or none."""
    rejected = answer.get("rejected")
    if isinstance(rejected, int):
        return count - rejected
    return count if answer.get("status") == "success" else 0


async def _carry(courier: Courier, work: Iterator[tuple[Request, ...]]) -> None:
    for requests in work:
        if requests[0].door.kind == "socket":
            await _stream(courier, requests)
        else:
            await _post(courier, requests[0])


async def _post(courier: Courier, request: Request) -> None:
    path = request.door.path
    headers = {"Content-Type": "application/json"}
    for _ in range(MAX_TRIES):
        reply = await courier.http.post(path, content=request.content, headers=headers)
        if reply.status_code not in BUSY:
            break
        await asyncio.sleep(_wait_s(reply.headers.get("Retry-After")))
    if not reply.is_success:
        raise SendError(path, reply.status_code, reply.text)
    courier.note(request, reply.json())


def _wait_s(retry_after: str | None) -> float:
    """Seconds to wait; a date, which needs a clock that agrees, counts as no answer."""
    return float(retry_after) if retry_after and retry_after.isdecimal() else DEFAULT_WAIT_S


async def _stream(courier: Courier, requests: Sequence[Request]) -> None:
    """Send over one socket, each chunk after the answer to the last."""
    socket = await _open(courier, requests[0].door.path)
    async with socket:
        for request in requests:
            courier.note(request, await _say(socket, request))


async def _say(socket: ClientConnection, request: Request) -> dict[str, Any]:
    """Send one chunk and wait for its ack; a busy server gets the same chunk again."""
    frame = json.dumps({"message_type": "audio_chunk", "data": request.messages[0].body})
    for _ in range(MAX_TRIES):
        await socket.send(frame)
        answer: dict[str, Any] = json.loads(await socket.recv())
        if answer.get("type") == "ack":
            return answer
        if answer.get("status") not in BUSY:
            break
        await asyncio.sleep(DEFAULT_WAIT_S)
    raise SendError(request.door.path, None, json.dumps(answer))


async def _open(courier: Courier, path: str) -> ClientConnection:
    """Open a socket; a server that is busy is asked again."""
    url = str(courier.http.base_url.join(path)).replace("http", "ws", 1)
    headers = {"Authorization": courier.http.headers["Authorization"]}
    for _ in range(MAX_TRIES):
        try:
            return await connect(url, additional_headers=headers, max_size=None)
        except InvalidStatus as error:
            busy = error.response
            if busy.status_code not in BUSY:
                break
            await asyncio.sleep(_wait_s(busy.headers.get("Retry-After")))
    raise SendError(path, busy.status_code, (busy.body or b"").decode(errors="replace"))
