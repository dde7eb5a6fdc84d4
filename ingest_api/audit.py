"""The audit log: who read whose data, when, by which route, and how much. Never what it said.

A line is committed before the answer goes out, so that nothing is read without one. Lines that
come while another commit is on its way share the next: a read waits for one commit, not for a turn.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import astuple, dataclass
from typing import Annotated, Any
from uuid import UUID

import psycopg
from fastapi import Depends, Request, Response
from fastapi.routing import APIRoute

from ingest_api.errors import IngestError, UnavailableError
from ingest_api.tokens import Principal

log = logging.getLogger(__name__)

MAX_WAITING = 10_000
INSERT = """
INSERT INTO am.audit (user_id, token_id, device_id, route, kind, item_count, status, trace_id)
SELECT * FROM unnest(%s::text[], %s::uuid[], %s::text[], %s::text[], %s::text[], %s::bigint[],
    %s::bigint[], %s::text[])
"""
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


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


def tally_of(request: Request) -> Tally:
    """The request's own."""
    if not hasattr(request.state, "tally"):
        request.state.tally = Tally()
    tally: Tally = request.state.tally
    return tally


Tallied = Annotated[Tally, Depends(tally_of)]


def audited(kind: str) -> type[APIRoute]:
    """The route class of a router whose routes give out personal data of this kind.

    Refused reads of somebody known are noted too: they show who tries other people's ids.
    """

    class AuditedRoute(APIRoute):
        def get_route_handler(self) -> Handler:
            handle = super().get_route_handler()

            async def read(request: Request) -> Response:
                try:
                    response = await handle(request)
                except IngestError as error:
                    await _note(request, kind=kind, route=self.path, status=error.status)
                    raise
                await _note(request, kind=kind, route=self.path, status=response.status_code)
                return response

            return read

    return AuditedRoute


async def _note(request: Request, *, kind: str, route: str, status: int) -> None:
    principal: Principal | None = getattr(request.state, "principal", None)
    if principal is None:
        return  # nobody was let in, so nothing was read
    await request.app.state.services.auditor.note(
        Reading(
            user_id=principal.user_id,
            token_id=principal.token_id,
            device_id=principal.device_id,
            route=route,
            kind=kind,
            item_count=tally_of(request).count,
            status=status,
            trace_id=getattr(request.state, "trace_id", None),
        )
    )


class Auditor:
    """Commits lines of the audit log. Start it before use, stop it to write what still waits."""

    def __init__(self, database_url: str) -> None:
        """Connects with the first line."""
        self._url = database_url
        self._queue: asyncio.Queue[tuple[Reading, asyncio.Future[None]]] = asyncio.Queue(
            MAX_WAITING
        )
        self._connection: psycopg.AsyncConnection | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to take lines."""
        self._task = asyncio.create_task(self._run(), name="auditor")

    async def stop(self) -> None:
        """Write all that waits, then close."""
        await self._queue.join()
        if self._task is not None:
            self._task.cancel()
        await self._disconnect()

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
        try:
            connection = await self._connected()
            await connection.execute(
                INSERT, [list(column) for column in zip(*map(astuple, readings), strict=True)]
            )
        except (psycopg.Error, OSError) as error:
            await self._disconnect()
            log.warning("the audit log can't be written: %s", type(error).__name__)
            return UnavailableError("the audit log can't be written, so nothing is given out")
        return None

    async def _connected(self) -> psycopg.AsyncConnection:
        if self._connection is None or self._connection.closed:
            self._connection = await psycopg.AsyncConnection.connect(
                self._url, autocommit=True, connect_timeout=3
            )
        return self._connection

    async def _disconnect(self) -> None:
        if self._connection is not None:
            await self._connection.close()
            self._connection = None


def _settle(done: asyncio.Future[None], error: UnavailableError | None) -> None:
    if done.done():  # the client has gone
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(error)
