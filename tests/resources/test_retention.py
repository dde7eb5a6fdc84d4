"""A day leaves the hot store when the lake has it, comes back when rows come late, never loses."""

import threading
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql
from pydantic import Field

from am_assets.schemas.postgres import table
from am_assets.streams.digital import ACTIVITY as EDITED
from am_assets.streams.digital import NOTE, Note
from am_assets.streams.registry import REGISTRY
from am_assets.streams.stream import Stream
from resources.connections import Connections
from resources.hot import HotStore, Span
from resources.lake import DayLeftError, Lake, ReceiptError, mark_stale
from resources.retention import HeldError, Retention, UnknownError, UnsettledError
from tests.planting import Garden, days_from, rows_of
from tests.resources import rows
from tests.stored import compress

DAYS = days_from(date(2022, 3, 1))
CONTENT = {"content": "Feed the starter", "note_type": "text"}


class TaggedNote(Note):
    """A note of another version of AM."""

    mood: str | None = Field(default=None, description="A column that is not always there.")


@pytest.fixture
def retention(connections: Connections) -> Retention:
    return Retention(connections, REGISTRY)


def at(day: date, hour: int = 8) -> datetime:
    return datetime(day.year, day.month, day.day, hour, tzinfo=UTC)


def hot_count(connections: Connections, stream: Stream, day: date) -> int:
    with HotStore(connections.database_url).snapshot() as snapshot:
        return snapshot.count(stream, Span.of_day(day))


def ledger(connections: Connections, stream: Stream, day: date) -> tuple[int, int, int]:
    (sums,) = rows_of(
        connections,
        "SELECT sum(received)::int, sum(stored)::int, sum(duplicate)::int FROM am.landing "
        "WHERE stream = %s AND day = %s",
        stream.name,
        day,
    )
    return sums


def test_a_day_leaves_with_every_row_in_the_lake(
    retention: Retention, lake: Lake, garden: Garden
) -> None:
    day = next(DAYS)
    garden.plant(NOTE, [(at(day, hour), CONTENT) for hour in range(3)])
    before = HotStore(lake.connections.database_url).read_day(NOTE, day)
    left = retention.leave(NOTE, day)
    assert left.row_count == 3
    assert hot_count(lake.connections, NOTE, day) == 0
    kept = lake.read_day(NOTE, day).drop_columns("day").sort_by("ts")
    assert kept.to_pylist() == before.to_pylist()


def test_leaving_twice_and_publishing_what_left_change_nothing(
    retention: Retention, lake: Lake, garden: Garden
) -> None:
    day = next(DAYS)
    garden.plant(NOTE, [(at(day), CONTENT)])
    retention.leave(NOTE, day)
    version = lake.version(NOTE)
    assert retention.leave(NOTE, day).row_count == 0
    published = lake.publish(NOTE, day)
    assert (published.is_changed, published.has_left, published.row_count) == (False, True, 1)
    assert lake.version(NOTE) == version
    assert retention.verify(NOTE, day).row_count == 1


def test_a_late_row_is_merged_with_the_day_that_left(
    retention: Retention, lake: Lake, garden: Garden
) -> None:
    day = next(DAYS)
    ids = garden.plant(NOTE, [(at(day), CONTENT)])
    retention.leave(NOTE, day)
    ids += garden.plant(NOTE, [(at(day, 9), CONTENT)])
    assert day in {one.day for one in lake.days_behind([NOTE])}
    assert lake.publish(NOTE, day).row_count == 2
    assert set(lake.read_day(NOTE, day)["event_id"].to_pylist()) == set(map(str, ids))
    assert hot_count(lake.connections, NOTE, day) == 2
    assert day not in {one.day for one in lake.days_behind([NOTE])}
    assert retention.leave(NOTE, day).row_count == 2


def send_again(connections: Connections, stream: Stream, **values: Any) -> None:
    """As the front door does where it finds no such row."""
    values |= {"user_id": "ada", "device_id": "phone"}
    rows.insert(connections.database_url, stream, [values])
    rows.landing(connections.database_url, "ada", stream, values["ts"].date(), 1, 1, 0, 0)


