"""`am doctor --deep` on real servers: each fault is found by stream and day, and made whole."""

import threading
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import sql

from am_assets.derived import device_sensor_accelerometer_windowed as windows
from am_assets.streams.audio import AUDIO
from am_assets.streams.digital import NOTE
from am_assets.streams.motion import ACCELERATION
from am_assets.streams.registry import Registry
from am_assets.streams.text import TRANSCRIPT
from infra.deep import Deep, Examined
from resources.blobs import BlobStore
from resources.connections import Connections
from resources.hot import HotStore, table_of
from resources.lake import Lake
from resources.lake_check import BACKUP, Fault, errors
from resources.retention import Retention
from resources.vectors import VectorStore
from resources.work import WorkQueue
from resources.work_items import hour_id
from tests.planting import Garden, days_from, rows_of
from tests.resources.moments_data import DIMENSION, moment, table
from tests.resources.objects import Folder, table_objects
from tests.resources.rows import insert, lineage

pytestmark = pytest.mark.slow

DAYS = days_from(date(2023, 9, 1))
USER = "ada"
REGISTRY = Registry([NOTE, AUDIO, TRANSCRIPT, ACCELERATION])
SOUND = {"sample_rate_hz": 16000, "channels": 1, "duration_ms": 1000}


@pytest.fixture
def deep(connections: Connections) -> Deep:
    return Deep(connections, REGISTRY)


def repaired(deep: Deep, section: str, *, is_reopening: bool = False) -> Examined:
    """One section alone, because each takes its time."""
    return replace(deep, only=[section]).repair(is_reopening=is_reopening)


@pytest.fixture
def garden(connections: Connections) -> Garden:
    return Garden(connections, user_id=USER)


@pytest.fixture
def lake(connections: Connections) -> Lake:
    return Lake(connections)


@pytest.fixture
def day() -> date:
    return next(DAYS)


def at(day: date, hour: int = 9) -> datetime:
    return datetime(day.year, day.month, day.day, hour, tzinfo=UTC)


def of(day: date, faults: list[Fault]) -> list[tuple[str, str | None]]:
    """The day's errors: what was looked at, and the stream."""
    return [(fault.check, fault.stream) for fault in errors(faults) if fault.day == day]


def note(garden: Garden, lake: Lake, day: date, count: int = 3) -> list[UUID]:
    """Notes of a day, published."""
    rows = [(at(day, hour), {"content": f"n{hour}", "note_type": "text"}) for hour in range(count)]
    ids = garden.plant(NOTE, rows)
    lake.publish(NOTE, day)
    return ids


def sound(garden: Garden, lake: Lake, day: date) -> str:
    """One recording of a day, published and listed; its key."""
    content = f"sound of {day}".encode()
    garden.plant_blobs(AUDIO, [(at(day), content, SOUND)])
    lake.publish(AUDIO, day)
    (row,) = rows_of(
        garden.connections,
        "SELECT blob_key, blob_sha256 FROM am.device_audio_raw WHERE ts = %s",
        at(day),
    )
    with psycopg.connect(garden.connections.database_url) as connection:
        connection.execute(
            "INSERT INTO am.blob (user_id, sha256, blob_key, byte_count, media_type) "
            "VALUES (%s, %s, %s, %s, 'audio/wav')",
            (USER, row[1], row[0], len(content)),
        )
    return str(row[0])


def bucket(connections: Connections, place: str) -> Folder:
    return Folder(connections, f"s3://{connections.s3_bucket}/{place}")


def test_a_sound_stack_is_well_in_every_respect(
    deep: Deep, garden: Garden, lake: Lake, day: date
) -> None:
    note(garden, lake, day)
    sound(garden, lake, day)
    found = deep.examine()
    assert errors(found.faults) == []
    assert found.is_well
    assert "all that is stored" in list(found.lines())[-1]


def test_a_lost_file_is_named_by_stream_and_day_and_repaired_from_the_database(
    deep: Deep, garden: Garden, lake: Lake, day: date
) -> None:
    note(garden, lake, day)
    before = lake.read_day(NOTE, day)
    folder = table_objects(lake, NOTE)
    folder.remove(next(name for name in folder.names() if name.startswith(f"day={day}")))
    assert of(day, deep.lake_faults()) == [("file", NOTE.name), ("receipt", NOTE.name)][:1]
    examined = repaired(deep, "lake")
    assert examined.is_well
    assert [(fault.stream, fault.day) for fault in examined.repaired] == [(NOTE.name, day)]
    assert lake.read_day(NOTE, day).equals(before)


