import random
import threading
from datetime import UTC, date, datetime, timedelta

import psycopg
from hypothesis import given
from hypothesis import strategies as st

from am_assets.streams.digital import NOTE
from resources.connections import Connections
from sensors.landing import (
    Cursor,
    Line,
    days_after,
    decide,
    read_ledger,
    without_foreign,
)
from tests.planting import Garden, days_from, rows_of

DAY = date(2026, 3, 1)
STREAMS = ["a.b.raw", "c.d.raw", "e.f.raw"]
LINES = st.lists(
    st.tuples(st.sampled_from(STREAMS), st.integers(0, 30), st.booleans()), max_size=60
).map(
    lambda found: [
        Line(seq + 1, seq + 1, stream, DAY + timedelta(days=day), is_news)
        for seq, (stream, day, is_news) in enumerate(found)
    ]
)
BUSY = st.sets(st.integers(0, 30).map(lambda day: DAY + timedelta(days=day)), max_size=10)


@given(LINES, BUSY, st.integers(1, 25))
def test_all_news_is_requested_or_waits_and_nothing_else(
    lines: list[Line], busy: set[date], limit: int
) -> None:
    decision = decide(Cursor(), lines, busy=busy, limit=limit)
    requested = [(one.day, stream) for one in decision.requests for stream in one.streams]
    news = {(line.day, line.stream) for line in lines if line.is_news}
    assert set(requested) | set(decision.cursor.waiting) == news
    assert set(requested).isdisjoint(decision.cursor.waiting)
    assert len(requested) == len(set(requested)) <= limit
    assert busy.isdisjoint(day for day, _ in requested)


@given(st.lists(LINES, max_size=5), st.lists(BUSY, max_size=5), st.integers(1, 5))
def test_over_many_ticks_every_partition_is_requested_and_no_run_key_is_used_twice(
    batches: list[list[Line]], busy: list[set[date]], limit: int
) -> None:
    cursor, offset = Cursor(), 0
    news: set[tuple[date, str]] = set()
    requested: set[tuple[date, str]] = set()
    keys: list[str] = []
    for tick in range(len(batches) + 100):
        batch = batches[tick] if tick < len(batches) else []
        lines = [Line(x.xid + offset, x.seq + offset, x.stream, x.day, x.is_news) for x in batch]
        offset += len(lines)
        news |= {(x.day, x.stream) for x in lines if x.is_news}
        not_now = busy[tick] if tick < len(busy) else set()
        decision = decide(cursor, lines, busy=not_now, limit=limit)
        cursor = Cursor.from_text(decision.cursor.to_text())
        requested |= {(one.day, s) for one in decision.requests for s in one.streams}
        keys += [one.run_key for one in decision.requests]
    assert requested == news
    assert len(keys) == len(set(keys))


def test_one_day_is_one_run_however_many_streams_have_news() -> None:
    lines = [Line(5, n, stream, DAY, is_news=True) for n, stream in enumerate(STREAMS)]
    (request,) = decide(Cursor(), lines, busy=()).requests
    assert set(request.streams) == set(STREAMS)
    assert "5-2" in request.run_key


def test_a_day_that_has_not_begun_waits() -> None:
    line = Line(1, 1, STREAMS[0], DAY + timedelta(days=1), is_news=True)
    busy = days_after(DAY, Cursor(), [line])
    decision = decide(Cursor(), [line], busy=busy)
    assert decision.requests == ()
    assert days_after(DAY + timedelta(days=1), decision.cursor, []) == set()
    assert decide(decision.cursor, [], busy=()).requests[0].day == line.day


def test_lines_without_a_partition_or_a_stream_are_passed_over() -> None:
    known = {STREAMS[0]}
    assert without_foreign(Line(1, 1, STREAMS[0], DAY, is_news=True), known).is_news
    assert not without_foreign(Line(1, 1, "gone.x.raw", DAY, is_news=True), known).is_news
    assert not without_foreign(
        Line(1, 1, STREAMS[0], date(1970, 1, 1), is_news=True), known
    ).is_news


def test_a_transaction_that_commits_late_is_not_lost_behind_one_that_overtook_it(
    connections: Connections,
) -> None:
    day = next(days_from(date(2023, 1, 1)))
    garden = Garden(connections)
    for one in (day, day + timedelta(days=1)):
        garden.plant(NOTE, [_note(one)])  # TimescaleDB: who makes a chunk keeps others from it
    cursor = _end_of_ledger(connections)
    with psycopg.connect(connections.database_url) as slow:
        garden.plant_in(slow, NOTE, [_note(day)])
        garden.plant(NOTE, [_note(day + timedelta(days=1))])  # a later number, committed first
        seen = read_ledger(connections.database_url, cursor)
        assert seen == []
        slow.commit()
    found = read_ledger(connections.database_url, cursor)
    assert {line.day for line in found} == {day, day + timedelta(days=1)}


def test_a_reader_that_keeps_its_cursor_sees_each_line_of_concurrent_writers_once(
    connections: Connections,
) -> None:
    cursor = _end_of_ledger(connections)
    started = cursor
    barrier = threading.Barrier(4)
    seen: list[tuple[int, int]] = []

    def write(number: int) -> None:
        chance = random.Random(number)
        garden = Garden(connections, user_id=f"writer{number}")
        barrier.wait()
        for n in range(12):
            with psycopg.connect(connections.database_url) as connection:
                garden.plant_in(connection, NOTE, [_note(date(2023, 2, 1 + n))])
                for _ in range(chance.randrange(4)):  # hold the number for a while
                    connection.execute("SELECT count(*) FROM generate_series(1, 20000)")
                (connection.commit if chance.random() < 0.8 else connection.rollback)()

    writers = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for writer in writers:
        writer.start()
    while any(writer.is_alive() for writer in writers):
        cursor = _read_on(connections, cursor, seen)
    _read_on(connections, cursor, seen)
    committed = rows_of(
        connections,
        "SELECT xid::text::bigint, seq FROM am.landing WHERE (xid, seq) > (%s::text::xid8, %s)",
        started.xid,
        started.seq,
    )
    assert sorted(seen) == sorted(committed)
    assert seen == sorted(seen)


def _read_on(connections: Connections, cursor: Cursor, seen: list[tuple[int, int]]) -> Cursor:
    lines = read_ledger(connections.database_url, cursor, limit=3)
    while lines:
        seen += [(line.xid, line.seq) for line in lines]
        cursor = decide(cursor, lines, busy=(), limit=1000).cursor
        lines = read_ledger(connections.database_url, cursor, limit=3)
    return cursor


def _end_of_ledger(connections: Connections) -> Cursor:
    lines = read_ledger(connections.database_url, Cursor(), limit=1_000_000)
    return Cursor(lines[-1].xid, lines[-1].seq) if lines else Cursor()


def _note(day: date) -> tuple[datetime, dict[str, str]]:
    at = datetime(day.year, day.month, day.day, 8, tzinfo=UTC)
    return at, {"content": "x", "note_type": "text"}
