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


def test_a_day_that_has_left_the_hot_store_is_in_the_lake() -> None:
    assert DayCounts(stored=5, hot=0, lake=5, signed=5, is_hot=False).faults() == []
    assert DayCounts(stored=5, hot=0, lake=4, signed=5, is_hot=False).faults()