def test_a_half_written_commit_is_repaired_with_every_day_it_held(
    deep: Deep, garden: Garden, lake: Lake, day: date
) -> None:
    note(garden, lake, day)
    version = lake.version(NOTE)
    table_objects(lake, NOTE).put(f"_delta_log/{version:020}.json", b"")
    assert lake.read_day(NOTE, day).num_rows == 0  # nothing but the check says that it is short
    assert of(day, deep.lake_faults()) == [("log", NOTE.name)]
    assert repaired(deep, "lake").is_well
    assert lake.read_day(NOTE, day).num_rows == 3


def test_rows_that_the_database_lost_come_back_only_when_asked(
    deep: Deep, garden: Garden, lake: Lake, day: date
) -> None:
    note(garden, lake, day)
    hot = HotStore(deep.connections.database_url)
    before = hot.read_day(NOTE, day)
    with psycopg.connect(deep.connections.database_url) as connection:
        span = sql.SQL("DELETE FROM {} WHERE ts BETWEEN %s AND %s").format(table_of(NOTE))
        connection.execute(span, (at(day, 1), at(day, 23)))
    assert not repaired(deep, "lake").is_well
    assert hot.read_day(NOTE, day).num_rows == 1
    assert repaired(deep, "lake", is_reopening=True).is_well
    assert hot.read_day(NOTE, day).equals(before)


@pytest.mark.parametrize("fault", ["remove", "flip"])
def test_a_blob_that_is_gone_or_changed_is_named_by_the_stream_and_day_of_its_rows(
    deep: Deep, garden: Garden, lake: Lake, day: date, fault: str
) -> None:
    key = sound(garden, lake, day)
    objects, whole = bucket(deep.connections, "blobs"), key.removeprefix("blobs/")
    content = objects.get(whole)
    getattr(objects, fault)(whole)
    (found,) = [one for one in deep.blob_faults() if one.day == day]
    assert (found.level, found.stream) == ("error", AUDIO.name)
    assert key in found.what
    assert "backup" in found.todo
    objects.put(whole, content)
    assert of(day, deep.blob_faults()) == []


def test_a_blob_that_was_removed_on_purpose_is_no_fault(
    deep: Deep, garden: Garden, lake: Lake, day: date
) -> None:
    key = sound(garden, lake, day)
    with psycopg.connect(deep.connections.database_url) as connection:
        connection.execute(
            "INSERT INTO am.blob_removed (user_id, blob_key, sha256, byte_count, media_type, "
            "stored_at, stream, begin_at, end_at, reason, removed_at) SELECT user_id, blob_key, "
            "sha256, byte_count, media_type, stored_at, 'device.audio.raw', now(), now(), 'test', "
            "now() FROM am.blob WHERE blob_key = %s",
            (key,),
        )
        connection.execute("DELETE FROM am.blob WHERE blob_key = %s", (key,))
    BlobStore(deep.connections).remove_all([key])
    assert of(day, deep.blob_faults()) == []


def test_a_dead_letter_whose_content_is_gone_is_named_by_stream_and_day(
    deep: Deep, day: date
) -> None:
    letters, path = bucket(deep.connections, "dead_letters"), f"{USER}/{day}/{uuid4()}"
    letters.put(path, b"what was sent")
    with psycopg.connect(deep.connections.database_url) as connection:
        connection.execute(
            "INSERT INTO am.dead_letter (dead_letter_id, user_id, device_id, stream, day, door, "
            "code, reason, payload_key) VALUES (gen_random_uuid(), %s, 'phone', %s, %s, 'test', "
            "'x', 'x', %s)",
            (USER, NOTE.name, day, f"dead_letters/{path}"),
        )
    assert of(day, deep.blob_faults()) == []
    letters.remove(path)
    assert of(day, deep.blob_faults()) == [("blob", NOTE.name)]
    with psycopg.connect(deep.connections.database_url) as connection:
        connection.execute("DELETE FROM am.dead_letter")


def test_bytes_that_belong_to_nobody_are_noted_and_no_fault(
    deep: Deep, connections: Connections
) -> None:
    bucket(connections, "blobs").put(f"{USER}/device.audio.raw/2023-01-01/{'0' * 64}", b"x")
    (found,) = [one for one in deep.blob_faults() if one.level == "note"]
    assert "objects" in found.what


def test_derived_rows_whose_source_is_gone_are_named_by_stream_and_day(
    deep: Deep, garden: Garden, lake: Lake, day: date
) -> None:
    source = note(garden, lake, day)[0]
    values = {"user_id": USER, "ts": at(day), "text": "said"}
    insert(deep.connections.database_url, TRANSCRIPT, [values | lineage(NOTE, source)])
    assert of(day, deep.derived_faults()) == []
    insert(deep.connections.database_url, TRANSCRIPT, [values | lineage(NOTE, uuid4())])
    assert of(day, deep.derived_faults()) == [("derived", TRANSCRIPT.name)]
    with psycopg.connect(deep.connections.database_url) as connection:
        connection.execute(sql.SQL("DELETE FROM {}").format(table_of(TRANSCRIPT)))


