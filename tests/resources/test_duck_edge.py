"""`am.<table>` over the edge between the database and the lake: every row once, wherever it is."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid5

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from am_assets.streams.digital import NOTE
from am_assets.streams.health import HEART_RATE
from am_assets.streams.registry import REGISTRY
from resources.connections import Connections
from resources.duck import Duck, DuckOptions, QueryError, connect, query
from resources.lake import Lake
from resources.lake_files import LakeFiles
from resources.trino_catalog import whole_view
from tests.resources.rows import insert

FIRST = date(2031, 5, 1)
DAYS = 5
ANN, AMY = "edge ann", "edge ann2"
SPACE = UUID(int=5)


@dataclass(frozen=True)
class Life:
    """A few days: which were published, which of those left, and what came after they had."""

    published: frozenset[int]
    left: frozenset[int]
    late: frozenset[int]
    sent_again: frozenset[int]


@st.composite
def lives(draw: st.DrawFn) -> Life:
    days = st.integers(0, DAYS - 1)
    published = draw(st.frozensets(days))
    left = frozenset(day for day in published if draw(st.booleans()))
    return Life(published, left, draw(st.frozensets(days)), draw(st.frozensets(days)))


@dataclass
class Tried:
    """Each example has a month of its own: the tables are shared."""

    number: int = field(default=0)


@pytest.fixture(scope="module")
def ducks(connections: Connections, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Duck]:
    options = DuckOptions(extension_directory=tmp_path_factory.mktemp("extensions"))
    with connect(connections, REGISTRY, options=options) as duck:
        yield duck


@pytest.fixture(scope="module")
def anns(connections: Connections, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Duck]:
    options = DuckOptions(extension_directory=tmp_path_factory.mktemp("extensions"))
    with connect(connections, REGISTRY, user_id=ANN, options=options) as duck:
        yield duck


@pytest.fixture(scope="module")
def tried() -> Tried:
    return Tried()


def beat(day: date, user: str, name: str, seconds: int) -> dict[str, object]:
    ts = datetime(day.year, day.month, day.day, tzinfo=UTC) + timedelta(seconds=seconds)
    event = uuid5(SPACE, f"{user} {day} {name}")
    return {"user_id": user, "ts": ts, "bpm": 60.0, "event_id": event}


def live(connections: Connections, life: Life, first: date) -> set[tuple[str, str]]:
    """Rows at both ends of each day, published and left as they are to be; who has which ids."""
    days = [first + timedelta(days=n) for n in range(DAYS)]
    rows = [
        beat(day, user, name, seconds)
        for day in days
        for user in (ANN, AMY)
        for name, seconds in (("begin", 0), ("end", 86399))
    ]
    insert(connections.database_url, HEART_RATE, rows)
    for n in sorted(life.published):
        Lake(connections).publish(HEART_RATE, days[n])
    for n in sorted(life.left):
        leave(connections, days[n])
    again = [beat(days[n], ANN, "begin", 0) for n in life.sent_again & life.left]
    late = [beat(days[n], ANN, "late", 43200) for n in life.late]
    insert(connections.database_url, HEART_RATE, [*again, *late])
    return {(str(row["user_id"]), str(row["event_id"])) for row in [*rows, *late]}


def leave(connections: Connections, day: date) -> None:
    """As retention does: rows and note in one transaction."""
    with psycopg.connect(connections.database_url) as connection:
        connection.execute(
            "DELETE FROM am.device_health_heartrate_raw WHERE ts >= %s AND ts < %s",
            (day, day + timedelta(days=1)),
        )
        connection.execute(
            "UPDATE am.publication SET left_hot_at = now() WHERE stream = %s AND day = %s",
            (HEART_RATE.name, day),
        )


def asked(duck: Duck, table: str, first: date, *, also: str = "") -> list[tuple[str, str]]:
    text = f"SELECT user_id, CAST({{}} AS VARCHAR) AS id FROM {table} WHERE ts >= ? AND ts < ?"
    text += also
    column = "source_id" if table.endswith("timeline") else "event_id"
    begin = datetime(first.year, first.month, first.day, tzinfo=UTC)
    span = (begin, begin + timedelta(days=DAYS))
    found = query(duck, text.format(column), parameters=span).to_pylist()
    return [(row["user_id"], row["id"]) for row in found]


@pytest.mark.slow
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(life=lives())
def test_every_row_is_there_once_whatever_days_were_published_and_left(
    connections: Connections, ducks: Duck, anns: Duck, tried: Tried, life: Life
) -> None:
    tried.number += 1
    first = FIRST + timedelta(days=31 * tried.number)
    expected = live(connections, life, first)
    own = sorted(pair for pair in expected if pair[0] == ANN)
    for table in ("am.device_health_heartrate_raw", "am.timeline"):
        assert sorted(asked(ducks, table, first)) == sorted(expected)
        assert sorted(asked(anns, table, first)) == own


def test_the_view_that_trino_has_gives_the_same_rows(connections: Connections, ducks: Duck) -> None:
    first = date(2030, 1, 1)
    life = Life(frozenset({0, 1, 3}), frozenset({0, 3}), frozenset({0, 2}), frozenset({0, 1}))
    expected = live(connections, life, first)
    view = f"({whole_view(HEART_RATE)})"
    # The receipts are no table of the catalogs: only the test may ask for them.
    list(asked(ducks, "am.device_health_heartrate_raw", first))
    found = ducks.engine.execute(
        f"SELECT user_id, event_id FROM {view} AS v WHERE ts >= ? AND ts < ?",
        [first, first + timedelta(days=DAYS)],
    ).fetchall()
    assert sorted(found) == sorted(expected)


def test_a_day_that_leaves_between_two_questions_is_not_missed(
    connections: Connections, tmp_path: Path
) -> None:
    """The engine's look at the lake is older than the day: it has to look again."""
    first = date(2029, 1, 1)
    expected = sorted(live(connections, Life(*[frozenset[int]()] * 4), first))
    files = LakeFiles(connections)
    options = DuckOptions(extension_directory=tmp_path)
    with connect(connections, REGISTRY, options=options, files=files) as duck:
        for n in range(DAYS):
            assert sorted(asked(duck, "am.device_health_heartrate_raw", first)) == expected
            Lake(connections).publish(HEART_RATE, first + timedelta(days=n))
            leave(connections, first + timedelta(days=n))
        assert sorted(asked(duck, "am.device_health_heartrate_raw", first)) == expected


