"""A connection of the pool for a route's own statements, its errors told as the front door's."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from ingest_api.border import translating


@asynccontextmanager
async def pooled(pool: AsyncConnectionPool) -> AsyncIterator[AsyncConnection]:
    """Autocommit: each statement, or each transaction of the caller's, is committed by itself.

    Raises: UnavailableError when the database does not answer.
    """
    with translating():
        async with pool.connection() as connection:
            yield connection
