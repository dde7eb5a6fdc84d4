from datetime import timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from am_assets.derived.device_sensor_accelerometer_windowed import HOP, WINDOW
from am_assets.derived.motion_classification_activity import Labelled, smooth, spans
from tests.am_assets.derived.items import NOON


def _windows(steps: list[tuple[str, int]]) -> list[Labelled]:
    now, found = NOON, []
    for label, hops in steps:
        now += hops * HOP
        found.append(Labelled(now, label, 0.8))
    return found


WINDOWS = st.lists(
    st.tuples(st.sampled_from(["still", "walking", "running"]), st.integers(1, 4)), max_size=30
).map(_windows)


@given(WINDOWS)
def test_spans_hold_every_window_once_in_order_and_do_not_overlap(windows: list[Labelled]) -> None:
    found = [row.values.model_dump() | {"ts": row.ts} for row in spans(windows)]
    assert sum(span["window_count"] for span in found) == len(windows)
    assert all(before["end_ts"] <= after["ts"] for before, after in pairwise(found))
    assert all(
        span["end_ts"] - span["ts"] == timedelta(milliseconds=span["duration_ms"]) for span in found
    )


@given(WINDOWS)
def test_neighbouring_spans_differ_or_have_a_pause_between_them(windows: list[Labelled]) -> None:
    found = [row.values.model_dump() | {"ts": row.ts} for row in spans(windows)]
    for before, after in pairwise(found):
        assert before["activity"] != after["activity"] or after["ts"] - before["end_ts"] > (
            2 * HOP - WINDOW
        )


@given(WINDOWS)
def test_smoothing_invents_no_label(windows: list[Labelled]) -> None:
    assert set(smooth(windows)) <= {window.label for window in windows}


def test_one_odd_window_among_equals_is_smoothed_away() -> None:
    windows = _windows([("walking", 1), ("still", 1), ("walking", 1)])
    assert smooth(windows) == ["walking"] * 3


def test_beside_a_pause_a_window_keeps_its_label() -> None:
    windows = _windows([("walking", 1), ("still", 5), ("walking", 1)])
    assert smooth(windows) == ["walking", "still", "walking"]
