"""Ids that the lake leaves out come back as they were, and as they always will."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4, uuid5

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from deltalake import DeltaTable, write_deltalake
from hypothesis import given
from hypothesis import strategies as st

from am_assets.derived.catalog import ENRICHMENTS
from am_assets.schemas.arrow import delta_schema
from am_assets.schemas.row_ids import NAMESPACE, leaves_ids_out
from am_assets.streams.health import HEART_RATE
from am_assets.streams.registry import REGISTRY
from am_assets.streams.stream import Stream
from resources.duck import DuckOptions, connect, query
from resources.hot import HotStore
from resources.lake import Lake
from resources.lake_check import LakeCheck
from resources.lake_copies import LakeCopies
from resources.lake_files import LakeFiles, own
from resources.lake_folder import folder_of
from resources.lake_ids import with_ids, without_ids
from resources.lake_repair import LakeRepair
from resources.lake_upkeep import LakeUpkeep
from resources.retention import Retention
from resources.whole import WholeStore
from resources.work_items import Unit
from tests.planting import days_from
from tests.resources.rows import insert, row

DAYS = days_from(date(2023, 5, 1))
ACCELEROMETER = REGISTRY["device.sensor.accelerometer.raw"]
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
USER, DEVICE = "lake ids", "watch"
# What an id is made of may never change, or rows that have left the database lose theirs.
IDENTITIES = {
    "device.app_usage.android.events": ("package_name", "event_type", "class_name"),
    "device.health.blood_oxygen.raw": ("spo2_percent",),
    "device.health.glucose.raw": ("glucose", "unit"),
    "device.health.heartrate.raw": ("bpm",),
    "device.health.skin_temperature.raw": ("temperature", "unit", "is_difference"),
    "device.health.steps.raw": ("step_count", "distance_m", "activity_type"),
    "device.health.stress.raw": ("stress_level", "hrv_ms", "hrv_method"),
    "device.input.keyboard.raw": ("key_code", "key_name", "action"),
    "device.input.mouse.raw": ("x_px", "y_px", "action", "button"),
    "device.input.touch.raw": ("touch_id", "x_px", "y_px", "action"),
    "device.network.bluetooth.raw": ("device_address", "is_connected", "is_paired"),
    "device.network.wifi.raw": ("ssid", "bssid", "is_connected"),
    "device.notification.response.raw": (
        "notification_id",
        "response_type",
        "action_id",
        "text_response",
    ),
    "device.sensor.accelerometer.raw": ("x_m_s2", "y_m_s2", "z_m_s2"),
    "device.sensor.barometer.raw": ("pressure", "unit"),
    "device.sensor.gps.raw": ("latitude", "longitude"),
    "device.sensor.gyroscope.raw": ("x", "y", "z"),
    "device.sensor.light.raw": ("illuminance_lux",),
    "device.sensor.magnetometer.raw": ("x", "y", "z"),
    "device.sensor.on_body.raw": ("is_on_body",),
    "device.sensor.temperature.raw": ("temperature", "unit", "sensor_location"),
    "device.state.power.raw": ("battery_level", "is_charging"),
}
LEFT_OUT = [stream for stream in REGISTRY.values() if leaves_ids_out(stream)]
VALUES: dict[pa.DataType, st.SearchStrategy[Any]] = {
    pa.string(): st.text(),
    pa.int64(): st.integers(-(2**63), 2**63 - 1),
    pa.float64(): st.floats(allow_nan=False, allow_infinity=False),
    pa.bool_(): st.booleans(),
}
INSTANTS = st.integers(0, 2**51).map(lambda us: EPOCH + timedelta(microseconds=us))


def id_of(stream: Stream, at: datetime, *values: Any, device: str = DEVICE) -> UUID:
    """As a sender without an id of its own gets it."""
    return uuid5(NAMESPACE, "\n".join((stream.name, device, at.isoformat(), repr([*values]))))


def beats(day: date, count: int = 6) -> list[dict[str, Any]]:
    """Readings of a client that names none; the last has an id of its own."""
    begin = datetime(day.year, day.month, day.day, 8, tzinfo=UTC)
    told = [(begin + timedelta(milliseconds=900 * n), 60 + n / 7) for n in range(count)]
    ids = [id_of(HEART_RATE, at, bpm) for at, bpm in told[:-1]] + [uuid4()]
    own = {"user_id": USER, "device_id": DEVICE}
    return [
        {**own, "ts": at, "bpm": bpm, "event_id": event_id}
        for (at, bpm), event_id in zip(told, ids, strict=True)
    ]


def planted(lake: Lake, day: date) -> list[str]:
    """A day of readings in the database; their ids in the order of time."""
    rows = beats(day)
    insert(lake.connections.database_url, HEART_RATE, rows)
    return [str(row["event_id"]) for row in rows]


def stored_ids(lake: Lake, day: date) -> list[str | None]:
    """What the files say themselves, in the order of time."""
    table = lake.open(HEART_RATE)
    assert table is not None
    rows = table.to_pyarrow_table(filters=[("day", "=", day)]).sort_by("ts")
    return list(rows["event_id"].to_pylist())


def ids_of(rows: pa.Table) -> list[str]:
    return [str(event_id) for event_id in rows.sort_by("ts")["event_id"].to_pylist()]


def test_what_the_left_out_ids_are_made_of_stays_what_it_is() -> None:
    assert {stream.name: stream.identity for stream in LEFT_OUT} == IDENTITIES
    at = datetime(2026, 1, 2, 3, 4, 5, 60_000, tzinfo=UTC)
    told = row(ACCELEROMETER, user_id=USER, ts=at, x_m_s2=0.1, y_m_s2=-9.8, z_m_s2=1e-5)
    rows = table_of(ACCELEROMETER, [{**told, "event_id": None}])
    assert ids_of(with_ids(ACCELEROMETER, rows)) == ["b4480d5f-93d8-5513-a10d-ce74b0947b24"]


def test_no_row_is_named_by_another_whose_id_is_left_out() -> None:
    by_row = [s for made in ENRICHMENTS if made.unit is not Unit.HOUR for s in made.sources]
    assert by_row
    assert not any(leaves_ids_out(stream) for stream in by_row)


def table_of(stream: Stream, rows: Sequence[dict[str, Any]]) -> pa.Table:
    schema = delta_schema(stream)
    whole = [{"day": told["ts"].date(), **told} for told in rows]
    return pa.Table.from_pylist(whole, schema=pa.schema([f.with_nullable(True) for f in schema]))


@given(st.sampled_from(LEFT_OUT), st.data())
def test_any_reading_without_an_id_of_its_own_gets_the_same_one_again(
    stream: Stream, data: st.DataObject
) -> None:
    schema = delta_schema(stream)
    drawn = {name: VALUES[schema.field(name).type] | st.none() for name in stream.identity}
    told = data.draw(st.lists(st.fixed_dictionaries(drawn), min_size=1))
    rows: list[dict[str, Any]] = []
    expected: list[str | None] = []
    for values in told:
        at, device = data.draw(INSTANTS), data.draw(st.text(min_size=1))
        computed = id_of(stream, at, *(values[n] for n in stream.identity), device=device)
        event_id = data.draw(st.just(computed) | st.uuids())
        expected.append(None if event_id == computed else str(event_id))
        rows.append({**values, "ts": at, "device_id": device, "event_id": str(event_id)})
    table = table_of(stream, rows)
    bare = without_ids(stream, table)
    assert bare["event_id"].to_pylist() == expected
    assert with_ids(stream, bare).to_pylist() == table.to_pylist()


def test_the_lake_has_only_ids_that_do_not_follow_and_everyone_reads_all(lake: Lake) -> None:
    day = next(DAYS)
    ids = planted(lake, day)
    lake.publish(HEART_RATE, day)
    assert stored_ids(lake, day) == [None] * 5 + ids[-1:]
    assert ids_of(lake.read_day(HEART_RATE, day)) == ids
    assert LakeCheck(lake).day_faults(HEART_RATE, day) == []
    Retention(lake.connections, REGISTRY).leave(HEART_RATE, day)
    assert ids_of(WholeStore(lake.connections).read_day(HEART_RATE, day)) == ids
    asked = f"SELECT event_id FROM {{}}.am.{HEART_RATE.table} WHERE day = ? ORDER BY ts"
    with connect(lake.connections, REGISTRY, user_id=USER) as duck:
        for place in ("lake", "whole"):
            found = query(duck, asked.format(place), parameters=[day])
            assert found["event_id"].to_pylist() == ids
        one = f"SELECT bpm FROM am.{HEART_RATE.table} WHERE event_id = ?"
        for n in (0, 5):
            assert query(duck, one, parameters=[ids[n]])["bpm"].to_pylist() == [60 + n / 7]


@pytest.mark.parametrize("threads", [1, 4])
def test_ids_are_right_however_often_and_by_how_many_threads_they_are_read(
    lake: Lake, threads: int
) -> None:
    day = next(DAYS)
    rows = beats(day, count=500)
    insert(lake.connections.database_url, HEART_RATE, rows)
    lake.publish(HEART_RATE, day)
    told = {str(row["event_id"]): row["bpm"] for row in rows}
    asked = (
        f"SELECT a.event_id, b.bpm FROM lake.am.{HEART_RATE.table} AS a "
        f"JOIN lake.am.{HEART_RATE.table} AS b USING (event_id) WHERE a.day = ? AND b.day = ?"
    )
    with connect(
        lake.connections, REGISTRY, user_id=USER, options=DuckOptions(threads=threads)
    ) as duck:
        for _ in range(30):
            found = query(duck, asked, parameters=[day, day])
            assert dict(zip(*found.to_pydict().values(), strict=True)) == told


@pytest.mark.parametrize("has_copies", [True, False])
def test_a_dataset_tells_ids_whichever_way_it_is_read(
    lake: Lake, tmp_path: Path, has_copies: bool
) -> None:
    day = next(DAYS)
    ids = planted(lake, day)
    lake.publish(HEART_RATE, day)
    copies = LakeCopies(tmp_path, 10**9) if has_copies else None
    dataset = own(LakeFiles(lake.connections, copies=copies).open(HEART_RATE), USER)
    is_then = pc.field("day") == pa.scalar(day, pa.date32())
    assert ids_of(dataset.to_table(filter=is_then)) == ids
    is_one = pc.field("event_id") == ids[0]
    for rows in (
        dataset.to_table(["bpm"], filter=is_one & (pc.field("ts") >= midnight(day))),
        dataset.to_table(["bpm"], filter=is_one & is_then),
        dataset.filter(is_then).to_table(["bpm"], filter=is_one),
    ):
        assert rows.to_pylist() == [{"bpm": 60.0}]
    assert dataset.count_rows(filter=is_then & pc.field("event_id").is_valid()) == 6
    assert dataset.filter(is_then).to_table(["ts"]).num_rows == 6
    assert set(dataset.filter(is_then).head(9, columns=["event_id"])["event_id"].to_pylist()) == {
        *ids
    }
    assert {path.parent.name for path in tmp_path.rglob("*.parquet")} == (
        {f"day={day}"} if has_copies else set()
    )


def test_a_day_comes_back_with_its_ids_and_what_came_again_is_no_second_row(lake: Lake) -> None:
    day = next(DAYS)
    ids = planted(lake, day)
    retention = Retention(lake.connections, REGISTRY)
    retention.leave(HEART_RATE, day)
    insert(lake.connections.database_url, HEART_RATE, beats(day)[:2])  # sent again
    assert ids_of(WholeStore(lake.connections).read_day(HEART_RATE, day)) == ids
    with connect(lake.connections, REGISTRY, user_id=USER) as duck:
        counted = f"SELECT count(*) AS n FROM am.{HEART_RATE.table} WHERE day = ?"
        assert query(duck, counted, parameters=[day])["n"].to_pylist() == [6]
    lake.publish(HEART_RATE, day)
    store = HotStore(lake.connections.database_url)
    assert ids_of(store.read_day(HEART_RATE, day)) == ids
    assert stored_ids(lake, day) == [None] * 5 + ids[-1:]


def test_compaction_and_repair_keep_the_day_what_its_receipt_says(lake: Lake) -> None:
    day = next(DAYS)
    ids = planted(lake, day)
    Retention(lake.connections, REGISTRY).leave(HEART_RATE, day)
    table = lake.open(HEART_RATE)
    assert table is not None
    rows = table.to_pyarrow_table(filters=[("day", "=", day)])
    for n, part in enumerate((rows.slice(0, 2), rows.slice(2))):
        where = (
            {"mode": "overwrite", "predicate": f"day = '{day}'"} if n == 0 else {"mode": "append"}
        )
        write_deltalake(table, part, **where)  # type: ignore[call-overload]  # one of two
    assert LakeUpkeep(lake).keep(HEART_RATE, now=datetime.now(UTC)).days == (day,)
    assert stored_ids(lake, day) == [None] * 5 + ids[-1:]
    assert LakeCheck(lake).day_faults(HEART_RATE, day) == []
    remove_a_day(lake, day)
    assert LakeRepair(lake).repair_day(HEART_RATE, day)
    assert ids_of(lake.read_day(HEART_RATE, day)) == ids


def midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def remove_a_day(lake: Lake, day: date) -> None:
    """As a commit that was no commit of ours would; the files stay where they are."""
    table = lake.open(HEART_RATE)
    assert table is not None
    table.delete(f"day = '{day}'")
    assert LakeCheck(lake).day_faults(HEART_RATE, day)
    assert any(f"day={day}" in path for path in folder_of(lake, HEART_RATE).sizes())


def test_a_table_from_before_keeps_the_ids_that_it_requires(lake: Lake) -> None:
    stream = REGISTRY["device.health.blood_oxygen.raw"]
    schema = delta_schema(stream)
    at = schema.get_field_index("event_id")
    older = schema.set(at, schema.field(at).with_nullable(False))
    DeltaTable.create(
        lake.table_uri(stream),
        older,
        partition_by=["day"],
        storage_options=lake.connections.delta_options(),
    )
    day = next(DAYS)
    begin = datetime(day.year, day.month, day.day, tzinfo=UTC)
    event_id = id_of(stream, begin, 97.0)
    known = {"user_id": USER, "device_id": DEVICE, "ts": begin, "event_id": event_id}
    insert(lake.connections.database_url, stream, [{**known, "spo2_percent": 97.0}])
    lake.publish(stream, day)
    table = lake.open(stream)
    assert table is not None
    assert table.to_pyarrow_table()["event_id"].to_pylist() == [str(event_id)]
    assert ids_of(lake.read_day(stream, day)) == [str(event_id)]
