"""The library of questions over a generated month, whose answers are known.

The first days of the month have left the database for the lake, so that every question goes over
the edge between the two. Every text is also parsed as Trino's SQL; where `AM_TEST_TRINO_URL` names
a server with AM's catalogs, both engines have to give the same answers there.
"""

import math
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import psycopg
import pytest
import sqlglot
from hypothesis import given
from hypothesis import strategies as st
from psycopg import sql
from psycopg.types.json import Jsonb
from sqlglot import exp

from am_assets.schemas.columns import ColumnType, columns
from am_assets.schemas.postgres import SCHEMA, STORE
from am_assets.streams.registry import REGISTRY
from am_assets.streams.stream import Stream
from infra.demo.day import HOME
from infra.demo.message import APP, CLIPBOARD, GPS, HEART_RATE, NOTE, PHONE, POWER
from infra.demo.month import DemoMonth, generated_month
from infra.migrate import has_timescale
from infra.query_library import Kind, NamedQuery, QueryLibraryError, library, read_query
from resources.connections import Connections
from resources.duck import Duck, DuckOptions, connect, query
from resources.lake import Lake
from tests.resources import rows as made

DAYS, LEFT = 30, 3
LAST = date(2026, 5, 31)
FIRST = LAST - timedelta(days=DAYS - 1)
ZONE = ZoneInfo("Europe/Zagreb")
BEGIN = datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=ZONE)
END = BEGIN + timedelta(days=DAYS)
USER, OTHER = "month-ivo", "month-ivo2"
SLEEP = "device.health.sleep.raw"
ACTIVITY = "motion.classification.activity"
SPEECH = "media.text.transcribed.words"
PHOTO = "device.image.camera.raw"
TAKEN = (GPS, HEART_RATE, POWER, APP, CLIPBOARD, NOTE)
NAMES = {"accuracy": "accuracy_m", "speed": "speed_m_s", "duration_seconds": "duration_s"}
LIBRARY = library()
GIVEN = {
    "begin": BEGIN.isoformat(),
    "end": END.isoformat(),
    "zone": ZONE.key,
    "latitude": str(HOME.latitude),
    "longitude": str(HOME.longitude),
    "day": (FIRST + timedelta(days=1)).isoformat(),
    "word": "PORec",
}
Row = dict[str, Any]


@dataclass(frozen=True)
class Month:
    """What was lived, and the rows that tell of it, by stream."""

    lived: DemoMonth
    rows: dict[str, list[Row]]

    def by_day(self, stream: str) -> dict[date, list[Row]]:
        found = defaultdict(list)
        for line in self.rows[stream]:
            found[local(line["ts"])].append(line)
        return dict(found)


def local(ts: datetime) -> date:
    return ts.astimezone(ZONE).date()


def month_rows(lived: DemoMonth) -> dict[str, list[Row]]:
    """The month's messages as rows, and what an enrichment would have made of the rest."""
    found: dict[str, list[Row]] = defaultdict(list)
    for message in lived.messages:
        if message.stream in {*TAKEN, PHOTO}:
            found[message.stream].append(_row_of(message.stream, message.ts, message.body))
    for day in lived.days:
        for sleep in day.truth.sleeps:
            seconds = (sleep.end - sleep.start).total_seconds()
            found[SLEEP].append(
                {
                    "ts": sleep.start,
                    "sleep_stage": "light",
                    "duration_s": seconds,
                    "duration_ms": None,
                }
            )
        for done in day.truth.activities:
            found[ACTIVITY].append(
                {
                    "ts": done.start,
                    "device_id": done.device_id,
                    "activity": done.label,
                    "end_ts": done.end,
                    "duration_ms": int((done.end - done.start).total_seconds() * 1000),
                }
            )
        for said in day.truth.spoken:
            length = int((said.end - said.start).total_seconds() * 1000)
            found[SPEECH].append({"ts": said.start, "text": said.text, "duration_ms": length})
    return found


def _row_of(stream: str, ts: datetime, body: Any) -> Row:
    known = set(REGISTRY[stream].columns)
    own = {NAMES.get(name, name): value for name, value in body.items()}
    return {
        "ts": ts,
        "device_id": body["device_id"],
        **{n: v for n, v in own.items() if n in known},
    }