def test_what_comes_again_after_it_left_is_a_duplicate_in_the_ledger(
    retention: Retention, lake: Lake, garden: Garden
) -> None:
    day = next(DAYS)
    (event_id,) = garden.plant(NOTE, [(at(day), CONTENT)])
    retention.leave(NOTE, day)
    send_again(lake.connections, NOTE, ts=at(day), event_id=event_id, **CONTENT)
    garden.plant(NOTE, [(at(day, 9), CONTENT)])
    assert ledger(lake.connections, NOTE, day) == (3, 3, 0)
    assert retention.reopen(NOTE, day) == 0
    assert ledger(lake.connections, NOTE, day) == (3, 2, 1)
    assert lake.publish(NOTE, day).row_count == 2
    assert day not in {one.day for one in lake.days_behind([NOTE])}


@pytest.mark.parametrize(("first", "again"), [(90.0, 30.0), (30.0, 90.0), (90.0, None)])
def test_what_grew_before_or_after_it_left_keeps_its_greatest_length(
    retention: Retention, garden: Garden, first: float, again: float | None
) -> None:
    day = next(DAYS)
    (event_id,) = garden.plant(
        EDITED, [(at(day), {"activity_type": "app.editor", "duration_s": first})]
    )
    retention.leave(EDITED, day)
    told = {"activity_type": "app.editor", "duration_s": again}
    send_again(garden.connections, EDITED, ts=at(day), event_id=event_id, **told)
    retention.reopen(EDITED, day)
    found = HotStore(garden.connections.database_url).read_day(EDITED, day)
    assert found["duration_s"].to_pylist() == [90.0]


@pytest.mark.parametrize("stream", [NOTE, EDITED], ids=lambda stream: stream.name)
def test_a_compressed_day_leaves_and_comes_back_as_any_other(
    retention: Retention, lake: Lake, garden: Garden, stream: Stream
) -> None:
    edited: dict[str, Any] = {"activity_type": "app.editor", "duration_s": 30.0}
    told = edited if stream is EDITED else {**CONTENT}
    gone, stays = next(DAYS), next(DAYS)
    ids = garden.plant(stream, [(at(gone, hour), told) for hour in range(5)])
    garden.plant(stream, [(at(stays, hour), told) for hour in range(3)])
    compress(lake.connections.database_url, stream)
    assert retention.leave(stream, gone).row_count == 5
    assert hot_count(lake.connections, stream, gone) == 0
    assert hot_count(lake.connections, stream, stays) == 3
    compress(lake.connections.database_url, stream)
    send_again(lake.connections, stream, ts=at(gone, 0), event_id=ids[0], **told)
    garden.plant(stream, [(at(gone, 7), told)])
    compress(lake.connections.database_url, stream)
    assert lake.publish(stream, gone).row_count == 6
    assert ledger(lake.connections, stream, gone) == (7, 6, 1)
    assert retention.leave(stream, gone).row_count == 6


def test_rows_that_come_while_a_day_leaves_stay_and_are_late(
    retention: Retention, lake: Lake, garden: Garden
) -> None:
    """Before the comparison, after it, and not yet committed when the day has left."""
    day = next(DAYS)
    garden.plant(NOTE, [(at(day), CONTENT)])
    url = garden.connections.database_url
    with psycopg.connect(url) as slow:
        garden.plant_in(slow, NOTE, [(at(day, 9), CONTENT)])
        assert retention.leave(NOTE, day).row_count == 1
        slow.commit()
    assert hot_count(garden.connections, NOTE, day) == 1
    assert lake.publish(NOTE, day).row_count == 2