def test_rows_that_were_made_of_an_hour_are_at_fault_once_nothing_is_left_of_it(
    deep: Deep, garden: Garden, day: date
) -> None:
    garden.plant(
        ACCELERATION,
        [(at(day) + timedelta(minutes=59), dict.fromkeys(("x_m_s2", "y_m_s2", "z_m_s2"), 1.0))],
    )
    hours = [hour_id(ACCELERATION, USER, "phone", at(day, hour)) for hour in (9, 10)]
    values = {"user_id": USER, "ts": at(day), "text": "made of an hour"}
    insert(deep.connections.database_url, TRANSCRIPT, [values | lineage(ACCELERATION, hours[0])])
    assert of(day, deep.derived_faults()) == []
    insert(deep.connections.database_url, TRANSCRIPT, [values | lineage(ACCELERATION, hours[1])])
    (fault,) = [one for one in deep.derived_faults() if one.day == day]
    assert "1 rows were made of rows" in fault.what
    with psycopg.connect(deep.connections.database_url) as connection:
        connection.execute(sql.SQL("DELETE FROM {}").format(table_of(TRANSCRIPT)))


def test_a_ledger_that_does_not_add_up_is_named_by_stream_and_day(
    deep: Deep, garden: Garden, day: date
) -> None:
    garden.plant(NOTE, [(at(day), {"content": "gone", "note_type": "text"})])
    assert of(day, deep.ledger_faults()) == []
    with psycopg.connect(deep.connections.database_url) as connection:
        connection.execute("DELETE FROM am.digital_notes_raw WHERE ts = %s", (at(day),))
    assert of(day, deep.ledger_faults()) == [("ledger", NOTE.name)]
    with psycopg.connect(deep.connections.database_url) as connection:
        connection.execute("DELETE FROM am.landing WHERE day = %s", (day,))


def embedded(deep: Deep, ids: list[UUID], day: date) -> VectorStore:
    """A moment of each of the day's notes, and the items that say so."""
    store = VectorStore(deep.connections, model_id="letters", dimension=DIMENSION)
    told = {"source_stream": NOTE.name, "user_id": USER}
    rows = [moment(f"number {n}", source_event_id=str(one), **told) for n, one in enumerate(ids)]
    store.replace([str(one) for one in ids], table(rows), user_id=USER, source_stream=NOTE.name)
    with psycopg.connect(deep.connections.database_url) as connection:
        connection.cursor().executemany(
            "INSERT INTO am.work_item (enrichment, version, user_id, item_id, source_stream, "
            "device_id, day, ts, state, derived_rows) "
            "VALUES ('moments', 1, %s, %s, %s, 'phone', %s, %s, 'done', 1)",
            [(USER, one, NOTE.name, day, at(day)) for one in ids],
        )
    return store


def states(deep: Deep, day: date) -> set[str]:
    found = rows_of(deep.connections, "SELECT state FROM am.work_item WHERE day = %s", day)
    return {state for (state,) in found}


@pytest.mark.parametrize("lost", ["_indices/", "data/", ""])
def test_moments_that_are_lost_in_part_or_whole_are_found_and_made_again(
    deep: Deep, garden: Garden, lake: Lake, day: date, lost: str
) -> None:
    store = embedded(deep, note(garden, lake, day), day)
    store.refresh_indexes()
    assert errors(deep.moment_faults()) == []
    folder = Folder(deep.connections, f"{deep.connections.vectors_uri}/{store.table_name}.lance")
    for name in folder.names():
        if name.startswith(lost):
            folder.remove(name)
    assert errors(deep.moment_faults())
    examined = repaired(deep, "moments")
    assert states(deep, day) == ({"done"} if lost == "_indices/" else {"pending"})
    assert examined.is_well
    with psycopg.connect(deep.connections.database_url) as connection:  # as processing would
        connection.execute("DELETE FROM am.work_item")
    VectorStore(deep.connections, model_id="letters").delete(USER)


def test_a_moment_whose_row_is_gone_is_found_and_removed(
    deep: Deep, garden: Garden, lake: Lake, day: date
) -> None:
    ids = note(garden, lake, day)
    store = embedded(deep, [*ids, uuid4()], day)
    assert [f.stream for f in errors(deep.moment_faults())] == [NOTE.name]
    assert repaired(deep, "moments").is_well
    assert store.count(USER) == len(ids)
    store.delete(USER)
    with psycopg.connect(deep.connections.database_url) as connection:
        connection.execute("DELETE FROM am.work_item")


