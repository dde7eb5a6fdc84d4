"""Roll-ups: exact after any arrival, kept when their rows have left, each user's own."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from psycopg import sql

from am_assets.schemas.rollups import Level, is_numeric, measures, rollup_table, rollup_tables
from am_assets.streams.registry import REGISTRY
from resources import duck
from resources.connections import Connections
from resources.hot import HotStore, Span
from resources.lake import Lake
from resources.retention import Retention
from resources.rollups import Rollups
from tests.planting import Garden

HEART = REGISTRY["device.health.heartrate.raw"]
STEPS = REGISTRY["device.health.steps.raw"]
DAY = date(2026, 3, 1)
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
Beat = tuple[datetime, float | None]
Bucket = tuple[Any, ...]


def buckets(connections: Connections, level: Level, *, user_id: str) -> list[Bucket]:
    """One user's heart rate by a level: when, rows, least, mean, greatest, last, confidence."""
    table = sql.Identifier("am", rollup_table(HEART, level))
    with psycopg.connect(connections.database_url) as connection:
        connection.execute("SET TIME ZONE 'UTC'")
        return connection.execute(
            sql.SQL(
                "SELECT bucket, row_count, bpm_min, bpm_avg, bpm_max, bpm_last, confidence_last "
                "FROM {} WHERE user_id = %s ORDER BY bucket"
            ).format(table),
            (user_id,),
        ).fetchall()


def plant(connections: Connections, user_id: str, beats: Sequence[Beat]) -> None:
    """Store heart rates with a confidence each that may be missing."""
    garden = Garden(connections, user_id=user_id)
    rows = [(ts, {"bpm": float(i + 50), "confidence": sure}) for i, (ts, sure) in enumerate(beats)]
    garden.plant(HEART, rows)


def publish_and_refresh(connections: Connections, day: date) -> None:
    """What a run of the day and the roll-ups' own do."""
    Lake(connections).publish(HEART, day)
    rollups = Rollups(connections)
    for stream, due in rollups.due([HEART]):
        assert rollups.refresh(stream, due)


def test_numeric_streams_are_what_is_measured_and_not_names_text_files_or_blocks() -> None:
    numeric = {stream.name for stream in REGISTRY.values() if is_numeric(stream)}
    assert numeric >= {HEART.name, STEPS.name, "device.sensor.gps.raw", "device.state.power.raw"}
    assert not any(
        stream.blob or "samples" in stream.columns
        for stream in REGISTRY.values()
        if stream.name in numeric
    )
    names = {column.name for name in numeric for column in measures(REGISTRY[name])}
    assert {"step_count", "bpm", "latitude"} <= names
    assert not {"touch_id", "key_code", "priority", "story_id"} & names


def test_a_day_is_rolled_up_by_minute_hour_and_day_and_again_when_a_late_row_comes(
    connections: Connections,
) -> None:
    at = [NOON + timedelta(seconds=seconds) for seconds in (0, 59, 60, 3600)]
    plant(connections, "late", [(at[0], 0.5), (at[1], None), (at[2], None), (at[3], 0.75)])
    publish_and_refresh(connections, DAY)
    assert buckets(connections, Level.MINUTE, user_id="late") == [
        (at[0], 2, 50, 50.5, 51, 51, 0.5),
        (at[2], 1, 52, 52, 52, 52, None),
        (at[3], 1, 53, 53, 53, 53, 0.75),
    ]
    assert buckets(connections, Level.HOUR, user_id="late") == [
        (at[0], 3, 50, 51, 52, 52, 0.5),
        (at[3], 1, 53, 53, 53, 53, 0.75),
    ]
    midnight = NOON - timedelta(hours=12)
    whole = (midnight, 4, 50, 51.5, 53, 53, 0.75)
    assert buckets(connections, Level.DAY, user_id="late") == [whole]
    assert Rollups(connections).due([HEART]) == []
    earlier = NOON - timedelta(seconds=1)
    Garden(connections, user_id="late").plant(HEART, [(earlier, {"bpm": 10.0})])
    publish_and_refresh(connections, DAY)
    (row,) = buckets(connections, Level.DAY, user_id="late")
    assert row[1:] == (5, 10, (50 + 51 + 52 + 53 + 10) / 5, 53, 53, 0.75)


