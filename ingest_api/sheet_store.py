"""Sheets on their way into the database: copied straight into their table, which new rows allow.

Where one of them is there already that breaks the transaction. The next one goes by a temporary
table, from which those that are new are inserted. A sending that is repeated pays for that, a new
one does not.
"""

from collections.abc import Mapping, Sequence
from itertools import accumulate

import psycopg

from am_assets.schemas.postgres import SCHEMA, STORE
from am_assets.streams.stream import Stream
from ingest_api import statements
from ingest_api.sheets import Account, Sheet

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"


async def schema_of_tables(connection: psycopg.AsyncConnection) -> str:
    """Where the tables are that COPY can name: on TimescaleDB `am` holds views of them."""
    cursor = await connection.execute("SELECT to_regnamespace(%s) IS NOT NULL", [STORE])
    row = await cursor.fetchone()
    return STORE if row is not None and row[0] else SCHEMA


async def store_sheets(
    connection: psycopg.AsyncConnection, sheets: Sequence[Sheet], *, schema: str, are_new: bool
) -> dict[int, Mapping[Account, int]]:
    """Store what is new, stream by stream; how much that is of each sheet, by its `id`.

    To be called within a transaction. Raises: psycopg.Error, of which UniqueViolation says that
    they are not new, whatever was hoped.
    """
    by_stream: dict[Stream, list[Sheet]] = {}
    for sheet in sheets:
        by_stream.setdefault(sheet.stream, []).append(sheet)
    stored: dict[int, Mapping[Account, int]] = {}
    for stream in sorted(by_stream, key=lambda stream: stream.name):
        chosen = by_stream[stream]
        if are_new:
            await _copy(connection, statements.copy(stream, schema=schema), chosen)
            counts: Sequence[Mapping[Account, int]] = [sheet.counts for sheet in chosen]
        else:
            counts = await _merge(connection, stream, chosen, schema=schema)
        stored.update(zip(map(id, chosen), counts, strict=True))
    return stored


async def _copy(
    connection: psycopg.AsyncConnection, statement: str, sheets: Sequence[Sheet]
) -> None:
    async with connection.cursor() as cursor, cursor.copy(statement.encode()) as copy:
        await copy.write(HEADER)
        for sheet in sheets:
            await copy.write(sheet.content)
        await copy.write(TRAILER)


async def _merge(
    connection: psycopg.AsyncConnection, stream: Stream, sheets: Sequence[Sheet], *, schema: str
) -> list[Mapping[Account, int]]:
    """A key that is twice in them is new for the first sheet only."""
    for statement in statements.staging(stream, schema=schema):
        await connection.execute(statement.encode())
    await _copy(connection, statements.copy_to_staging(stream), sheets)
    begins = list(accumulate((len(sheet) for sheet in sheets[:-1]), initial=1))
    query = statements.insert_staged(stream, schema=schema)
    rows = await (await connection.execute(query.encode(), [begins])).fetchall()
    new: list[dict[Account, int]] = [{} for _ in sheets]
    for place, device_id, day, number in rows:
        new[place - 1][device_id, day] = number
    return list(new)
