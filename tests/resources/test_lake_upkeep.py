"""Compaction, vacuum and checkpoints on real tables: rows and receipts stay what they are."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta

import psutil
import pyarrow as pa
import pytest
from deltalake import write_deltalake
from deltalake.exceptions import DeltaError
from hypothesis import given
from hypothesis import strategies as st

from am_assets.streams.digital import CLIPBOARD, NOTE
from am_assets.streams.registry import REGISTRY
from am_assets.streams.stream import Stream
from infra.processes import processes_of
from infra.stack import Stack
from resources.lake import Lake
from resources.lake_check import LakeCheck
from resources.lake_folder import folder_of
from resources.lake_upkeep import (
    COMMITS_A_CHECKPOINT,
    LakeUpkeep,
    LakeUpkeepError,
    crowded_days,
)
from tests.planting import Garden, days_from, rows_of
from tests.resources.objects import table_objects

pytestmark = pytest.mark.slow

DAYS = days_from(date(2024, 2, 1))
AT_ONCE = timedelta(0)
RECEIPTS = "SELECT day, row_count, checksum, delta_version FROM am.publication WHERE stream = %s"


def now() -> datetime:
    return datetime.now(UTC)


def published(lake: Lake, garden: Garden, *, rows: int = 6, stream: Stream = NOTE) -> date:
    day = next(DAYS)
    at = datetime(day.year, day.month, day.day, 8, tzinfo=UTC)
    planted = [(at + timedelta(minutes=n), {"content": f"n{n}"}) for n in range(rows)]
    if stream is NOTE:
        planted = [(ts, {**values, "note_type": "text"}) for ts, values in planted]
    garden.plant(stream, planted)
    lake.publish(stream, day)
    return day


def scatter(lake: Lake, day: date, *, stream: Stream = NOTE) -> pa.Table:
    """Lay the day down again as one file a row, in the wrong order; how it was."""
    rows = lake.read_day(stream, day)
    uri, options = lake.table_uri(stream), lake.connections.delta_options()
    last = rows.slice(rows.num_rows - 1)
    where = f"day = '{day}'"
    write_deltalake(uri, last, mode="overwrite", predicate=where, storage_options=options)
    for place in reversed(range(rows.num_rows - 1)):
        write_deltalake(uri, rows.slice(place, 1), mode="append", storage_options=options)
    return rows


def files_of(lake: Lake, day: date, *, stream: Stream = NOTE) -> int:
    opened = lake.open(stream)
    assert opened is not None
    return sum(f"day={day}" in uri for uri in opened.file_uris())


def by_key(rows: pa.Table) -> pa.Table:
    return rows.sort_by([("ts", "ascending"), ("event_id", "ascending")])


def test_a_day_in_many_files_becomes_one_with_the_same_rows_sorted_and_its_receipt_stays_true(
    lake: Lake, garden: Garden
) -> None:
    untouched, day = published(lake, garden), published(lake, garden)
    before = scatter(lake, day)
    receipts = rows_of(lake.connections, RECEIPTS, NOTE.name)
    assert files_of(lake, day) == 6
    kept = LakeUpkeep(lake).keep(NOTE, now=now())
    assert kept.days == (day,)
    assert (files_of(lake, day), files_of(lake, untouched)) == (1, 1)
    assert lake.read_day(NOTE, day).equals(by_key(before))
    assert rows_of(lake.connections, RECEIPTS, NOTE.name) == receipts
    assert not lake.publish(NOTE, day).is_changed


def test_what_did_not_change_is_not_due_and_what_did_is(lake: Lake, garden: Garden) -> None:
    upkeep = LakeUpkeep(lake)
    lake.ensure_tables([NOTE, CLIPBOARD])
    for stream in (NOTE, CLIPBOARD):
        upkeep.keep(stream, now=now())
    everything = list(REGISTRY.values())
    assert upkeep.due(everything, now=now()) == []
    published(lake, garden)
    assert upkeep.due(everything, now=now()) == [NOTE]
    kept = upkeep.keep(NOTE, now=now())
    assert kept.versions[0] == kept.versions[1]
    assert upkeep.due(everything, now=now()) == []


def test_old_files_go_after_the_horizon_and_none_of_the_newest_version_ever_does(
    lake: Lake, garden: Garden
) -> None:
    day = published(lake, garden)
    before = scatter(lake, day)
    patient = LakeUpkeep(lake)
    kept = patient.keep(NOTE, now=now())
    assert kept.objects[1] > kept.files[1] + 6
    assert kept.bytes_freed == 0
    assert patient.due([NOTE], now=now() + timedelta(days=6)) == []
    assert patient.due([NOTE], now=now() + timedelta(days=8)) == [NOTE]
    freed = LakeUpkeep(lake, horizon=AT_ONCE).keep(NOTE, now=now())
    assert freed.bytes_freed > 0
    data = [path for path in folder_of(lake, NOTE).sizes() if path.startswith("day=")]
    assert len(data) == freed.files[1]
    assert lake.read_day(NOTE, day).equals(by_key(before))


def test_a_reader_of_an_older_version_goes_on_reading_while_the_day_is_compacted(
    lake: Lake, garden: Garden
) -> None:
    day = published(lake, garden)
    scatter(lake, day)
    reader = lake.open(NOTE)
    assert reader is not None
    LakeUpkeep(lake).keep(NOTE, now=now())
    assert reader.to_pyarrow_table(filters=[("day", "=", day)]).num_rows == 6


def test_what_a_writer_left_behind_that_died_goes_after_the_horizon(
    lake: Lake, garden: Garden
) -> None:
    day = published(lake, garden)
    folder = folder_of(lake, NOTE)
    data = next(path for path in folder.sizes() if path.startswith(f"day={day}"))
    orphan = f"day={day}/part-orphan.parquet"
    objects = table_objects(lake, NOTE)
    objects.put(orphan, objects.get(data))
    LakeUpkeep(lake).keep(NOTE, now=now())
    assert orphan in folder.sizes()
    LakeUpkeep(lake, horizon=AT_ONCE).keep(NOTE, now=now())
    assert orphan not in folder.sizes()
    assert lake.read_day(NOTE, day).num_rows == 6


def test_a_long_log_gets_a_checkpoint_and_reads_the_same(lake: Lake, garden: Garden) -> None:
    day = published(lake, garden, rows=COMMITS_A_CHECKPOINT + 1)
    before = scatter(lake, day)
    assert LakeUpkeep(lake).keep(NOTE, now=now()).has_new_checkpoint
    log = folder_of(lake, NOTE).log()
    assert (log.checkpoint, list(log.unfolded)) == (log.version, [])
    assert not LakeUpkeep(lake).keep(NOTE, now=now()).has_new_checkpoint
    assert lake.read_day(NOTE, day).equals(by_key(before))


def test_compaction_and_publishing_at_once_lose_nothing(lake: Lake, garden: Garden) -> None:
    days = [published(lake, garden) for _ in range(3)]
    for day in days:
        scatter(lake, day)
        at = datetime(day.year, day.month, day.day, 20, tzinfo=UTC)
        garden.plant(NOTE, [(at, {"content": "late", "note_type": "text"})])
    publisher = threading.Thread(target=lambda: [lake.publish(NOTE, day) for day in days])
    publisher.start()
    LakeUpkeep(lake).keep(NOTE, now=now())
    publisher.join()
    assert [lake.read_day(NOTE, day).num_rows for day in days] == [7, 7, 7]


def test_a_table_that_lacks_what_was_signed_is_left_alone(lake: Lake, garden: Garden) -> None:
    day = published(lake, garden)
    objects = table_objects(lake, NOTE)
    lost = next(name for name in objects.names() if name.startswith(f"day={day}"))
    content = objects.get(lost)
    objects.remove(lost)
    before = objects.names()
    with pytest.raises(LakeUpkeepError, match=rf"digital\.notes\.raw: {day}: .* is gone"):
        LakeUpkeep(lake, horizon=AT_ONCE).keep(NOTE, now=now())
    assert objects.names() == before
    objects.put(lost, content)


@contextmanager
def full_disk(stack: Stack) -> Iterator[None]:
    """The object store may not make a file any longer than it is by more than a page."""
    stores = processes_of(stack.home, "objects")
    limits = [store.rlimit(psutil.RLIMIT_FSIZE) for store in stores]
    for store, limit in zip(stores, limits, strict=True):
        store.rlimit(psutil.RLIMIT_FSIZE, (8192, limit[1]))
    try:
        yield
    finally:
        for store, limit in zip(stores, limits, strict=True):
            store.rlimit(psutil.RLIMIT_FSIZE, limit)


def test_a_disk_that_is_full_during_compaction_loses_nothing_and_the_next_time_it_is_done(
    lake: Lake, garden: Garden, stack: Stack
) -> None:
    day = published(lake, garden)
    before = scatter(lake, day)
    with full_disk(stack), pytest.raises((OSError, DeltaError)):
        LakeUpkeep(lake).keep(NOTE, now=now())
    assert by_key(lake.read_day(NOTE, day)).equals(by_key(before))
    assert LakeCheck(lake).quick(NOTE) == []
    assert LakeUpkeep(lake).keep(NOTE, now=now()).days == (day,)
    assert lake.read_day(NOTE, day).equals(by_key(before))


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 30)), max_size=20))
def test_a_day_is_crowded_only_while_it_has_two_small_files(
    found: list[tuple[int, int]],
) -> None:
    first = date(2024, 1, 1)
    files = [
        {"partition.day": first + timedelta(days=day), "size_bytes": size} for day, size in found
    ]
    crowded = crowded_days(files, small_bytes=10)
    assert crowded == sorted(set(crowded))
    for day in range(4):
        small = sum(d == day and size < 10 for d, size in found)
        assert (first + timedelta(days=day) in crowded) == (small > 1)
