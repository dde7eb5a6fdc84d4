from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from am_assets.checks.conservation import DayCounts

COUNTS = st.integers(0, 1000)


@given(COUNTS, COUNTS)
def test_rows_that_came_after_publication_are_late_and_not_lost(signed: int, late: int) -> None:
    counts = DayCounts(stored=signed + late, hot=signed + late, lake=signed, signed=signed)
    assert counts.faults() == []
    assert counts.waiting == late


@given(COUNTS, st.integers(1, 100))
def test_a_row_that_is_missing_anywhere_is_a_fault(count: int, missing: int) -> None:
    whole = DayCounts(
        stored=count + missing, hot=count + missing, lake=count + missing, signed=count + missing
    )
    assert whole.faults() == []
    assert replace(whole, hot=count).faults()
    assert replace(whole, lake=count).faults()
    assert replace(whole, stored=count).faults()


@given(COUNTS, COUNTS)
def test_a_day_that_has_left_is_in_the_lake_and_what_came_later_is_late(
    signed: int, late: int
) -> None:
    left = DayCounts(stored=signed + late, hot=late, lake=signed, signed=signed, has_left=True)
    assert left.faults() == []
    assert left.waiting == late
    assert replace(left, lake=signed + 1).faults()
    assert replace(left, hot=late + 1).faults()
    assert replace(left, stored=signed + late + 1).faults()
