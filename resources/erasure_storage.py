"""Erasure on the database's disk: tables written anew, without the lines that were deleted.

`DELETE` only marks a line, and `VACUUM` leaves its bytes where they are. `VACUUM FULL` writes a new
file; it locks the table meanwhile, so that whoever writes to it waits. Statistics quote values, and
`ANALYZE` keeps those of a table that it finds empty: so they are dropped first.
"""

import time
from collections.abc import Iterable, Sequence

import psycopg
from psycopg import sql

from am_assets.schemas.postgres import SCHEMA, STORE

PATIENCE_S = 600.0  # while it waits nothing is locked
POLL_S = 0.2
# A line that some open transaction could still see is copied along. What is read in another
# database is no matter, but what is written there is: no snapshot of ours is newer than that.
_OLDER = """
SELECT pid, coalesce(xact_start, backend_start)::timestamptz(0), datname FROM pg_stat_activity
WHERE pid <> pg_backend_pid() AND (age(backend_xid) > age(%(now)s::text::xid)
    OR age(backend_xmin) > age(%(now)s::text::xid)
        AND coalesce(datname = current_database(), true))
ORDER BY 2 LIMIT 1
"""
_KIND = "SELECT relkind FROM pg_class WHERE oid = to_regclass(%s)"
# Where TimescaleDB keeps what a continuous aggregate has computed.
_BEHIND = """
SELECT materialization_hypertable_schema, materialization_hypertable_name
FROM timescaledb_information.continuous_aggregates WHERE (view_schema, view_name) = (%s, %s)
"""
_PARTS = """
WITH RECURSIVE part (oid) AS (
    SELECT %s::regclass::oid
    UNION ALL SELECT inhrelid FROM pg_inherits JOIN part ON inhparent = part.oid
) SELECT oid FROM part
"""
_COMPRESSIONS = "_timescaledb_catalog.compression_settings"
_COMPRESSED = f"""
SELECT compress_relid::oid FROM {_COMPRESSIONS}
WHERE relid = ANY(%s::oid[]) AND compress_relid IS NOT NULL
"""
_CAN_DROP = "SELECT to_regproc('pg_clear_attribute_stats') IS NOT NULL"  # not before PostgreSQL 18
_DROP = """
SELECT pg_clear_attribute_stats(s.schemaname, s.tablename, s.attname, s.inherited)
FROM pg_stats AS s WHERE (s.schemaname, s.tablename) IN (
    SELECT relnamespace::regnamespace::text, relname FROM pg_class WHERE oid = ANY(%s::oid[]))
"""


class BusyError(Exception):
    """Somebody has been reading for long: what was deleted can't be taken off the disk yet."""


def rewrite(
    database_url: str, tables: Iterable[str], *, patience_s: float = PATIENCE_S
) -> list[str]:
    """Write tables anew, and their statistics. Returns their names.

    Raises: BusyError where somebody still reads or writes after so long, psycopg.Error.
    """
    with psycopg.connect(database_url, autocommit=True) as connection:
        names = [name for table in tables if (name := _behind(connection, table))]
        _await_older(connection, patience_s)
        for name in names:
            connection.execute(sql.SQL("VACUUM (FULL) {}").format(sql.Identifier(*name)))
            _drop_statistics(connection, name)
            connection.execute(sql.SQL("ANALYZE {}").format(sql.Identifier(*name)))
        _await_older(connection, patience_s)  # what was dropped is a deleted line itself
        connection.execute("VACUUM (FULL) pg_catalog.pg_statistic")
    return [".".join(name) for name in names]


def _await_older(connection: psycopg.Connection, patience_s: float) -> None:
    """Until no transaction is left that began before now."""
    row = connection.execute("SELECT pg_current_xact_id()::xid::text").fetchone()
    assert row is not None
    deadline = time.monotonic() + patience_s
    while older := connection.execute(_OLDER, {"now": row[0]}).fetchone():
        if time.monotonic() > deadline:
            raise BusyError(
                f"the session {older[0]} in the database {older[2]} has been at work since "
                f"{older[1]}, so that what was deleted can't be taken off the disk: end it, then "
                "erase again to go on"
            )
        time.sleep(POLL_S)


def _drop_statistics(connection: psycopg.Connection, name: Sequence[str]) -> None:
    """Of a table, its partitions or chunks, and what chunks are compressed into."""
    shown = sql.Identifier(*name).as_string(connection)
    parts = [oid for (oid,) in connection.execute(_PARTS, (shown,))]
    if connection.execute(_KIND, (_COMPRESSIONS,)).fetchone() is not None:
        parts += [oid for (oid,) in connection.execute(_COMPRESSED, (parts,))]
    if connection.execute(_CAN_DROP).fetchone() == (True,):
        connection.execute(_DROP, (parts,))


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
