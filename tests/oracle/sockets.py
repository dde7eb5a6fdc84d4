"""The doors that are sockets: one held open, frames sent, their acknowledgements read."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from websockets.asyncio.client import ClientConnection, connect

from tests.oracle.doors import typed
from tests.oracle.messages import Author, Content, Message

ACKS = ("ack", "data_ack", "audio_ack", "batch_ack", "notification_ack")
PATIENCE_S = 20  # for an acknowledgement


class RefusedError(Exception):
    """AM said that it did not take a frame; `status` as it said, 503 where it closed the socket."""

    def __init__(self, status: int, told: str) -> None:
        """Keep both."""
        super().__init__(told)
        self.status = status


@dataclass(frozen=True)
class Frame:
    """What goes over a socket at once, and the messages in it."""

    messages: tuple[Message, ...]
    content: str

    @property
    def ids(self) -> list[str]:
        """The messages' ids."""
        return [message.id for message in self.messages]


@dataclass(frozen=True)
class SocketDoor:
    """A socket: its path, up to the device, and how the next frame of a user is made."""

    path: str
    write: Callable[[Author, str, str], Frame]


def audio(author: Author, user: str, device: str) -> Frame:
    """A piece of sound."""
    message = author.write("audio", user=user, device=device)
    return _frame([message], {"message_type": "audio_chunk", "data": dict(message.element)})


def realtime(author: Author, user: str, device: str) -> Frame:
    """A message, by whichever of the three ways in which clients put one into a frame."""
    if author.random.random() < 0.4:
        return _batch(author, user, device)
    message = typed(author, user=user, device=device)
    if message.is_good and author.random.random() < 0.5:
        kind, data = message.element["message_type_id"], message.element["data"]
        return _frame([message], {"type": kind, "payload": data})
    return _frame([message], {"type": "data", "payload": dict(message.element)})


def notifications(author: Author, user: str, device: str) -> Frame:
    """What a person answered to a notification."""
    said = {"notification_id": author.random.randrange(1, 1 << 40), "text_input": "later"}
    content = Content(
        stream="device.notification.response.raw",
        sent=said,
        kept={"notification_id": said["notification_id"], "text_response": "later"},
        needs_id=True,
    )
    message = author.put(content, user=user, device=device)
    return _frame([message], {"type": "response", "payload": dict(message.element)})


def heartbeat(author: Author, user: str, device: str) -> Frame:
    """A frame that means nothing here: it has to be kept as a dead letter."""
    content = Content(stream="unknown", sent={"type": "mood"}, kept={})
    message = replace(author.put(content, user=user, device=device), is_good=False)
    text = json.dumps(dict(message.element))
    return Frame((replace(message, element={"cut": text}),), text)


SOCKETS: Mapping[str, SocketDoor] = {
    "/audio/stream": SocketDoor("/audio/stream", audio),
    "/realtime/ws": SocketDoor("/realtime/ws", realtime),
    "/notifications/ws": SocketDoor("/notifications/ws", notifications),
    "/heartbeat": SocketDoor("/heartbeat", heartbeat),
}


class Wire:
    """One socket of one device."""

    def __init__(self, connection: ClientConnection) -> None:
        """It is open."""
        self._connection = connection

    async def send(self, frame: Frame) -> Any:
        """Send a frame; its acknowledgement.

        Raises: RefusedError, ConnectionClosed, TimeoutError.
        """
        await self._connection.send(frame.content)
        while True:
            told = json.loads(await self._connection.recv())
            if told.get("type") in ACKS:
                return told
            if told.get("type") == "error":
                raise RefusedError(int(told.get("status") or 500), str(told))


def connecting(base_url: str, door: SocketDoor, device: str, token: str) -> connect:
    """A socket that is about to open."""
    url = f"{base_url.replace('http', 'ws', 1)}{door.path}/{device}"
    headers = {"Authorization": f"Bearer {token}"}
    return connect(
        url, additional_headers=headers, max_size=None, open_timeout=5, close_timeout=1, proxy=None
    )


def _batch(author: Author, user: str, device: str) -> Frame:
    messages = [typed(author, user=user, device=device) for _ in range(4)]
    content = {"messages": [dict(message.element) for message in messages]}
    return _frame(messages, {"type": "batch_data", "payload": content})


def _frame(messages: Sequence[Message], content: Mapping[str, Any]) -> Frame:
    return Frame(tuple(messages), json.dumps(content))
