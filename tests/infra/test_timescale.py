"""TimescaleDB's own work: what its jobs do to rows that are stored, sent again, late, and gone."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql

from am_assets.schemas.rollups import Level, rollup_table
from am_assets.streams.registry import REGISTRY
from infra.migrate import upgrade
from resources.hot import Fingerprint, HotStore
from tests.infra.conftest import TIMESCALE

pytestmark = pytest.mark.slow
MOTION = REGISTRY["device.sensor.accelerometer.raw"]
TABLE = f"am_store.{MOTION.table}"
# Old enough to be compressed, whatever the time of day the test runs.
LONG_AGO = (datetime.now(UTC) - timedelta(days=3)).replace(
    hour=1, minute=0, second=0, microsecond=0
)
MANY = 150_000  # more than TimescaleDB would look into for one statement, if it were not told to
ROWS = f"""
INSERT INTO am.{MOTION.table} (user_id, device_id, ts, event_id, received_at, schema_version,
    x_m_s2, y_m_s2, z_m_s2)
SELECT 'me', 'phone', %(begin)s::timestamptz + i * interval '20 ms',
    md5(i::text)::uuid, now(), 1, i %% 100, 0, 9.8
FROM generate_series(%(first)s::int, %(last)s::int) AS i ON CONFLICT DO NOTHING"""
JOB = """SELECT job_id FROM timescaledb_information.jobs
WHERE (hypertable_schema, hypertable_name) = ('am_store', %s) AND proc_name = %s"""
COMPRESSED = """SELECT count(*) FROM timescaledb_information.chunks
WHERE hypertable_name = %s AND is_compressed"""


@pytest.fixture
def database(empty_timescale: str) -> Iterator[psycopg.Connection]:
    """A migrated database with its background jobs stopped: the tests run them."""
    upgrade(empty_timescale)
    with psycopg.connect(empty_timescale, autocommit=True) as connection:
        connection.execute("SET TIME ZONE 'UTC'")
        connection.execute("SELECT _timescaledb_functions.stop_background_workers()")
        yield connection


def run_job(database: psycopg.Connection, table: str, policy: str) -> None:
    """Do what the background worker does when the policy is due."""
    (job,) = database.execute(JOB, (table, policy)).fetchall()
    database.execute(sql.SQL("CALL run_job({})").format(job[0]))


def store(database: psycopg.Connection, first: int, last: int, *, begin: datetime) -> int:
    """Send rows by their numbers; how many were new."""
    values = {"begin": begin, "first": first, "last": last}
    return database.execute(ROWS.encode(), values).rowcount


def days(database: psycopg.Connection) -> list[tuple[Any, ...]]:
    """Each day's roll-up: rows, and of the first axis least, mean, greatest and last."""
    name = rollup_table(MOTION, Level.DAY)
    text = f"SELECT row_count, x_m_s2_min, x_m_s2_avg, x_m_s2_max, x_m_s2_last FROM am.{name}"
    return database.execute(f"{text} ORDER BY bucket".encode()).fetchall()


def compressed(database: psycopg.Connection) -> int:
    """How many chunks of the rows' table are compressed."""
    (count,) = database.execute(COMPRESSED, (MOTION.table,)).fetchall()[0]
    return int(count)


def fingerprint(database: psycopg.Connection) -> Fingerprint:
    """What the hot store says of the old day."""
    with HotStore(database.info.dsn).snapshot() as snapshot:
        return snapshot.fingerprint(MOTION, LONG_AGO.date())


