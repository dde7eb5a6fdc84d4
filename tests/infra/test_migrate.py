"""Migrations: from empty, again, and the same ones on TimescaleDB."""

from uuid import uuid4

import psycopg
import pytest

from am_assets.schemas.rollups import rollup_tables
from am_assets.streams.registry import REGISTRY
from infra.migrate import current_revision, newest_revision, upgrade

TABLES = (
    "SELECT relname FROM pg_class WHERE relnamespace = 'am'::regnamespace AND relkind IN ('r', 'p')"
)
HYPERTABLES = "SELECT hypertable_name FROM timescaledb_information.hypertables"
COMPRESSIONS = (
    "SELECT hypertable_name FROM timescaledb_information.jobs WHERE proc_name LIKE '%compression%' "
    "OR proc_name LIKE '%columnstore%'"
)


AGGREGATES = "SELECT view_name FROM timescaledb_information.continuous_aggregates"
# Nothing may leave the database that is not proven to be in the lake.
DROPPING = "SELECT proc_name FROM timescaledb_information.jobs WHERE proc_name = 'policy_retention'"


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


@pytest.mark.slow
def test_the_same_migrations_make_hypertables_with_compression_on_timescaledb(
    empty_timescale: str,
) -> None:
    upgrade(empty_timescale)
    upgrade(empty_timescale)
    tables = {stream.table for stream in REGISTRY.values()}
    rolled_up = {name for stream in REGISTRY.values() for name in rollup_tables(stream)}
    assert names(empty_timescale, HYPERTABLES) == tables
    assert names(empty_timescale, COMPRESSIONS) == tables
    assert names(empty_timescale, AGGREGATES) == rolled_up
    assert names(empty_timescale, DROPPING) == set()


@pytest.mark.slow
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
