"""`WS /notifications/ws/{device_id}` and `POST /v1/notifications`: what AM tells its owner.

A notification is sent as soon as its device has a socket, and again at each new socket, until the
device says that it was delivered.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, WebSocket

from ingest_api import notifications
from ingest_api.answers import answer
from ingest_api.auth import require
from ingest_api.contents import json_body, read_model, read_small
from ingest_api.errors import RejectedError
from ingest_api.live import Kind
from ingest_api.notifications import NotificationCreate, State
from ingest_api.pooled import pooled
from ingest_api.realtime import Frame, read_frame, reply
from ingest_api.services import Services
from ingest_api.sockets import RESPONSE_DOOR, Line, serve
from ingest_api.tokens import Principal, Scope

STATES = {"delivered": State.DELIVERED, "read": State.READ, "response": State.RESPONDED}
router = APIRouter(tags=["notifications"])


@router.post("/v1/notifications", status_code=201, openapi_extra=json_body(NotificationCreate))
async def create(
    request: Request, principal: Annotated[Principal, Depends(require(Scope.ADMIN))]
) -> dict[str, Any]:
    """Send a notification to one of the user's devices, or to all of them."""
    services: Services = request.app.state.services
    told = read_model(NotificationCreate, await read_small(request))
    async with pooled(services.pool) as connection:
        notification_id = await notifications.create(connection, principal.user_id, told)
    services.live.wake(principal.user_id)
    return {"notification_id": notification_id, **told.model_dump()}


@router.websocket("/notifications/ws/{device_id}")
async def notification_socket(socket: WebSocket, device_id: str) -> None:
    """Send what is pending and take what the device says of it, until the device leaves."""
    await serve(socket, device_id, kind=Kind.NOTIFICATIONS, talk=Notifications())


class Notifications:
    """What the socket does."""

    async def greet(self, line: Line) -> None:
        """A device that connects lives."""
        await line.touch()

    async def tick(self, line: Line, *, is_due: bool) -> None:
        """Keep the socket open, and send what this socket has not sent yet."""
        if is_due:
            await line.send(reply("ping"))
        if unsent := await line.unsent():
            for one in unsent:
                await line.send({"type": "notification", **one.shown()})
            await line.note_sent(unsent)

    async def hear(self, line: Line, content: str | bytes) -> None:
        """Store what the device says of a notification; keep anything else as a dead letter."""
        try:
            frame = read_frame(content, kinds=(*STATES, "ping", "pong"))
        except RejectedError as error:
            await line.send(reply("ack", **await line.bury(content, error, door=RESPONSE_DOOR)))
            return
        if frame.kind in STATES:
            await take_response(line, frame, STATES[frame.kind])
            return
        await line.touch()
        if frame.kind == "ping":
            await line.send(reply("pong"))


async def take_response(line: Line, frame: Frame, state: State) -> None:
    """Store what a device says of a notification, and answer once it is committed."""
    told = frame.payload if isinstance(frame.payload, dict) else {"payload": frame.payload}
    if frame.metadata:
        told = {**told, "message_metadata": frame.metadata}
    receipt = await line.respond(state, told)
    stored = answer(receipt, is_single=True, trace_id=None)
    stored["notification_id"] = told.get("notification_id")
    await line.send(reply("notification_ack", **stored))
