"""The ledger over a real database."""

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from am_assets.streams.digital import NOTE
from am_assets.streams.health import HEART_RATE
from am_assets.streams.registry import REGISTRY
from resources.connections import Connections
from resources.hot import HotStore
from resources.ledger import Ledger, read_ledger
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
def own(filled: Connections, user: str) -> Iterator[psycopg.Connection[Any]]:
    with HotStore(filled.database_url).reader(user) as connection:
        yield connection


def read(connection: psycopg.Connection[Any], *, day: date | None = None) -> Ledger:
    return read_ledger(connection, REGISTRY, day=day, today=DAY + timedelta(days=2))


def test_batches_add_up_by_stream_and_day_and_to_the_rows_there_are(
    own: psycopg.Connection[Any],
) -> None:
    ledger = read(own)
    assert ledger.is_adding_up
    notes, beats = ledger.lines
    sums = notes.sums
    assert (sums.received, sums.stored, sums.duplicate, sums.rejected) == (6, 3, 2, 1)
    assert (notes.rows, beats.rows) == (3, 1)
    totals = ledger.totals
    assert (totals.received, totals.stored, totals.rows) == (7, 4, 4)


def test_a_day_is_that_day_only(own: psycopg.Connection[Any]) -> None:
    assert [line.sums.stream for line in read(own, day=DAY).lines] == [NOTE.name]
    assert read(own, day=DAY - timedelta(days=1)).lines == ()


def test_a_lost_row_and_one_too_many_are_both_told(connections: Connections, user: str) -> None:
    landing(connections.database_url, user, NOTE, DAY, 2, 2, 0, 0)
    insert(connections.database_url, NOTE, [{"user_id": user, "ts": NOON, "content": "1"}])
    with HotStore(connections.database_url).reader(user) as connection:
        assert not read(connection).is_adding_up
    more = [{"user_id": user, "ts": NOON, "content": text} for text in ("2", "3")]
    insert(connections.database_url, NOTE, more)
    with HotStore(connections.database_url).reader(user) as connection:
        assert not read(connection).is_adding_up


def test_rows_past_their_retention_are_not_missed(connections: Connections, user: str) -> None:
    landing(connections.database_url, user, NOTE, DAY, 2, 2, 0, 0)
    with HotStore(connections.database_url).reader(user) as connection:
        long_after = DAY + NOTE.keep_hot
        ledger = read_ledger(connection, REGISTRY, day=DAY, today=long_after)
        assert ledger.is_adding_up
        assert ledger.lines[0].rows is None
        assert ledger.totals.stored_in_reach == 0
        the_day_before = long_after - timedelta(days=1)
        assert not read_ledger(connection, REGISTRY, day=DAY, today=the_day_before).is_adding_up


def test_another_user_sees_no_line_of_it(own: psycopg.Connection[Any], filled: Connections) -> None:
    assert read(own).lines
    with HotStore(filled.database_url).reader("nobody") as connection:
        assert read(connection).lines == ()