def test_streams_of_which_nothing_has_left_are_the_databases(
    connections: Connections, ducks: Duck
) -> None:
    at = datetime(2031, 5, 1, tzinfo=UTC)
    insert(connections.database_url, NOTE, [{"user_id": ANN, "ts": at, "content": "kept"}])
    Lake(connections).publish(NOTE, at.date())
    assert query(ducks, "SELECT content FROM am.digital_notes_raw").to_pylist() == [
        {"content": "kept"}
    ]


def test_who_asks_for_details_or_for_none_gets_each_row_of_them_once(
    connections: Connections, ducks: Duck
) -> None:
    first = date(2027, 1, 1)
    life = Life(frozenset({0, 1, 3}), frozenset({0, 3}), frozenset({0, 2}), frozenset({0, 1}))
    details = live(connections, life, first)
    noon = datetime(2027, 1, 2, 12, tzinfo=UTC)
    note = {"user_id": ANN, "ts": noon, "content": "kept", "event_id": uuid5(SPACE, "note")}
    insert(connections.database_url, NOTE, [note])
    notes = [(ANN, str(note["event_id"]))]
    for also, expected in (
        (" AND is_detail", sorted(details)),
        (" AND NOT is_detail", notes),
        (" AND is_detail IS NOT NULL", sorted([*details, *notes])),
    ):
        assert sorted(asked(ducks, "am.timeline", first, also=also)) == expected


def test_a_question_that_fails_half_way_does_not_fail_the_next(
    connections: Connections, ducks: Duck
) -> None:
    first = date(2028, 1, 1)
    life = Life(*[frozenset({0})] * 2, *[frozenset[int]()] * 2)
    expected = sorted(live(connections, life, first))
    with pytest.raises(QueryError):
        query(ducks, "SELECT CAST(user_id AS INTEGER) FROM am.device_health_heartrate_raw")
    for table in ("am.device_health_heartrate_raw", "am.timeline"):
        assert sorted(asked(ducks, table, first)) == expected
