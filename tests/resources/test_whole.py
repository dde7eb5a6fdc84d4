"""A day that has left the hot store is read as before, by everything that reads rows."""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import sql

from am_assets.out.day_digest import as_json, day_digest
from am_assets.schemas.timeline import COLUMNS, Dialect, timeline_select
from am_assets.streams.audio import AUDIO, SPEECH
from am_assets.streams.digital import NOTE
from am_assets.streams.health import HEART_RATE
from am_assets.streams.os_events import APP_LIFECYCLE
from am_assets.streams.position import GPS_FIX
from am_assets.streams.registry import REGISTRY
from am_assets.streams.stream import Stream
from am_assets.streams.text import TRANSCRIPT
from resources.connections import Connections
from resources.hot import HotStore, Span, names_of
from resources.lineage import Source, trace
from resources.retention import Retention
from resources.timeline import Cursor, Entry, TimelineRequest, kinds_of, read_around, read_page
from resources.whole import WholeSnapshot, WholeStore, as_rows
from tests.resources.rows import insert, lineage

ANN, AMY = "whole ann", "whole ann2"
DAY = date(2031, 7, 4)
BEGIN = datetime(2031, 7, 4, tzinfo=UTC)
NOON = BEGIN + timedelta(hours=12)
LAST = BEGIN + timedelta(days=1, microseconds=-1)
CHUNK, SPEAKING, SAID = UUID(int=11), UUID(int=12), UUID(int=13)
KEY = f"blobs/{ANN}/device.audio.raw/2031-07-04/abc"
STREAMS = (NOTE, HEART_RATE, GPS_FIX, APP_LIFECYCLE, AUDIO, SPEECH, TRANSCRIPT)


@pytest.fixture(scope="module")
def lived(connections: Connections) -> Connections:
    """A day in seven streams, with both its ends and a little of the days beside it."""
    url = connections.database_url
    near = [BEGIN - timedelta(microseconds=1), BEGIN, NOON, LAST, LAST + timedelta(microseconds=1)]
    for user in (ANN, AMY):
        own = {"user_id": user, "tz_offset_min": 120}
        insert(url, NOTE, [{**own, "ts": ts, "content": f'note, "{ts}"\n100 %'} for ts in near])
        insert(url, NOTE, [{**own, "ts": NOON, "content": str(n)} for n in range(9)])
        insert(url, NOTE, [{**own, "ts": NOON, "content": "", "extra": {"mood": ["é", None, 1.5]}}])
        beats = [NOON + timedelta(seconds=17 * n) for n in range(300)]
        insert(
            url, HEART_RATE, [{**own, "ts": ts, "bpm": 60 + n / 7} for n, ts in enumerate(beats)]
        )
        place = {"latitude": 52.52, "longitude": 13.405, "accuracy_m": 5.0}
        stays = [{**own, **place, "ts": NOON + timedelta(minutes=n)} for n in range(40)]
        insert(url, GPS_FIX, stays)
        app = {"event_type": "foreground", "app_name": "Firefox", "app_identifier": "firefox"}
        insert(url, APP_LIFECYCLE, [{**own, **app, "ts": NOON}])
    sound = {"user_id": ANN, "ts": NOON, "event_id": CHUNK, "blob_key": KEY}
    insert(url, AUDIO, [sound])
    speech = {"user_id": ANN, "ts": NOON, "event_id": SPEAKING, "duration_ms": 900}
    insert(url, SPEECH, [{**speech, **lineage(AUDIO, CHUNK, blob_key=KEY)}])
    said = {"user_id": ANN, "ts": NOON, "event_id": SAID, "text": "hello"}
    insert(url, TRANSCRIPT, [{**said, **lineage(SPEECH, SPEAKING, blob_key=KEY, confidence=0.5)}])
    return connections


def pages(reader: WholeSnapshot, *, limit: int, **changes: Any) -> list[Entry]:
    entries: list[Entry] = []
    span: dict[str, Any] = {"begin": BEGIN - timedelta(hours=1), "end": LAST + timedelta(hours=1)}
    cursor = None
    while True:
        asked = TimelineRequest(**{**span, "limit": limit, "cursor": cursor, **changes})
        page = read_page(reader, asked, REGISTRY)
        entries += page.entries
        if page.next_cursor is None:
            return entries
        cursor = Cursor.decode(page.next_cursor)


