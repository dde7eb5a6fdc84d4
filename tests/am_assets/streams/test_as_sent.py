"""That a time is an instant only where it is sure."""

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from am_assets.streams.as_sent import aware, with_instants

OFFSETS = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
ZONED = st.datetimes(
    min_value=datetime(1990, 1, 1),  # noqa: DTZ001 - hypothesis adds the zone
    max_value=datetime(2100, 1, 1),  # noqa: DTZ001
    timezones=OFFSETS,
)


@given(ZONED)
def test_a_time_with_a_zone_is_that_instant_however_it_is_written(when: datetime) -> None:
    assert aware(when.isoformat()) == aware(when) == when
    assert aware(when.astimezone(UTC).isoformat().replace("+00:00", "Z")) == when


@given(ZONED)
def test_a_time_without_a_zone_is_no_instant_and_stays_as_sent(when: datetime) -> None:
    sent = when.replace(tzinfo=None).isoformat()
    assert with_instants({"t_as_sent": sent}, {"t_as_sent": "t_ts"}) == {"t_as_sent": sent}


@given(st.text() | st.none() | st.integers() | st.dates().map(str))
def test_what_is_no_time_is_no_instant(sent: object) -> None:
    instant = aware(sent)
    assert instant is None or instant.utcoffset() is not None
    assert aware("2026-03-01") is None


def test_the_date_of_a_mail_is_an_instant() -> None:
    sent = "Sun, 01 Mar 2026 08:15:00 +0100"
    instant = datetime(2026, 3, 1, 7, 15, tzinfo=UTC)
    assert with_instants({"d": sent}, {"d": "ts"}) == {"d": sent, "ts": instant}
    assert aware("Sun, 01 Mar 2026 08:15:00 -0000") is None  # RFC 5322: no zone is told
