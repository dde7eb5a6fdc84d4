"""What goes is due or asked for by a budget, is never held, and leaves one that looks like it."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from random import Random
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from resources.blob_plan import (
    BUDGET_ORDER,
    MAX_DISTANCE,
    Candidate,
    Ground,
    Hold,
    Plan,
    Shot,
    distance,
    is_alike,
    make_plan,
    repeats,
)

NOW = datetime(2026, 5, 10, tzinfo=UTC)
USERS = ("ann", "amy")
STREAMS = ("device.audio.raw", "device.image.screenshot.raw")
hours = st.integers(-200, 200).map(lambda n: NOW + timedelta(hours=n))


@st.composite
def candidates(draw: st.DrawFn) -> Candidate:
    begin = draw(hours)
    ground = draw(st.sampled_from(Ground))
    is_silence = ground is Ground.WITHOUT_FINDING
    return Candidate(
        user_id=draw(st.sampled_from(USERS)),
        stream=draw(st.sampled_from(STREAMS)),
        blob_key=f"k{draw(st.integers(0, 30))}",
        byte_count=draw(st.integers(1, 50)),
        begin=begin,
        end=begin + timedelta(seconds=draw(st.integers(0, 30))),
        ground=ground,
        reason="it may",
        due_at=draw(hours) if is_silence else None,
    )


@st.composite
def hold_of(draw: st.DrawFn) -> Hold:
    begin, end = draw(st.none() | hours), draw(st.none() | hours)
    return Hold(
        hold_id=UUID(int=0),
        user_id=draw(st.sampled_from(USERS)),
        stream=draw(st.none() | st.sampled_from(STREAMS)),
        begin=begin,
        end=end,
        reason="a court",
    )


many = st.lists(candidates(), max_size=25, unique_by=lambda one: one.key)
some_holds = st.lists(hold_of(), max_size=2)
budgets = st.none() | st.integers(0, 1_500)


def plan_of(found: list[Candidate], holds: list[Hold], budget: int | None, other: int = 0) -> Plan:
    used = sum(one.byte_count for one in found) + other
    return make_plan(found, holds=holds, now=NOW, used_bytes=used, budget_bytes=budget)


def is_due(one: Candidate) -> bool:
    return one.due_at is not None and one.due_at <= NOW


@given(many, some_holds, budgets)
def test_what_is_held_stays_whatever_the_budget(
    found: list[Candidate], held: list[Hold], budget: int | None
) -> None:
    plan = plan_of(found, held, budget)
    for one in plan.removals:
        assert not any(h.covers(one.user_id, one.stream, one.begin, one.end) for h in held)
    assert {one.key for one in plan.removals}.isdisjoint(one.key for one in plan.held)


@given(many, some_holds)
def test_without_a_budget_what_is_due_goes_and_nothing_else(
    found: list[Candidate], held: list[Hold]
) -> None:
    plan = plan_of(found, held, None)
    going = {one.key for one in plan.removals}
    assert going == {one.key for one in found if is_due(one)} - {one.key for one in plan.held}
    assert plan.over_bytes == 0


@given(many, some_holds, st.integers(0, 1_500), st.integers(0, 300))
def test_a_budget_takes_no_more_than_it_needs_and_tells_what_is_missing(
    found: list[Candidate], held: list[Hold], budget: int, other: int
) -> None:
    plan = plan_of(found, held, budget, other)
    left = plan.used_bytes - plan.freed_bytes
    assert plan.over_bytes == max(0, left - budget)
    asked = [one for one in plan.removals if not is_due(one)]
    if asked:
        assert left + asked[-1].byte_count > budget
    if plan.over_bytes:
        assert len(plan.removals) + len(plan.held) == len(found)


@given(many, some_holds, st.integers(0, 1_500))
def test_repeated_pictures_go_before_silence_and_the_oldest_of_each_first(
    found: list[Candidate], held: list[Hold], budget: int
) -> None:
    asked = [one for one in plan_of(found, held, budget).removals if not is_due(one)]
    places = [(BUDGET_ORDER.index(one.ground), one.begin) for one in asked]
    assert places == sorted(places)


@given(many, some_holds, st.integers(0, 1_500), st.randoms(use_true_random=False))
def test_the_order_in_which_candidates_come_changes_nothing(
    found: list[Candidate], held: list[Hold], budget: int, random: Random
) -> None:
    mixed = list(found)
    random.shuffle(mixed)
    assert plan_of(mixed, held, budget) == plan_of(found, held, budget)


@given(many, some_holds, st.integers(0, 1_000), st.integers(0, 500))
def test_a_larger_budget_removes_no_more(
    found: list[Candidate], held: list[Hold], budget: int, more: int
) -> None:
    small, large = plan_of(found, held, budget), plan_of(found, held, budget + more)
    assert {one.key for one in large.removals} <= {one.key for one in small.removals}


looks = st.none() | st.integers(0, 2**8 - 1).map(lambda bits: bits.to_bytes(32, "big"))
shots = st.builds(
    Shot,
    source=st.tuples(st.sampled_from(USERS), st.sampled_from(("phone", "laptop"))),
    ts=hours,
    blob_key=st.integers(0, 40).map("k{}".format),
    size=st.just((1920, 1080)) | st.just((1080, 2400)),
    look=looks,
    is_read=st.booleans(),
)


@given(st.lists(shots, max_size=30))
def test_each_picture_that_goes_leaves_one_of_the_same_device_that_looks_like_it(
    taken: list[Shot],
) -> None:
    going = repeats(taken)
    for key, kept in going.items():
        assert kept not in going
        for gone in (shot for shot in taken if shot.blob_key == key):
            assert gone.is_read
            assert any(is_alike(gone, shot) for shot in taken if shot.blob_key == kept)


@given(st.lists(shots, max_size=30, unique_by=lambda shot: shot.blob_key))
def test_what_changes_stays_on_both_sides_of_the_change(taken: list[Shot]) -> None:
    going = repeats(taken)
    ordered = sorted(taken, key=lambda shot: (shot.source, shot.ts, shot.blob_key))
    for one, after in pairwise(ordered):
        if one.source != after.source or not is_alike(one, after):
            assert one.blob_key not in going or _is_same_run(ordered, one, after)
    for source in {shot.source for shot in taken}:
        mine = [shot for shot in ordered if shot.source == source]
        assert {mine[0].blob_key, mine[-1].blob_key}.isdisjoint(going)


def _is_same_run(ordered: list[Shot], one: Shot, after: Shot) -> bool:
    """Both look like the run's first, though not like each other."""
    first = next(s for s in ordered if s.blob_key == repeats(ordered)[one.blob_key])
    return is_alike(first, one) and is_alike(first, after)


@given(st.lists(shots, max_size=30, unique_by=lambda shot: shot.blob_key))
def test_once_they_are_gone_no_more_of_them_go(taken: list[Shot]) -> None:
    going = repeats(taken)
    assert not repeats(shot for shot in taken if shot.blob_key not in going)


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=32, max_size=32))
def test_distance_counts_the_bits_that_differ(one: bytes, other: bytes) -> None:
    pairs = zip(one, other, strict=True)
    assert distance(one, other) == sum((a ^ b).bit_count() for a, b in pairs)
    assert (distance(one, other) <= MAX_DISTANCE) or one != other