@settings(max_examples=5, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_in_whatever_order_rows_come_the_roll_ups_are_those_of_all_of_them(
    connections: Connections, data: st.DataObject
) -> None:
    user = f"any{data.draw(st.uuids()).hex}"
    seconds = data.draw(st.lists(st.integers(0, 7200), min_size=1, max_size=12, unique=True))
    day = data.draw(st.sampled_from([date(2026, 2, 3), date(2026, 2, 4)]))
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    values = {midnight + timedelta(seconds=s): float(s % 200) for s in seconds}
    cut = data.draw(st.integers(0, len(seconds)))
    garden = Garden(connections, user_id=user)
    for part in (list(values.items())[:cut], list(values.items())[cut:]):
        garden.plant(HEART, [(ts, {"bpm": bpm}) for ts, bpm in part])
        publish_and_refresh(connections, day)
    (found,) = buckets(connections, Level.DAY, user_id=user)
    mean = sum(values.values()) / len(values)
    least, most, last = min(values.values()), max(values.values()), values[max(values)]
    assert found == (midnight, len(values), least, pytest.approx(mean), most, last, None)
    minutes = buckets(connections, Level.MINUTE, user_id=user)
    assert sum(row[1] for row in minutes) == len(values)


def test_roll_ups_stay_when_the_day_leaves_and_are_right_when_a_late_row_reopens_it(
    connections: Connections,
) -> None:
    day, user = date(2026, 1, 5), "gone"
    noon = datetime(2026, 1, 5, 12, tzinfo=UTC)
    plant(connections, user, [(noon, 0.5), (noon + timedelta(hours=1), 0.75)])
    retention = Retention(connections, REGISTRY)
    assert retention.leave(HEART, day).row_count == 2
    assert HotStore(connections.database_url).read_day(HEART, day).num_rows == 0
    before = [buckets(connections, level, user_id=user) for level in Level]
    assert [sum(row[1] for row in rows) for rows in before] == [2, 2, 2]
    Garden(connections, user_id=user).plant(HEART, [(noon + timedelta(hours=2), {"bpm": 90.0})])
    assert not Rollups(connections).refresh(HEART, day)  # of what is left of it: no
    assert (HEART, day) not in Rollups(connections).due([HEART])
    assert retention.reopen(HEART, day) == 2
    publish_and_refresh(connections, day)
    (found,) = buckets(connections, Level.DAY, user_id=user)
    assert found[1:6] == (3, 50, pytest.approx((50 + 51 + 90) / 3), 90, 90)
    assert retention.leave(HEART, day).row_count == 3
    assert buckets(connections, Level.DAY, user_id=user) == [found]


def test_a_reader_sees_roll_ups_of_one_user_alone(connections: Connections) -> None:
    for user in ("ann", "anna"):
        plant(connections, user, [(NOON, None)])
    publish_and_refresh(connections, DAY)
    for name in rollup_tables(HEART):
        with HotStore(connections.database_url).reader("ann") as reader:
            users = reader.execute(
                sql.SQL("SELECT DISTINCT user_id FROM {}").format(sql.Identifier("am", name))
            ).fetchall()
        assert users == [("ann",)]
    engine = duck.connect(connections, REGISTRY, user_id="ann")
    hours = f"SELECT DISTINCT user_id FROM hot.am.{rollup_table(HEART, Level.HOUR)}"
    assert duck.query(engine, hours).to_pylist() == [{"user_id": "ann"}]


def test_erased_buckets_are_gone_and_others_are_not(connections: Connections) -> None:
    day = date(2026, 1, 9)
    morning = datetime(2026, 1, 9, 8, tzinfo=UTC)
    for user in ("eve", "eveline"):
        plant(connections, user, [(morning, None), (morning + timedelta(hours=1), None)])
    Retention(connections, REGISTRY).leave(HEART, day)
    span = Span(morning + timedelta(hours=1), morning + timedelta(hours=2), user_id="eve")
    assert Rollups(connections).forget(HEART, span) == 3  # a minute, an hour and the day
    assert [row[0] for row in buckets(connections, Level.HOUR, user_id="eve")] == [morning]
    assert buckets(connections, Level.DAY, user_id="eve") == []
    assert buckets(connections, Level.DAY, user_id="eveline")[0][1] == 2