def test_compression_changes_no_row_and_takes_what_is_sent_again_late_or_away(
    database: psycopg.Connection,
) -> None:
    assert store(database, 1, MANY, begin=LONG_AGO) == MANY
    before = fingerprint(database)
    run_job(database, MOTION.table, "policy_compression")
    assert compressed(database) == 1
    assert fingerprint(database) == before == Fingerprint(MANY, before.checksum)
    assert store(database, 1, MANY, begin=LONG_AGO) == 0
    assert fingerprint(database) == before
    assert store(database, MANY - 1, MANY + 2, begin=LONG_AGO) == 2
    assert fingerprint(database).row_count == MANY + 2
    with database.transaction(), database.cursor() as cursor:
        cursor.execute(
            f"CREATE TEMP TABLE again AS SELECT * FROM am.{MOTION.table} LIMIT 9".encode()
        )
        with pytest.raises(psycopg.errors.UniqueViolation), database.transaction():
            cursor.execute(f"INSERT INTO {TABLE} SELECT * FROM again".encode())
    run_job(database, MOTION.table, "policy_compression")
    assert fingerprint(database).row_count == MANY + 2
    gone = database.execute(f"DELETE FROM am.{MOTION.table} WHERE ts < now()".encode())
    assert gone.rowcount == MANY + 2
    assert fingerprint(database) == Fingerprint(0, "0")


def test_refreshing_makes_roll_ups_that_outlive_their_rows_and_their_chunks(
    database: psycopg.Connection,
) -> None:
    now = datetime.now(UTC) - timedelta(hours=2)
    old, new = LONG_AGO - timedelta(days=9), now.replace(minute=0, second=0, microsecond=0)
    store(database, 1, 199, begin=old)
    store(database, 1, 199, begin=new)
    whole = (199, 0, pytest.approx(49.748743), 99, 99)
    assert days(database) == [whole, whole]  # made of the rows, as nothing is stored yet
    names = [rollup_table(MOTION, level) for level in Level]
    for name in names:
        edges = (f"am_store.{name}", old - timedelta(days=1), old + timedelta(days=1))
        database.execute("CALL refresh_continuous_aggregate(%s, %s, %s)", edges)
        run_job(database, name, "policy_refresh_continuous_aggregate")
    assert days(database) == [whole, whole]
    database.execute(f"DELETE FROM am.{MOTION.table} WHERE ts < %s".encode(), (old + timedelta(1),))
    for name in names:  # however often the policies run, they don't look at what has gone
        run_job(database, name, "policy_refresh_continuous_aggregate")
    assert days(database) == [whole, whole]
    database.execute("SELECT drop_chunks(%s, older_than => %s)", (TABLE, old + timedelta(days=1)))
    for name in names:
        run_job(database, name, "policy_refresh_continuous_aggregate")
    assert days(database) == [whole, whole]
    store(database, 200, 200, begin=new)
    run_job(database, names[-1], "policy_refresh_continuous_aggregate")
    assert [row[0] for row in days(database)] == [199, 200]


@pytest.mark.skipif(TIMESCALE is None, reason="the small server's aggregates gain no columns yet")
def test_an_aggregate_of_an_older_version_gets_what_it_lacks_and_keeps_the_rest(
    database: psycopg.Connection, empty_timescale: str
) -> None:
    store(database, 1, 199, begin=LONG_AGO)
    name = f"am_store.{rollup_table(MOTION, Level.DAY)}"
    database.execute(f"DROP MATERIALIZED VIEW {name} CASCADE".encode())
    database.execute(
        f"CREATE MATERIALIZED VIEW {name} WITH (timescaledb.continuous, "
        "timescaledb.materialized_only = false) AS SELECT user_id, device_id, "
        "time_bucket(INTERVAL '1 day', ts) AS bucket, count(*) AS row_count "
        f"FROM {TABLE} GROUP BY 1, 2, 3 WITH NO DATA".encode()
    )
    edges = (name, LONG_AGO - timedelta(days=1), LONG_AGO + timedelta(days=1))
    database.execute("CALL refresh_continuous_aggregate(%s, %s, %s)", edges)
    database.execute(f"DELETE FROM am.{MOTION.table}".encode())
    upgrade(empty_timescale)
    assert days(database) == [(199, None, None, None, None)]
