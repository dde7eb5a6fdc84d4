"""Turns on a grid, and what the clocks tell of sleep and of being set."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from collectors.desktop.clock import Timetable, look_at_clocks, next_turn
from collectors.desktop.observation import Moment
from collectors.desktop.sources.machine import MachineSource

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECONDS = st.floats(0, 1e7, allow_nan=False)
INTERVALS = st.floats(0.05, 1e5)


def at(*, boot_s: float, awake_s: float, wall_s: float) -> Moment:
    return Moment(NOON + timedelta(seconds=wall_s), boot_s, awake_s)


@given(SECONDS, INTERVALS, SECONDS)
def test_a_turn_is_later_than_now_and_never_more_than_an_interval_away(
    start: float, interval: float, passed: float
) -> None:
    now = start + passed
    turn = next_turn(start, interval, now_s=now)
    assert now < turn <= now + interval * (1 + 1e-6) + 1e-6


@given(st.integers(1, 50), st.integers(0, 1000), st.floats(0, 0.99))
def test_a_late_look_moves_no_later_turn(interval: int, turns: int, late: float) -> None:
    now = 100 + turns * interval + late * interval
    assert next_turn(100, interval, now_s=now) == 100 + (turns + 1) * interval


def test_after_a_night_asleep_there_is_one_turn_and_no_more() -> None:
    table = Timetable({"battery": 60.0, "window": 1.0}, 0.0)
    assert set(table.due(0.0)) == {"battery", "window"}
    for name in ("battery", "window"):
        table.took_turn(name, now_s=0.0)
    assert table.due(0.5) == []
    assert table.next_in_s(0.25) == 0.75
    morning = 8 * 3600.5
    assert set(table.due(morning)) == {"battery", "window"}
    table.took_turn("battery", now_s=morning)
    assert "battery" not in table.due(morning + 1)


def test_a_source_in_a_hurry_has_an_extra_turn_and_then_its_own_again() -> None:
    table = Timetable({"screenshots": 10.0}, 0.0)
    table.took_turn("screenshots", now_s=1.0, soon_s=2.0)
    assert table.due(3.0) == ["screenshots"]
    table.took_turn("screenshots", now_s=3.0)
    assert table.due(9.9) == []
    assert table.due(10.0) == ["screenshots"]


def test_sleep_and_a_clock_that_was_set_are_told_apart() -> None:
    source = MachineSource()
    assert source.poll(at(boot_s=0, awake_s=0, wall_s=0)) == []
    assert source.poll(at(boot_s=1, awake_s=1, wall_s=1)) == []
    asleep = source.poll(at(boot_s=3602, awake_s=2, wall_s=3602))
    assert [(event.values["event_type"], event.ts) for event in asleep] == [
        ("suspend", NOON + timedelta(seconds=1)),
        ("resume", NOON + timedelta(seconds=3602)),
    ]
    (jumped,) = source.poll(at(boot_s=3603, awake_s=3, wall_s=3))
    assert jumped.values["event_type"] == "clock_changed"
    assert jumped.values["metadata"] == {"by_s": -3600.0}


def test_the_clocks_of_this_machine_go_forward() -> None:
    first, second = look_at_clocks(), look_at_clocks()
    assert second.boot_s >= first.boot_s
    assert second.awake_s >= first.awake_s
