import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

import psycopg
import pytest

from am_assets.streams.audio import AUDIO, SPEECH
from am_assets.streams.motion import ACCELERATION
from am_assets.streams.stream import Stream
from am_assets.streams.text import TRANSCRIPT
from resources.connections import Connections
from resources.work import MAX_CLAIMS, Claimed, Settled, State, WorkQueue, WorkSession
from resources.work_items import Unit, hour_id
from tests.planting import Garden, days_from, rows_of

DAYS = days_from(date(2022, 1, 1))
SOUND = {
    "blob_key": "k",
    "blob_sha256": "0",
    "blob_bytes": 1,
    "media_type": "audio/wav",
    "sample_rate_hz": 16_000,
    "channels": 1,
    "duration_ms": 1000,
}
READING = {"x_m_s2": 0.0, "y_m_s2": 0.0, "z_m_s2": 9.81}


@dataclass(frozen=True)
class Listening:
    """The work of a test."""

    name: str = "listening"
    version: int = 1
    output: Stream | None = SPEECH
    sources: tuple[Stream, ...] = (AUDIO,)
    unit: Unit = Unit.ROW
    overlap: timedelta = timedelta(0)


LISTENING = Listening()
WRITING = Listening(name="writing", output=TRANSCRIPT, sources=(SPEECH,))
HOURS = Listening(
    name="hours", sources=(ACCELERATION,), unit=Unit.HOUR, overlap=timedelta(seconds=5)
)


@pytest.fixture
def queue(connections: Connections) -> WorkQueue:
    return WorkQueue(connections.database_url)


def _plant(connections: Connections, day: date, count: int) -> list[UUID]:
    start = datetime(day.year, day.month, day.day, 8, tzinfo=UTC)
    rows = [(start + timedelta(minutes=n), SOUND) for n in range(count)]
    return Garden(connections).plant(AUDIO, rows)


def _row(item: Claimed, work: Listening, key: str = "0") -> dict[str, Any]:
    return {
        "user_id": item.user_id,
        "device_id": item.device_id,
        "ts": item.ts,
        "event_id": uuid5(item.item_id, key),
        "schema_version": 1,
        "source_stream": item.source_stream,
        "source_event_id": item.item_id,
        "model_id": "test",
        "model_version": str(work.version),
        "enrichment_version": work.version,
        "run_id": "test",
        "start_ms": 0,
        "end_ms": 500,
        "duration_ms": 500,
    }


def _done(item: Claimed, work: Listening = LISTENING, key: str = "0") -> Settled:
    return Settled(item, State.DONE, rows=[_row(item, work, key)])


def _do_all(session: WorkSession, work: Listening, day: date, key: str = "0") -> int:
    session.enqueue(work, day)
    items = session.claim(work, day, 100)
    return session.finish(work, [_done(item, work, key) for item in items], run_id="r")


def _states(connections: Connections, day: date) -> list[tuple[Any, ...]]:
    return rows_of(
        connections, "SELECT state, reason FROM am.work_item WHERE day = %s ORDER BY ts", day
    )


def test_each_row_is_enqueued_once_and_the_newest_is_claimed_first(
    connections: Connections, queue: WorkQueue
) -> None:
    day = next(DAYS)
    ids = _plant(connections, day, 3)
    with queue.session() as session:
        assert session.enqueue(LISTENING, day) == 3
        assert session.enqueue(LISTENING, day) == 0
        assert [item.item_id for item in session.claim(LISTENING, day, 2)] == [ids[2], ids[1]]


def test_two_workers_never_get_the_same_item(connections: Connections, queue: WorkQueue) -> None:
    day = next(DAYS)
    _plant(connections, day, 4)
    with queue.session() as one, queue.session() as two:
        one.enqueue(LISTENING, day)
        mine, yours = one.claim(LISTENING, day, 2), two.claim(LISTENING, day, 10)
        assert {i.item_id for i in mine}.isdisjoint(i.item_id for i in yours)
        assert len(mine) + len(yours) == 4
        assert one.claim(LISTENING, day, 10) == []


def test_finishing_again_replaces_rows_instead_of_adding(
    connections: Connections, queue: WorkQueue
) -> None:
    day = next(DAYS)
    (source,) = _plant(connections, day, 1)
    newer = Listening(version=2)
    with queue.session() as session:
        assert _do_all(session, LISTENING, day) == 1
        assert _do_all(session, LISTENING, day) == 0
        assert _do_all(session, newer, day, key="other") == 1
    query = "SELECT enrichment_version FROM am.media_audio_vad_filtered WHERE source_event_id = %s"
    assert rows_of(connections, query, source) == [(2,)]


def test_rows_of_an_item_make_their_day_stale_in_the_lake(
    connections: Connections, queue: WorkQueue
) -> None:
    day = next(DAYS)
    _plant(connections, day, 1)
    with queue.session() as session:
        _do_all(session, LISTENING, day)
    query = "SELECT checksum FROM am.publication WHERE stream = %s AND day = %s"
    assert rows_of(connections, query, SPEECH.name, day) == [("",)]


