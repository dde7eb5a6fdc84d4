"""The timeline out of a real database."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from am_assets.streams.digital import CLIPBOARD, NOTE
from am_assets.streams.health import HEART_RATE
from am_assets.streams.registry import REGISTRY
from resources.connections import Connections
from resources.timeline import (
    NEAREST,
    BadCursorError,
    BadSpanError,
    Cursor,
    Entry,
    TimelineRequest,
    UnknownKindError,
    check,
    read_around,
    read_page,
)
from resources.whole import WholeSnapshot, WholeStore
from tests.resources.rows import insert

NOON = datetime(2031, 5, 4, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
ANN, AMY = "timeline ann", "timeline amy"


@pytest.fixture(scope="module")
def filled(connections: Connections) -> Connections:
    """40 notes of which many share a time, 150 heart beats, and somebody else's note."""
    notes = [
        {"user_id": ANN, "ts": NOON + timedelta(minutes=number // 7), "content": f"note {number}"}
        for number in range(40)
    ]
    beats = [
        {"user_id": ANN, "ts": NOON + timedelta(seconds=number), "bpm": 60} for number in range(150)
    ]
    insert(connections.database_url, NOTE, [*notes, {"user_id": AMY, "ts": NOON, "content": "hi"}])
    same = {"user_id": ANN, "ts": NOON, "event_id": UUID(int=7), "content_text": "x"}
    insert(connections.database_url, CLIPBOARD, [same, {**same, "device_id": "laptop"}])
    insert(connections.database_url, HEART_RATE, beats)
    return connections


@pytest.fixture
def ann(filled: Connections) -> Iterator[WholeSnapshot]:
    with WholeStore(filled).reader(ANN) as connection:
        yield connection


def request(**changes: Any) -> TimelineRequest:
    return TimelineRequest(**{"begin": NOON, "end": NOON + HOUR, **changes})


def walk(connection: WholeSnapshot, **changes: Any) -> list[Entry]:
    """All pages."""
    entries, cursor = [], None
    while True:
        page = read_page(connection, request(**changes, cursor=cursor), REGISTRY)
        entries += page.entries
        if page.next_cursor is None:
            return entries
        cursor = Cursor.decode(page.next_cursor)


@pytest.mark.parametrize("limit", [1, 3, 7, 41, 42, 43])
def test_pages_of_any_size_hold_every_event_once_in_order(ann: WholeSnapshot, limit: int) -> None:
    whole = read_page(ann, request(), REGISTRY).entries
    assert len(whole) == 42
    assert [entry.ts for entry in whole] == sorted(entry.ts for entry in whole)
    assert walk(ann, limit=limit) == whole


def test_rows_that_arrive_between_pages_move_no_later_page(filled: Connections) -> None:
    user = f"late {uuid4()}"
    later = [{"user_id": user, "ts": NOON + HOUR / 4 * n, "content": f"{n}"} for n in (1, 2, 3)]
    insert(filled.database_url, NOTE, later)
    store = WholeStore(filled)
    with store.reader(user) as connection:
        first = read_page(connection, request(limit=2), REGISTRY)
    insert(filled.database_url, NOTE, [{"user_id": user, "ts": NOON, "content": "late"}])
    assert first.next_cursor is not None
    with store.reader(user) as connection:
        second = read_page(connection, request(cursor=Cursor.decode(first.next_cursor)), REGISTRY)
    assert [entry.body for entry in first.entries + second.entries] == ["1", "2", "3"]


def test_details_come_only_when_they_are_named(ann: WholeSnapshot) -> None:
    assert {entry.kind for entry in read_page(ann, request(), REGISTRY).entries} == {
        "note",
        "clipboard",
    }
    beats = read_page(ann, request(kinds=("heart rate",), limit=1000), REGISTRY).entries
    assert len(beats) == 150
    assert beats[0].title == "60 bpm"
    both = read_page(ann, request(kinds=("heart rate", "note"), limit=1000), REGISTRY).entries
    assert {entry.kind for entry in both} == {"heart rate", "note"}


def test_a_span_includes_its_begin_and_not_its_end(ann: WholeSnapshot) -> None:
    minute = timedelta(minutes=1)
    found = read_page(ann, request(begin=NOON + minute, end=NOON + 2 * minute), REGISTRY).entries
    assert {entry.ts for entry in found} == {NOON + minute}
    assert len(found) == 7


def test_nobody_reads_another_users_timeline(filled: Connections) -> None:
    with WholeStore(filled).reader(AMY) as connection:
        assert [entry.body for entry in read_page(connection, request(), REGISTRY).entries] == [
            "hi"
        ]
        assert set(read_around(connection, NOON, span=HOUR, registry=REGISTRY)) == {"note"}


def test_around_a_moment_is_everything_nearest_first_but_in_order(
    ann: WholeSnapshot,
) -> None:
    around = read_around(
        ann, NOON + timedelta(seconds=100), span=timedelta(minutes=5), registry=REGISTRY
    )
    assert list(around) == ["clipboard", "heart rate", "note"]
    beats = around["heart rate"]
    assert (beats.total, len(beats.entries)) == (150, NEAREST)
    times = [entry.ts for entry in beats.entries]
    assert times == sorted(times)
    assert times[-1] == NOON + timedelta(seconds=149)
    assert around["note"].total == len(around["note"].entries) == 40
    nearer = read_around(
        ann, NOON + timedelta(seconds=100), span=timedelta(minutes=2), registry=REGISTRY
    )
    assert nearer["note"].total == 4 * 7


def test_too_long_upside_down_and_unknown_questions_are_refused() -> None:
    check(request(), REGISTRY)
    check(request(end=NOON + timedelta(hours=25), kinds=("heart rate",)), REGISTRY)
    for bad in (
        request(end=NOON),
        request(end=NOON - HOUR),
        request(end=NOON + timedelta(days=32)),
        request(end=NOON + timedelta(days=2), kinds=("heart rate",)),
    ):
        with pytest.raises(BadSpanError):
            check(bad, REGISTRY)
    with pytest.raises(UnknownKindError, match="heart rate"):
        check(request(kinds=("mood",)), REGISTRY)


cursors = st.builds(
    Cursor,
    ts=st.datetimes(timezones=st.just(UTC)),
    source_table=st.text(),
    source_id=st.text(),
    device_id=st.text(),
)


@given(cursors)
def test_a_cursor_survives_its_journey(cursor: Cursor) -> None:
    encoded = cursor.encode()
    assert encoded.isascii()
    assert Cursor.decode(encoded) == cursor


@given(st.text() | st.binary().map(lambda data: data.hex()))
def test_what_is_no_cursor_is_refused_and_nothing_else_happens(text: str) -> None:
    with pytest.raises(BadCursorError):
        Cursor.decode(text)
