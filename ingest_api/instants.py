"""Reading the many ways in which clients write a time."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from ingest_api.errors import Reason, RejectedError

EARLIEST = datetime(1971, 1, 1, tzinfo=UTC)  # before it: a clock that was never set
MAX_OFFSET_MIN = 24 * 60 - 1
# A number is seconds, milli-, micro- or nanoseconds by its size; each border lies in the
# year 5138 of the finer and in 1973 of the coarser unit.
SCALES = ((1e11, 1.0), (1e14, 1e3), (1e17, 1e6), (float("inf"), 1e9))


@dataclass(frozen=True)
class Instant:
    """A time as understood: aware UTC, the sender's offset from UTC where known, how it was sent.

    `is_naive` is true when the text named no zone, so that an offset had to come from elsewhere.
    """

    ts: datetime
    tz_offset_min: int | None
    is_naive: bool
    sent: str


def read_instant(value: Any, *, known_offset_min: int | None) -> Instant:
    """Understand ISO 8601 text or a number since 1970.

    Naive text is local time at `known_offset_min`, and UTC where that is unknown. `Z` and `+00:00`
    say nothing about where the sender is.

    Raises: RejectedError, BAD_TIME.
    """
    if isinstance(value, datetime):
        value = value.isoformat()
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise _bad(value)
    if isinstance(value, str):
        return _from_text(value.strip(), known_offset_min=known_offset_min)
    return Instant(_from_number(value), known_offset_min, is_naive=False, sent=str(value))


def read_offset(value: Any) -> int | None:
    """A `tz_offset_min` as sent; None where it is absent or no offset."""
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return value if is_number and abs(value) <= MAX_OFFSET_MIN else None


def check_plausible(ts: datetime, *, received_at: datetime, max_future: timedelta) -> None:
    """Raises: RejectedError for a time that a wrong clock must have made."""
    if ts > received_at + max_future:
        raise RejectedError(
            Reason.FUTURE_TIME,
            f"{ts.isoformat()} is more than {max_future} ahead of the server's "
            f"{received_at.isoformat()}: set the device's clock, then replay this dead letter",
        )
    if ts < EARLIEST:
        raise RejectedError(
            Reason.BAD_TIME, f"{ts.isoformat()} is before {EARLIEST.year}: the clock was not set"
        )


def _from_text(text: str, *, known_offset_min: int | None) -> Instant:
    try:
        moment = datetime.fromisoformat(text)
        offset = moment.utcoffset()
        if offset is None:
            zone = timezone(timedelta(minutes=known_offset_min or 0))
            local = moment.replace(tzinfo=zone)
            return Instant(local.astimezone(UTC), known_offset_min, is_naive=True, sent=text)
        own = round(offset.total_seconds() / 60) or known_offset_min
        return Instant(moment.astimezone(UTC), own, is_naive=False, sent=text)
    except (ValueError, OverflowError) as error:
        raise _bad(text) from error


def _from_number(number: float) -> datetime:
    try:
        divisor = next(scale for limit, scale in SCALES if abs(number) < limit)
        return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=number / divisor)
    except (StopIteration, OverflowError, ValueError) as error:
        raise _bad(number) from error


def _bad(value: Any) -> RejectedError:
    return RejectedError(
        Reason.BAD_TIME,
        f"{str(value)[:64]!r} is no time: send ISO 8601 with an offset, such as "
        "2026-03-01T08:30:00+01:00, or a number since 1970",
    )
