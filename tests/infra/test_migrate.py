"""Migrations: from empty, again, and the same ones on TimescaleDB."""

import os
from collections.abc import Iterator
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from am_assets.streams.registry import REGISTRY
from infra.migrate import current_revision, newest_revision, upgrade
from resources.connections import Connections

TIMESCALE = os.environ.get("AM_TEST_TIMESCALE_URL")
TABLES = "SELECT relname FROM pg_class WHERE relnamespace = 'am'::regnamespace AND relkind = 'r'"
HYPERTABLES = "SELECT hypertable_name FROM timescaledb_information.hypertables"
COMPRESSIONS = (
    "SELECT hypertable_name FROM timescaledb_information.jobs WHERE proc_name LIKE '%compression%' "
    "OR proc_name LIKE '%columnstore%'"
)


def fresh(admin_url: str, owner_url: str) -> Iterator[str]:
    """A database of the test's own on a server, as AM's owner reaches it."""
    name = f"migrate_{uuid4().hex[:8]}"
    owner = sql.Identifier(psycopg.conninfo.conninfo_to_dict(owner_url)["user"])
    create = sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), owner)
    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute(create)
        yield urlsplit(owner_url)._replace(path=f"/{name}").geturl()
        drop = sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
        admin.execute(drop)


@pytest.fixture
def empty(admin_url: str, connections: Connections) -> Iterator[str]:
    """An empty database on plain PostgreSQL."""
    yield from fresh(admin_url, connections.database_url)


@pytest.fixture
def empty_timescale() -> Iterator[str]:
    """An empty database with the extension, on the server that the environment names."""
    if TIMESCALE is None:
        pytest.skip("AM_TEST_TIMESCALE_URL names no server")
    for url in fresh(TIMESCALE, TIMESCALE):
        with psycopg.connect(url, autocommit=True) as database:
            database.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
        yield url


def names(url: str, statement: str) -> set[str]:
    """The first column."""
    with psycopg.connect(url) as database:
        return {row[0] for row in database.execute(statement.encode())}


def test_an_empty_database_gets_every_table_and_a_second_time_changes_nothing(empty: str) -> None:
    assert current_revision(empty) is None
    upgrade(empty)
    before = names(empty, TABLES)
    upgrade(empty)
    assert current_revision(empty) == newest_revision()
    assert {stream.table for stream in REGISTRY.values()} <= before == names(empty, TABLES)


def test_rows_survive_another_upgrade(empty: str) -> None:
    upgrade(empty)
    with psycopg.connect(empty) as database:
        database.execute(
            "INSERT INTO am.digital_notes_raw (user_id, device_id, ts, event_id, received_at, "
            "schema_version, content, note_type) VALUES ('u', 'd', now(), gen_random_uuid(), "
            "now(), 1, 'kept', 'text')"
        )
    upgrade(empty)
    assert names(empty, "SELECT content FROM am.digital_notes_raw") == {"kept"}


def test_the_same_migrations_make_hypertables_with_compression_on_timescaledb(
    empty_timescale: str,
) -> None:
    upgrade(empty_timescale)
    upgrade(empty_timescale)
    tables = {stream.table for stream in REGISTRY.values()}
    assert names(empty_timescale, HYPERTABLES) == tables
    assert names(empty_timescale, COMPRESSIONS) == tables


def test_on_timescaledb_rows_go_in_and_a_reader_sees_one_users_alone(empty_timescale: str) -> None:
    upgrade(empty_timescale)
    insert = (
        "INSERT INTO am.digital_notes_raw (user_id, device_id, ts, event_id, received_at, "
        "schema_version, content, note_type) VALUES (%s, 'd', '2026-03-01Z', %s, now(), 1, 'n', "
        "'text') ON CONFLICT DO NOTHING RETURNING event_id"
    )
    with psycopg.connect(empty_timescale) as database:
        for user in ("ann", "anna"):
            id_ = uuid4()
            assert database.execute(insert, (user, id_)).fetchone() == (id_,)
            assert database.execute(insert, (user, id_)).fetchone() is None
        database.execute("SET LOCAL ROLE am_reader")
        database.execute("SELECT set_config('app.user_id', 'ann', true)")
        rows = database.execute("SELECT user_id FROM am.digital_notes_raw").fetchall()
        titles = database.execute("SELECT user_id FROM am.timeline").fetchall()
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            database.execute("SELECT * FROM am_store.digital_notes_raw")
    assert rows == titles == [("ann",)]
