"""The ledger over a real database."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from uuid import uuid4

import pytest

from am_assets.streams.digital import NOTE
from am_assets.streams.health import HEART_RATE
from am_assets.streams.registry import REGISTRY
from resources.connections import Connections
from resources.ledger import Ledger, read_ledger
from resources.retention import Retention
from resources.whole import WholeSnapshot, WholeStore
from tests.resources.rows import insert, landing

DAY = date(2031, 7, 4)
NOON = datetime(2031, 7, 4, 12, tzinfo=UTC)


@pytest.fixture
def user() -> str:
    return f"ledger {uuid4()}"


@pytest.fixture
def filled(connections: Connections, user: str) -> Connections:
    """Two batches of notes on one day, 3 rows; one heart beat the day after."""
    landing(connections.database_url, user, NOTE, DAY, 4, 2, 1, 1)
    landing(connections.database_url, user, NOTE, DAY, 2, 1, 1, 0)
    landing(connections.database_url, user, HEART_RATE, DAY + timedelta(days=1), 1, 1, 0, 0)
    notes = [{"user_id": user, "ts": NOON, "content": str(number)} for number in range(3)]
    insert(connections.database_url, NOTE, notes)
    beat = {"user_id": user, "ts": NOON + timedelta(days=1), "bpm": 60}
    insert(connections.database_url, HEART_RATE, [beat])
    return connections


@pytest.fixture
def own(filled: Connections, user: str) -> Iterator[WholeSnapshot]:
    with WholeStore(filled).reader(user) as connection:
        yield connection


def read(connection: WholeSnapshot, *, day: date | None = None) -> Ledger:
    return read_ledger(connection, REGISTRY, day=day)


def test_batches_add_up_by_stream_and_day_and_to_the_rows_there_are(
    own: WholeSnapshot,
) -> None:
    ledger = read(own)
    assert ledger.is_adding_up
    notes, beats = ledger.lines
    sums = notes.sums
    assert (sums.received, sums.stored, sums.duplicate, sums.rejected) == (6, 3, 2, 1)
    assert (notes.rows, beats.rows) == (3, 1)
    totals = ledger.totals
    assert (totals.received, totals.stored, totals.rows) == (7, 4, 4)


def test_a_day_is_that_day_only(own: WholeSnapshot) -> None:
    assert [line.sums.stream for line in read(own, day=DAY).lines] == [NOTE.name]
    assert read(own, day=DAY - timedelta(days=1)).lines == ()


def test_a_lost_row_and_one_too_many_are_both_told(connections: Connections, user: str) -> None:
    landing(connections.database_url, user, NOTE, DAY, 2, 2, 0, 0)
    insert(connections.database_url, NOTE, [{"user_id": user, "ts": NOON, "content": "1"}])
    with WholeStore(connections).reader(user) as connection:
        assert not read(connection).is_adding_up
    more = [{"user_id": user, "ts": NOON, "content": text} for text in ("2", "3")]
    insert(connections.database_url, NOTE, more)
    with WholeStore(connections).reader(user) as connection:
        assert not read(connection).is_adding_up


def test_rows_of_a_day_that_left_are_counted_where_they_are(
    connections: Connections, user: str
) -> None:
    day = DAY - timedelta(days=100)
    at = NOON - timedelta(days=100)
    landing(connections.database_url, user, NOTE, day, 2, 2, 0, 0)
    notes = [{"user_id": user, "ts": at, "content": text} for text in ("1", "2")]
    insert(connections.database_url, NOTE, notes)
    Retention(connections, REGISTRY).leave(NOTE, day)
    landing(connections.database_url, user, NOTE, day, 1, 1, 0, 0)
    insert(connections.database_url, NOTE, [{"user_id": user, "ts": at, "content": "late"}])
    with WholeStore(connections).reader(user) as reader:
        asked, everything = read(reader, day=day), read(reader)
    assert asked.is_adding_up
    assert asked.lines[0].rows == 3
    assert everything.is_adding_up
    assert everything.lines[0].rows is None  # all of the lake would have to be read
    assert everything.totals.stored_in_reach == 0


def test_another_user_sees_no_line_of_it(own: WholeSnapshot, filled: Connections) -> None:
    assert read(own).lines
    with WholeStore(filled).reader("nobody") as connection:
        assert read(connection).lines == ()