def copy_in(url: str, stream: Stream, rows: Iterable[Row]) -> None:
    names = [column.name for column in columns(stream)]
    kinds = {column.name: column.type for column in columns(stream)}
    with psycopg.connect(url) as connection, connection.cursor() as cursor:
        place = STORE if has_timescale(connection) else SCHEMA  # COPY can't name a view
        into = sql.SQL("COPY {} ({}) FROM STDIN").format(
            sql.Identifier(place, stream.table), sql.SQL(", ").join(map(sql.Identifier, names))
        )
        with cursor.copy(into) as copy:
            for values in rows:
                full = made.row(stream, **values)
                copy.write_row([_adapted(full.get(name), kinds[name]) for name in names])


def _adapted(value: Any, kind: ColumnType) -> Any:
    return Jsonb(value) if kind is ColumnType.JSON and value is not None else value


def leave(connections: Connections, stream: Stream, day: date) -> None:
    """Publish a day and take it out of the database, as retention does."""
    Lake(connections).publish(stream, day)
    with psycopg.connect(connections.database_url) as connection:
        gone = sql.SQL("DELETE FROM {} WHERE ts >= %s AND ts < %s")
        span = (day, day + timedelta(days=1))
        connection.execute(gone.format(sql.Identifier("am", stream.table)), span)
        connection.execute(
            "UPDATE am.publication SET left_hot_at = now() WHERE stream = %s AND day = %s",
            (stream.name, day),
        )


@pytest.fixture(scope="module")
def month(connections: Connections) -> Month:
    """The month in the stores; somebody else has the same, an hour later and twice as fast."""
    lived = generated_month(DAYS, seed=7, end=LAST)
    rows = month_rows(lived)
    for name, lines in rows.items():
        stream = REGISTRY[name]
        copy_in(connections.database_url, stream, ({"user_id": USER, **line} for line in lines))
        others = ({**line, "user_id": OTHER, "event_id": uuid4()} for line in lines[:50])
        copy_in(connections.database_url, stream, others)
        for n in range(LEFT):
            leave(connections, stream, FIRST + timedelta(days=n))
    return Month(lived, rows)


@pytest.fixture(scope="module")
def duck(
    connections: Connections, month: Month, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Duck]:
    options = DuckOptions(extension_directory=tmp_path_factory.mktemp("extensions"))
    with connect(connections, REGISTRY, user_id=USER, options=options) as duck:
        yield duck


def filled(name: str, **given: str) -> str:
    values = {p.name: GIVEN[p.name] for p in LIBRARY[name].parameters if p.name in GIVEN}
    return LIBRARY[name].sql(values | given)


def answer(duck: Duck, name: str, **given: str) -> list[Row]:
    found: list[Row] = query(duck, filled(name, **given)).to_pylist()
    return found


# The known answers. Each takes the month and the rows that came, and looks.

Check = Callable[[Month, list[Row]], None]
CHECKS: dict[str, Check] = {}


def answers(name: str) -> Callable[[Check], Check]:
    def keep(check: Check) -> Check:
        CHECKS[name] = check
        return check

    return keep


def stays(month: Month) -> list[tuple[Row, float]]:
    """Each fix and the seconds until the next, where that is not too far."""
    fixes = sorted(month.rows[GPS], key=lambda fix: fix["ts"])
    lengths = [(a, (b["ts"] - a["ts"]).total_seconds()) for a, b in pairwise(fixes)]
    return [(fix, seconds) for fix, seconds in lengths if seconds <= 900]


def square(fix: Row) -> tuple[float, ...]:
    # As both engines round: half away from zero, of the number as it is.
    return tuple(math.floor(fix[n] * 1000 + 0.5) / 1000 for n in ("latitude", "longitude"))


def fix_before(month: Month, ts: datetime) -> Row:
    return max((fix for fix in month.rows[GPS] if fix["ts"] <= ts), key=lambda fix: fix["ts"])


def words(text: str) -> int:
    return len(text.strip().split(" "))


def per_day(rows: Iterable[Row], value: str) -> dict[date, Any]:
    return {line["day"]: line[value] for line in rows}


