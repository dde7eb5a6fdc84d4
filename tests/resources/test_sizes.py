"""Each stream's bytes in each store are told; what a store that is down holds is not guessed."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from uuid import uuid4

import psycopg
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from am_assets.streams.audio import AUDIO
from am_assets.streams.digital import NOTE
from am_assets.streams.position import GPS_FIX
from am_assets.streams.registry import REGISTRY, Registry
from resources.connections import Connections
from resources.growth import DayTotal, days_until_full, growth_per_day, history, newest
from resources.lake import Lake
from resources.sizes import Measured, Size, Tier, json_bytes, measure, record, sent
from resources.vectors import VectorStore
from tests.planting import Garden
from tests.resources import moments_data
from tests.resources.stored_blobs import Shelf

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
SOME = Registry([NOTE, AUDIO, GPS_FIX])
TEXT = "bread " * 400
KIND = {"note_type": "text"}


@pytest.fixture(scope="module")
def filled(connections: Connections) -> Connections:
    """A hundred notes, published twice, so that the first files are of no use; a blob; a moment."""
    garden = Garden(connections)
    for part in range(2):
        at = NOON + timedelta(hours=part)
        rows = [(at + timedelta(seconds=n), {"content": f"{n} {TEXT}", **KIND}) for n in range(50)]
        garden.plant(NOTE, rows)
        Lake(connections).publish(NOTE, NOON.date())
    facts = {"sample_rate_hz": 16_000, "channels": 1, "duration_ms": 3_000}
    Shelf(connections, "ada").put(AUDIO, NOON, b"silence" * 9, **facts)
    moment = moments_data.moment("the bread rises", user_id="ada", ts=NOON)
    store = VectorStore(connections, model_id="test", dimension=moments_data.DIMENSION)
    table = moments_data.table([moment])
    store.replace(["e1"], table, user_id="ada", source_stream=moments_data.SPEECH)
    with psycopg.connect(connections.database_url, autocommit=True) as connection:
        connection.execute("ANALYZE")
    return connections


@pytest.fixture(scope="module")
def measured(filled: Connections) -> Measured:
    return measure(filled, SOME)


def _of(measured: Measured, stream: str, tier: Tier) -> Size:
    (found,) = (one for one in measured.sizes if (one.stream, one.tier) == (stream, tier))
    return found


def test_the_lakes_bytes_are_those_of_its_files_and_the_rest_of_the_folder_is_old(
    measured: Measured, filled: Connections
) -> None:
    table = Lake(filled).open(NOTE)
    assert table is not None
    (file,) = pa.table(table.get_add_actions(flatten=True)).to_pylist()
    lake = _of(measured, NOTE.name, Tier.LAKE)
    assert (lake.byte_count, lake.row_count) == (file["size_bytes"], 100)
    assert _of(measured, NOTE.name, Tier.LAKE_OLD).byte_count > lake.byte_count / 2


def test_rows_are_weighed_against_their_json(measured: Measured) -> None:
    told = {"device_id": "phone", "timestamp": "2026-05-04T12:00:00Z", "content": TEXT, **KIND}
    arrived = 100 * len(json.dumps(told))
    for tier in (Tier.HOT, Tier.LAKE):
        size = _of(measured, NOTE.name, tier)
        assert size.json_bytes is not None
        assert 0.95 < size.json_bytes / arrived < 1.05
    assert (_of(measured, NOTE.name, Tier.LAKE).ratio or 0) > 10


def test_blobs_and_vectors_are_counted(measured: Measured) -> None:
    assert _of(measured, AUDIO.name, Tier.BLOBS) == Size(AUDIO.name, Tier.BLOBS, 63, 1)
    (vectors,) = (one for one in measured.sizes if one.tier == Tier.VECTORS)
    assert vectors.byte_count > 4 * moments_data.DIMENSION
    assert measured.faults == ()


def test_a_store_that_is_down_is_named_and_the_others_are_told(filled: Connections) -> None:
    dead = "postgresql://am@127.0.0.1:1/am"
    found = measure(replace(filled, database_url=dead), SOME)
    assert {fault.split(":")[0] for fault in found.faults} == {"hot store", "blobs"}
    assert {one.tier for one in found.sizes} == {Tier.LAKE, Tier.LAKE_OLD, Tier.VECTORS}
    found = measure(replace(filled, s3_endpoint="http://127.0.0.1:1"), SOME)
    assert {fault.split(":")[0] for fault in found.faults} == {"lake", "vectors"}


def test_what_was_recorded_on_two_days_tells_how_it_grows(
    filled: Connections, measured: Measured
) -> None:
    today = date(2026, 5, 4)
    with psycopg.connect(filled.database_url) as connection:
        record(connection, measured.sizes, day=today)
        assert growth_per_day(history(connection)) is None
        blob = _of(measured, AUDIO.name, Tier.BLOBS)
        grown = [replace(blob, byte_count=blob.byte_count + 800)]
        record(connection, grown, day=today + timedelta(days=4))
        record(connection, grown, day=today + timedelta(days=4))
        found = history(connection)
        assert newest(found)[Tier.BLOBS].byte_count == blob.byte_count + 800
        assert growth_per_day(found) == 200


def test_a_row_is_sent_without_what_am_adds_and_with_all_that_the_client_added() -> None:
    row = {
        "user_id": "ada",
        "device_id": "phone",
        "ts": NOON,
        "event_id": uuid4(),
        "received_at": NOON,
        "trace_id": "t",
        "latitude": 45.5,
        "longitude": 13.5,
        "speed_m_s": None,
        "extra": '{"satellites": 7}',
    }
    assert sent(row, GPS_FIX) == {
        "device_id": "phone",
        "timestamp": NOON,
        "latitude": 45.5,
        "longitude": 13.5,
        "satellites": 7,
    }
    told = '{"device_id":"phone","timestamp":"2026-05-04T12:00:00Z","latitude":45.5,'
    assert json_bytes(row, GPS_FIX) == len(told + '"longitude":13.5,"satellites":7}')


totals = st.builds(
    DayTotal,
    day=st.integers(0, 7).map(lambda n: date(2026, 5, 1) + timedelta(days=n)),
    tier=st.sampled_from([tier.value for tier in Tier]),
    byte_count=st.integers(0, 10**12),
    measured_at=st.just(NOON),
)
histories = st.lists(totals, max_size=20, unique_by=lambda one: (one.day, one.tier))


@given(histories, st.integers(0, 10**9))
def test_what_grows_by_so_much_every_day_grows_by_so_much_more(
    told: list[DayTotal], rate: int
) -> None:
    before = growth_per_day(told)
    first = date(2026, 5, 1)
    faster = [replace(o, byte_count=o.byte_count + rate * (o.day - first).days) for o in told]
    after = growth_per_day(faster)
    if before is None:
        assert after is None
    else:
        stores = sum(len({o.day for o in told if o.tier == tier}) > 1 for tier in Tier)
        assert after == pytest.approx(before + rate * stores, rel=1e-6, abs=1e-3)


@given(st.integers(0, 10**13), st.none() | st.floats(-1e9, 0) | st.floats(1e-3, 1e9))
def test_a_disk_that_does_not_fill_has_no_last_day(free: int, growth: float | None) -> None:
    left = days_until_full(free, growth)
    if growth is None or growth <= 0:
        assert left is None
    else:
        assert left is not None
        assert left * growth == pytest.approx(free)


def test_the_whole_registry_can_be_measured(filled: Connections) -> None:
    found = measure(filled, REGISTRY)
    assert {one.stream for one in found.sizes if one.tier == Tier.HOT} >= set(REGISTRY)


@pytest.fixture(autouse=True)
def _no_sizes_left(connections: Connections) -> Iterator[None]:
    yield
    with psycopg.connect(connections.database_url) as connection:
        connection.execute("DELETE FROM am.store_size")
