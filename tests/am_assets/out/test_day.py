"""The local day and its facts, from tables alone."""

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from am_assets.out.day import (
    DAY,
    HOUR,
    MINUTE,
    UNKNOWN_ZONE,
    DayRows,
    Duration,
    Gap,
    LocalDay,
    Offsets,
    activity_times,
    app_times,
    covered,
    digest,
    gaps,
    heart_rates,
)
from am_assets.out.day_digest import PRESENCE
from am_assets.schemas.arrow import row_schema
from am_assets.streams.digital import CLIPBOARD, NOTE
from am_assets.streams.health import HEART_RATE
from am_assets.streams.motion import ACTIVITY
from am_assets.streams.os_events import APP_LIFECYCLE
from am_assets.streams.position import GPS_FIX
from am_assets.streams.stream import Stream
from am_assets.streams.text import OCR_CLEANED, TRANSCRIPT

MAY4 = date(2026, 5, 4)
NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
UTC_DAY = LocalDay.of(MAY4, Offsets.of([(NOON, 0, 1)]))


def table(stream: Stream, *rows: dict[str, Any]) -> pa.Table:
    """Rows with the columns that matter; the others null."""
    full = [
        {"device_id": "phone", "ts": NOON, "event_id": str(UUID(int=number)), **row}
        for number, row in enumerate(rows)
    ]
    schema = pa.schema([field.with_nullable(True) for field in row_schema(stream)])
    return pa.Table.from_pylist(full, schema=schema)


def presence(*minutes: tuple[str, datetime, int]) -> pa.Table:
    rows = [dict(zip(PRESENCE.names, row, strict=True)) for row in minutes]
    return pa.Table.from_pylist(rows, schema=PRESENCE)


def day_rows(**tables: pa.Table) -> DayRows:
    empty = {
        "transcripts": table(TRANSCRIPT),
        "screen_texts": table(OCR_CLEANED),
        "activities": table(ACTIVITY),
        "fixes": table(GPS_FIX),
        "app_events": table(APP_LIFECYCLE),
        "heart_rates": table(HEART_RATE),
        "notes": table(NOTE),
        "clipboard": table(CLIPBOARD),
        "presence": presence(),
    }
    return DayRows(**{**empty, **tables})


def app(minute: float, identifier: str, event: str, **more: Any) -> dict[str, Any]:
    ts = NOON + timedelta(minutes=minute)
    return {"ts": ts, "app_identifier": identifier, "event_type": event, **more}


def minutes(times: Iterable[Duration]) -> dict[str, float]:
    return {time.name: time.seconds / 60 for time in times}


def test_a_day_begins_at_local_midnight() -> None:
    in_porec = LocalDay.of(MAY4, Offsets.of([(NOON, 120, 5)]))
    assert in_porec.begin == datetime(2026, 5, 3, 22, tzinfo=UTC)
    assert in_porec.end - in_porec.begin == DAY
    assert in_porec.note is None
    assert in_porec.clock(NOON) == datetime(2026, 5, 4, 14)  # noqa: DTZ001 - a wall clock


@pytest.mark.parametrize(
    ("day", "before", "after", "change", "hours"),
    [
        (date(2026, 3, 29), 60, 120, datetime(2026, 3, 29, 1, tzinfo=UTC), 23),
        (date(2026, 10, 25), 120, 60, datetime(2026, 10, 25, 1, tzinfo=UTC), 25),
        (date(2026, 5, 4), 60, -300, datetime(2026, 5, 4, 12, tzinfo=UTC), 30),  # to New York
    ],
)
def test_a_day_is_shorter_or_longer_where_clocks_change_or_one_travels(
    day: date, before: int, after: int, change: datetime, hours: int
) -> None:
    seen = [(change + n * HOUR, before if n < 0 else after, 3) for n in range(-40, 40)]
    local = LocalDay.of(day, Offsets.of(seen))
    assert local.end - local.begin == hours * HOUR


def test_without_any_offset_the_day_is_the_utc_day_and_says_so() -> None:
    local = LocalDay.of(MAY4, Offsets.of([]))
    assert (local.begin, local.end) == (NOON - 12 * HOUR, NOON + 12 * HOUR)
    assert local.note == UNKNOWN_ZONE


def test_one_device_with_a_wrong_clock_does_not_move_the_day() -> None:
    offsets = Offsets.of([(NOON, 120, 50), (NOON, -480, 3)])
    assert offsets.at(NOON) == timedelta(minutes=120)


