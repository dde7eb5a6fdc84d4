"""`WS /realtime/ws/{device_id}`: all that a phone or a watch sends, and what it is told.

Every frame gets its acknowledgement, and only after the commit; what can't become a row is a dead
letter and is acknowledged too. A phone that is sent an error opens another socket, again and again.
"""

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fastapi import APIRouter, WebSocket
from fastapi.encoders import jsonable_encoder

from ingest_api import devices
from ingest_api.contents import BadContentError, read_model
from ingest_api.devices import DeviceCreate, DeviceFacts, UnknownDeviceError
from ingest_api.errors import Reason, RejectedError
from ingest_api.live import Kind
from ingest_api.mixed_doors import REALTIME
from ingest_api.notifications import State
from ingest_api.pooled import pooled
from ingest_api.realtime import (
    API_VERSION,
    FEATURES,
    Frame,
    batch_ack,
    data_ack,
    messages_of,
    read_frame,
    reply,
)
from ingest_api.routers.heartbeat_socket import take_heartbeat
from ingest_api.routers.notification_socket import take_response
from ingest_api.sockets import Line, serve
from ingest_api.tokens import Scope
from ingest_api.unified import TYPES, by_type
from ingest_api.writer import Receipt

router = APIRouter()
PINGS_BEFORE = 1  # a phone opens its socket for notifications a moment after this one
Handler = Callable[[Line, Frame], Awaitable[None]]


@router.websocket("/realtime/ws/{device_id}")
async def realtime(socket: WebSocket, device_id: str) -> None:
    """Take frames until the device leaves."""
    await serve(socket, device_id, kind=Kind.REALTIME, talk=Realtime())


class Realtime:
    """What the socket does."""

    def __init__(self) -> None:
        """No ping was sent yet."""
        self._ping_id = 0

    async def greet(self, line: Line) -> None:
        """Say what this server can do."""
        await line.touch()
        await line.send(
            reply(
                "connection_established",
                device_id=line.device_id,
                features=list(FEATURES),
                supported_message_types=list(TYPES),
                api_version=API_VERSION,
            )
        )

    async def tick(self, line: Line, *, is_due: bool) -> None:
        """Ping; send notifications to a device that has no socket of its own for them."""
        if is_due:
            self._ping_id += 1
            now_ms = time.time_ns() // 1_000_000
            await line.send(
                reply("health_check_ping", ping_id=self._ping_id, server_time_ms=now_ms)
            )
        if self._ping_id <= PINGS_BEFORE or _has_inbox(line):
            return
        if unsent := await line.unsent():
            for one in unsent:
                await line.send(reply("notification", **one.shown()))
            await line.note_sent(unsent)

    async def hear(self, line: Line, content: str | bytes) -> None:
        """Take one frame; what can't be read is a dead letter."""
        try:
            frame = read_frame(content, kinds=(*HANDLERS, *TYPES))
        except RejectedError as error:
            await line.send(reply("data_ack", **await line.bury(content, error, door=REALTIME)))
            return
        await HANDLERS.get(frame.kind, _take_data)(line, frame)


def _has_inbox(line: Line) -> bool:
    owner = line.principal.user_id
    return line.services.live.has(Kind.NOTIFICATIONS, user_id=owner, device_id=line.device_id)


async def _take_data(line: Line, frame: Frame) -> None:
    messages = messages_of(frame)
    receipt = await _land(line, messages)
    kind = "audio_ack" if frame.kind == "audio_chunk" else "data_ack"
    await line.send(reply(kind, **data_ack(messages, receipt)))


async def _take_batch(line: Line, frame: Frame) -> None:
    """An empty batch holds nothing that could be committed."""
    messages = messages_of(frame)
    receipt = await _land(line, messages)
    await line.send(reply("batch_ack", **batch_ack(messages, receipt)))


async def _land(line: Line, messages: list[Any]) -> Receipt:
    return await line.land(messages, route=by_type(line.services.registry), door=REALTIME)


async def _take_registration(line: Line, frame: Frame) -> None:
    """A device tells of itself; what it tells wrongly is a dead letter, and it is known all the
    same.
    """
    kind = "device_updated" if frame.kind == "device_update" else "device_registered"
    status: Mapping[str, Any] = {"status": "success"}
    try:
        told = read_model(DeviceCreate, frame.payload, device_id=line.device_id)
    except BadContentError as error:
        refused = RejectedError(Reason.BAD_VALUE, str(error))
        status = await line.bury(dict(frame.fields), refused, door=REALTIME)
        await line.touch()
    else:
        async with pooled(line.services.pool) as connection:
            await devices.register(connection, line.principal.user_id, told)
    await line.send(reply(kind, **status, device_id=line.device_id))


async def _take_query(line: Line, _frame: Frame) -> None:
    """What is known of the device; who may only write is told its dates, no more."""
    told: dict[str, Any] = {"device_id": line.device_id, "is_registered": False}
    try:
        async with pooled(line.services.pool) as connection:
            device = await devices.find(connection, line.principal.user_id, line.device_id)
    except UnknownDeviceError:
        await line.send(reply("device_info", **told))
        return
    if line.principal.may(Scope.READ):
        await line.note_reading()
    else:
        device = devices.as_told(device, DeviceFacts())
    shown = devices.described(device)
    await line.send(reply("device_info", **jsonable_encoder(shown), is_registered=True))


async def _take_pong(line: Line, _frame: Frame) -> None:
    await line.touch()


async def _take_delivered(line: Line, frame: Frame) -> None:
    await take_response(line, frame, State.DELIVERED)


async def _take_response(line: Line, frame: Frame) -> None:
    await take_response(line, frame, State.RESPONDED)


HANDLERS: Mapping[str, Handler] = {
    "data": _take_data,
    "audio_chunk": _take_data,
    "batch_data": _take_batch,
    "heartbeat": take_heartbeat,
    "ping": take_heartbeat,
    "pong": _take_pong,
    "health_check_pong": _take_pong,
    "device_register": _take_registration,
    "device_update": _take_registration,
    "device_query": _take_query,
    "notification_delivered": _take_delivered,
    "notification_response": _take_response,
}
