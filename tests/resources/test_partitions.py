"""Partitions of what stays only briefly: there ahead of time, gone when empty, never a row lost."""

import os
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from am_assets.schemas.postgres import (
    DAY,
    SHORT,
    WEEK,
    partition_span,
    partitioned_table,
    qualified,
    row_security,
    table,
)
from am_assets.streams.registry import REGISTRY
from am_assets.streams.stream import Stream
from infra.migrate import apply_registry, upgrade
from resources.connections import Connections
from resources.hot import HotStore
from resources.partitions import Partitions, make_ahead, read_parts, spans
from tests.planting import Garden

MOTION = REGISTRY["device.sensor.accelerometer.raw"]
GPS = REGISTRY["device.sensor.gps.raw"]
MAIL = REGISTRY["external.email.raw"]
TODAY = date(2031, 5, 15)  # a Thursday; no test of another module uses that year
NOON = datetime(2031, 5, 15, 12, tzinfo=UTC)
FIX = {"latitude": 47.0, "longitude": 8.0}
plain_only = pytest.mark.skipif(
    "AM_TEST_TIMESCALE_URL" in os.environ, reason="TimescaleDB makes its own chunks"
)


@pytest.fixture
def database(connections: Connections) -> Iterator[psycopg.Connection]:
    """The module's database, in UTC."""
    with psycopg.connect(connections.database_url) as connection:
        connection.execute("SET TIME ZONE 'UTC'")
        yield connection


def placed(database: psycopg.Connection, stream: Stream) -> list[tuple[str, datetime]]:
    """Where each row is: the last part of its partition's name, and its time."""
    found = database.execute(
        f"SELECT tableoid::regclass::text, ts FROM {qualified(stream)} ORDER BY ts".encode()
    )
    return [(name.rpartition("_")[2], ts) for name, ts in found]


def names_of(database: psycopg.Connection, stream: Stream) -> set[str]:
    """The partitions of a stream, but for its default one."""
    prefix = f"{stream.table}_"
    return {p.name.removeprefix(prefix) for p in read_parts(database) if p.table == stream.table}


@given(st.dates(date(2000, 1, 1), date(2100, 1, 1)), st.sampled_from(list(REGISTRY.values())))
def test_spans_follow_each_other_and_hold_today_and_what_comes(today: date, stream: Stream) -> None:
    found = list(spans(stream, today))
    if stream.keep_hot > SHORT:
        assert found == []
        return
    midnight = datetime(today.year, today.month, today.day, tzinfo=UTC)
    assert found[0][0] < midnight
    assert found[-1][1] >= midnight + timedelta(days=3)
    assert all(one[1] == two[0] for one, two in pairwise(found))
    lengths = {end - begin for begin, end in found}
    assert lengths == {DAY if stream.chunk_interval <= DAY else WEEK} == {partition_span(stream)}
    assert lengths == {DAY} or found[0][0].isoweekday() == 1


@plain_only
def test_rows_go_into_their_day_or_week_and_all_others_into_the_default_partition(
    database: psycopg.Connection, connections: Connections
) -> None:
    made = make_ahead(database, [MOTION, GPS, MAIL], today=TODAY)
    database.commit()
    assert {name.removeprefix(f"{MOTION.table}_") for name in made if MOTION.table in name} == {
        *("20310514", "20310515", "20310516", "20310517")
    }
    assert {name.removeprefix(f"{GPS.table}_") for name in made if GPS.table in name} == {
        *("20310505", "20310512")
    }
    times = [NOON - timedelta(days=4000), NOON - DAY, NOON, NOON + timedelta(days=4000)]
    Garden(connections, user_id="parts").plant(GPS, [(ts, FIX) for ts in times])
    places = ["rest", "20310512", "20310512", "rest"]
    assert placed(database, GPS) == list(zip(places, times, strict=True))
    assert make_ahead(database, [MOTION, GPS, MAIL], today=TODAY) == ()


