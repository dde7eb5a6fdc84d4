import random
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from resources.sequences import GAP, LONGEST, Link, Links, fingerprint, sequences

START = datetime(2026, 3, 1, 12, tzinfo=UTC)
MS = timedelta(milliseconds=1)
# Pause before a link and its length, in ms: often none, and often about the bounds.
STEPS = st.lists(
    st.tuples(
        st.one_of(st.just(0), st.integers(0, 700), st.integers(1_900, 2_100)),
        st.integers(100, 4_000),
    ),
    min_size=1,
    max_size=40,
)


def links(steps: list[tuple[int, int]], device: str = "phone") -> list[Link]:
    at = START
    made = []
    for number, (pause_ms, length_ms) in enumerate(steps):
        at += pause_ms * MS
        event_id = UUID(int=random.Random(f"{device}{number}").getrandbits(128))
        made.append(Link("ada", device, event_id, at, at + length_ms * MS, START))
        at += length_ms * MS
    return made


@given(STEPS, STEPS, st.randoms())
def test_every_link_is_in_one_sequence_of_its_device_whatever_order_they_come_in(
    mine: list[tuple[int, int]], others: list[tuple[int, int]], chance: random.Random
) -> None:
    given_links = [*links(mine), *links(others, "watch")]
    shuffled = given_links[:]
    chance.shuffle(shuffled)
    found = sequences(shuffled)
    assert found == sequences(given_links)
    assert sorted(link.event_id for one in found for link in one) == sorted(
        link.event_id for link in given_links
    )
    assert all(len({link.device_id for link in one}) == 1 for one in found)


@given(STEPS)
def test_a_sequence_has_no_long_pause_and_lasts_no_longer_than_a_recognizer_hears(
    steps: list[tuple[int, int]],
) -> None:
    for one in sequences(links(steps)):
        assert all(b.begin - a.end < GAP for a, b in pairwise(one))
        assert len(one) == 1 or one[-1].end - one[0].begin <= LONGEST


@given(STEPS)
def test_what_is_not_too_long_is_cut_at_long_pauses_alone(steps: list[tuple[int, int]]) -> None:
    made = links(steps)
    if made[-1].end - made[0].begin <= LONGEST:
        pauses = sum(b.begin - a.end >= GAP for a, b in pairwise(made))
        assert len(sequences(made)) == 1 + pauses


@given(STEPS, st.integers(1, 39))
def test_a_cut_stays_where_it_is_when_more_comes_later(
    steps: list[tuple[int, int]], count: int
) -> None:
    made = links(steps)
    earlier, later = sequences(made[:count]), sequences(made)
    assert {one[0].event_id for one in earlier} <= {one[0].event_id for one in later}


def test_the_fingerprint_changes_with_each_link_and_when_one_is_made_anew() -> None:
    first, second = links([(0, 1_000), (0, 1_000)])
    anew = Link(
        second.user_id, second.device_id, second.event_id, second.begin, second.end, START + GAP
    )
    told: list[Links] = [(first,), (first, second), (first, anew)]
    assert len({fingerprint(one) for one in told}) == len(told)
