"""What is in a home, in numbers that a later version has to give as well.

A row counts by its columns that are not null, so that a column that came later changes nothing.
"""

from typing import Any

import psycopg
from psycopg import sql

STREAM_TABLES = """
SELECT c.relname FROM pg_class c WHERE c.relnamespace = 'am'::regnamespace
    AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relname = ANY(%s) ORDER BY 1
"""
ROWS = """
SELECT user_id, ((ts AT TIME ZONE 'UTC')::date)::text, count(*),
    sum(hashtextextended(jsonb_strip_nulls(to_jsonb(t))::text, 0))::text
FROM {} t GROUP BY 1, 2 ORDER BY 1, 2
"""
LEDGER = """
SELECT user_id, device_id, stream, day::text, sum(received)::bigint, sum(stored)::bigint,
    sum(duplicate)::bigint, sum(rejected)::bigint
FROM am.landing GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
"""
BLOBS = "SELECT blob_key, sha256, byte_count FROM am.blob ORDER BY 1"
LETTERS = """
SELECT user_id, stream, code, encode(sha256(payload), 'hex') FROM am.dead_letter ORDER BY 1, 2, 3, 4
"""
WORK = """
SELECT enrichment, user_id, state, count(*) FROM am.work_item GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""
PUBLISHED = """
SELECT stream, day::text, row_count FROM am.publication WHERE row_count > 0 ORDER BY 1, 2
"""
DEVICES = "SELECT user_id, device_id FROM am.device ORDER BY 1, 2"


def contents(database_url: str, tables: list[str]) -> dict[str, Any]:
    """All of it, as JSON has it. `tables`: those of the streams. Raises: psycopg.Error."""
    with psycopg.connect(database_url) as connection:
        connection.execute("SET TIME ZONE 'UTC'")
        there = [name for (name,) in connection.execute(STREAM_TABLES, (tables,))]
        rows = {name: _rows(connection, name) for name in there}
        return {
            "rows": {name: found for name, found in rows.items() if found},
            "ledger": _plain(connection, LEDGER),
            "blobs": _plain(connection, BLOBS),
            "dead_letters": _plain(connection, LETTERS),
            "work_items": _plain(connection, WORK),
            "published": _plain(connection, PUBLISHED),
            "devices": _plain(connection, DEVICES),
        }


def _rows(connection: psycopg.Connection, table: str) -> list[list[Any]]:
    query = sql.SQL(ROWS).format(sql.Identifier("am", table))
    return [list(row) for row in connection.execute(query).fetchall()]


def _plain(connection: psycopg.Connection, query: str) -> list[list[Any]]:
    return [list(row) for row in connection.execute(query.encode()).fetchall()]
