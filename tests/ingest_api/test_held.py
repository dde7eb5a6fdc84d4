"""The room in memory: never more than the limit and one body, and nobody waits for ever."""

import asyncio
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_api.errors import BusyError
from ingest_api.held import Held, Memory

FOR_EVER_S = 3600


async def bring(memory: Memory, sizes: list[int], seen: list[int]) -> int:
    """One body, piece by piece; what came of it."""
    held = Held(memory)
    for size in sizes:
        await held.reserve(size)
        seen.append(memory.used)
        await asyncio.sleep(0)
    total = held.byte_count
    held.release()
    return total


@given(
    st.lists(st.lists(st.integers(0, 40), max_size=6), max_size=12),
    st.integers(1, 100),
    st.randoms(use_true_random=False),
)
def test_all_bodies_get_their_room_and_no_more_is_held_than_the_limit_and_one_body(
    bodies: list[list[int]], limit: int, random: Random
) -> None:
    memory, seen = Memory(limit, patience_s=FOR_EVER_S), [0]
    random.shuffle(bodies)

    async def bring_all() -> list[int]:
        return await asyncio.gather(*(bring(memory, sizes, seen) for sizes in bodies))

    assert asyncio.run(bring_all()) == [sum(sizes) for sizes in bodies]
    assert max(seen) <= limit + max((sum(sizes) for sizes in bodies), default=0)
    assert memory.used == 0


def test_who_finds_no_room_in_time_is_told_so_and_takes_none() -> None:
    async def scene() -> None:
        memory = Memory(10, patience_s=0.01)
        first, second, third = Held(memory), Held(memory), Held(memory)
        await first.reserve(10)
        await second.reserve(5)  # one may overdraw
        with pytest.raises(BusyError):
            await third.reserve(1)
        with pytest.raises(BusyError):
            third.grow(1)
        third.release()
        first.release()
        await third.reserve(4)
        assert (memory.used, third.byte_count) == (9, 4)

    asyncio.run(scene())


def test_who_leaves_the_queue_does_not_stop_those_behind() -> None:
    async def scene() -> None:
        memory = Memory(10, patience_s=FOR_EVER_S)
        first, second = Held(memory), Held(memory)
        await first.reserve(10)
        await second.reserve(1)
        leaver = asyncio.create_task(Held(memory).reserve(8))
        patient = Held(memory)
        waiting = asyncio.create_task(patient.reserve(3, is_patient=True))
        await asyncio.sleep(0)
        leaver.cancel()
        await asyncio.gather(leaver, return_exceptions=True)
        first.release()
        await waiting
        assert (memory.used, patient.byte_count) == (4, 3)

    asyncio.run(scene())


def test_the_one_that_overdraws_is_never_stuck_behind_those_that_wait_for_it() -> None:
    async def scene() -> None:
        memory = Memory(10, patience_s=FOR_EVER_S)
        first, overdrawing, other = Held(memory), Held(memory), Held(memory)
        await first.reserve(10)
        await overdrawing.reserve(1)
        waiting = asyncio.create_task(other.reserve(2))
        await asyncio.sleep(0)
        await overdrawing.reserve(50)
        overdrawing.release()
        await waiting
        assert other.byte_count == 2

    asyncio.run(scene())
