"""What the devices' sockets share: who may open one, frames in and out, and when one is closed.

A socket is closed when its device leaves, when its token or rule is worth nothing any more, and
when AM can't write: the device then keeps what it has and comes again.
"""

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from fastapi import WebSocket, WebSocketDisconnect, status
from starlette.websockets import WebSocketState

from ingest_api import devices, notifications
from ingest_api.answers import answer
from ingest_api.audit import SWITCHING_PROTOCOLS, reading_of
from ingest_api.auth import authorize
from ingest_api.batch import ElementRouter, to_stream
from ingest_api.errors import ForbiddenError, IngestError, RejectedError, UnavailableError
from ingest_api.landing import Arrival
from ingest_api.live import Kind, LiveSocket
from ingest_api.middleware import refusal
from ingest_api.notifications import Notification, State
from ingest_api.pooled import pooled
from ingest_api.realtime import refusing
from ingest_api.services import Services
from ingest_api.tokens import Principal, Scope
from ingest_api.writer import Receipt

TOUCH_S = 30.0
RESPONSE_DOOR = "/notifications/ws"
REASON_BYTES = 120  # the protocol allows 123


class Line:
    """One open socket of one device, and what can be done for that device."""

    def __init__(self, socket: WebSocket, principal: Principal, live: LiveSocket) -> None:
        """The socket is accepted already."""
        self.principal = principal
        self.live = live
        self.services: Services = socket.app.state.services
        self._socket = socket
        self._sending = asyncio.Lock()
        self._size = 0
        self._touched = 0.0
        self._tz_offset_min: int | None = None
        self._sent: set[int] = set()

    @property
    def device_id(self) -> str:
        """The device that the path names."""
        return self.live.device_id

    async def send(self, frame: dict[str, Any]) -> None:
        """Send one frame; those of several tasks don't mix. Raises: WebSocketDisconnect."""
        async with self._sending:
            await self._socket.send_json(frame)

    async def receive(self) -> str | bytes:
        """The next frame's content. Raises: WebSocketDisconnect."""
        content = await next_frame(self._socket)
        self._size = len(content)
        return content

    async def check(self) -> None:
        """Raises: IngestError once the token or the rule is worth nothing."""
        await authorize(self._socket, Scope.WRITE)

    async def land(self, elements: Sequence[Any], *, route: ElementRouter, door: str) -> Receipt:
        """Commit elements as rows or dead letters. Raises: UnavailableError."""
        return await self.services.landing.land(
            Arrival(
                elements=elements,
                route=route,
                door=door,
                principal=self.principal,
                size=self._size,
                device_id=self.device_id,
            )
        )

    async def bury(self, content: Any, error: RejectedError, *, door: str) -> dict[str, Any]:
        """Keep what can't be read as a dead letter; what is to be said of it.

        Raises: UnavailableError.
        """
        element = content.encode() if isinstance(content, str) else content
        receipt = await self.land([element], route=refusing(error), door=door)
        return answer(receipt, is_single=True, trace_id=None)

    async def touch(self, *, tz_offset_min: int | None = None) -> None:
        """Note a sign of life, now and then, and a zone that is learnt.

        Raises: UnavailableError.
        """
        is_news = tz_offset_min not in (None, self._tz_offset_min)
        if not is_news and self._touched > time.monotonic() - TOUCH_S:
            return
        async with pooled(self.services.pool) as connection:
            await devices.touch(connection, *self._address, tz_offset_min=tz_offset_min)
        self._touched = time.monotonic()
        self._tz_offset_min = tz_offset_min if is_news else self._tz_offset_min

    async def note_reading(self) -> None:
        """Note in the audit log that the device is told of itself, before it is.

        Raises: UnavailableError.
        """
        reading = reading_of(self._socket, self.principal, status=SWITCHING_PROTOCOLS)
        await self.services.auditor.note(reading)

    async def unsent(self) -> list[Notification]:
        """Notifications that the device has yet to show and that this socket has not sent."""
        async with pooled(self.services.pool) as connection:
            return await notifications.pending(connection, *self._address, sent=self._sent)

    async def note_sent(self, sent: Sequence[Notification]) -> None:
        """Keep in mind what was sent on this socket. Raises: UnavailableError."""
        ids = [one.notification_id for one in sent]
        async with pooled(self.services.pool) as connection:
            await notifications.note_sent(connection, *self._address, ids)
        self._sent.update(ids)

    async def respond(self, state: State, told: dict[str, Any]) -> Receipt:
        """Store what the device says of a notification: a row, then the state of its delivery.

        Raises: UnavailableError.
        """
        about = state, notifications.notification_id_of(told)
        # Said again, it is the same row: it keeps the time at which it was said first.
        at = await self._when(about) or datetime.now(UTC)
        element = notifications.response_element(state, told, at=at)
        stream = self.services.registry[notifications.RESPONSES]
        receipt = await self.land([element], route=to_stream(stream), door=RESPONSE_DOOR)
        if not receipt.rejected:
            async with pooled(self.services.pool) as connection:
                await notifications.note(connection, *self._address, told=about, at=at)
        return receipt

    async def _when(self, about: tuple[State, int | None]) -> datetime | None:
        async with pooled(self.services.pool) as connection:
            return await notifications.when(connection, *self._address, told=about)

    @property
    def _address(self) -> tuple[str, str]:
        return self.principal.user_id, self.device_id


