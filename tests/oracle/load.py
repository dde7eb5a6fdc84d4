"""The clients: each sends, notes what it is told, and sends again what it was not told.

A real client waits and repeats. Some of ours give up, so that it can be seen that what was refused
is not there; some send twice at once, or once more later, so that it can be seen that it counts
once.
"""

import asyncio
import json
import re
import time
from collections import Counter, deque
from collections.abc import Awaitable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tests.oracle.book import Book
from tests.oracle.doors import DOORS, Caller, Sending
from tests.oracle.messages import DEVICES, Author
from tests.oracle.sockets import (
    PATIENCE_S,
    SOCKETS,
    Frame,
    RefusedError,
    SocketDoor,
    Wire,
    connecting,
)

TRACE_ID = re.compile(r',"trace_id":"[^"]*"')
GIVE_UP, AT_ONCE, LATER = 0.25, 0.08, 0.1  # how often a client does so
REFUSING = frozenset({429, 503})
IN_DOUBT = 504  # AM can't tell whether it is stored
REQUEST_S = 30.0
LAST_PATIENCE_S = 60.0  # for what is under way when the load ends
MAX_WAIT_S = 1.0


@dataclass(frozen=True)
class Target:
    """Where AM answers, and each user's token."""

    base_url: str
    tokens: Mapping[str, str]


@dataclass
class Tally:
    """What the clients saw. `complaints`: answers that break the promise by themselves."""

    statuses: Counter[str] = field(default_factory=Counter)
    slowest_s: float = 0.0
    complaints: Counter[str] = field(default_factory=Counter)

    def complain(self, text: str) -> None:
        """Keep it; the same complaint once."""
        self.complaints[TRACE_ID.sub("", text)] += 1