@answers("places_per_week")
def _(month: Month, rows: list[Row]) -> None:
    hours: dict[tuple[Any, ...], float] = defaultdict(float)
    for fix, seconds in stays(month):
        day = local(fix["ts"])
        hours[(day - timedelta(days=day.weekday()), *square(fix))] += seconds / 3600
    found = {(r["week"], r["latitude"], r["longitude"]): r["hours"] for r in rows}
    assert set(found) == {place for place, value in hours.items() if value >= 1}
    assert found == pytest.approx({place: hours[place] for place in found}, abs=0.01)


@answers("time_at_places")
def _(month: Month, rows: list[Row]) -> None:
    nights = sum(row["hours"] for row in rows if abs(row["latitude"] - HOME.latitude) < 0.002)
    visits = [v for day in month.lived.days for v in day.truth.visits if v.place == HOME]
    lived = sum((v.end - v.start).total_seconds() for v in visits) / 3600
    assert nights == pytest.approx(lived, rel=0.02)
    assert [r["hours"] for r in rows] == sorted((r["hours"] for r in rows), reverse=True)


@answers("hours_near_a_place_per_day")
def _(month: Month, rows: list[Row]) -> None:
    lived = {
        day.day: sum((v.end - v.start).total_seconds() for v in day.truth.visits if v.place == HOME)
        for day in month.lived.days
    }
    found = per_day(rows, "hours")
    assert set(found) == set(lived)
    for day, hours in found.items():
        assert hours == pytest.approx(lived[day] / 3600, abs=0.5)


@answers("distance_per_day")
def _(month: Month, rows: list[Row]) -> None:
    lived = {
        day.day: sum(trip.distance_m for trip in day.truth.trips) / 1000
        for day in month.lived.days
        if day.truth.trips
    }
    assert per_day(rows, "kilometers") == pytest.approx(
        lived, rel=0.05, abs=1
    )  # + the noise of parking


@answers("time_moving_by_hour")
def _(month: Month, rows: list[Row]) -> None:
    trips = [trip for day in month.lived.days for trip in day.truth.trips]
    lived = sum((trip.end - trip.start).total_seconds() for trip in trips) / 60
    assert sum(row["minutes"] for row in rows) == pytest.approx(lived, rel=0.25)
    assert {row["hour_of_day"] for row in rows} <= set(range(6, 24))


@answers("words_per_day_by_app")
def _(month: Month, rows: list[Row]) -> None:
    lived: Counter[tuple[date, str]] = Counter()
    for line in month.rows[CLIPBOARD]:
        lived[local(line["ts"]), line["source_app"]] += words(line["content_text"])
    for line in month.rows[NOTE]:
        lived[local(line["ts"]), "notes"] += words(line["content"])
    assert {(r["day"], r["app"]): r["words"] for r in rows} == dict(lived)


@answers("notes_per_day")
def _(month: Month, rows: list[Row]) -> None:
    lived = month.by_day(NOTE)
    assert per_day(rows, "notes") == {day: len(lines) for day, lines in lived.items()}
    assert per_day(rows, "characters") == {
        day: sum(len(line["content"]) for line in lines) for day, lines in lived.items()
    }


@answers("copied_by_app")
def _(month: Month, rows: list[Row]) -> None:
    lived = Counter(line["source_app"] for line in month.rows[CLIPBOARD])
    assert {row["app"]: row["copies"] for row in rows} == dict(lived)


def app_seconds(month: Month, key: Callable[[Row], Any]) -> dict[Any, float]:
    found: dict[Any, float] = defaultdict(float)
    for line in month.rows[APP]:
        if line.get("duration_s") is not None:
            found[key(line)] += line["duration_s"]
    return dict(found)


@answers("app_minutes_per_day")
def _(month: Month, rows: list[Row]) -> None:
    lived = app_seconds(month, lambda r: (r["device_id"], local(r["ts"]), r["app_name"]))
    found = {(r["device_id"], r["day"], r["app"]): r["minutes"] * 60 for r in rows}
    assert found == pytest.approx(lived, abs=6)


@answers("screen_time_per_day")
def _(month: Month, rows: list[Row]) -> None:
    lived = app_seconds(month, lambda r: local(r["ts"]))
    assert per_day(rows, "hours") == pytest.approx(
        {d: s / 3600 for d, s in lived.items()}, abs=0.01
    )