class Talk(Protocol):
    """What a kind of socket does."""

    async def greet(self, line: Line) -> None:
        """Say what is said first."""
        ...

    async def hear(self, line: Line, content: str | bytes) -> None:
        """Take one frame."""
        ...

    async def tick(self, line: Line, *, is_due: bool) -> None:
        """Say what is due; `is_due` False: woken between two ticks because there is news."""
        ...


async def next_frame(socket: WebSocket) -> str | bytes:
    """A frame's content: some clients send their JSON as a binary one.

    Raises: WebSocketDisconnect.
    """
    message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code") or status.WS_1000_NORMAL_CLOSURE)
    text: str | None = message.get("text")
    content: str | bytes = message["bytes"] if text is None else text
    return content


async def serve(socket: WebSocket, device_id: str, *, kind: Kind, talk: Talk) -> None:
    """Hold one socket until it ends; without a token or a rule it is not opened."""
    try:
        principal = await _let_in(socket, device_id)
    except IngestError as error:
        await deny(socket, error)
        return
    await socket.accept()
    services: Services = socket.app.state.services
    with services.live.entered(kind, user_id=principal.user_id, device_id=device_id) as live:
        await _converse(Line(socket, principal, live), socket, talk)


async def deny(socket: WebSocket, error: IngestError) -> None:
    """Don't open a socket, and say why with the status that a request would get.

    So a device tells an unknown token from a database that is away.
    """
    await socket.send_denial_response(refusal(error, socket.scope))


async def _let_in(socket: WebSocket, device_id: str) -> Principal:
    principal = await authorize(socket, Scope.WRITE)
    if not devices.is_device_id(device_id):
        raise ForbiddenError("a device id is text of 1 to 128 characters")
    if principal.device_id not in (None, device_id):
        raise ForbiddenError(f"this token speaks for device {principal.device_id!r} alone")
    return principal


async def _converse(line: Line, socket: WebSocket, talk: Talk) -> None:
    """Listen and tick at once, until one of them ends."""
    end: tuple[int, IngestError] | None = None
    try:
        await talk.greet(line)
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_tick(line, talk))
            tasks.create_task(_listen(line, talk))
    except* WebSocketDisconnect:
        pass  # how every conversation ends
    except* UnavailableError as group:
        end = status.WS_1013_TRY_AGAIN_LATER, _first(group)
    except* IngestError as group:
        end = status.WS_1008_POLICY_VIOLATION, _first(group)
    if end is not None and socket.client_state is WebSocketState.CONNECTED:
        await socket.close(end[0], reason=_reason(end[1]))


async def _listen(line: Line, talk: Talk) -> None:
    while True:
        await talk.hear(line, await line.receive())


async def _tick(line: Line, talk: Talk) -> None:
    """Tick at even intervals, news or not: clients leave a socket that is silent for 15 s."""
    interval_s = line.services.settings.socket_ping_s
    due = time.monotonic()
    while True:
        is_due = due <= time.monotonic()
        if is_due:
            due = time.monotonic() + interval_s
            await line.check()
        await talk.tick(line, is_due=is_due)
        try:
            async with asyncio.timeout(max(0.0, due - time.monotonic())):
                await line.live.news.wait()
            line.live.news.clear()
        except TimeoutError:
            continue


def _first(group: BaseExceptionGroup[Any]) -> Any:
    found = group.exceptions[0]
    return _first(found) if isinstance(found, BaseExceptionGroup) else found


def _reason(error: IngestError) -> str:
    return str(error).encode()[:REASON_BYTES].decode(errors="ignore")
