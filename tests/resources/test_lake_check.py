"""What goes wrong in a lake, on a real object store: each fault is found, named, and repaired."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg import sql

from am_assets.streams.registry import REGISTRY
from am_assets.streams.stream import Stream
from resources.hot import HotStore, table_of
from resources.lake import Lake
from resources.lake_check import Fault, LakeCheck, errors
from resources.lake_folder import Damage, commit_fault, folder_of, nothing_done
from resources.lake_repair import LakeRepair
from resources.lake_upkeep import LakeUpkeep
from resources.retention import Retention
from tests.resources.objects import Folder, table_objects
from tests.resources.rows import insert

DAYS = [date(2024, 5, 1) + timedelta(days=n) for n in range(3)]
# A table for each test, because a damaged log is a whole table's.
STREAMS: Iterator[Stream] = iter(
    [stream for stream in REGISTRY.raw if stream.name.startswith(("device.", "health."))]
)


@pytest.fixture
def stream(lake: Lake) -> Stream:
    """A stream with three published days of four rows."""
    made = next(STREAMS)
    for day in DAYS:
        plant(lake, made, day, range(4))
        lake.publish(made, day)
    return made


def plant(lake: Lake, stream: Stream, day: date, hours: range) -> None:
    at = datetime(day.year, day.month, day.day, tzinfo=UTC)
    rows = [{"user_id": "ann", "ts": at + timedelta(hours=hour)} for hour in hours]
    insert(lake.connections.database_url, stream, rows)


def forget_hot(lake: Lake, stream: Stream, day: date) -> None:
    """As a database would that lost a day."""
    with psycopg.connect(lake.connections.database_url) as connection:
        connection.execute(
            sql.SQL("DELETE FROM {} WHERE ts >= %s AND ts < %s").format(table_of(stream)),
            (day, day + timedelta(days=1)),
        )


def leave(lake: Lake, stream: Stream, day: date) -> None:
    Retention(lake.connections, REGISTRY).leave(stream, day)


def commit(version: int) -> str:
    return f"_delta_log/{version:020}.json"


def empty(folder: Folder, path: str) -> None:
    folder.put(path, b"")


def cut(folder: Folder, path: str) -> None:
    folder.cut(path)


def cut_at_a_line(folder: Folder, path: str) -> None:
    folder.put(path, folder.get(path).splitlines(keepends=True)[0])


def remove(folder: Folder, path: str) -> None:
    folder.remove(path)


def told(faults: list[Fault]) -> set[tuple[str, str | None, date | None]]:
    return {(fault.check, fault.stream, fault.day) for fault in errors(faults)}


def repair(lake: Lake, stream: Stream) -> list[Fault]:
    """Repair what can be; what is still wrong."""
    fix, check = LakeRepair(lake), LakeCheck(lake)
    fix.mend_log(stream)
    for day in sorted({one.day for one in errors(check.deep(stream)) if one.day}):
        fix.repair_day(stream, day)
    return errors(check.deep(stream))


def is_as_planted(lake: Lake, stream: Stream, days: list[date] = DAYS) -> bool:
    hot = HotStore(lake.connections.database_url)
    return all(
        lake.read_day(stream, day).drop_columns("day").to_pylist()
        == hot.read_day(stream, day).to_pylist()
        for day in days
    )


def test_a_sound_table_has_no_fault(lake: Lake, stream: Stream) -> None:
    assert LakeCheck(lake).deep(stream) == []


@pytest.mark.slow
@pytest.mark.parametrize("breaking", [empty, cut, cut_at_a_line, remove])
def test_a_commit_that_is_half_written_or_gone_is_found_by_its_days_and_repaired(
    lake: Lake, stream: Stream, breaking: Callable[[Folder, str], None]
) -> None:
    folder = table_objects(lake, stream)
    breaking(folder, commit(1))
    found = LakeCheck(lake).quick(stream)
    assert ("log", stream.name, None) in told(found)
    assert ("log", stream.name, DAYS[1]) in told(found)
    assert repair(lake, stream) == []
    assert is_as_planted(lake, stream)
    plant(lake, stream, DAYS[0], range(10, 11))
    lake.publish(stream, DAYS[0])
    assert is_as_planted(lake, stream)


def test_the_last_commit_half_written_does_not_stop_the_table_for_ever(
    lake: Lake, stream: Stream
) -> None:
    folder = table_objects(lake, stream)
    folder.put(commit(3), b'{"commitInfo":{"timestamp":17')
    assert told(LakeCheck(lake).quick(stream)) == {("log", stream.name, None)}
    assert repair(lake, stream) == []
    plant(lake, stream, DAYS[2], range(10, 11))
    assert lake.publish(stream, DAYS[2]).delta_version == 4


def test_a_log_without_its_beginning_is_begun_anew_with_every_day_in_it(
    lake: Lake, stream: Stream
) -> None:
    leave(lake, stream, DAYS[0])
    left = lake.read_day(stream, DAYS[0])
    table_objects(lake, stream).cut(commit(0))
    assert repair(lake, stream) == []
    assert lake.read_day(stream, DAYS[0]).equals(left)
    assert is_as_planted(lake, stream, DAYS[1:])


def test_a_damaged_checkpoint_is_found_and_read_past(lake: Lake, stream: Stream) -> None:
    opened = lake.open(stream)
    assert opened is not None
    opened.create_checkpoint()
    folder = table_objects(lake, stream)
    folder.cut(f"_delta_log/{opened.version():020}.checkpoint.parquet")
    assert ("log", stream.name, None) in told(LakeCheck(lake).quick(stream))
    assert repair(lake, stream) == []
    assert is_as_planted(lake, stream)


@pytest.mark.parametrize("breaking", [remove, cut])
def test_a_file_that_is_gone_or_cut_is_found_by_its_day_and_written_again(
    lake: Lake, stream: Stream, breaking: Callable[[Folder, str], None]
) -> None:
    folder = table_objects(lake, stream)
    breaking(folder, _data(folder, DAYS[1]))
    assert told(LakeCheck(lake).quick(stream)) == {("file", stream.name, DAYS[1])}
    assert repair(lake, stream) == []
    assert is_as_planted(lake, stream)


def _data(folder: Folder, day: date) -> str:
    """The newest of the day's files would do; there is one."""
    (found,) = [name for name in folder.names() if name.startswith(f"day={day}/")]
    return found


