"""What the front door is measured against: a FastAPI route that only commits what it is sent.

`python -m tests.bench.bare PORT DATABASE_URL`. Every request is one row of a keyed table, stored by
a `COPY` that all requests share which came during the last one; no check, no account, no ids.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any
from uuid import uuid4

import psycopg
import uvicorn
from fastapi import FastAPI, Request
from pydantic_core import from_json

TABLE = """CREATE TABLE IF NOT EXISTS bare (device_id text, ts timestamptz, event_id uuid, x float8,
y float8, z float8, PRIMARY KEY (device_id, ts, event_id))"""
COPY = "COPY bare FROM STDIN (FORMAT binary)"
TYPES = ["text", "timestamptz", "uuid", "float8", "float8", "float8"]


Waiting = asyncio.Queue[tuple[Sequence[Any], asyncio.Future[None]]]


async def write(database_url: str, waiting: Waiting) -> None:
    """Commit what waits, again and again."""
    async with await psycopg.AsyncConnection.connect(database_url) as connection:
        await connection.execute(TABLE)
        await connection.commit()
        while True:
            group = [await waiting.get()]
            while not waiting.empty():
                group.append(waiting.get_nowait())
            async with connection.cursor() as cursor, cursor.copy(COPY) as copy:
                copy.set_types(TYPES)
                for row, _ in group:
                    await copy.write_row(row)
            await connection.commit()
            for _, done in group:
                done.set_result(None)


def application(database_url: str) -> FastAPI:
    """One route, at any stream's path."""
    waiting: Waiting = asyncio.Queue()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        task = asyncio.create_task(write(database_url, waiting))
        yield
        task.cancel()

    app = FastAPI(lifespan=lifespan)

    @app.post("/v1/streams/{name}")
    async def take(request: Request) -> dict[str, str]:
        event = from_json(await request.body())
        ts = datetime.fromisoformat(event["recorded_at"])
        axes = (event["x"], event["y"], event["z"])
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiting.put_nowait(((event["device_id"], ts, uuid4(), *axes), done))
        await done
        return {"status": "success"}

    return app


if __name__ == "__main__":
    uvicorn.run(
        application(sys.argv[2]),
        host="127.0.0.1",
        port=int(sys.argv[1]),
        access_log=False,
        log_level="warning",
    )
