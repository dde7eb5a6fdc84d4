from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from am_assets.schemas.arrow import row_schema
from am_assets.streams.digital import CLIPBOARD, NOTE
from am_assets.streams.position import GPS_FIX
from am_assets.streams.state import POWER
from resources.connections import Connections
from resources.hot import HotStore, Span
from tests.planting import Garden, days_from

DAYS = days_from(date(2021, 1, 1))
# Postgres has no NUL in text, and a lone surrogate is no text at all.
TEXTS = st.none() | st.text(
    st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=30
)


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.tuples(TEXTS, st.none() | st.dictionaries(st.sampled_from("ab"), TEXTS))))
def test_every_text_null_and_json_comes_back_as_it_was_stored(
    connections: Connections, contents: list[tuple[str | None, dict[str, Any] | None]]
) -> None:
    day = next(DAYS)
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)
    rows = [
        (
            start + timedelta(microseconds=n),
            {"content_type": "text", "content_text": text, "extra": extra},
        )
        for n, (text, extra) in enumerate(contents)
    ]
    Garden(connections).plant(CLIPBOARD, rows)
    found = HotStore(connections.database_url).read_day(CLIPBOARD, day)
    assert found.schema == row_schema(CLIPBOARD)
    assert found["content_text"].to_pylist() == [text for text, _ in contents]
    assert [text is None for text in found["extra"].to_pylist()] == [
        extra is None for _, extra in contents
    ]
    assert found["ts"].to_pylist() == [ts for ts, _ in rows]


def test_numbers_and_truth_values_come_back_exactly(connections: Connections) -> None:
    day = next(DAYS)
    at = datetime(day.year, day.month, day.day, 5, tzinfo=UTC)
    values = {"battery_level": 0.1 + 0.2, "is_charging": True, "is_plugged_in": None}
    Garden(connections).plant(POWER, [(at, values)])
    (row,) = HotStore(connections.database_url).read_day(POWER, day).to_pylist()
    assert {name: row[name] for name in values} == values


def test_a_value_of_several_megabytes_is_read(connections: Connections) -> None:
    day = next(DAYS)
    at = datetime(day.year, day.month, day.day, tzinfo=UTC)
    text = 'a "quoted"\nline, ' * 300_000
    Garden(connections).plant(NOTE, [(at, {"content": text, "note_type": "text"})])
    found = HotStore(connections.database_url).read_day(NOTE, day)
    assert found["content"].to_pylist() == [text]


def test_a_day_is_sorted_by_its_key_and_ends_before_the_next(connections: Connections) -> None:
    day = next(DAYS)
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(days=1)
    next(DAYS)
    spot = {"latitude": 1.0, "longitude": 2.0}
    for device in ("b", "a"):
        garden = Garden(connections, device_id=device)
        ends = [midnight - timedelta(microseconds=n) for n in (1, 2, 0)]
        garden.plant(GPS_FIX, [(ts, spot) for ts in ends])
    found = HotStore(connections.database_url).read_day(GPS_FIX, day)
    keys = list(zip(found["device_id"].to_pylist(), found["ts"].to_pylist(), strict=True))
    assert keys == sorted(keys)
    assert len(keys) == 4
    one = Span.of_day(day)
    mine = Span(one.begin, one.end, "ada", "a")
    assert HotStore(connections.database_url).read(GPS_FIX, mine).num_rows == 2


def test_a_reader_sees_its_own_rows_and_can_write_none(connections: Connections) -> None:
    day = next(DAYS)
    at = datetime(day.year, day.month, day.day, tzinfo=UTC)
    note = {"content": "mine", "note_type": "text"}
    for user in ("reader", "reader2"):
        Garden(connections, user_id=user).plant(NOTE, [(at, note)])
    hot = HotStore(connections.database_url)
    with hot.reader("reader") as connection:
        users = connection.execute("SELECT DISTINCT user_id FROM am.digital_notes_raw").fetchall()
    assert users == [("reader",)]
    with pytest.raises(psycopg.Error), hot.reader("reader") as connection:
        connection.execute("DELETE FROM am.digital_notes_raw")


def test_a_fingerprint_does_not_depend_on_the_order_of_rows_but_on_each_of_them(
    connections: Connections,
) -> None:
    day, other = next(DAYS), next(DAYS)
    hot = HotStore(connections.database_url)
    at = datetime(day.year, day.month, day.day, tzinfo=UTC)
    Garden(connections).plant(NOTE, [(at, {"content": "x", "note_type": "text"})])
    with hot.snapshot() as snapshot:
        before = snapshot.fingerprint(NOTE, day)
        assert before.row_count == 1
        assert snapshot.fingerprint(NOTE, other).row_count == 0
    with psycopg.connect(connections.database_url) as connection:
        connection.execute("UPDATE am.digital_notes_raw SET content = 'y' WHERE ts = %s", (at,))
    with hot.snapshot() as snapshot:
        assert snapshot.fingerprint(NOTE, day).checksum != before.checksum