@plain_only
def test_rows_of_the_default_partition_move_into_the_one_that_is_made_for_them(
    database: psycopg.Connection, connections: Connections
) -> None:
    later = TODAY + timedelta(days=700)
    noon = NOON + timedelta(days=700)
    axes = {"x_m_s2": 0.0, "y_m_s2": 0.0, "z_m_s2": 9.8}
    Garden(connections, user_id="ahead").plant(MOTION, [(noon, axes), (noon + DAY * 9, axes)])
    assert [name for name, _ in placed(database, MOTION)] == ["rest", "rest"]
    database.commit()
    kept = Partitions(connections.database_url).keep([MOTION], today=later)
    assert f"{MOTION.table}_{later:%Y%m%d}" in kept.made
    assert [name for name, _ in placed(database, MOTION)] == [f"{later:%Y%m%d}", "rest"]


@plain_only
def test_old_partitions_are_dropped_when_they_are_empty_and_not_before(
    database: psycopg.Connection, connections: Connections
) -> None:
    partitions = Partitions(connections.database_url)
    start = date(2032, 2, 2)
    noon = datetime(2032, 2, 2, 12, tzinfo=UTC)
    partitions.keep([GPS], today=start)
    Garden(connections, user_id="old").plant(GPS, [(noon, FIX)])
    after = start + GPS.keep_hot + WEEK + DAY
    assert "20320202" not in {name[-8:] for name in partitions.keep([GPS], today=after).dropped}
    database.execute(f"DELETE FROM {qualified(GPS)} WHERE user_id = 'old'".encode())
    database.commit()
    still = start + GPS.keep_hot
    assert "20320202" not in {name[-8:] for name in partitions.keep([GPS], today=still).dropped}
    assert "20320202" in {name[-8:] for name in partitions.keep([GPS], today=after).dropped}
    assert "20320202" not in names_of(database, GPS)


@plain_only
def test_who_holds_a_table_for_long_is_not_waited_for(
    database: psycopg.Connection, connections: Connections
) -> None:
    future = date(2033, 1, 5)
    database.execute(f"LOCK TABLE {qualified(GPS)} IN ACCESS SHARE MODE".encode())
    kept = Partitions(connections.database_url, patience="50ms").keep([GPS, MOTION], today=future)
    assert kept.busy == (GPS.table,)
    assert any(MOTION.table in name for name in kept.made)


@plain_only
def test_a_table_of_an_older_version_keeps_its_rows_its_readers_and_gets_partitions(
    database: psycopg.Connection, connections: Connections
) -> None:
    """As a home of the version before had it: one table, another index, no partition."""
    database.execute(f"DROP TABLE {qualified(GPS)} CASCADE".encode())
    for statement in (*table(GPS), *row_security(qualified(GPS))):
        database.execute(statement.encode())
    database.execute(
        f"CREATE INDEX {GPS.table}_by_time ON {qualified(GPS)} (user_id, ts DESC)".encode()
    )
    database.execute(f"ALTER TABLE {qualified(GPS)} DROP COLUMN speed_m_s".encode())
    now = datetime.now(UTC).replace(microsecond=0)
    times = [now - timedelta(days=3000), now, now + timedelta(days=20)]
    database.commit()
    garden = Garden(connections, user_id="before")
    garden.plant(GPS, [(ts, FIX) for ts in times])
    database.execute("UPDATE am.registry_note SET statements_sha256 = 'of an older version'")
    database.commit()
    upgrade(connections.database_url)
    assert placed(database, GPS) == list(zip(["before", "before", "rest"], times, strict=True))
    database.commit()
    assert not apply_registry(database, REGISTRY)
    garden.plant(GPS, [(now + timedelta(seconds=1), {**FIX, "speed_m_s": 1.0})])
    with HotStore(connections.database_url).reader("before") as reader:
        shown = reader.execute(f"SELECT speed_m_s FROM {qualified(GPS)} ORDER BY ts".encode())
        assert shown.fetchall() == [(None,), (None,), (1.0,), (None,)]
        titles = reader.execute("SELECT title FROM am.timeline WHERE kind = %s", (GPS.kind,))
        assert len(titles.fetchall()) == 4


def test_only_streams_that_stay_briefly_have_partitions() -> None:
    assert partition_span(MAIL) is None
    assert {partition_span(GPS), partition_span(MOTION)} == {WEEK, DAY}
    assert "PARTITION BY RANGE (ts)" in "\n".join(partitioned_table(GPS))
