"""What became of batches whose commit was not answered: their connection broke in the middle.

Only the database knows. Its ledger is asked, once the old connection's server process is gone: a
batch that was committed has its lines there, one that was not has none and never will.
"""

import asyncio
import time
from collections.abc import Mapping, Sequence
from uuid import UUID

import psycopg

from ingest_api.batch import LedgerLine
from ingest_api.errors import InDoubtError

PATIENCE_S = 15.0  # less than the stack gives the API to end
PAUSE_S = 0.2
CONNECT_S = 3
RECENT = 200_000  # lines of the ledger that may have been written meanwhile
# Roles may end their own processes; whoever is still committing has committed or not when it ends.
END = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s"
FIND = """
SELECT batch_id, user_id, device_id, stream, day, stored, duplicate, rejected FROM am.landing
WHERE seq > (SELECT coalesce(max(seq), 0) FROM am.landing) - %s AND batch_id = ANY(%s)
"""


async def committed(
    database_url: str, name: str, batch_ids: Sequence[UUID]
) -> Mapping[UUID, list[LedgerLine]]:
    """The ledger's lines of those batches that were committed by the connection called `name`.

    Raises: InDoubtError where the database does not tell in time.
    """
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            async with await psycopg.AsyncConnection.connect(
                database_url, autocommit=True, connect_timeout=CONNECT_S
            ) as connection:
                await _await_end(connection, name, deadline)
                return await _lines(connection, batch_ids)
        except (psycopg.OperationalError, OSError) as error:
            if time.monotonic() > deadline:
                raise InDoubtError(f"the database went away during a commit: {error}") from error
            await asyncio.sleep(PAUSE_S)


async def _await_end(connection: psycopg.AsyncConnection, name: str, deadline: float) -> None:
    while await (await connection.execute(END, (name,))).fetchall():
        if time.monotonic() > deadline:
            raise InDoubtError("the database is still busy with a commit")
        await asyncio.sleep(PAUSE_S)


async def _lines(
    connection: psycopg.AsyncConnection, batch_ids: Sequence[UUID]
) -> Mapping[UUID, list[LedgerLine]]:
    found: dict[UUID, list[LedgerLine]] = {}
    cursor = await connection.execute(FIND, (RECENT, list(batch_ids)))
    for row in await cursor.fetchall():
        batch_id, user_id, device_id, stream, day, stored, duplicate, rejected = row
        line = LedgerLine(
            user_id=user_id,
            device_id=device_id,
            stream=stream,
            day=day,
            stored=stored,
            duplicate=duplicate,
            rejected=rejected,
        )
        found.setdefault(batch_id, []).append(line)
    return found
