"""What is of a span: pure rules. What becomes of it is in `tests/infra/test_erase.py`."""

from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from resources.erasure_lake import Edges, expression
from resources.erasure_letters import instants, is_of
from resources.erasure_rows import Scope

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
# Ten digits of seconds; Hypothesis wants the limits without a zone.
FIRST, LAST = datetime(2001, 9, 10), datetime(2285, 1, 1)  # noqa: DTZ001
TIMES = st.datetimes(FIRST, LAST, timezones=st.just(UTC))
EDGES = st.none() | TIMES


@given(begin=EDGES, end=EDGES, at=TIMES)
def test_a_row_goes_when_it_is_not_before_the_begin_and_before_the_end(
    begin: datetime | None, end: datetime | None, at: datetime
) -> None:
    scope = Scope("ann", begin, end)
    rows = pa.table(
        {
            "user_id": ["ann", "anm", "ann2"],
            "ts": pa.array([at] * 3, pa.timestamp("us", "UTC")),
        }
    )
    found = rows.filter(expression(scope, Edges("ts", None)))["user_id"].to_pylist()
    is_in = (begin is None or at >= begin) and (end is None or at < end)
    assert found == (["ann"] if is_in else [])


@given(begin=TIMES, length=st.timedeltas(timedelta(microseconds=1), timedelta(days=400)))
def test_every_day_with_a_part_of_the_span_is_whole_or_cut(
    begin: datetime, length: timedelta
) -> None:
    scope = Scope("ann", begin, begin + length)
    first, last = scope.first_day, scope.last_day
    assert first is not None
    assert last is not None
    assert first == begin.date()
    inner = [first + timedelta(days=count) for count in range((last - first).days + 1)]
    assert [day for day in inner if not scope.has_all_of(day)] == scope.cut_days()
    assert len(scope.cut_days()) <= 2


@given(at=TIMES)
def test_a_letter_is_of_the_time_that_it_names_in_whatever_form(at: datetime) -> None:
    around = Scope("ann", at - HOUR, at + HOUR)
    later = Scope("ann", at + timedelta(days=2), at + timedelta(days=3))
    forms = [
        at.isoformat(),
        at.strftime("%Y-%m-%dT%H:%M:%SZ"),
        at.strftime("%Y-%m-%d"),
        at.strftime("%Y-%m-%d %H:%M"),
        str(int(at.timestamp())),
        str(int(at.timestamp() * 1000)),
    ]
    for form in forms:
        text = f'{{"ts": "{form}", "value": 7}}'
        assert is_of(text, date(1999, 1, 1), around), form
        assert not is_of(text, later.begin.date() if later.begin else NOON.date(), later), form


@pytest.mark.parametrize("text", ["", "never", '{"value": 12345}', "2026-13-45", "9999-12-31"])
def test_a_letter_that_names_no_time_is_of_the_day_on_which_it_came(text: str) -> None:
    scope = Scope("ann", NOON, NOON + HOUR)
    assert is_of(text, NOON.date(), scope)
    assert not is_of(text, date(2026, 5, 5), scope)


@given(text=st.text())
def test_no_text_breaks_the_search_for_times(text: str) -> None:
    for begin, end in instants(text):
        assert begin <= end