zones = st.integers(-12 * 4, 14 * 4).map(lambda quarters: quarters * 15)


@given(zones, st.dates(date(2000, 1, 1), date(2100, 1, 1)))
def test_in_one_zone_each_instant_belongs_to_exactly_one_day(minutes: int, day: date) -> None:
    offsets = Offsets.of([(NOON, minutes, 1)])
    today, tomorrow = LocalDay.of(day, offsets), LocalDay.of(day + DAY, offsets)
    assert today.end == tomorrow.begin
    assert today.end - today.begin == DAY
    assert today.clock(today.begin).date() == day


@given(
    st.lists(st.tuples(st.integers(-48, 48), zones, st.integers(1, 5)), max_size=20), st.randoms()
)
def test_offsets_do_not_depend_on_the_order_they_are_read_in(
    seen: list[tuple[int, int, int]], random: Any
) -> None:
    votes = [(NOON + hours * HOUR, zone, count) for hours, zone, count in seen]
    shuffled = list(votes)
    random.shuffle(shuffled)
    assert Offsets.of(shuffled) == Offsets.of(votes)


def test_what_was_said_read_written_and_copied_is_that_of_the_day_in_order() -> None:
    late, early = {"ts": NOON + HOUR, "text": "b"}, {"ts": NOON, "text": "a"}
    yesterday = {"ts": UTC_DAY.begin - MINUTE, "text": "before"}
    midnight = {"ts": UTC_DAY.end, "text": "after"}
    made = digest(
        UTC_DAY,
        day_rows(
            transcripts=table(TRANSCRIPT, late, yesterday, early, midnight),
            screen_texts=table(OCR_CLEANED, {"ts": UTC_DAY.begin, "text": "first"}),
            notes=table(NOTE, {"title": "Bread", "content": "Feed it."}),
            clipboard=table(CLIPBOARD, {"content_text": None}, {"content_text": "copied"}),
        ),
        until=NOON,
    )
    assert [text.text for text in made.said] == ["a", "b"]
    assert [text.text for text in made.read] == ["first"]
    assert [(note.origin, note.text) for note in made.notes] == [("Bread", "Feed it.")]
    assert [text.text for text in made.clipboard] == ["copied"]
    assert made.heart is None


def test_an_app_is_in_front_until_it_or_another_says_otherwise() -> None:
    events = table(
        APP_LIFECYCLE,
        app(0, "mail", "foreground", app_name="Mail"),
        app(10, "web", "foreground"),
        app(12, "mail", "background"),  # it was behind already
        app(15, "web", "background"),
        app(60, "mail", "foreground", app_name="Mail"),
        app(61, "mail", "foreground", app_name="Mail"),  # told again
        app(65, "mail", "crash", app_name="Mail"),
        app(70, "web", "launch"),  # which alone puts nothing in front
        app(80, "music", "foreground"),  # and nobody knows until when
    )
    assert minutes(app_times(events, UTC_DAY)) == {"Mail": 15.0, "web": 5.0}


def test_apps_of_two_devices_do_not_end_each_other() -> None:
    events = table(
        APP_LIFECYCLE,
        app(0, "mail", "foreground"),
        app(5, "web", "foreground", device_id="laptop"),
        app(10, "mail", "background"),
        app(20, "web", "background", device_id="laptop"),
    )
    assert minutes(app_times(events, UTC_DAY)) == {"web": 15.0, "mail": 10.0}


def test_only_the_part_of_an_app_or_activity_inside_the_day_counts() -> None:
    events = table(
        APP_LIFECYCLE,
        app(-12 * 60 - 30, "mail", "foreground"),
        app(-12 * 60 + 10, "mail", "background"),
    )
    assert minutes(app_times(events, UTC_DAY)) == {"mail": 10.0}
    walk = {"ts": UTC_DAY.end - 5 * MINUTE, "end_ts": UTC_DAY.end + HOUR, "activity": "walking"}
    sleep = {"ts": UTC_DAY.end, "end_ts": UTC_DAY.end + HOUR, "activity": "still"}
    assert minutes(activity_times(table(ACTIVITY, walk, sleep), UTC_DAY)) == {"walking": 5.0}