def everything(connections: Connections, user: str) -> dict[str, Any]:
    """What a person sees of the day, by each way there is."""
    store = WholeStore(connections)
    whole_day = Span(BEGIN - timedelta(hours=1), LAST + timedelta(hours=1), user)
    part = Span(NOON, NOON + timedelta(minutes=20), user, "phone")
    kinds = tuple(kinds_of(REGISTRY))
    with store.reader(user) as reader:
        seen: dict[str, Any] = {
            "pages": pages(reader, limit=20),
            "details": pages(reader, limit=300, kinds=kinds),
            "short": pages(reader, limit=5, begin=NOON, end=NOON + timedelta(minutes=1)),
            "around": read_around(reader, NOON, span=timedelta(hours=1), registry=REGISTRY),
            "lineage": trace(reader, REGISTRY, Source(TRANSCRIPT.name, SAID), near=NOON),
        }
    made = day_digest(store, REGISTRY, user, DAY, now=NOON + timedelta(days=400))
    return {
        **seen,
        "digest": as_json(made),
        **{f"rows of {s.name}": store.read(s, whole_day).to_pylist() for s in STREAMS},
        **{f"part of {s.name}": store.read(s, part).to_pylist() for s in STREAMS},
    }


@pytest.fixture(scope="module")
def before(lived: Connections) -> dict[str, dict[str, Any]]:
    return {user: everything(lived, user) for user in (ANN, AMY)}


@pytest.fixture(scope="module")
def left(lived: Connections, before: dict[str, Any]) -> Connections:
    """The same, after the day has left in all streams."""
    assert before
    for stream in STREAMS:
        Retention(lived, REGISTRY).leave(stream, DAY)
        day = HotStore(lived.database_url).read_day(stream, DAY)
        assert day.num_rows == 0
    return lived


def test_a_day_that_has_left_is_seen_exactly_as_before(
    left: Connections, before: dict[str, dict[str, Any]]
) -> None:
    for user, seen in before.items():
        assert seen["pages"]
        found = everything(left, user)
        assert {what for what in seen if found[what] != seen[what]} == set()


def test_nobody_else_sees_anything_of_it(left: Connections) -> None:
    with WholeStore(left).reader("whole an") as reader:
        assert pages(reader, limit=9, kinds=tuple(kinds_of(REGISTRY))) == []
        assert read_around(reader, NOON, span=timedelta(hours=1), registry=REGISTRY) == {}
        (step,) = trace(reader, REGISTRY, Source(TRANSCRIPT.name, SAID), near=NOON)
        assert step.ts is None


@pytest.fixture
def late(left: Connections) -> Iterator[Connections]:
    """A row that came again and one that is new, of a day that has left."""
    again = WholeStore(left).read(NOTE, Span(LAST, LAST + timedelta(microseconds=1), ANN))
    (row,) = again.to_pylist()
    same = {name: row[name] for name in ("user_id", "ts", "content", "tz_offset_min")}
    new = {**same, "content": "late", "event_id": UUID(int=99)}
    insert(left.database_url, NOTE, [{**same, "event_id": UUID(row["event_id"])}, new])
    yield left
    with psycopg.connect(left.database_url) as connection:
        connection.execute("DELETE FROM am.digital_notes_raw WHERE ts = %s", (LAST,))


def test_what_came_again_is_there_once_and_what_came_late_is_there_too(
    late: Connections, before: dict[str, dict[str, Any]]
) -> None:
    found = everything(late, ANN)
    had = before[ANN]["pages"]
    assert len(found["pages"]) == len(had) + 1
    assert [one for one in found["pages"] if one.body != "late"] == had
    assert len(found[f"rows of {NOTE.name}"]) == len(before[ANN][f"rows of {NOTE.name}"]) + 1
    assert everything(late, AMY)["pages"] == before[AMY]["pages"]


@pytest.mark.parametrize("stream", REGISTRY.values(), ids=lambda stream: stream.name)
def test_rows_that_travel_with_a_question_are_those_of_the_table(
    connections: Connections, stream: Stream
) -> None:
    ts = datetime(2033, 1, 1, tzinfo=UTC)
    insert(connections.database_url, stream, [{"user_id": ANN, "ts": ts}])
    with HotStore(connections.database_url).snapshot() as snapshot:
        rows = as_rows(stream, snapshot.read(stream, Span.of_day(ts.date())))

        def asked(selected: Callable[[str], str], source: sql.Composable) -> list[Any]:
            text = sql.SQL(selected("").replace("%", "%%"))
            query = sql.SQL("{}{} WHERE ts = %(ts)s").format(text, source)
            return snapshot.connection.execute(query, {"ts": ts, **rows.values}).fetchall()

        def event(source: str) -> str:
            return timeline_select(stream, source=source, dialect=Dialect.POSTGRES)

        table = sql.Identifier("am", stream.table)
        names = sql.SQL(", ").join(map(sql.Identifier, names_of(stream)))
        star = f"SELECT {names.as_string(None)} FROM "
        assert asked(event, rows.text) == asked(event, table)
        assert asked(lambda _: star, rows.text) == asked(lambda _: star, table)
        assert len(asked(event, table)[0]) == len(COLUMNS)