def test_a_row_that_was_in_the_works_of_a_process_that_is_gone_is_noted(
    deep: Deep, day: date
) -> None:
    with psycopg.connect(deep.connections.database_url) as connection:
        connection.execute(
            "INSERT INTO am.work_item (enrichment, version, user_id, item_id, source_stream, "
            "device_id, day, ts, state, worker_pid, worker_started) VALUES ('moments', 1, 'x', "
            "gen_random_uuid(), 'digital.notes.raw', 'phone', %s, now(), 'running', 1, now())",
            (day,),
        )
    (found,) = [one for one in deep.work_faults() if one.day == day]
    assert (found.level, found.stream) == ("note", "moments")


def test_rows_dated_in_the_future_are_noted_and_kept(
    deep: Deep, garden: Garden, lake: Lake
) -> None:
    day = datetime.now(UTC).date() + timedelta(days=400)
    note(garden, lake, day)
    (found,) = [one for one in deep.clock_faults() if one.day == day]
    assert (found.level, found.stream) == ("note", NOTE.name)
    assert lake.read_day(NOTE, day).num_rows == 3
    assert of(day, deep.lake_faults()) == []


def test_times_of_a_clock_that_was_ahead_are_found_and_no_row_of_then_is_missed(
    deep: Deep, garden: Garden, lake: Lake, day: date
) -> None:
    values = {"x_m_s2": 0.1, "y_m_s2": 0.2, "z_m_s2": 9.8}
    garden.plant(ACCELERATION, [(at(day), values)])
    with WorkQueue(deep.connections.database_url).session() as session:
        session.enqueue(windows.ENRICHMENT, day)
    with psycopg.connect(deep.connections.database_url) as connection:
        connection.execute(
            "UPDATE am.work_item SET state = 'done', updated_at = now() + interval '1 day' "
            "WHERE day = %s",
            (day,),
        )
    lake.publish(ACCELERATION, day)
    with psycopg.connect(deep.connections.database_url) as connection:
        connection.execute(
            "UPDATE am.publication SET published_at = now() + interval '1 day' WHERE day = %s",
            (day,),
        )
    garden.plant(ACCELERATION, [(at(day) + timedelta(minutes=5), values)])
    found = [one for one in deep.clock_faults() if one.day == day]
    assert {one.stream for one in found} == {windows.ENRICHMENT.name, ACCELERATION.name}
    assert repaired(deep, "clock").is_well
    assert states(deep, day) == {"pending"}
    lake.publish(ACCELERATION, day)
    assert lake.read_day(ACCELERATION, day).num_rows == 2


def test_a_database_that_is_gone_in_the_middle_of_a_publish_leaves_nothing_that_does_not_heal(
    deep: Deep, garden: Garden, lake: Lake, day: date
) -> None:
    """Every session dies when the day is in the lake and its receipt is about to be written."""
    note(garden, lake, day)
    garden.plant(NOTE, [(at(day, 20), {"content": "late", "note_type": "text"})])
    before, failed = lake.version(NOTE), []
    publisher = threading.Thread(target=lambda: failed.append(failure(lake, day)))
    url = deep.connections.database_url
    with psycopg.connect(url) as holder, psycopg.connect(url, autocommit=True) as killer:
        holder.execute("LOCK TABLE am.publication IN EXCLUSIVE MODE")
        publisher.start()
        while lake.version(NOTE) == before:
            pass
        end_all_but(killer, holder.info.backend_pid)
        publisher.join()
    assert isinstance(failed[0], psycopg.OperationalError)
    assert of(day, deep.lake_faults()) == [("receipt", NOTE.name)]
    assert lake.publish(NOTE, day).row_count == 4
    assert of(day, deep.lake_faults()) == []


def failure(lake: Lake, day: date) -> Exception | None:
    try:
        lake.publish(NOTE, day)
    except psycopg.Error as error:
        return error
    return None


def end_all_but(killer: psycopg.Connection, spared: int) -> None:
    """As a restart would: first those that wait for the receipts, until there is none."""
    query = (
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid NOT IN (%s, pg_backend_pid())"
    )
    waiting = "SELECT 1 FROM pg_stat_activity WHERE %s = ANY(pg_blocking_pids(pid))"
    while not killer.execute(waiting, (spared,)).fetchone():
        pass
    killer.execute(query, (spared,))


def test_a_day_that_nothing_here_can_make_whole_names_the_backup(
    deep: Deep, garden: Garden, lake: Lake, day: date
) -> None:
    note(garden, lake, day)
    Retention(deep.connections, REGISTRY).leave(NOTE, day)
    folder = table_objects(lake, NOTE)
    folder.remove(next(name for name in folder.names() if name.startswith(f"day={day}")))
    found = repaired(deep, "lake")  # the last test of all: nothing makes this table sound again
    told = {(fault.stream, fault.day, fault.todo) for fault in errors(found.faults)}
    assert told == {(NOTE.name, day, BACKUP)}
