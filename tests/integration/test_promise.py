"""The promise: what a 2xx was said to is there, whole, once; what was refused is not.

Every kind of door, under kill -9, a full disk, frozen servers and wrong clients: `tests.oracle`
sends, notes and judges. `make soak` does the same for half an hour.
"""

import asyncio
import base64
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from infra.stack import Stack
from tests.oracle.book import Book
from tests.oracle.doors import BLOB_DOORS, ROW_DOORS
from tests.oracle.faults import Disk, Faults, FileLimit, memory_of
from tests.oracle.load import Load
from tests.oracle.messages import Author
from tests.oracle.run import own_stack, prove, target_of
from tests.oracle.verdict import judge

pytestmark = pytest.mark.slow

SECONDS = 60
SEED = 20260301
MIB = 1 << 20
ROOM_MB = 16
PATIENCE_S = 60


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Database, object store and an API with little room for bodies."""
    folder = tmp_path_factory.mktemp("promise")
    with own_stack(folder, api_max_pending_mb=ROOM_MB, api_pending_wait_s=2) as (stack, _):
        yield stack


@contextmanager
def clients(stack: Stack, path: Path, user: str) -> Iterator[Load]:
    """Clients of one user; in the end the promise has to have been kept."""
    book = Book(path / "obligations.ndjson")
    load = Load(target_of(stack, [user]), book, Author(SEED, users=[user]))
    yield load
    book.close()
    verdict = judge(book.path, stack.settings.connections())
    assert verdict.is_kept, verdict.report()
    assert not load.tally.complaints
    assert verdict.owed > 0


def test_kills_a_full_disk_and_wrong_clients_for_a_minute_break_no_promise(tmp_path: Path) -> None:
    account = prove(tmp_path, seconds=SECONDS, seed=SEED)
    print(account.report())
    assert account.is_kept, account.report()
    assert account.verdict.owed > 1_000
    assert account.verdict.given_up > 0


def test_while_there_is_no_object_store_rows_land_and_bytes_are_answered_503(
    stack: Stack, tmp_path: Path
) -> None:
    with clients(stack, tmp_path, "storeless") as load:
        stack.supervisor.stop("objects")
        await_state(stack, "objects", is_up=False)
        try:
            assert asyncio.run(load.pass_all(ROW_DOORS)) == []
            refused = asyncio.run(load.pass_all(BLOB_DOORS))
        finally:
            stack.start()
        assert [told.split(": 503")[0] for told in refused] == list(BLOB_DOORS)
        assert asyncio.run(load.pass_all(BLOB_DOORS)) == []


def test_where_nothing_can_be_mounted_a_limit_of_files_is_as_good_as_a_full_disk(
    stack: Stack, tmp_path: Path
) -> None:
    with clients(stack, tmp_path, "limited") as load:
        disk: Disk = FileLimit()
        faults = Faults(stack, disk, lambda: load.refusals)
        asyncio.run(load.run(asyncio.to_thread(faults.fill_disk, seconds=2), clients=4))
        assert load.refusals > 0


def test_more_large_requests_than_there_is_room_for_wait_or_get_503_and_fill_no_memory(
    stack: Stack,
) -> None:
    with watched(stack) as peaks:
        before = memory_of(stack, "api")
        answers = asyncio.run(send_at_once(stack, count=24, size=8 * MIB))
    statuses = {answer.status_code for answer in answers}
    assert statuses <= {200, 503}
    assert 200 in statuses
    assert all("retry-after" in a.headers for a in answers if a.status_code == 503)
    # What is in memory of a body is about four times as large; one body may come on top.
    assert max(peaks) - before < 4 * (ROOM_MB + 8) * MIB + 100 * MIB


async def send_at_once(stack: Stack, *, count: int, size: int) -> list[httpx.Response]:
    """Recordings that, together, are far more than there is room for."""
    target = target_of(stack, ["greedy"])
    headers = {"Authorization": f"Bearer {target.tokens['greedy']}"}
    sound = base64.b64encode(bytes(size * 3 // 4)).decode()
    async with httpx.AsyncClient(
        base_url=target.base_url, headers=headers, timeout=PATIENCE_S, trust_env=False
    ) as client:
        bodies = (
            {
                "device_id": "phone",
                "recorded_at": f"2026-03-01T08:00:{second:02}Z",
                "data": sound,
                "format": "pcm",
                "sample_rate": 16_000,
            }
            for second in range(count)
        )
        return await asyncio.gather(*(client.post("/audio/upload", json=body) for body in bodies))


@contextmanager
def watched(stack: Stack) -> Iterator[list[int]]:
    """What the API holds in memory, looked at all the time."""
    seen: list[int] = []
    has_ended = threading.Event()

    def look() -> None:
        while not has_ended.wait(0.05):
            seen.append(memory_of(stack, "api"))

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        yield seen
    finally:
        has_ended.set()
        watcher.join()


def await_state(stack: Stack, part: str, *, is_up: bool) -> None:
    """Until a part runs, or does not."""
    deadline = time.monotonic() + PATIENCE_S
    while stack.supervisor.states()[part].is_up != is_up:
        assert time.monotonic() < deadline, f"{part} does not change"
        time.sleep(0.1)  # another process ends; there is nothing to wait on