@answers("app_switches_by_hour")
def _(month: Month, rows: list[Row]) -> None:
    lived = Counter(
        line["ts"].astimezone(ZONE).hour
        for line in month.rows[APP]
        if line["event_type"] in {"launch", "foreground"}
    )
    assert {row["hour_of_day"]: row["switches"] for row in rows} == dict(lived)


def sleeps(month: Month) -> dict[date, float]:
    return {
        day.day: sum((s.end - s.start).total_seconds() for s in day.truth.sleeps) / 3600
        for day in month.lived.days
    }


@answers("sleep_per_day")
def _(month: Month, rows: list[Row]) -> None:
    assert per_day(rows, "hours") == pytest.approx(sleeps(month), abs=0.01)


@answers("sleep_against_screen_time")
def _(month: Month, rows: list[Row]) -> None:
    asleep = sleeps(month)
    screens = app_seconds(month, lambda r: local(r["ts"]))
    days = [day for day in screens if day + timedelta(days=1) in asleep]
    (found,) = rows
    assert found["days"] == len(days)
    mean = sum(screens[day] for day in days) / 3600 / len(days)
    assert found["mean_screen_h"] == pytest.approx(mean, abs=0.01)
    assert -1 <= found["correlation"] <= 1


def spoken(month: Month) -> dict[date, list[Row]]:
    return month.by_day(SPEECH)


@answers("speech_per_day")
def _(month: Month, rows: list[Row]) -> None:
    lived = {day: sum(words(r["text"]) for r in lines) for day, lines in spoken(month).items()}
    assert per_day(rows, "words") == lived
    assert lived


@answers("speech_by_place")
def _(month: Month, rows: list[Row]) -> None:
    lived: Counter[tuple[float, ...]] = Counter()
    for line in month.rows[SPEECH]:
        lived[square(fix_before(month, line["ts"]))] += words(line["text"])
    assert {(r["latitude"], r["longitude"]): r["words"] for r in rows} == dict(lived)


@answers("photos_by_place")
def _(month: Month, rows: list[Row]) -> None:
    lived = Counter(square(fix_before(month, line["ts"])) for line in month.rows[PHOTO])
    assert {(r["latitude"], r["longitude"]): r["photos"] for r in rows} == dict(lived)


@answers("heart_rate_by_activity")
def _(month: Month, rows: list[Row]) -> None:
    lived: Counter[str] = Counter()
    for beat in month.rows[HEART_RATE]:
        during = {
            a["activity"] for a in month.rows[ACTIVITY] if a["ts"] <= beat["ts"] < a["end_ts"]
        }
        lived.update(during or {"unknown"})
    assert {row["activity"]: row["beats"] for row in rows} == dict(lived)
    assert len(lived) > 1


@answers("heart_rate_by_hour")
def _(month: Month, rows: list[Row]) -> None:
    lived = defaultdict(list)
    for beat in month.rows[HEART_RATE]:
        lived[beat["ts"].astimezone(ZONE).hour].append(beat["bpm"])
    assert [row["hour_of_day"] for row in rows] == list(range(24))
    for row in rows:
        beats = lived[row["hour_of_day"]]
        assert row["mean_bpm"] == pytest.approx(sum(beats) / len(beats), abs=0.051)
        assert (row["lowest_bpm"], row["highest_bpm"]) == (min(beats), max(beats))


@answers("resting_heart_rate_per_day")
def _(month: Month, rows: list[Row]) -> None:
    assert set(per_day(rows, "beats")) == set(sleeps(month))
    assert all(50 < row["mean_bpm"] < 58 for row in rows)  # asleep it beats 54 times a minute


@answers("heart_rate_zones_per_day")
def _(month: Month, rows: list[Row]) -> None:
    lived = month.by_day(HEART_RATE)
    for row in rows:
        beats = [line["bpm"] for line in lived[row["day"]]]
        low = sum(bpm < 90 for bpm in beats)
        high = sum(bpm >= 120 for bpm in beats)
        assert (row["at_rest"], row["effort"]) == (low, high)
        assert row["raised"] == len(beats) - low - high


@answers("activity_minutes_per_day")
def _(month: Month, rows: list[Row]) -> None:
    lived: dict[tuple[date, str], float] = defaultdict(float)
    for line in month.rows[ACTIVITY]:
        lived[local(line["ts"]), line["activity"]] += line["duration_ms"] / 60000
    found = {(r["day"], r["activity"]): r["minutes"] for r in rows}
    assert found == pytest.approx(dict(lived), abs=0.01)


