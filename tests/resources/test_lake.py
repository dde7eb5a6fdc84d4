import threading
from dataclasses import replace
from datetime import UTC, date, datetime

import psycopg
from pydantic import Field

from am_assets.schemas.postgres import table
from am_assets.streams.digital import NOTE, Note
from am_assets.streams.registry import REGISTRY
from am_assets.streams.stream import Stream
from resources.hot import HotStore
from resources.lake import Lake, mark_stale
from tests.planting import Garden, days_from, rows_of

DAYS = days_from(date(2021, 6, 1))
CONTENT = {"content": "Feed the starter", "note_type": "text"}


def _at(day: date, hour: int = 8) -> datetime:
    return datetime(day.year, day.month, day.day, hour, tzinfo=UTC)


def _version(lake: Lake, stream: Stream = NOTE) -> int:
    opened = lake.open(stream)
    assert opened is not None
    return opened.version()


def test_a_published_day_equals_the_hot_one(lake: Lake, garden: Garden) -> None:
    day = next(DAYS)
    garden.plant(NOTE, [(_at(day, hour), CONTENT) for hour in (9, 8, 10)])
    published = lake.publish(NOTE, day)
    hot = HotStore(lake.connections.database_url).read_day(NOTE, day)
    found = lake.read_day(NOTE, day)
    assert published.row_count == found.num_rows == 3
    assert found["day"].to_pylist() == [day] * 3
    assert found.drop_columns("day").to_pylist() == hot.to_pylist()


def test_publishing_twice_writes_once(lake: Lake, garden: Garden) -> None:
    day = next(DAYS)
    garden.plant(NOTE, [(_at(day), CONTENT)])
    first = lake.publish(NOTE, day)
    before = _version(lake)
    second = lake.publish(NOTE, day)
    assert (first.is_changed, second.is_changed) == (True, False)
    assert _version(lake) == before == second.delta_version


def test_a_late_row_replaces_its_day_and_leaves_the_others_alone(
    lake: Lake, garden: Garden
) -> None:
    one, two = next(DAYS), next(DAYS)
    for day in (one, two):
        garden.plant(NOTE, [(_at(day), CONTENT)])
        lake.publish(NOTE, day)
    untouched = lake.read_day(NOTE, two)
    garden.plant(NOTE, [(_at(one, 23), CONTENT)])
    assert lake.publish(NOTE, one).row_count == 2
    assert lake.read_day(NOTE, one).num_rows == 2
    assert lake.read_day(NOTE, two).equals(untouched)


def test_a_day_whose_rows_are_gone_becomes_empty(lake: Lake, garden: Garden) -> None:
    day = next(DAYS)
    garden.plant(NOTE, [(_at(day), CONTENT)])
    lake.publish(NOTE, day)
    with psycopg.connect(lake.connections.database_url) as connection:
        connection.execute("DELETE FROM am.digital_notes_raw WHERE ts = %s", (_at(day),))
    assert lake.publish(NOTE, day).row_count == 0
    assert lake.count_day(NOTE, day) == 0


def test_an_empty_day_is_signed_without_a_write(lake: Lake) -> None:
    lake.ensure_tables([NOTE])
    before = _version(lake)
    assert lake.publish(NOTE, next(DAYS)).row_count == 0
    assert _version(lake) == before


def test_a_crash_before_the_receipt_is_healed_by_the_next_call(lake: Lake, garden: Garden) -> None:
    day = next(DAYS)
    garden.plant(NOTE, [(_at(day), CONTENT)])
    lake.publish(NOTE, day)
    with psycopg.connect(lake.connections.database_url) as connection:  # as the crash left it
        connection.execute("DELETE FROM am.publication WHERE day = %s", (day,))
    lake.publish(NOTE, day)
    assert lake.read_day(NOTE, day).num_rows == 1
    assert not lake.publish(NOTE, day).is_changed


def test_a_day_that_went_stale_while_it_was_published_stays_stale(
    lake: Lake, garden: Garden
) -> None:
    day = next(DAYS)
    garden.plant(NOTE, [(_at(day), CONTENT)])
    lake.publish(NOTE, day)
    garden.plant(NOTE, [(_at(day, 9), CONTENT)])
    publisher = threading.Thread(target=lake.publish, args=(NOTE, day))
    url = lake.connections.database_url
    with psycopg.connect(url) as other, psycopg.connect(url, autocommit=True) as watch:
        mark_stale(other, NOTE, [day], run_id="other")
        publisher.start()
        _wait_until_somebody_waits_for(other.info.backend_pid, watch)
        other.commit()
    publisher.join()
    assert lake.stale_days(NOTE, begin=day, end=day) == [day]
    lake.publish(NOTE, day)
    assert lake.stale_days(NOTE, begin=day, end=day) == []


def _wait_until_somebody_waits_for(pid: int, watch: psycopg.Connection) -> None:
    query = "SELECT 1 FROM pg_stat_activity WHERE %s = ANY(pg_blocking_pids(pid))"
    while not watch.execute(query, (pid,)).fetchone():
        pass


def test_two_writers_at_once_leave_one_whole_day(lake: Lake, garden: Garden) -> None:
    day = next(DAYS)
    garden.plant(NOTE, [(_at(day, hour), CONTENT) for hour in range(5)])
    threads = [threading.Thread(target=lake.publish, args=(NOTE, day)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert lake.read_day(NOTE, day).num_rows == lake.count_day(NOTE, day) == 5


def test_a_day_is_behind_until_all_that_the_ledger_has_is_published(
    lake: Lake, garden: Garden
) -> None:
    day = next(DAYS)

    def is_behind() -> bool:
        return day in {one.day for one in lake.days_behind([NOTE], recent_lines=50)}

    garden.plant(NOTE, [(_at(day), CONTENT)])
    assert is_behind()
    lake.publish(NOTE, day)
    assert not is_behind()
    garden.plant(NOTE, [(_at(day, 9), CONTENT)])
    assert is_behind()


def test_tables_are_made_once_and_empty(lake: Lake) -> None:
    lake.ensure_tables(REGISTRY.values())
    assert lake.ensure_tables(REGISTRY.values()) == 0
    assert all(lake.open(stream) is not None for stream in REGISTRY.values())


class TaggedNote(Note):
    """A note of a later version of AM."""

    mood: str | None = Field(default=None, description="A column that was added.")


def test_a_column_that_was_added_is_null_in_older_days(lake: Lake, garden: Garden) -> None:
    old = replace(NOTE, name="digital.growing.raw", doors=())
    new = replace(old, row=TaggedNote)
    url = lake.connections.database_url
    early, late = next(DAYS), next(DAYS)
    for stream, day, values in ((old, early, CONTENT), (new, late, CONTENT | {"mood": "calm"})):
        with psycopg.connect(url) as connection:
            for statement in table(stream):
                connection.execute(statement.encode())
        garden.plant(stream, [(_at(day), values)])
        lake.publish(stream, day)
    assert lake.read_day(new, late)["mood"].to_pylist() == ["calm"]
    assert lake.read_day(new, early)["mood"].to_pylist() == [None]
    assert rows_of(lake.connections, "SELECT count(*) FROM am.digital_growing_raw") == [(2,)]
