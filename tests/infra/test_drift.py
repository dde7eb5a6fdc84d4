"""The drift check: nothing to tell of a fresh database, and every change by hand is found."""

from datetime import UTC, datetime

import psycopg
import pytest

from am_assets.streams.registry import REGISTRY
from infra.doctor import check_catalog
from infra.drift import Difference, find_drift
from infra.migrate import upgrade

HEART = "device_health_heartrate_raw"
GPS = "device_sensor_gps_raw"
TODAY = datetime.now(UTC).date()

PLAIN = [
    (f"ALTER TABLE am.{HEART} DROP COLUMN confidence CASCADE", HEART, "no column confidence"),
    (f"ALTER TABLE am.{HEART} ADD COLUMN stranger text", HEART, "column stranger that no"),
    (f"ALTER TABLE am.{HEART}_per_day ALTER bpm_min TYPE text", f"{HEART}_per_day", "is text"),
    (f"ALTER TABLE am.{HEART} DROP CONSTRAINT {HEART}_pkey", HEART, "its key"),
    (f"DROP INDEX am.{HEART}_by_block", HEART, "by_block is missing"),
    (f"CREATE INDEX {HEART}_by_time ON am.{HEART} (ts)", HEART, "by_time is not declared"),
    (f"ALTER TABLE am.{HEART} DISABLE ROW LEVEL SECURITY", HEART, "no row-level security"),
    (f"CREATE POLICY open ON am.{HEART} USING (true)", HEART, "a policy open"),
    (f"ALTER POLICY own_rows ON am.{HEART} USING (true)", HEART, "own_rows does not hold"),
    (f"DROP POLICY own_rows ON am.{HEART}_per_hour", f"{HEART}_per_hour", "own_rows"),
    (f"GRANT DELETE ON am.{HEART} TO am_reader", HEART, "gives the right am_reader DELETE"),
    (f"GRANT SELECT ON am.{HEART} TO PUBLIC", HEART, "gives the right PUBLIC SELECT"),
    (f"REVOKE SELECT ON am.{HEART} FROM am_reader", HEART, "lacks the right am_reader SELECT"),
    (f"DROP TABLE am.{HEART}_per_minute", f"{HEART}_per_minute", "is missing"),
    (f"DROP TABLE am.{GPS} CASCADE", GPS, "is missing"),
    (
        f"DO $$ DECLARE part regclass; BEGIN FOR part IN SELECT inhrelid FROM pg_inherits WHERE "
        f"inhparent = 'am.{GPS}'::regclass LOOP EXECUTE 'DROP TABLE ' || part; END LOOP; END $$",
        GPS,
        "no partition for",
    ),
    ("GRANT USAGE ON SCHEMA am_parts TO am_reader", "am_parts", "look into this schema"),
]
STORE = f"am_store.{HEART}"
TIMESCALE = [
    (f"SELECT set_chunk_time_interval('{STORE}', INTERVAL '3 days')", HEART, "chunk interval: 3"),
    (f"SELECT remove_compression_policy('{STORE}')", HEART, "compresses after []"),
    (
        f"SELECT alter_job(job_id, scheduled => false) FROM timescaledb_information.jobs "
        f"WHERE hypertable_name = '{HEART}'",
        HEART,
        "not scheduled",
    ),
    (f"SELECT add_retention_policy('{STORE}', INTERVAL '60 days')", HEART, "retention policy"),
    (
        f"ALTER TABLE {STORE} SET (timescaledb.compress_segmentby = 'user_id')",
        HEART,
        "compression's segments: user_id",
    ),
    (
        f"SELECT remove_continuous_aggregate_policy('{STORE}_per_hour')",
        f"{HEART}_per_hour",
        "refreshes []",
    ),
    (f"DROP MATERIALIZED VIEW {STORE}_per_day CASCADE", f"{HEART}_per_day", "no continuous"),
    (
        f"ALTER MATERIALIZED VIEW {STORE}_per_day SET (timescaledb.materialized_only = true)",
        f"{HEART}_per_day",
        "not yet stored",
    ),
    (f"GRANT SELECT ON {STORE} TO am_reader", HEART, "gives the right am_reader SELECT"),
    (
        f"CREATE OR REPLACE VIEW am.{HEART} WITH (security_barrier) AS SELECT * FROM {STORE}",
        HEART,
        "shows everybody's rows",
    ),
    ("GRANT USAGE ON SCHEMA am_store TO am_analyst", "am_store", "look into this schema"),
    (
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I RESET ALL', current_database()); END $$",
        "database",
        "max_tuples_decompressed",
    ),
]


def drift(database: psycopg.Connection, *, is_timescale: bool) -> list[Difference]:
    """All differences of the whole registry."""
    return find_drift(database, REGISTRY.values(), is_timescale=is_timescale, today=TODAY)


def found_after(
    database: psycopg.Connection, change: str, *, is_timescale: bool
) -> list[Difference]:
    """What a change by hand makes the check find. It is undone afterwards."""
    with database.transaction(force_rollback=True):
        database.execute(change.encode())
        return drift(database, is_timescale=is_timescale)


def test_every_change_by_hand_is_found_and_named_on_plain_postgresql(empty: str) -> None:
    upgrade(empty)
    with psycopg.connect(empty) as database:
        assert drift(database, is_timescale=False) == []
        for change, table, words in PLAIN:
            found = found_after(database, change, is_timescale=False)
            assert any(one.table.endswith(table) and words in one.what for one in found), change
        assert drift(database, is_timescale=False) == []


@pytest.mark.slow
def test_every_change_by_hand_is_found_and_named_on_timescaledb(empty_timescale: str) -> None:
    upgrade(empty_timescale)
    with psycopg.connect(empty_timescale) as database:
        assert drift(database, is_timescale=True) == []
        for change, table, words in TIMESCALE:
            found = found_after(database, change, is_timescale=True)
            assert any(one.table.endswith(table) and words in one.what for one in found), (
                change,
                found,
            )
        database.execute(f"SELECT add_retention_policy('{STORE}', INTERVAL '60 days')".encode())
        database.execute(f"SELECT remove_compression_policy('{STORE}')".encode())
        database.commit()
    upgrade(empty_timescale)
    assert [finding.level for finding in check_catalog(empty_timescale)] == ["ok"]


def test_the_doctor_tells_of_it_and_the_next_start_repairs_it(empty: str) -> None:
    upgrade(empty)
    assert [finding.level for finding in check_catalog(empty)] == ["ok"]
    with psycopg.connect(empty) as database:
        database.execute(f"ALTER TABLE am.{HEART} DISABLE ROW LEVEL SECURITY".encode())
        database.execute(f"DROP INDEX am.{HEART}_by_block".encode())
    told = check_catalog(empty)
    assert {finding.level for finding in told} == {"error"}
    assert {HEART in finding.what for finding in told} == {True}
    assert len(told) == 2
    upgrade(empty)
    assert [finding.level for finding in check_catalog(empty)] == ["ok"]