@answers("battery_per_day")
def _(month: Month, rows: list[Row]) -> None:
    lived = defaultdict(list)
    for line in month.rows[POWER]:
        lived[line["device_id"], local(line["ts"])].append(line["battery_level"])
    found = {(r["device_id"], r["day"]): r["lowest_percent"] for r in rows}
    assert found == {key: min(levels) for key, levels in lived.items()}


@answers("charges_per_device")
def _(month: Month, rows: list[Row]) -> None:
    lived: Counter[str] = Counter()
    readings = defaultdict(list)
    for line in sorted(month.rows[POWER], key=lambda line: line["ts"]):
        readings[line["device_id"]].append(line["is_charging"])
    for device, states in readings.items():
        lived[device] = sum(b and not a for a, b in pairwise(states))
    assert {row["device_id"]: row["charges"] for row in rows} == dict(lived)


@answers("gaps_per_stream")
def _(month: Month, rows: list[Row]) -> None:
    tables = {row["source_table"] for row in rows}
    assert REGISTRY[GPS].table not in tables  # a fix every ten minutes, day and night
    assert REGISTRY[NOTE].table in tables
    assert all(row["hours"] >= 6 for row in rows)


@answers("events_per_day")
def _(month: Month, rows: list[Row]) -> None:
    for name in (*TAKEN, SLEEP, SPEECH):
        lived = {day: len(lines) for day, lines in month.by_day(name).items()}
        kind = REGISTRY[name].kind
        if sum(REGISTRY[other].kind == kind for other in month.rows) == 1:
            assert {r["day"]: r["events"] for r in rows if r["kind"] == kind} == lived


@answers("events_by_weekday_and_hour")
def _(month: Month, rows: list[Row]) -> None:
    lived = Counter(
        (line["ts"].astimezone(ZONE).weekday(), line["ts"].astimezone(ZONE).hour)
        for name, lines in month.rows.items()
        if not REGISTRY[name].is_detail
        for line in lines
    )
    assert {(r["weekday"], r["hour_of_day"]): r["events"] for r in rows} == dict(lived)


@answers("days_without_data")
def _(month: Month, rows: list[Row]) -> None:
    every = {FIRST + timedelta(days=n) for n in range(DAYS)}
    without = {r["day"] for r in rows if r["kind"] == REGISTRY[PHOTO].kind}
    assert without == every - set(month.by_day(PHOTO))
    assert not [r for r in rows if r["kind"] == REGISTRY[HEART_RATE].kind]


@answers("minutes_covered_per_day")
def _(month: Month, rows: list[Row]) -> None:
    lived = {
        day: len({line["ts"].replace(second=0, microsecond=0) for line in lines})
        for day, lines in month.by_day(GPS).items()
    }
    assert per_day(rows, "minutes") == lived


@answers("devices_last_seen")
def _(month: Month, rows: list[Row]) -> None:
    (fix,) = [r for r in rows if r["kind"] == REGISTRY[GPS].kind]
    assert fix["device_id"] == PHONE.device_id
    assert fix["last_ts"] == max(line["ts"] for line in month.rows[GPS])
    assert fix["events"] == len(month.rows[GPS])


@answers("arrival_delay")
def _(month: Month, rows: list[Row]) -> None:
    (found,) = rows
    received = datetime(2026, 6, 1, tzinfo=UTC)
    longest = max(received - line["ts"] for line in month.rows[GPS])
    assert found["fixes"] == len(month.rows[GPS])
    assert found["longest_minutes"] == pytest.approx(longest.total_seconds() / 60, abs=0.1)


@answers("a_day")
def _(month: Month, rows: list[Row]) -> None:
    day = date.fromisoformat(GIVEN["day"])
    beats = month.by_day(HEART_RATE)[day]
    (found,) = [row for row in rows if row["kind"] == REGISTRY[HEART_RATE].kind]
    assert found["events"] == len(beats)
    assert found["first_ts"] == min(beat["ts"] for beat in beats)


@answers("words_found")
def _(month: Month, rows: list[Row]) -> None:
    notes = [line for line in month.rows[NOTE] if "porec" in line["content"].lower()]
    assert sum(row["kind"] == REGISTRY[NOTE].kind for row in rows) == len(notes) > 0


