"""`WS /audio/stream/{device_id}`: sound as it is recorded, each chunk acked once committed."""

from typing import Any

from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from ingest_api.answers import answer
from ingest_api.auth import authorize
from ingest_api.batch import to_stream
from ingest_api.bodies import read_json
from ingest_api.errors import IngestError, MalformedBodyError
from ingest_api.landing import Arrival
from ingest_api.live import Kind
from ingest_api.services import Services
from ingest_api.sockets import deny, next_frame
from ingest_api.tokens import Principal, Scope

STREAM = "device.audio.raw"
DOOR = "/audio/stream"
router = APIRouter()


@router.websocket("/audio/stream/{device_id}")
async def audio_stream(socket: WebSocket, device_id: str) -> None:
    """Take chunks until the client leaves; without a token the socket is not opened."""
    try:
        principal = await authorize(socket, Scope.WRITE)
    except IngestError as error:
        await deny(socket, error)
        return
    await socket.accept()
    services: Services = socket.app.state.services
    with services.live.entered(Kind.AUDIO, user_id=principal.user_id, device_id=device_id):
        try:
            while True:
                frame = await next_frame(socket)
                await socket.send_json(await _reply(socket, frame, principal, device_id))
        except WebSocketDisconnect:
            return


async def _reply(
    socket: WebSocket, frame: str | bytes, principal: Principal, device_id: str
) -> dict[str, Any]:
    """The answer to one frame; an error tells the client to send the frame again."""
    try:
        message = read_json(frame)
        if not isinstance(message, dict):
            raise MalformedBodyError("a frame must be a JSON object")
        return await _dispatch(socket, message, principal, device_id)
    except IngestError as error:
        return {"type": "error", "status": error.status, "message": str(error)}


async def _dispatch(
    socket: WebSocket, message: dict[str, Any], principal: Principal, device_id: str
) -> dict[str, Any]:
    data = message.get("data") or {}
    match message.get("message_type") or message.get("type"):
        case "audio_chunk":
            return await _land(socket, data, principal, device_id)
        case "ping":
            stamp = data.get("timestamp") if isinstance(data, dict) else None
            return {"type": "pong", "timestamp": stamp}
        case other:
            raise MalformedBodyError(f"Unknown message type: {other}")


async def _land(
    socket: WebSocket, data: Any, principal: Principal, device_id: str
) -> dict[str, Any]:
    services: Services = socket.app.state.services
    receipt = await services.landing.land(
        Arrival(
            elements=[data],
            route=to_stream(services.registry[STREAM]),
            door=DOOR,
            principal=principal,
            size=len(str(data.get("data", ""))) if isinstance(data, dict) else 0,
            device_id=device_id,
        )
    )
    return {"type": "ack", **answer(receipt, is_single=True, trace_id=None)}
