"""Windows of acceleration: 5 s long, one every 4 s of the UTC day, at the rate they really have."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from am_assets.derived.enrichment import Derived, Enrichment, Item, Maker, Outcome
from am_assets.derived.enrichment import found_or_nothing as found
from am_assets.streams.motion import ACCELERATION, WINDOWS, AccelerationWindow
from models.activity import MIN_RATE_HZ, window_features
from resources.compute import Compute
from resources.work_items import Unit

VERSION = 1
MAKER = Maker("rule:accelerometer-windows", str(VERSION))
WINDOW = timedelta(seconds=5)
HOP = timedelta(seconds=4)
SECOND_US = 1_000_000
WINDOW_US, HOP_US = 5 * SECOND_US, 4 * SECOND_US
HOUR_US, DAY_US = 3_600 * SECOND_US, 86_400 * SECOND_US
# A window is made of at least 2 readings a second, with no second (at its ends neither) without.
MIN_SAMPLES = 10
MAX_GAP_US = SECOND_US

Times = NDArray[np.int64]
Axes = NDArray[np.float64]


def windows(readings: pa.Table, *, hour: datetime) -> list[Derived]:
    """The windows that begin in this hour, in order of time.

    `readings`: ts, x_m_s2, y_m_s2, z_m_s2 of one device, in any order. A window in which the
    sensor paused for more than 1 s, or read less than twice a second, is not made. One below 8 Hz
    has no features: they would be guesses.
    """
    times, axes = _arrays(readings)
    begins = _begins(hour)
    firsts = np.searchsorted(times, begins)
    lasts = np.searchsorted(times, begins + WINDOW_US)
    return [
        _window(int(begin), times[first:last], axes[first:last])
        for begin, first, last in zip(begins, firsts, lasts, strict=True)
        if _is_covered(int(begin), times[first:last])
    ]


def run(items: Sequence[Item], compute: Compute) -> list[Outcome]:  # noqa: ARG001 - rules only
    """Cut hours of acceleration into windows."""
    return [found(list(_of_item(item)), MAKER) for item in items]


def measured_rate_hz(times: Times) -> float:
    """Readings a second, from the median distance of their times (µs, two or more, increasing)."""
    return float(SECOND_US / np.median(np.diff(times)))


def _of_item(item: Item) -> Iterator[Derived]:
    assert item.rows is not None
    yield from windows(item.rows, hour=item.ts)


def _arrays(readings: pa.Table) -> tuple[Times, Axes]:
    """Times in µs, increasing and each once, and the mean of the readings of each time."""
    times = readings["ts"].cast(pa.int64()).to_numpy()
    axes = np.column_stack([readings[f"{axis}_m_s2"].to_numpy() for axis in "xyz"])
    instants, place, count = np.unique(times, return_inverse=True, return_counts=True)
    sums = np.zeros((len(instants), 3))
    np.add.at(sums, place, axes)
    return instants, sums / np.maximum(count, 1)[:, None]


def _begins(hour: datetime) -> Times:
    start = _epoch_us(hour)
    midnight = start - start % DAY_US
    first = midnight + -((midnight - start) // HOP_US) * HOP_US
    begins = np.arange(first, start + HOUR_US, HOP_US, dtype=np.int64)
    return begins[begins + WINDOW_US <= midnight + DAY_US]


def _is_covered(begin: int, times: Times) -> bool:
    if len(times) < MIN_SAMPLES:
        return False
    edges = np.concatenate([[begin], times, [begin + WINDOW_US]])
    return bool(np.diff(edges).max() <= MAX_GAP_US)


def _window(begin: int, times: Times, axes: Axes) -> Derived:
    rate_hz = measured_rate_hz(times)
    even = _evenly(times, axes, rate_hz)
    magnitude = np.linalg.norm(axes, axis=1)
    values = AccelerationWindow(
        duration_ms=WINDOW_US // 1000,
        sample_count=len(times),
        rate_hz=rate_hz,
        mean_m_s2=float(magnitude.mean()),
        std_m_s2=float(magnitude.std()),
        peak_frequency_hz=_peak_hz(np.linalg.norm(even, axis=1), rate_hz),
        features=window_features(even, rate_hz).tolist() if rate_hz >= MIN_RATE_HZ else [],
    )
    ts = datetime.fromtimestamp(begin // SECOND_US, UTC)
    return Derived(ts, values, ts.isoformat())


def _evenly(times: Times, axes: Axes, rate_hz: float) -> Axes:
    """The readings at evenly spaced times, between the first and the last of them."""
    span_us = float(times[-1] - times[0])
    count = max(int(span_us / SECOND_US * rate_hz + 1e-6) + 1, 2)
    at = times[0] + np.arange(count) * (SECOND_US / rate_hz)
    return np.column_stack([np.interp(at, times, axis) for axis in axes.T])


def _peak_hz(magnitude: NDArray[np.float64], rate_hz: float) -> float:
    """The strongest frequency but for the mean; 0 where nothing moves."""
    moving = magnitude - magnitude.mean()
    power = np.abs(np.fft.rfft(moving)) ** 2
    if not power[1:].any():
        return 0.0
    return float(np.fft.rfftfreq(len(moving), 1 / rate_hz)[1 + int(power[1:].argmax())])


def _epoch_us(instant: datetime) -> int:
    return int(instant.timestamp()) * SECOND_US


ENRICHMENT = Enrichment(
    name=WINDOWS.table,
    output=WINDOWS,
    sources=(ACCELERATION,),
    version=VERSION,
    unit=Unit.HOUR,
    summary="Cuts acceleration into windows and measures each.",
    run=run,
    batch=4,
    overlap=WINDOW,
)