@pytest.mark.parametrize("name", sorted(LIBRARY))
def test_the_answer_is_the_known_one_and_about_one_user(
    duck: Duck, month: Month, name: str
) -> None:
    rows = answer(duck, name)
    assert rows
    assert {row["user_id"] for row in rows} == {USER}
    CHECKS[name](month, rows)


@pytest.mark.parametrize("name", sorted(LIBRARY))
def test_its_text_is_sql_of_trino_and_names_tables_that_there_are(name: str) -> None:
    tree = sqlglot.parse_one(filled(name), dialect="trino", error_level=sqlglot.ErrorLevel.RAISE)
    known = {stream.table for stream in REGISTRY.values()} | {"timeline"}
    tables = {table.name for table in tree.find_all(exp.Table) if table.db}
    assert tables
    assert tables <= known
    assert LIBRARY[name].question.endswith(("?", ".", "0."))


@pytest.mark.skipif("AM_TEST_TRINO_URL" not in os.environ, reason="no AM_TEST_TRINO_URL is set")
@pytest.mark.parametrize("name", sorted(LIBRARY))
def test_trino_gives_the_same_answer(duck: Duck, name: str) -> None:
    """The server has to have this month in its stores: `am demo --days 30` fills one."""
    from resources.trino import Trino  # noqa: PLC0415 - only where there is a server

    trino = Trino(os.environ["AM_TEST_TRINO_URL"], user=USER)
    assert trino.query(filled(name)).to_pylist() == answer(duck, name)


def test_there_are_enough_questions_and_each_is_its_file() -> None:
    assert len(LIBRARY) >= 25
    assert set(LIBRARY) == set(CHECKS)
    folder = Path(__file__).parents[2] / "infra" / "queries"
    assert {path.stem for path in folder.glob("*.sql")} == set(LIBRARY)


@pytest.mark.parametrize("query_", LIBRARY.values(), ids=LIBRARY)
def test_every_parameter_is_used_and_every_place_is_a_parameter(query_: NamedQuery) -> None:
    # What is filled in is no place any more; were one left, DuckDB and Trino would object to it.
    marks = {p.name: f"'mark {n}'" for n, p in enumerate(query_.parameters)}
    text = query_.text
    for name, mark in marks.items():
        assert f":{name}" in text
        text = text.replace(f":{name}", mark)
    assert ":" not in text.replace("::", "")


TEXT_QUERY = read_query(
    "-- name: t\n-- question: q?\n-- parameter: word text | A word.\n"
    "SELECT :word AS a, ':word' AS b, ':word''' AS c -- :word\n"
)


@given(st.text(alphabet=st.characters(exclude_categories=("Cs",), exclude_characters="\0")))
def test_any_text_is_filled_in_as_itself_and_as_nothing_more(text: str) -> None:
    import duckdb  # noqa: PLC0415 - this test alone needs a bare one

    with duckdb.connect() as engine:
        found = engine.execute(TEXT_QUERY.sql({"word": text})).fetchone()
    assert found == (text, ":word", ":word'")


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Kind.INTEGER, "1; DROP"),
        (Kind.NUMBER, "one"),
        (Kind.DAY, "yesterday"),
        (Kind.INSTANT, "'; SELECT 1 --"),
        (Kind.ZONE, "Mars/Base"),
        (Kind.ZONE, "../etc/passwd"),
    ],
)
def test_a_value_that_is_not_of_its_kind_is_refused(kind: Kind, value: str) -> None:
    asked = read_query(f"-- name: t\n-- question: q?\n-- parameter: x {kind} | It.\nSELECT :x")
    with pytest.raises(QueryLibraryError, match="x"):
        asked.sql({"x": value})


def test_a_parameter_that_is_missing_or_unknown_is_named() -> None:
    with pytest.raises(QueryLibraryError, match="--param word="):
        TEXT_QUERY.sql({})
    with pytest.raises(QueryLibraryError, match="'other'"):
        TEXT_QUERY.sql({"word": "a", "other": "b"})


def test_ids_are_unique_in_the_month(month: Month) -> None:
    assert all(isinstance(UUID(message.message_id), UUID) for message in month.lived.messages)
