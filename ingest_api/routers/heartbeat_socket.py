"""`WS /heartbeat/{device_id}`: a device says that it lives, once a second, and is told the same."""

from datetime import UTC, datetime

from fastapi import APIRouter, WebSocket

from ingest_api.errors import RejectedError
from ingest_api.live import Kind
from ingest_api.realtime import Frame, read_frame, reply, told_in, zone_of
from ingest_api.sockets import Line, serve
from ingest_api.unified import time_in

DOOR = "/heartbeat"
router = APIRouter()


@router.websocket("/heartbeat/{device_id}")
async def heartbeat(socket: WebSocket, device_id: str) -> None:
    """Answer each sign of life until the device leaves."""
    await serve(socket, device_id, kind=Kind.HEARTBEAT, talk=Heartbeat())


class Heartbeat:
    """What the socket does: it listens."""

    async def greet(self, line: Line) -> None:
        """A device that connects lives."""
        await line.touch()

    async def tick(self, line: Line, *, is_due: bool) -> None:
        """Nothing: the device speaks first."""

    async def hear(self, line: Line, content: str | bytes) -> None:
        """Answer a heartbeat or a ping; keep anything else as a dead letter."""
        try:
            frame = read_frame(content, kinds=("heartbeat", "ping"))
        except RejectedError as error:
            await line.send(reply("ack", **await line.bury(content, error, door=DOOR)))
            return
        await take_heartbeat(line, frame)


async def take_heartbeat(line: Line, frame: Frame) -> None:
    """Note a sign of life, learn the device's zone from its clock, and answer."""
    now = datetime.now(UTC)
    sent = time_in(told_in(frame))
    await line.touch(tz_offset_min=zone_of(sent, now=now))
    kind = "pong" if frame.kind == "ping" else "heartbeat_ack"
    await line.send(reply(kind, timestamp=sent, server_time=now.isoformat()))