def test_nothing_is_lost_while_others_write_and_the_day_leaves_again_and_again(
    retention: Retention, lake: Lake, garden: Garden
) -> None:
    day = next(DAYS)
    ids = set(garden.plant(NOTE, [(at(day), CONTENT)]))
    is_over = threading.Event()

    def write(number: int) -> None:
        begin = at(day, number)
        for minute in range(30):
            ids.update(garden.plant(NOTE, [(begin + timedelta(minutes=minute), CONTENT)]))

    def move() -> None:
        while not is_over.is_set():
            with suppress(UnsettledError):  # it is tried again at once
                retention.leave(NOTE, day)
            lake.publish(NOTE, day)

    retention.leave(NOTE, day)
    mover = threading.Thread(target=move)
    writers = [threading.Thread(target=write, args=(9 + n,)) for n in range(3)]
    for thread in (mover, *writers):
        thread.start()
    for thread in writers:
        thread.join()
    is_over.set()
    mover.join()
    retention.reopen(NOTE, day)
    lake.publish(NOTE, day)
    assert hot_count(garden.connections, NOTE, day) == len(ids)
    assert set(lake.read_day(NOTE, day)["event_id"].to_pylist()) == set(map(str, ids))
    assert day not in {one.day for one in lake.days_behind([NOTE])}


def test_a_row_can_t_grow_behind_the_back_of_a_day_that_leaves(
    retention: Retention, garden: Garden
) -> None:
    """A sender found the row there and is about to raise it: leaving has to wait, or to give up."""
    day = next(DAYS)
    told = {"activity_type": "app.editor", "duration_s": 30.0}
    garden.plant(EDITED, [(at(day), told)])
    grow = sql.SQL("UPDATE am.{} SET duration_s = 90").format(sql.Identifier(EDITED.table))
    with psycopg.connect(garden.connections.database_url) as sender:
        sender.execute("LOCK TABLE am.digital_activity_raw IN ROW EXCLUSIVE MODE")  # as an INSERT
        with pytest.raises(UnsettledError):
            retention.leave(EDITED, day)
        assert sender.execute(grow).rowcount >= 1
    assert retention.leave(EDITED, day).row_count == 1
    retention.reopen(EDITED, day)
    found = HotStore(garden.connections.database_url).read_day(EDITED, day)
    assert found["duration_s"].to_pylist() == [90.0]


def test_a_day_whose_file_is_gone_stays_in_the_hot_store(
    retention: Retention, lake: Lake, garden: Garden
) -> None:
    day = next(DAYS)
    garden.plant(NOTE, [(at(day), CONTENT)])
    lake.publish(NOTE, day)
    table = lake.open(NOTE)
    assert table is not None
    table.delete(f"day = '{day}'")  # behind the receipt's back
    with pytest.raises(ReceiptError, match=f"{NOTE.name} of {day}: the lake has 0 rows"):
        retention.leave(NOTE, day)
    assert hot_count(garden.connections, NOTE, day) == 1


def test_a_damaged_day_that_left_is_neither_reopened_nor_overwritten(
    retention: Retention, lake: Lake, garden: Garden
) -> None:
    day = next(DAYS)
    garden.plant(NOTE, [(at(day, hour), CONTENT) for hour in (8, 9)])
    retention.leave(NOTE, day)
    table = lake.open(NOTE)
    assert table is not None
    table.delete(f"day = '{day}' AND ts > '{day} 08:30:00Z'")
    garden.plant(NOTE, [(at(day, 10), CONTENT)])
    with pytest.raises(ReceiptError):
        lake.publish(NOTE, day)
    assert lake.count_day(NOTE, day) == 1
    assert retention.resign(NOTE, day).row_count == 1  # somebody decided that it is right
    assert lake.publish(NOTE, day).row_count == 2


def test_a_column_that_is_added_leaves_old_receipts_true(
    retention: Retention, lake: Lake, garden: Garden
) -> None:
    old = replace(NOTE, name="digital.widening.raw", doors=())
    new = replace(old, row=TaggedNote)
    gone, here = next(DAYS), next(DAYS)
    make(garden.connections, old)
    for day in (gone, here):
        garden.plant(old, [(at(day), CONTENT)])
        lake.publish(old, day)
    retention.leave(old, gone)
    make(garden.connections, new)
    assert not lake.publish(new, here).is_changed
    assert retention.verify(new, gone).row_count == 1
    garden.plant(new, [(at(gone, 9), {**CONTENT, "mood": "calm"})])
    assert lake.publish(new, gone).row_count == 2
    assert sorted(lake.read_day(new, gone)["mood"].to_pylist(), key=str) == [None, "calm"]
    assert retention.leave(new, here).row_count == 1
    with psycopg.connect(garden.connections.database_url) as connection:
        connection.execute("UPDATE am.digital_widening_raw SET mood = 'glad'")
    assert lake.publish(new, gone).is_changed


