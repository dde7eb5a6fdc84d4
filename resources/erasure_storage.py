"""Erasure on the database's disk: tables written anew, without the lines that were deleted.

`DELETE` only marks a line, and `VACUUM` leaves its bytes where they are. `VACUUM FULL` writes a new
file; it locks the table meanwhile, so that whoever writes to it waits.
"""

import time
from collections.abc import Iterable

import psycopg
from psycopg import sql

from am_assets.schemas.postgres import SCHEMA, STORE

PATIENCE_S = 60.0
POLL_S = 0.2
# A line that some open transaction could still see is copied along.
_READERS = """
SELECT pid, coalesce(xact_start, backend_start)::timestamptz(0) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_xmin IS NOT NULL
    AND age(backend_xmin) > age(%s::text::xid) ORDER BY 2 LIMIT 1
"""
_KIND = "SELECT relkind FROM pg_class WHERE oid = to_regclass(%s)"
# Where TimescaleDB keeps what a continuous aggregate has computed.
_BEHIND = """
SELECT materialization_hypertable_schema, materialization_hypertable_name
FROM timescaledb_information.continuous_aggregates WHERE (view_schema, view_name) = (%s, %s)
"""


class BusyError(Exception):
    """Somebody has been reading for long: what was deleted can't be taken off the disk yet."""


def rewrite(database_url: str, tables: Iterable[str]) -> list[str]:
    """Write tables anew, and their statistics, which quote values. Returns their names.

    Raises: BusyError, psycopg.Error.
    """
    with psycopg.connect(database_url, autocommit=True) as connection:
        _await_readers(connection)
        names = [name for table in tables if (name := _behind(connection, table))]
        for name in names:
            connection.execute(sql.SQL("VACUUM (FULL, ANALYZE) {}").format(sql.Identifier(*name)))
    return [".".join(name) for name in names]


def _await_readers(connection: psycopg.Connection) -> None:
    """Until no transaction is left that began before now."""
    row = connection.execute("SELECT pg_current_xact_id()::xid::text").fetchone()
    assert row is not None
    deadline = time.monotonic() + PATIENCE_S
    while reader := connection.execute(_READERS, row).fetchone():
        if time.monotonic() > deadline:
            raise BusyError(
                f"the database session {reader[0]} has been reading since {reader[1]}, so that "
                "what was deleted can't be taken off the disk: end it, then erase again to go on"
            )
        time.sleep(POLL_S)


def _behind(connection: psycopg.Connection, table: str) -> tuple[str, str] | None:
    """The table itself, or what lies behind a view of TimescaleDB; None = there is none."""
    schema, name = table.split(".")
    row = connection.execute(_KIND, (table,)).fetchone()
    if row is None:
        return None
    if (schema, row[0]) != (SCHEMA, "v"):
        return schema, name
    found = connection.execute(_KIND, (f"{STORE}.{name}",)).fetchone()
    if found is not None and found[0] == "v":
        place = connection.execute(_BEHIND, (STORE, name)).fetchone()
        return None if place is None else (place[0], place[1])
    return STORE, name
