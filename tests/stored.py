"""Where a stream's rows are kept: tests that alter tables have to know, on TimescaleDB, too."""

import psycopg

from am_assets.schemas.postgres import SCHEMA, STORE
from am_assets.streams.stream import Stream


def stored_in(database: psycopg.Connection) -> str:
    """The schema of the tables themselves: on TimescaleDB those in `am` are views."""
    found = database.execute("SELECT to_regnamespace(%s) IS NOT NULL", (STORE,)).fetchone()
    return STORE if found == (True,) else SCHEMA


def drop(database: psycopg.Connection, stream: Stream) -> None:
    """Take a stream's table away, and whatever is made of it."""
    table = f"{stored_in(database)}.{stream.table}"
    database.execute(f"DROP TABLE IF EXISTS {table} CASCADE".encode())


def compress(database_url: str, *streams: Stream) -> None:
    """All chunks, as TimescaleDB's own job does some days later; plain PostgreSQL has none."""
    chunks = "SELECT compress_chunk(c, if_not_compressed => true) FROM show_chunks(%s) AS c"
    with psycopg.connect(database_url) as database:
        if stored_in(database) == STORE:
            for stream in streams:
                database.execute(chunks, (f"{STORE}.{stream.table}",))
