"""What the sender makes of answers, and how it groups what waits."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.desktop.sender import (
    LONGEST_WAIT_S,
    MAX_BATCH_BYTES,
    HeldUpError,
    RefusedError,
    batches,
    retry_after_s,
    understood,
    wait_before,
)
from collectors.desktop.spool import Item

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
ITEMS = st.lists(st.tuples(st.sampled_from("abc"), st.integers(1, MAX_BATCH_BYTES)), max_size=40)


@given(ITEMS)
def test_batches_hold_all_items_of_one_stream_each_in_order_and_within_bounds(
    drawn: list[tuple[str, int]],
) -> None:
    items = [
        Item(seq, str(seq), stream, {}, None, size) for seq, (stream, size) in enumerate(drawn)
    ]
    made = batches(items)
    assert sorted(item.seq for batch in made for item in batch) == list(range(len(items)))
    for batch in made:
        assert len({item.stream for item in batch}) == 1
        assert [item.seq for item in batch] == sorted(item.seq for item in batch)
        assert len(batch) == 1 or sum(item.byte_count for item in batch) <= MAX_BATCH_BYTES
    assert [batch[0].seq for batch in made] == sorted(batch[0].seq for batch in made)


@given(st.integers(1, 10_000), st.none() | st.floats(0, 1e5))
def test_a_wait_is_never_shorter_than_asked_nor_than_the_one_before(
    failures: int, asked_s: float | None
) -> None:
    wait_s = wait_before(failures, asked_s=asked_s)
    assert wait_s >= (asked_s or 0)
    assert wait_before(failures + 1, asked_s=asked_s) >= wait_s
    assert wait_s <= max(LONGEST_WAIT_S, asked_s or 0)


def test_retry_after_is_read_as_seconds_and_as_a_date() -> None:
    assert retry_after_s("17", now=NOW) == 17
    assert retry_after_s(format_datetime(NOW + timedelta(seconds=90)), now=NOW) == 90
    assert retry_after_s(format_datetime(NOW - timedelta(days=1)), now=NOW) == 0
    assert retry_after_s("soon", now=NOW) is None
    assert retry_after_s(None, now=NOW) is None


@pytest.mark.parametrize("status", [400, 404, 409, 413, 422])
def test_what_am_refuses_is_refused(status: int) -> None:
    with pytest.raises(RefusedError, match="no such stream") as caught:
        understood(httpx.Response(status, json={"detail": "no such stream"}), now=NOW)
    assert caught.value.status == status


@pytest.mark.parametrize("status", [401, 403, 408, 425, 429, 500, 502, 503, 504])
def test_what_may_pass_later_is_held_and_asks_for_its_time(status: int) -> None:
    answer = httpx.Response(status, json={"detail": "later"}, headers={"Retry-After": "7"})
    with pytest.raises(HeldUpError) as caught:
        understood(answer, now=NOW)
    assert caught.value.wait_s == (None if status in {401, 403} else 7)


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(200, text="<html>Log in to the hotel</html>"),
        httpx.Response(200, json={"hello": "world"}),
        httpx.Response(301, headers={"Location": "https://elsewhere.example"}),
        httpx.Response(404, text="<html>nginx</html>"),
        httpx.Response(204),
    ],
)
def test_whatever_is_not_ams_own_answer_loses_nothing(answer: httpx.Response) -> None:
    with pytest.raises(HeldUpError, match="is the address right"):
        understood(answer, now=NOW)


def test_a_proxys_413_is_a_refusal_so_that_smaller_batches_are_tried() -> None:
    with pytest.raises(RefusedError):
        understood(httpx.Response(413, text="<html>nginx</html>"), now=NOW)
