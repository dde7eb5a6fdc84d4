import json
from collections import Counter
from datetime import UTC, date, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.demo.day import HOME, ZONE
from infra.demo.life import OFFICE, plan_life
from infra.demo.message import AUDIO, CLIPBOARD, GPS, NOTE, POWER, REST_PATHS, SCREENSHOT
from infra.demo.month import DemoMonth, generated_month, in_words
from infra.demo.routine import apart_m
from infra.demo.send import plan
from infra.demo.truth import Place, counts_by_utc_day

END = date(2026, 11, 20)
SEEDS = st.integers(0, 10_000)
DAYS = st.dates(min_value=date(2015, 1, 1), max_value=date(2040, 12, 31))


@pytest.fixture(scope="module")
def month() -> DemoMonth:
    # The clocks go back on 2026-10-25.
    return generated_month(30, seed=3, end=END)


@settings(max_examples=6, deadline=None)
@given(st.integers(1, 3), SEEDS, DAYS)
def test_the_same_arguments_give_the_same_life(days: int, seed: int, end: date) -> None:
    life = generated_month(days, seed=seed, end=end)
    assert life == generated_month(days, seed=seed, end=end)
    assert [day.day for day in life.days] == [
        end - timedelta(days=n) for n in reversed(range(days))
    ]


@settings(max_examples=6, deadline=None)
@given(SEEDS, st.sampled_from([date(2026, 3, 29), date(2026, 10, 25), END]))
def test_every_message_lies_in_its_day_by_the_owners_clock(seed: int, end: date) -> None:
    day = generated_month(1, seed=seed, end=end).days[0]
    times = [message.ts for message in day.messages]
    assert times == sorted(times)
    assert {ts.astimezone(ZONE).date() for ts in times} == {end}


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 40), SEEDS, DAYS)
def test_a_planned_day_has_no_gap_but_the_drives_and_ends_at_home(
    days: int, seed: int, end: date
) -> None:
    for one in plan_life(days, seed=seed, end=end):
        assert one.stops[0].place == one.stops[-1].place == HOME
        assert (one.stops[0].start, one.stops[-1].end) == (0, 24 * 60)
        assert all(a.start < a.end < b.start for a, b in pairwise(one.stops))
        assert one.wake < one.stops[0].end
        assert one.stops[-1].start < one.bed < 24 * 60
        assert one.is_workday == (one.day.weekday() < 5)


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 60), SEEDS)
def test_a_thing_comes_back_from_who_borrowed_it_after_it_was_lent(days: int, seed: int) -> None:
    out: dict[str, str] = {}
    for one in plan_life(days, seed=seed, end=END):
        if one.loan is None:
            continue
        if one.loan.is_return:
            assert out.pop(one.loan.thing) == one.loan.person
        else:
            assert one.loan.thing not in out
            out[one.loan.thing] = one.loan.person


def test_ids_are_unique_in_a_month_and_bodies_are_json(month: DemoMonth) -> None:
    messages = list(month.messages)
    assert len({message.message_id for message in messages}) == len(messages)
    assert all(json.dumps(message.body) for message in messages)


def test_a_day_stays_under_three_thousand_messages(month: DemoMonth) -> None:
    assert max(len(day.messages) for day in month.days) <= 3000
    assert sum(len(requests) for requests in plan(list(month.messages))) < 4000


def test_the_month_has_all_streams_and_recordings_only_on_some_days(month: DemoMonth) -> None:
    counts = [day.truth.counts for day in month.days]
    assert set().union(*counts) == set(REST_PATHS)
    assert 0 < sum(AUDIO in count for count in counts) < 10
    assert 0 < sum(SCREENSHOT in count for count in counts) < 10


def test_counts_by_utc_day_add_up_to_the_counts_of_all_days(month: DemoMonth) -> None:
    by_day = counts_by_utc_day(month.messages)
    total: Counter[str] = Counter()
    for day in month.days:
        total.update(day.truth.counts)
    streams: Counter[str] = Counter()
    for (_, stream), count in by_day.items():
        streams[stream] += count
    assert streams == total
    assert min(day for day, _ in by_day) == month.days[0].messages[0].ts.astimezone(UTC).date()


def test_fixes_of_a_visit_are_at_its_place(month: DemoMonth) -> None:
    for day in month.days[:10]:
        fixes = [m for m in day.messages if m.stream == GPS]
        for visit in day.truth.visits:
            inside = [m for m in fixes if visit.start <= m.ts < visit.end]
            assert inside
            for fix in inside:
                spot = Place(
                    name="", latitude=fix.body["latitude"], longitude=fix.body["longitude"]
                )
                assert apart_m(spot, visit.place) < 40


def test_trips_join_the_visits_at_a_cars_speed(month: DemoMonth) -> None:
    for day in month.days:
        truth = day.truth
        assert len(truth.trips) == len(truth.visits) - 1
        for trip, (a, b) in zip(truth.trips, pairwise(truth.visits), strict=True):
            assert (trip.start, trip.end) == (a.end, b.start)
            assert trip.distance_m / (trip.end - trip.start).total_seconds() < 25


def test_the_owner_works_on_weekdays_only(month: DemoMonth) -> None:
    for day in month.days:
        is_at_work = any(visit.place == OFFICE for visit in day.truth.visits)
        assert is_at_work == (day.day.weekday() < 5)


def test_a_note_of_a_loan_names_who_was_met_where_and_the_message_before_it(
    month: DemoMonth,
) -> None:
    loans = 0
    for day in month.days:
        met = [(p, v.place) for v in day.truth.visits for p in v.people]
        copied = [m.body["content_text"] for m in day.messages if m.stream == CLIPBOARD]
        for note in (m.body for m in day.messages if m.stream == NOTE and "loan" in m.body["tags"]):
            loans += 1
            ((person, place),) = met
            assert person in note["content"]
            assert in_words(place) in note["content"]
            assert note["title"].lower() in copied[0]
            assert copied[0].startswith(person)
    assert loans >= 10


def test_questions_are_answered_by_notes_of_their_day(month: DemoMonth) -> None:
    asked = 0
    for day in month.days:
        notes = {m.message_id for m in day.messages if m.stream == NOTE}
        for question in day.truth.questions:
            asked += 1
            assert set(question.message_ids) <= notes
    assert asked >= 10


def test_batteries_go_on_at_midnight_where_they_were(month: DemoMonth) -> None:
    for device in {m.device_id for m in month.messages if m.stream == POWER}:
        levels = [
            m.body["battery_level"]
            for m in month.messages
            if m.stream == POWER and m.device_id == device
        ]
        assert all(1 <= level <= 100 for level in levels)
        assert max(abs(a - b) for a, b in pairwise(levels)) <= 11


def test_hearts_beat_slower_asleep(month: DemoMonth) -> None:
    day = month.days[3]
    beats = [(m.ts, m.body["bpm"]) for m in day.messages if "bpm" in m.body]
    asleep = [b for ts, b in beats if any(s.start <= ts < s.end for s in day.truth.sleeps)]
    awake = [b for ts, b in beats if not any(s.start <= ts < s.end for s in day.truth.sleeps)]
    assert sum(asleep) / len(asleep) + 8 < sum(awake) / len(awake)
