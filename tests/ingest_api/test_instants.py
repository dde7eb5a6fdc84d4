"""Times as clients write them."""

from datetime import UTC, datetime, timedelta, timezone

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_api.errors import RejectedError
from ingest_api.instant_columns import read_instants
from ingest_api.instants import check_plausible, read_instant

MOMENTS = st.datetimes(datetime(1971, 1, 2), datetime(2100, 1, 1))  # noqa: DTZ001 - made aware below
OFFSETS = st.integers(-14 * 60, 14 * 60)
NEARLY_UTC = st.from_regex(
    r"(19|20)\d\d-[01]\d-[0-3]\d[T ][0-2]\d(:[0-6]\d(:[0-6]\d([.,]\d{0,8})?)?)?(Z|\+00:?00)",
    fullmatch=True,
)


@given(MOMENTS, OFFSETS)
def test_iso_text_with_an_offset_keeps_the_instant_and_the_offset(
    moment: datetime, offset: int
) -> None:
    aware = moment.replace(tzinfo=timezone(timedelta(minutes=offset)))
    found = read_instant(aware.isoformat(), known_offset_min=None)
    assert found.ts == aware
    assert found.tz_offset_min == (offset or None)


@given(MOMENTS, OFFSETS)
def test_naive_text_is_local_time_of_the_known_offset(moment: datetime, offset: int) -> None:
    found = read_instant(moment.isoformat(), known_offset_min=offset)
    assert found.ts == moment.replace(tzinfo=timezone(timedelta(minutes=offset)))
    assert found.is_naive


# Milliseconds of before 1973 look like seconds of a far future.
@given(
    MOMENTS.filter(lambda moment: moment.year > 1973),
    st.sampled_from([1, 1_000, 1_000_000, 1_000_000_000]),
)
def test_numbers_are_understood_by_their_size(moment: datetime, scale: int) -> None:
    aware = moment.replace(tzinfo=UTC, microsecond=0)
    found = read_instant(int(aware.timestamp()) * scale, known_offset_min=None)
    assert found.ts == aware


@given(st.text() | st.integers() | st.floats() | st.booleans() | st.lists(st.integers()))
def test_anything_else_is_refused_with_a_sentence_and_never_an_accident(value: object) -> None:
    try:
        ts: datetime | None = read_instant(value, known_offset_min=None).ts
    except RejectedError as error:
        ts = None
        sentence = str(error)
    assert ts.tzinfo is not None if ts else "no time" in sentence


def test_a_time_too_far_ahead_or_before_clocks_were_set_is_refused() -> None:
    now = datetime(2026, 3, 1, tzinfo=UTC)
    day = timedelta(days=1)
    check_plausible(now + day, received_at=now, max_future=day)
    with pytest.raises(RejectedError, match="set the device's clock"):
        check_plausible(now + day + day / 24, received_at=now, max_future=day)
    with pytest.raises(RejectedError, match="the clock was not set"):
        check_plausible(datetime(1970, 1, 1, tzinfo=UTC), received_at=now, max_future=day)


@given(NEARLY_UTC)
def test_a_column_of_utc_texts_holds_the_instants_that_each_has_alone(text: str) -> None:
    column = read_instants(pa.array([text, text]))
    try:
        alone = read_instant(text, known_offset_min=None)
    except RejectedError:
        assert not column.is_sure.any()
        return
    assert column.offsets_min is None
    told = column.micros[column.is_sure].tolist()
    micros = (alone.ts - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    assert told in ([], [micros, micros])
