from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from am_assets.derived.device_sensor_accelerometer_windowed import HOP, WINDOW, windows

HOUR = datetime(2026, 3, 1, 10, tzinfo=UTC)
LAST_HOUR = datetime(2026, 3, 1, 23, tzinfo=UTC)


def _readings(start: datetime, *, rate_hz: float, seconds: float, freq_hz: float = 2.0) -> pa.Table:
    offsets = np.arange(int(seconds * rate_hz)) / rate_hz
    swing = 3 * np.sin(2 * np.pi * freq_hz * offsets)
    return _table([start + timedelta(seconds=float(s)) for s in offsets], swing)


def _table(times: list[datetime], x: Any) -> pa.Table:
    zeros = np.zeros(len(times))
    return pa.table(
        {
            "ts": pa.array(times, pa.timestamp("us", tz="UTC")),
            "x_m_s2": pa.array(np.asarray(x, dtype=np.float64)),
            "y_m_s2": pa.array(zeros),
            "z_m_s2": pa.array(zeros + 9.81),
        }
    )


@settings(max_examples=15, deadline=None)
@given(st.floats(9, 100), st.floats(0, 600))
def test_the_rate_is_the_measured_one_and_windows_lie_on_the_days_grid(
    rate_hz: float, offset_s: float
) -> None:
    start = HOUR + timedelta(seconds=offset_s)
    found = windows(_readings(start, rate_hz=rate_hz, seconds=20), hour=HOUR)
    assert found
    for row in found:
        assert (row.ts - HOUR) % HOP == timedelta(0)
        assert abs(row.values.rate_hz / rate_hz - 1) < 0.01  # type: ignore[attr-defined]  # Row
    assert all(after.ts - before.ts == HOP for before, after in pairwise(found))


@settings(max_examples=15, deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_order_of_readings_does_not_matter_and_neither_do_repeats(random: Any) -> None:
    readings = _readings(HOUR, rate_hz=20, seconds=30)
    places = [*range(readings.num_rows), *range(0, readings.num_rows, 7)]
    random.shuffle(places)
    assert windows(readings.take(places), hour=HOUR) == windows(readings, hour=HOUR)


def test_no_window_crosses_midnight() -> None:
    found = windows(_readings(LAST_HOUR, rate_hz=10, seconds=3700), hour=LAST_HOUR)
    assert found[-1].ts + WINDOW <= LAST_HOUR + timedelta(hours=1)


def test_an_hour_ends_with_a_window_that_reaches_into_the_next() -> None:
    found = windows(_readings(HOUR, rate_hz=10, seconds=3605), hour=HOUR)
    assert len(found) == 900
    assert found[-1].ts == HOUR + timedelta(seconds=3596)


def test_a_pause_of_more_than_a_second_leaves_no_window_across_it() -> None:
    before = _readings(HOUR, rate_hz=10, seconds=20)
    after = _readings(HOUR + timedelta(seconds=22), rate_hz=10, seconds=20)
    starts = {(r.ts - HOUR).seconds for r in windows(pa.concat_tables([before, after]), hour=HOUR)}
    assert starts == {0, 4, 8, 12, 24, 28, 32, 36}


def test_less_than_two_readings_a_second_are_no_window() -> None:
    assert windows(_readings(HOUR, rate_hz=1.5, seconds=60), hour=HOUR) == []


def test_a_slow_sensor_gives_windows_without_features() -> None:
    found = windows(_readings(HOUR, rate_hz=4, seconds=20, freq_hz=0.5), hour=HOUR)
    assert found
    assert all(row.values.features == [] for row in found)  # type: ignore[attr-defined]  # Row


def test_the_strongest_frequency_of_the_magnitude_is_found() -> None:
    times = [HOUR + timedelta(milliseconds=20 * n) for n in range(500)]
    steps = 2 * np.sin(2 * np.pi * 1.8 * np.arange(500) / 50)
    table = _table(times, np.zeros(500)).set_column(3, "z_m_s2", pa.array(9.81 + steps))
    (row, *_) = windows(table, hour=HOUR)
    assert abs(row.values.peak_frequency_hz - 1.8) <= 0.21  # type: ignore[attr-defined]  # Row


def test_no_readings_are_no_windows() -> None:
    assert windows(_table([], []), hour=HOUR) == []
