from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from sensors.unfinished import (
    DAYS_A_TICK,
    MAX_TRIES,
    PATIENCE,
    Finding,
    Memory,
    decide,
    memory_from_text,
    memory_to_text,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
DAY = date(2026, 2, 1)
LONG_AGO = NOW - timedelta(hours=1)


def _finding(days: int = 0, since: datetime = LONG_AGO) -> Finding:
    return Finding(DAY + timedelta(days=days), ("derived", "x"), since)


def test_what_moved_a_moment_ago_is_left_to_the_ordinary_way() -> None:
    fresh = _finding(since=NOW - PATIENCE / 2)
    assert decide([fresh], {}, busy=(), now=NOW).requests == ()


def test_a_day_with_a_run_in_flight_is_not_asked_for() -> None:
    assert decide([_finding()], {}, busy=[DAY], now=NOW).requests == ()


def test_all_assets_of_a_day_are_one_run_and_the_newest_days_come_first() -> None:
    findings = [_finding(n) for n in range(DAYS_A_TICK + 5)]
    other = Finding(findings[-1].day, ("raw", "y"), LONG_AGO)
    requests = decide([*findings, other], {}, busy=(), now=NOW).requests
    assert len(requests) == DAYS_A_TICK
    assert min(one.day for one in requests) == findings[5].day
    assert requests[-1].assets == (("derived", "x"), ("raw", "y"))


def test_what_stays_behind_is_asked_for_ever_more_rarely_and_then_no_more() -> None:
    memory: Memory = {}
    asked: list[datetime] = []
    keys: set[str] = set()
    now = NOW
    for _ in range(24 * 60):
        decision = decide([_finding()], memory_from_text(memory_to_text(memory)), busy=(), now=now)
        memory = decision.memory
        asked += [now for _ in decision.requests]
        keys |= {one.run_key for one in decision.requests}
        now += timedelta(minutes=1)
    assert len(asked) == len(keys) == MAX_TRIES
    pauses = [after - before for before, after in pairwise(asked)]
    assert pauses == sorted(pauses)


def test_progress_starts_the_count_anew_and_the_end_is_forgotten() -> None:
    memory = decide([_finding()], {}, busy=(), now=NOW).memory
    moved = _finding(since=NOW + timedelta(seconds=1))
    later = NOW + timedelta(minutes=5)
    again = decide([moved], memory, busy=(), now=later)
    assert [tried.tries for tried in again.memory.values()] == [1]
    assert decide([], again.memory, busy=(), now=later).memory == {}


@given(st.lists(st.integers(0, 40), unique=True), st.sets(st.integers(0, 40)))
def test_only_days_that_are_behind_and_idle_are_asked_for(
    behind: list[int], busy: set[int]
) -> None:
    not_now = {DAY + timedelta(days=n) for n in busy}
    decision = decide([_finding(n) for n in behind], {}, busy=not_now, now=NOW)
    asked = {one.day for one in decision.requests}
    assert asked <= {DAY + timedelta(days=n) for n in behind} - not_now
