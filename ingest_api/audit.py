"""The audit log: who read whose data, when, by which route, and how much. Never what it said.

A line is committed before the answer goes out, so that nothing is read without one. No route has to
ask for it: whoever is granted more than writing (`auth.authorize`) reads, and the answer waits for
its line in `Audited`, which every answer passes. Lines that come while another commit is on its way
share the next: a read waits for one commit, not for a turn.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Annotated
from uuid import UUID

import psycopg
from fastapi import Depends
from psycopg_pool import AsyncConnectionPool, PoolTimeout
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ingest_api.errors import IngestError, UnavailableError
from ingest_api.middleware import endpoint_of, refusal
from ingest_api.tokens import Principal

log = logging.getLogger(__name__)

MAX_WAITING = 10_000
TRY_AGAIN_LATER = 1013  # a socket's close
SWITCHING_PROTOCOLS = 101  # what a line says of a socket that was opened
BEGINNINGS = frozenset({"http.response.start", "websocket.accept"})
INSERT = """
INSERT INTO am.audit (user_id, token_id, device_id, route, kind, item_count, status, trace_id)
SELECT * FROM unnest(%s::text[], %s::uuid[], %s::text[], %s::text[], %s::text[], %s::bigint[],
    %s::bigint[], %s::text[])
"""


@dataclass(frozen=True)
class Reading:
    """One read. `device_id`: the token's, None for any; `item_count` None: not known."""

    user_id: str
    token_id: UUID
    device_id: str | None
    route: str
    kind: str
    item_count: int | None
    status: int
    trace_id: str | None


@dataclass
class Tally:
    """How many items a read gave; the route fills it in."""

    count: int | None = None


def tally_of(connection: HTTPConnection) -> Tally:
    """The request's own."""
    if not hasattr(connection.state, "tally"):
        connection.state.tally = Tally()
    tally: Tally = connection.state.tally
    return tally


Tallied = Annotated[Tally, Depends(tally_of)]


def mark_reading(connection: HTTPConnection, principal: Principal) -> None:
    """Let the answer wait for its line: it gives out personal data, or refuses to.

    Refused reads of somebody known are noted too: they show who tries other people's ids.
    """
    connection.state.reader = principal


def kind_of(route: str) -> str:
    """What a route's pattern gives out, in a word or two: `/v1/dead-letters` -> `dead letters`."""
    parts = [part for part in route.split("/") if part and part != "v1"]
    return parts[0].replace("-", " ") if parts else "unknown"


class Audited:
    """ASGI middleware: holds an answer to a read until its line is committed.

    Where the line can't be written the client is told so instead, and gets nothing.
    """

    def __init__(self, app: ASGIApp) -> None:
        """Put it inside of what makes trace ids."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request or socket."""
        is_withheld = False

        async def told(message: Message) -> None:
            nonlocal is_withheld
            if is_withheld:
                return
            try:
                await _note(scope, message)
            except UnavailableError as error:
                is_withheld = True
                await _withhold(scope, error, receive=receive, send=send)
            else:
                await send(message)

        await self._app(scope, receive, told)


def reading_of(connection: HTTPConnection, reader: Principal, *, status: int) -> Reading:
    """The line about what this connection is being told. `status` 101: over a socket."""
    route = endpoint_of(connection.scope)
    return Reading(
        user_id=reader.user_id,
        token_id=reader.token_id,
        device_id=reader.device_id,
        route=route,
        kind=kind_of(route),
        item_count=tally_of(connection).count,
        status=status,
        trace_id=getattr(connection.state, "trace_id", None),
    )


async def _note(scope: Scope, message: Message) -> None:
    reader: Principal | None = scope.get("state", {}).get("reader")
    if reader is None or message["type"] not in BEGINNINGS:
        return
    status = message.get("status", SWITCHING_PROTOCOLS)
    line = reading_of(HTTPConnection(scope), reader, status=status)
    await scope["app"].state.services.auditor.note(line)


async def _withhold(scope: Scope, error: IngestError, *, receive: Receive, send: Send) -> None:
    if scope["type"] == "http":
        await refusal(error, scope)(scope, receive, send)
        return
    reason = "the audit log can't be written"
    await send({"type": "websocket.close", "code": TRY_AGAIN_LATER, "reason": reason})


class Auditor:
    """Commits lines of the audit log. Start it before use, stop it to write what still waits."""

    def __init__(self, pool: AsyncConnectionPool) -> None:
        """Takes one connection from `pool` at a time."""
        self._pool = pool
        self._queue: asyncio.Queue[tuple[Reading, asyncio.Future[None]]] = asyncio.Queue(
            MAX_WAITING
        )
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to take lines."""
        self._task = asyncio.create_task(self._run(), name="auditor")

    async def stop(self) -> None:
        """Write all that waits."""
        await self._queue.join()
        if self._task is not None:
            self._task.cancel()

    async def note(self, reading: Reading) -> None:
        """Returns once the line is committed.

        Raises: UnavailableError; then nothing may be given out.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        try:
            self._queue.put_nowait((reading, done))
        except asyncio.QueueFull:
            raise UnavailableError("too many reads wait for the audit log") from None
        await done

    async def _run(self) -> None:
        while True:
            group = [await self._queue.get()]
            while not self._queue.empty():
                group.append(self._queue.get_nowait())
            error = await self._commit([reading for reading, _ in group])
            for _, done in group:
                _settle(done, error)
                self._queue.task_done()

    async def _commit(self, readings: Sequence[Reading]) -> UnavailableError | None:
        columns = [list(column) for column in zip(*map(astuple, readings), strict=True)]
        try:
            async with self._pool.connection() as connection:
                await connection.execute(INSERT, columns)
        except (psycopg.Error, PoolTimeout, OSError) as error:
            log.warning("the audit log can't be written: %s", type(error).__name__)
            return UnavailableError("the audit log can't be written, so nothing is given out")
        return None


def _settle(done: asyncio.Future[None], error: UnavailableError | None) -> None:
    if done.done():  # the client has gone
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