def test_what_no_declaration_names_any_more_keeps_its_day(
    retention: Retention, lake: Lake, garden: Garden
) -> None:
    old = replace(NOTE, name="digital.narrowing.raw", doors=(), row=TaggedNote)
    new = replace(old, row=Note)
    day, other = next(DAYS), next(DAYS)
    make(garden.connections, old)
    garden.plant(old, [(at(day), {**CONTENT, "mood": "calm"}), (at(other), CONTENT)])
    with pytest.raises(UnknownError, match="mood"):
        retention.leave(new, day)
    assert retention.leave(new, other).row_count == 1


def make(connections: Connections, stream: Stream) -> None:
    with psycopg.connect(connections.database_url) as connection:
        for statement in table(stream):
            connection.execute(statement.encode())


def test_derived_rows_can_t_be_written_into_a_day_that_has_left(
    retention: Retention, garden: Garden
) -> None:
    day = next(DAYS)
    garden.plant(NOTE, [(at(day), CONTENT)])
    retention.leave(NOTE, day)
    with (
        psycopg.connect(garden.connections.database_url) as connection,
        pytest.raises(DayLeftError, match=str(day)),
    ):
        mark_stale(connection, NOTE, [day], run_id="test")
    assert retention.verify(NOTE, day).row_count == 1


def open_item(connections: Connections, source: Stream, day: date, **values: object) -> None:
    item = {"enrichment": "reader", "version": 1, "state": "pending", **values}
    with psycopg.connect(connections.database_url) as connection:
        connection.execute(
            "INSERT INTO am.work_item (enrichment, version, user_id, item_id, source_stream, "
            "device_id, day, ts, state) VALUES (%(enrichment)s, %(version)s, 'ada', "
            "gen_random_uuid(), %(source)s, 'phone', %(day)s, %(day)s, %(state)s)",
            {**item, "source": source.name, "day": day},
        )


def test_a_day_is_due_when_it_is_old_and_nothing_is_left_to_do(
    retention: Retention, lake: Lake, garden: Garden
) -> None:
    """What reads or makes rows of a day may reach into the days beside it."""
    done, behind, late, _, needed, beside, young = (next(DAYS) for _ in range(7))
    mine = {done, behind, late, needed, beside, young}
    for day in mine:
        garden.plant(NOTE, [(at(day), CONTENT)])
    for day in mine - {behind}:
        lake.publish(NOTE, day)
    garden.plant(NOTE, [(at(late, 9), CONTENT)])
    open_item(garden.connections, NOTE, needed, state="blocked")
    open_item(garden.connections, NOTE, done, state="pending", version=0)
    today = young + NOTE.keep_hot
    assert {day for stream, day in retention.due(today) if stream is NOTE} & mine == {done}
    found = retention.candidates(today)
    held = {one.day: one.held_by for one in found if one.stream == NOTE.name and one.day in mine}
    waits = "reader (blocked)"
    late_too = "the lake is behind"
    assert held == {done: None, late: late_too, needed: waits, beside: waits}
    with pytest.raises(HeldError, match="reader"):
        retention.leave(NOTE, needed)


def test_a_day_may_be_kept_longer_than_its_stream_asks_for(connections: Connections) -> None:
    today = date(2026, 5, 1)
    longer = Retention(connections, REGISTRY, keep_at_least=timedelta(days=400))
    assert Retention(connections, REGISTRY).kept_from(NOTE, today) == today - NOTE.keep_hot
    assert longer.kept_from(NOTE, today) == today - timedelta(days=400)
