"""Names of places, and visits out of tracks."""

import math
import random
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.places import (
    MIN_DWELL,
    Visit,
    distance_m,
    name_places,
    visits,
)

EIGHT = datetime(2026, 5, 4, 8, tzinfo=UTC)
HOME = (45.2269, 13.5966)
METRE = 1 / 111_195  # in degrees of latitude
Step = tuple[float, float, float | None]  # seconds from eight, metres north of home, accuracy


def track(*steps: Step, device: str = "phone", start: tuple[float, float] = HOME) -> pa.Table:
    rows = [
        {
            "device_id": device,
            "ts": EIGHT + timedelta(seconds=seconds),
            "latitude": start[0] + north * METRE,
            "longitude": start[1],
            "accuracy_m": accuracy,
        }
        for seconds, north, accuracy in steps
    ]
    schema = pa.schema(
        [
            ("device_id", pa.string()),
            ("ts", pa.timestamp("us", tz="UTC")),
            ("latitude", pa.float64()),
            ("longitude", pa.float64()),
            ("accuracy_m", pa.float64()),
        ]
    )
    return pa.Table.from_pylist(rows, schema=schema)


def stay(begin_s: int, end_s: int, north: float = 0.0) -> list[Step]:
    return [(second, north, 10.0) for second in range(begin_s, end_s + 1, 30)]


def spans(found: Sequence[Visit]) -> list[tuple[float, float]]:
    return [
        ((visit.enter - EIGHT).total_seconds(), (visit.leave - EIGHT).total_seconds())
        for visit in found
    ]


def test_towns_are_named_with_their_country_and_where_the_name_is_from() -> None:
    porec, mission, atlantic = name_places([HOME, (37.76, -122.42), (0.0, -30.0)])
    assert porec is not None
    assert porec.label == "Poreč, Croatia"
    assert porec.distance_m < 1000
    assert "GeoNames" in porec.source
    assert mission is not None
    assert mission.label == "Mission District, United States"
    assert atlantic is None
    assert name_places([]) == []


@pytest.mark.parametrize(
    ("a", "b", "metres"),
    [
        ((0.0, 0.0), (0.0, 1.0), 111_195),
        ((0.0, 179.9), (0.0, -179.9), 22_239),
        ((52.5200, 13.4050), (48.8566, 2.3522), 877_464),  # Berlin to Paris
        (HOME, HOME, 0),
    ],
)
def test_distances_are_those_of_the_sphere(
    a: tuple[float, float], b: tuple[float, float], metres: float
) -> None:
    assert distance_m(a, b) == pytest.approx(metres, rel=1e-3)


def test_two_stays_and_the_walk_between_them_are_two_visits() -> None:
    walk: list[Step] = [(900 + n * 30, 60.0 * n, 10.0) for n in range(1, 20)]
    found = visits(track(*stay(0, 900), *walk, *stay(1500, 2400, north=1200.0)))
    assert len(found) == 2
    first, second = found
    assert (first.enter, second.leave) == (EIGHT, EIGHT + timedelta(seconds=2400))
    assert distance_m((first.latitude, first.longitude), HOME) < 50
    assert second.enter >= EIGHT + timedelta(seconds=1380)


def test_four_minutes_are_no_visit_and_five_are() -> None:
    assert visits(track(*stay(0, 240))) == []
    assert spans(visits(track(*stay(0, 300)))) == [(0, 300)]


def test_a_walk_is_no_visit() -> None:
    walk: list[Step] = [(n * 30, 45.0 * n, 5.0) for n in range(60)]
    assert visits(track(*walk)) == []


def test_one_stray_fix_does_not_end_a_visit() -> None:
    steps = stay(0, 600)
    steps[10] = (300, 900.0, 10.0)
    found = visits(track(*steps))
    assert spans(found) == [(0, 600)]
    assert found[0].fix_count == 20
    assert distance_m((found[0].latitude, found[0].longitude), HOME) < 1


def test_unsure_fixes_neither_make_nor_break_a_visit() -> None:
    unsure: list[Step] = [(second + 5, 5000.0, 800.0) for second in range(0, 600, 30)]
    assert visits(track(*stay(0, 600), *unsure)) == visits(track(*stay(0, 600)))
    assert visits(track(*unsure)) == []


def test_fixes_without_an_accuracy_count() -> None:
    assert spans(visits(track((0, 0, None), (200, 5, None), (400, 0, None)))) == [(0, 400)]


def test_silence_of_more_than_an_hour_ends_a_visit() -> None:
    assert spans(visits(track(*stay(0, 600), *stay(7200, 7800)))) == [(0, 600), (7200, 7800)]


def test_a_visit_on_the_date_line_is_there_and_not_on_the_other_side_of_the_earth() -> None:
    east = track(*stay(0, 600), start=(10.0, 179.9999))
    west = track(*[(s + 15, n, a) for s, n, a in stay(0, 600)], start=(10.0, -179.9999))
    (found,) = visits(pa.concat_tables([east, west]))
    assert abs(found.longitude) == pytest.approx(180, abs=1e-3)


steps = st.lists(
    st.tuples(
        st.integers(0, 4000).map(float),
        st.sampled_from([0.0, 20.0, 60.0, 150.0, 400.0]),
        st.none() | st.floats(0, 300),
    ),
    max_size=40,
)


@given(steps, st.randoms(use_true_random=False))
def test_the_order_of_fixes_and_repeats_of_them_change_nothing(
    taken: list[Step], random: random.Random
) -> None:
    fixes = track(*taken)
    order = list(range(fixes.num_rows)) * 2
    random.shuffle(order)
    assert visits(fixes.take(pa.array(order, pa.int64()))) == visits(fixes)


@given(steps)
def test_visits_are_long_enough_inside_the_track_and_do_not_overlap(taken: list[Step]) -> None:
    found = visits(track(*taken))
    for visit in found:
        assert visit.dwell >= MIN_DWELL
        assert visit.fix_count >= 2
        assert math.isfinite(visit.latitude)
    for earlier, later in pairwise(found):
        assert earlier.leave < later.enter


@given(steps, st.integers(-86400, 86400))
def test_the_same_track_at_another_time_gives_the_same_visits_then(
    taken: list[Step], shift: int
) -> None:
    moved = [(seconds + shift, north, accuracy) for seconds, north, accuracy in taken]
    expected = [(begin + shift, end + shift) for begin, end in spans(visits(track(*taken)))]
    assert spans(visits(track(*moved))) == expected


@given(steps, steps)
def test_devices_do_not_change_each_others_visits(a: list[Step], b: list[Step]) -> None:
    phone, watch = track(*a), track(*b, device="watch")
    both = visits(pa.concat_tables([phone, watch]))
    assert [visit for visit in both if visit.device_id == "phone"] == visits(phone)
    assert [visit for visit in both if visit.device_id == "watch"] == visits(watch)


@given(steps)
def test_the_fixes_of_one_visit_alone_give_that_visit(taken: list[Step]) -> None:
    fixes = track(*taken)
    for visit in visits(fixes):
        inside = [row for row in fixes.to_pylist() if visit.enter <= row["ts"] <= visit.leave]
        again = visits(pa.Table.from_pylist(inside, schema=fixes.schema))
        assert spans(again) == spans([visit])
