"""One writer a table of the lake, for the tables that are no stream's."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg


@contextmanager
def table_lock(database_url: str, name: str) -> Iterator[None]:
    """Held by whoever writes to the table, over all processes. Raises: psycopg.Error."""
    digest = hashlib.sha256(f"am.table/{name}".encode()).digest()
    number = int.from_bytes(digest[:8], "big", signed=True)
    with psycopg.connect(database_url, autocommit=True) as guard:
        guard.execute("SELECT pg_advisory_lock(%s)", (number,))
        yield  # the session's end lets go, also when the process is killed