class Load:
    """All clients together."""

    def __init__(self, target: Target, book: Book, author: Author) -> None:
        """Sends nothing yet."""
        self.tally = Tally()
        self._target = target
        self._book = book
        self._author = author
        self._until: float | None = None
        self._sent: deque[Sending] = deque(maxlen=200)

    @property
    def refusals(self) -> int:
        """How often clients were told 503."""
        return self._book.counts.get("refused 503", 0)

    async def run(self, until_done: Awaitable[Any], *, clients: int = 8) -> None:
        """Send until something else is done, then bring to an end what is under way."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(clients):
                tasks.create_task(self._send_on())
            for door in SOCKETS.values():
                tasks.create_task(self._talk_on(door))
            try:
                await until_done
            finally:
                self._until = time.monotonic() + LAST_PATIENCE_S

    async def pass_all(self, doors: Collection[str] = (*DOORS, *SOCKETS)) -> list[str]:
        """Send one fresh message through each door, once; the doors that did not take it."""
        closed: list[str] = []
        async with self._callers() as callers:
            for name in doors:
                if name in DOORS:
                    sending = DOORS[name](self._author)
                    self._book.sent(sending.messages, door=sending.door)
                    taken = await self._attempt(callers[sending.user], sending)
                else:
                    taken = await self._pass_socket(SOCKETS[name])
                if taken is not None:
                    closed.append(f"{name}: {taken}")
        return closed

    async def _pass_socket(self, door: SocketDoor) -> str | None:
        user = self._author.any_user()
        frame = door.write(self._author, user, "fresh")
        self._book.sent(frame.messages, door=door.path)
        with suppress(ConnectionClosed, InvalidHandshake, OSError, TimeoutError):
            async with connecting(
                self._target.base_url, door, "fresh", self._target.tokens[user]
            ) as connection:
                if await self._say(Wire(connection), frame):
                    return None
        return "not acknowledged"

    async def _send_on(self) -> None:
        random = self._author.random
        async with self._callers() as callers:
            while self._until is None:
                if self._sent and random.random() < LATER:
                    sending = random.choice(self._sent)
                else:
                    sending = DOORS[random.choice(list(DOORS))](self._author)
                    self._book.sent(sending.messages, door=sending.door)
                copies = random.randint(2, 3) if random.random() < AT_ONCE else 1
                caller = callers[sending.user]
                await asyncio.gather(*(self._deliver(caller, sending) for _ in range(copies)))

    async def _deliver(self, caller: Caller, sending: Sending) -> None:
        """Repeat until it is acked, or refused for good, or this client gives up."""
        while (refusal := await self._attempt(caller, sending)) is not None:
            if self._until is not None and time.monotonic() > self._until:
                self.tally.complain(f"{sending.door} takes nothing: {refusal}")
                return
            if not sending.is_upload and self._author.random.random() < GIVE_UP:
                return
            await asyncio.sleep(self._author.random.uniform(0.1, MAX_WAIT_S))
        self._sent.append(sending)

    async def _attempt(self, caller: Caller, sending: Sending) -> str | None:
        """Send once and note what comes of it; None = acked, else why not."""
        begin = time.monotonic()
        try:
            async with asyncio.timeout(REQUEST_S):
                answer = await sending.go(caller)
        except (httpx.HTTPError, TimeoutError) as error:
            self._book.lost(sending.ids)
            self.tally.statuses[type(error).__name__] += 1
            if isinstance(error, TimeoutError):
                self.tally.complain(f"{sending.door}: no answer within {REQUEST_S} s")
            return repr(error)
        finally:
            self.tally.slowest_s = max(self.tally.slowest_s, time.monotonic() - begin)
        return self._note(sending, answer)

    def _note(self, sending: Sending, answer: httpx.Response) -> str | None:
        self.tally.statuses[str(answer.status_code)] += 1
        if answer.is_success:
            self._book.acked(sending.ids)
            if sending.has_counts and (wrong := _miscounted(sending, answer.json())):
                self.tally.complain(f"{sending.door} {sending.ids[0]}: {wrong}")
            return None
        if answer.status_code == IN_DOUBT:
            self._book.lost(sending.ids)
            return "nobody can tell"
        self._book.refused(sending.ids, answer.status_code)
        if answer.status_code not in REFUSING:
            self.tally.complain(f"{sending.door}: {answer.status_code} {answer.text[:300]}")
        elif not answer.headers.get("retry-after", "").isdigit():
            self.tally.complain(f"{sending.door}: {answer.status_code} without Retry-After")
        return f"{answer.status_code} {answer.text[:300]}"

    async def _talk_on(self, door: SocketDoor) -> None:
        """Hold a socket open, open the next one when it ends, repeat what was not acked."""
        random = self._author.random
        unacked: list[Frame] = []
        while self._until is None or (unacked and time.monotonic() < self._until):
            user, device = self._author.users[0], random.choice(DEVICES)
            if unacked:
                user, device = unacked[0].messages[0].user, unacked[0].messages[0].device
            try:
                async with connecting(
                    self._target.base_url, door, device, self._target.tokens[user]
                ) as connection:
                    await self._converse(Wire(connection), door, unacked, (user, device))
            except (ConnectionClosed, InvalidHandshake, OSError, TimeoutError) as error:
                self.tally.statuses[f"socket {type(error).__name__}"] += 1
                await asyncio.sleep(0.3)

    async def _converse(
        self, wire: Wire, door: SocketDoor, unacked: list[Frame], address: tuple[str, str]
    ) -> None:
        for _ in range(self._author.random.randint(3, 40)):
            if self._until is not None and not unacked:
                return
            frame = unacked[0] if unacked else door.write(self._author, *address)
            if not unacked:
                self._book.sent(frame.messages, door=door.path)
                unacked.append(frame)
            if await self._say(wire, frame):
                unacked.remove(frame)
            await asyncio.sleep(0.02)

    async def _say(self, wire: Wire, frame: Frame) -> bool:
        """Send one frame and note what comes of it."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                told = await wire.send(frame)
        except RefusedError as error:
            if error.status == IN_DOUBT:
                self._book.lost(frame.ids)
                return False
            self._book.refused(frame.ids, error.status)
            if error.status not in REFUSING:
                self.tally.complain(f"socket: {error}")
            return False
        except BaseException:
            self._book.lost(frame.ids)
            raise
        self._book.acked(frame.ids)
        self.tally.statuses["ack"] += 1
        if told["received"] != len(frame.messages):
            self.tally.complain(f"socket {frame.ids[0]}: {json.dumps(told)[:300]}")
        return True

    def _callers(self) -> "Callers":
        return Callers(self._target, self._book)


class Callers:
    """A connection for each user, closed at the end."""

    def __init__(self, target: Target, book: Book) -> None:
        """Opens nothing yet."""
        self._callers = {
            user: Caller(
                httpx.AsyncClient(
                    base_url=target.base_url,
                    headers={"Authorization": f"Bearer {token}"},
                    timeout=REQUEST_S,
                    trust_env=False,
                ),
                book,
            )
            for user, token in target.tokens.items()
        }

    async def __aenter__(self) -> Mapping[str, Caller]:
        """By user."""
        return self._callers

    async def __aexit__(self, *_: object) -> None:
        """Close them all."""
        for caller in self._callers.values():
            await caller.client.aclose()


def _miscounted(sending: Sending, told: Any) -> str | None:
    """What is wrong with an answer's counts; None = nothing."""
    parts = told["stored"] + told["duplicate"] + told["rejected"]
    expected = (len(sending.messages), sending.bad_count)
    if (told["received"], told["rejected"]) == expected and parts == told["received"]:
        return None
    return f"sent {expected[0]}, {expected[1]} of them bad; told {json.dumps(told)[:400]}"