def test_what_phone_and_watch_tell_at_once_counts_once() -> None:
    walk = {"ts": NOON, "end_ts": NOON + HOUR, "activity": "walking"}
    later = {**walk, "ts": NOON + HOUR / 2, "end_ts": NOON + 2 * HOUR, "device_id": "watch"}
    assert minutes(activity_times(table(ACTIVITY, walk, later), UTC_DAY)) == {"walking": 120.0}


stretches = st.lists(
    st.tuples(st.integers(0, 100), st.integers(0, 30)).map(
        lambda pair: (NOON + pair[0] * MINUTE, NOON + (pair[0] + pair[1]) * MINUTE)
    ),
    max_size=12,
)


@given(stretches)
def test_covered_time_is_that_of_each_minute_once(parts: list[tuple[datetime, datetime]]) -> None:
    one_by_one = {
        begin + n * MINUTE for begin, end in parts for n in range((end - begin) // MINUTE)
    }
    assert covered(parts) == len(one_by_one) * MINUTE


def test_heart_rates_are_summed_up_and_none_is_not_zero() -> None:
    found = heart_rates(table(HEART_RATE, {"bpm": 50.0}, {"bpm": 61.0}, {"bpm": 90.0}))
    assert found is not None
    assert (found.min_bpm, found.mean_bpm, found.max_bpm) == (50, 67, 90)
    assert heart_rates(table(HEART_RATE)) is None


def test_gaps_are_hours_without_anything_up_to_now() -> None:
    seen = [NOON - 12 * HOUR, NOON - 2 * HOUR, NOON - 2 * HOUR + MINUTE, NOON]
    assert gaps(seen, UTC_DAY, until=NOON + 30 * MINUTE) == (
        Gap(NOON - 12 * HOUR + MINUTE, NOON - 2 * HOUR),
        Gap(NOON - 2 * HOUR + 2 * MINUTE, NOON),
    )
    assert gaps([], UTC_DAY, until=NOON + 99 * HOUR) == (Gap(UTC_DAY.begin, UTC_DAY.end),)
    assert gaps([], UTC_DAY, until=UTC_DAY.begin - HOUR) == ()


@given(st.sets(st.integers(-100, 24 * 60 + 100), max_size=30))
def test_no_gap_holds_a_minute_with_rows_and_no_long_silence_is_left_out(seen: set[int]) -> None:
    times = [UTC_DAY.begin + n * MINUTE for n in seen]
    found = gaps(times, UTC_DAY, until=UTC_DAY.end)
    for gap in found:
        assert gap.end - gap.begin >= HOUR
        assert not any(gap.begin <= ts < gap.end for ts in times)
    silent = {n for n in range(24 * 60) if not {*range(n, n + 60)} & seen and n + 60 <= 24 * 60}
    told = {n for n in silent if any(g.begin <= UTC_DAY.begin + n * MINUTE < g.end for g in found)}
    assert told == silent


def test_counts_are_of_the_day_by_stream() -> None:
    seen = presence(
        ("b.x.y", NOON, 3),
        ("a.x.y", NOON, 1),
        ("b.x.y", NOON + MINUTE, 4),
        ("b.x.y", NOON - DAY, 9),
    )
    made = digest(UTC_DAY, day_rows(presence=seen), until=NOON)
    assert list(made.counts.items()) == [("a.x.y", 1), ("b.x.y", 7)]
    assert made.row_count == 8
    assert digest(UTC_DAY, day_rows(), until=NOON).is_empty


def test_visits_are_those_that_reach_into_the_day_with_the_names_they_have() -> None:
    def fixes(begin: datetime, latitude: float) -> list[dict[str, Any]]:
        return [
            {"ts": begin + n * MINUTE, "latitude": latitude, "longitude": 13.6} for n in range(20)
        ]

    rows = day_rows(
        fixes=table(
            GPS_FIX,
            *fixes(UTC_DAY.begin - 10 * MINUTE, 45.2),
            *fixes(NOON, 46.2),
            *fixes(UTC_DAY.begin - 5 * HOUR, 47.2),
        )
    )
    made = digest(UTC_DAY, rows, until=NOON)
    assert [round(stay.visit.latitude, 1) for stay in made.stays] == [45.2, 46.2]
    assert [stay.place for stay in made.stays] == [None, None]
    named = digest(UTC_DAY, rows, until=NOON, places={made.stays[1].visit: "Bled"})
    assert [stay.place for stay in named.stays] == [None, "Bled"]