def test_what_a_killed_worker_had_is_claimable_at_once(
    connections: Connections, queue: WorkQueue
) -> None:
    day = next(DAYS)
    _plant(connections, day, 2)
    with queue.session() as session:
        session.enqueue(LISTENING, day)
    script = (
        "import sys\n"
        "from datetime import date\n"
        "from resources.work import WorkQueue\n"
        "from tests.resources.test_work import LISTENING\n"
        "with WorkQueue(sys.argv[1]).session() as session:\n"
        "    items = session.claim(LISTENING, date.fromisoformat(sys.argv[2]), 10)\n"
        "    print(len(items), flush=True)\n"
        "    sys.stdin.read()\n"
    )
    arguments = [sys.executable, "-c", script, connections.database_url, day.isoformat()]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as worker:
        assert worker.stdout is not None
        assert worker.stdout.readline() == b"2\n"
        with queue.session() as session:
            assert session.claim(LISTENING, day, 10) == []
            (pid,) = rows_of(
                connections, "SELECT DISTINCT worker_pid FROM am.work_item WHERE day = %s", day
            )
            worker.kill()
            worker.wait()
            _wait_until_backend_is_gone(session.connection, pid[0])
            # Tried items are taken one at a time.
            assert len(session.claim(LISTENING, day, 10)) == 1
            assert len(session.claim(LISTENING, day, 10)) == 1


def _wait_until_backend_is_gone(connection: psycopg.Connection, pid: int) -> None:
    while connection.execute("SELECT 1 FROM pg_stat_activity WHERE pid = %s", (pid,)).fetchone():
        pass


def test_an_item_that_killed_three_workers_has_failed_and_its_neighbour_has_not(
    connections: Connections, queue: WorkQueue
) -> None:
    day = next(DAYS)
    older, newer = _plant(connections, day, 2)
    with queue.session() as session:
        session.enqueue(LISTENING, day)
        session.release(LISTENING, session.claim(LISTENING, day, 10), reason="killed")
        for _ in range(MAX_CLAIMS - 1):
            (item,) = session.claim(LISTENING, day, 10)
            assert item.item_id == newer
            session.release(LISTENING, [item], reason="killed")
        (left,) = session.claim(LISTENING, day, 10)
        assert left.item_id == older
        session.finish(LISTENING, [_done(left)], run_id="r")
    assert _states(connections, day) == [
        ("done", None),
        ("failed", f"its worker died {MAX_CLAIMS} times: killed"),
    ]


def test_a_worker_that_lost_its_item_cannot_finish_it(
    connections: Connections, queue: WorkQueue
) -> None:
    day = next(DAYS)
    _plant(connections, day, 1)
    with queue.session() as slow, queue.session() as other:
        slow.enqueue(LISTENING, day)
        (item,) = slow.claim(LISTENING, day, 1)
        slow.release(LISTENING, [item], reason="taken away")
        (same,) = other.claim(LISTENING, day, 1)
        assert slow.finish(LISTENING, [_done(item)], run_id="slow") == 0
        assert other.finish(LISTENING, [_done(same)], run_id="other") == 1


def test_blocked_items_wait_without_losing_rows_and_come_back(
    connections: Connections, queue: WorkQueue
) -> None:
    day = next(DAYS)
    _plant(connections, day, 2)
    with queue.session() as session:
        session.enqueue(LISTENING, day)
        assert session.block(LISTENING, day, reason="no weights") == 2
        assert session.claim(LISTENING, day, 10) == []
        assert _states(connections, day) == [("blocked", "no weights")] * 2
        assert session.unblock(LISTENING, day) == 2
        assert len(session.claim(LISTENING, day, 10)) == 2


def test_what_was_made_from_a_row_that_is_no_more_is_done_again(
    connections: Connections, queue: WorkQueue
) -> None:
    day = next(DAYS)
    _plant(connections, day, 1)
    with queue.session() as session:
        _do_all(session, LISTENING, day)
        session.enqueue(WRITING, day)
        (heard,) = session.claim(WRITING, day, 1)
        session.finish(WRITING, [Settled(heard, State.EMPTY)], run_id="r")
        _do_all(session, Listening(version=2), day, key="other")
        session.enqueue(WRITING, day)
        again = session.claim(WRITING, day, 10)
    assert {(item.item_id == heard.item_id, item.fingerprint == "gone") for item in again} == {
        (True, True),
        (False, False),
    }


def test_an_hour_is_done_again_when_a_reading_comes_late_also_just_after_it(
    connections: Connections, queue: WorkQueue
) -> None:
    day = next(DAYS)
    garden = Garden(connections)
    ten = datetime(day.year, day.month, day.day, 10, tzinfo=UTC)
    garden.plant(ACCELERATION, [(ten + timedelta(minutes=30), READING)])
    with queue.session() as session:
        assert session.enqueue(HOURS, day) == 1
        (hour,) = session.claim(HOURS, day, 10)
        assert hour.item_id == hour_id(ACCELERATION, "ada", "phone", ten)
        session.finish(HOURS, [Settled(hour, State.EMPTY)], run_id="r")
        assert session.enqueue(HOURS, day) == 0
        garden.plant(ACCELERATION, [(ten + timedelta(minutes=60, seconds=5), READING)])
        assert session.enqueue(HOURS, day) == 1  # the next hour; too late for the first
        garden.plant(ACCELERATION, [(ten + timedelta(minutes=60, seconds=4), READING)])
        assert session.enqueue(HOURS, day) == 2


def test_a_day_is_open_until_every_source_row_has_an_item_and_every_item_an_end(
    connections: Connections, queue: WorkQueue
) -> None:
    day = next(DAYS)

    def is_open() -> bool:
        return day in {one.day for one in queue.open_days(LISTENING, recent_lines=50)}

    assert not is_open()
    _plant(connections, day, 1)
    assert is_open()
    with queue.session() as session:
        _do_all(session, LISTENING, day)
        assert not is_open()
        assert day in {one.day for one in queue.open_days(Listening(version=2), recent_lines=50)}
        _plant(connections, day, 1)
        assert is_open()