def test_bytes_that_were_changed_in_a_file_are_found_by_its_day(lake: Lake, stream: Stream) -> None:
    folder = table_objects(lake, stream)
    folder.flip_rows(_data(folder, DAYS[1]))
    assert LakeCheck(lake).quick(stream) == []
    assert {day for _, _, day in told(LakeCheck(lake).deep(stream))} == {DAYS[1]}
    assert repair(lake, stream) == []
    assert is_as_planted(lake, stream)


def test_rows_that_were_swapped_for_as_many_others_are_found(lake: Lake, stream: Stream) -> None:
    forget_hot(lake, stream, DAYS[1])
    plant(lake, stream, DAYS[1], range(10, 14))
    with psycopg.connect(lake.connections.database_url) as connection:
        kept = connection.execute(
            "SELECT * FROM am.publication WHERE stream = %s AND day = %s", (stream.name, DAYS[1])
        ).fetchall()
        lake.publish(stream, DAYS[1])
        connection.execute(
            "UPDATE am.publication SET checksum = %s WHERE stream = %s AND day = %s",
            (kept[0][3], stream.name, DAYS[1]),
        )
    assert ("receipt", stream.name, DAYS[1]) in told(LakeCheck(lake).deep(stream))


def test_a_day_that_has_left_is_put_together_from_files_that_are_still_there(
    lake: Lake, stream: Stream
) -> None:
    folder, day = table_objects(lake, stream), DAYS[1]
    leave(lake, stream, day)
    before = lake.read_day(stream, day)
    old = _data(folder, day)
    folder.put(old.replace("part-00000", "part-00001").replace("-c000", "-copy"), folder.get(old))
    content = folder.get(old)
    folder.put(f"day={day}/an-older-copy.parquet", content)
    folder.remove(old)
    assert told(LakeCheck(lake).quick(stream)) == {("file", stream.name, day)}
    assert repair(lake, stream) == []
    assert lake.read_day(stream, day).equals(before)


def test_a_day_that_has_left_and_is_lost_is_said_to_be_and_left_as_it_is(
    lake: Lake, stream: Stream
) -> None:
    folder, day = table_objects(lake, stream), DAYS[1]
    leave(lake, stream, day)
    folder.remove(_data(folder, day))
    assert not LakeRepair(lake).repair_day(stream, day)
    (fault,) = errors(LakeCheck(lake).deep(stream))
    assert (fault.stream, fault.day) == (stream.name, day)


def test_hot_rows_that_are_lost_are_found_kept_in_the_lake_and_brought_back_when_asked(
    lake: Lake, stream: Stream
) -> None:
    day = DAYS[1]
    before = HotStore(lake.connections.database_url).read_day(stream, day)
    forget_hot(lake, stream, day)
    (fault,) = errors(LakeCheck(lake).deep(stream))
    assert (fault.check, fault.day) == ("hot", day)
    assert "--reopen" in fault.todo
    LakeRepair(lake).repair_day(stream, day)
    assert lake.read_day(stream, day).num_rows == 4
    assert LakeRepair(lake).bring_back(stream, day) == 4
    assert HotStore(lake.connections.database_url).read_day(stream, day).equals(before)
    lake.publish(stream, day)
    assert LakeCheck(lake).deep(stream) == []


def test_a_late_row_is_a_note_and_no_fault(lake: Lake, stream: Stream) -> None:
    plant(lake, stream, DAYS[1], range(10, 11))
    (note,) = LakeCheck(lake).deep(stream)
    assert (note.level, note.day) == ("note", DAYS[1])


def test_what_was_taken_out_of_a_log_goes_after_the_horizon(lake: Lake, stream: Stream) -> None:
    folder = table_objects(lake, stream)
    folder.cut(commit(1))
    repair(lake, stream)
    assert [name for name in folder.names() if name.startswith("_damaged/")]
    LakeUpkeep(lake, horizon=timedelta(0)).keep(
        stream, now=datetime.now(UTC) + timedelta(minutes=1)
    )
    assert not [name for name in folder.names() if name.startswith("_damaged/")]
    assert folder_of(lake, stream).damage() is None


@given(st.binary(max_size=80))
def test_no_bytes_are_taken_for_a_commit_that_does_not_say_what_it_did(content: bytes) -> None:
    assert commit_fault(content) is not None


@given(st.integers(0, 400))
def test_a_commit_is_sound_whole_and_never_when_it_was_cut(length: int) -> None:
    whole = (
        b'{"commitInfo":{"operation":"WRITE","operationMetrics":{"num_added_files":2}}}\n'
        b'{"add":{"path":"a"}}\n{"add":{"path":"b"}}\n'
    )
    assert commit_fault(whole) is None
    assert commit_fault(nothing_done(Damage(1, "gone"))) is None
    kept = whole[:length]
    assert (commit_fault(kept) is None) == (kept.rstrip() == whole.rstrip())
