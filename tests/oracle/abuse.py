"""Clients that do it wrong, by mishap or on purpose: none of what they send may be stored.

Bodies that are cut off, corrupt, or far larger than they look; clients that hang up in the middle,
and those that send so slowly that they only mean to hold a place.
"""

import asyncio
import gzip
import io
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from random import Random
from urllib.parse import urlsplit

import httpx

from tests.oracle.book import Book
from tests.oracle.doors import DOORS, JSON, dumps
from tests.oracle.load import REFUSING, REQUEST_S, Tally, Target
from tests.oracle.messages import Author, Message

MIB = 1 << 20
BOMB_BYTES = 512 * MIB  # of zeros: half a megabyte on its way
HUNG_UP = 499  # how the book calls what its client never sent to the end
DRIP_S = 0.5
GZIP = {**JSON, "Content-Encoding": "gzip"}
PATH = "/v1/streams/device.sensor.gps.raw"


@dataclass(frozen=True)
class Broken:
    """A request that must be refused with this status."""

    body: bytes
    headers: dict[str, str]
    status: int


def cut_json(body: bytes, random: Random) -> Broken:
    """An array without its end."""
    return Broken(body[: random.randrange(1, len(body))], JSON, 400)


def cut_gzip(body: bytes, random: Random) -> Broken:
    """A compressed body without its end."""
    packed = gzip.compress(body)
    return Broken(packed[: random.randrange(1, len(packed))], GZIP, 400)


def corrupt_gzip(body: bytes, random: Random) -> Broken:
    """A compressed body in which a byte was changed; its checksum tells."""
    packed = bytearray(gzip.compress(body))
    packed[random.randrange(len(packed) // 2, len(packed) - 8)] ^= 0xFF
    return Broken(bytes(packed), GZIP, 400)


@cache
def zeros() -> bytes:
    """Half a gigabyte of blanks, compressed."""
    buffer = io.BytesIO()
    with gzip.open(buffer, "wb", compresslevel=9) as packed:
        for _ in range(BOMB_BYTES // MIB):
            packed.write(b" " * MIB)
    return buffer.getvalue()


def bomb(_body: bytes, _random: Random) -> Broken:
    """Nothing but the blanks."""
    return Broken(zeros(), GZIP, 413)


BROKEN: tuple[Callable[[bytes, Random], Broken], ...] = (cut_json, cut_gzip, corrupt_gzip, bomb)


class Abuse:
    """Wrong clients, until they are cancelled."""

    def __init__(self, target: Target, book: Book, author: Author, tally: Tally) -> None:
        """`tally` is the load's: complaints are kept there."""
        self.slow_ones_ended = 0
        self._target = target
        self._book = book
        self._author = author
        self._tally = tally

    async def run(self, *, slow_clients: int = 30) -> None:
        """All of them at once."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._break_on())
            tasks.create_task(self._hang_up_on())
            for number in range(slow_clients):
                tasks.create_task(self._drip_on(is_head=number % 2 == 0))

    async def _break_on(self) -> None:
        async with httpx.AsyncClient(
            base_url=self._target.base_url, timeout=REQUEST_S, trust_env=False
        ) as client:
            while True:
                messages, user = self._messages()
                broken = self._author.random.choice(BROKEN)(
                    dumps([message.element for message in messages]), self._author.random
                )
                await self._send(client, broken, messages, user)
                await asyncio.sleep(0.2)

    async def _send(
        self, client: httpx.AsyncClient, broken: Broken, messages: list[Message], user: str
    ) -> None:
        headers = {**broken.headers, "Authorization": f"Bearer {self._target.tokens[user]}"}
        self._book.refused([message.id for message in messages], broken.status)
        with suppress(httpx.HTTPError):  # AM is being killed meanwhile
            answer = await client.post(PATH, content=broken.body, headers=headers)
            self._tally.statuses[f"broken {answer.status_code}"] += 1
            if answer.status_code not in {broken.status, *REFUSING}:
                told = f"{answer.status_code} instead of {broken.status}: {answer.text[:200]}"
                self._tally.complain(f"a broken body is answered {told}")

    async def _hang_up_on(self) -> None:
        """Announce a whole body, send the elements and not its last bytes, and leave."""
        while True:
            messages, user = self._messages()
            body = dumps([message.element for message in messages])
            self._book.refused([message.id for message in messages], HUNG_UP)
            with suppress(OSError, asyncio.TimeoutError):
                _, writer = await asyncio.open_connection(*self._address())
                writer.write(self._head(user, len(body)) + body[:-1])
                await writer.drain()
                writer.close()
            await asyncio.sleep(0.2)

    async def _drip_on(self, *, is_head: bool) -> None:
        """Hold a place for as long as AM bears it, then take the next one."""
        while True:
            with suppress(OSError):
                reader, writer = await asyncio.open_connection(*self._address())
                head = self._head(self._author.users[0], MIB)
                writer.write(head[:-2] if is_head else head)
                with suppress(ConnectionError):
                    await self._drip(reader, writer, b"X-Drip: 1\r\n" if is_head else b"[")
                writer.close()
            await asyncio.sleep(0.2)

    async def _drip(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, drop: bytes
    ) -> None:
        while not reader.at_eof():
            writer.write(drop)
            await writer.drain()
            with suppress(TimeoutError):
                async with asyncio.timeout(DRIP_S):
                    await reader.read(1024)
                    self.slow_ones_ended += 1

    def _messages(self) -> tuple[list[Message], str]:
        sending = DOORS["/v1/streams array"](self._author)
        self._book.sent(sending.messages, door="broken")
        return list(sending.messages), sending.user

    def _address(self) -> tuple[str, int]:
        parts = urlsplit(self._target.base_url)
        return parts.hostname or "", parts.port or 80

    def _head(self, user: str, length: int) -> bytes:
        return (
            f"POST {PATH} HTTP/1.1\r\nHost: am\r\nAuthorization: Bearer "
            f"{self._target.tokens[user]}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {length}\r\n\r\n"
        ).encode()
