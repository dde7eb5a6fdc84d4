"""Questions in processes of their own: what one of them does hurts nobody else."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import psutil
import pyarrow as pa
import pytest

from am_assets.streams.digital import NOTE
from resources.connections import Connections
from resources.duck import (
    DuckOptions,
    Limits,
    NotReadOnlyError,
    OutOfMemoryError,
    QueryError,
    TimedOutError,
    TooLargeError,
)
from resources.duck_workers import BusyDuckError, DuckWorkers, Question, Setup
from resources.lake import Lake
from tests.resources.rows import insert

NOON = datetime(2031, 7, 4, 12, tzinfo=UTC)
ANN, AMY = "works ann", "works ann2"
NOTES = "SELECT content FROM {}.digital_notes_raw"


@pytest.fixture(scope="module")
def filled(connections: Connections) -> Connections:
    for user in (ANN, AMY):
        note = {"user_id": user, "ts": NOON, "content": f"of {user}"}
        insert(connections.database_url, NOTE, [note])
    Lake(connections).publish(NOTE, NOON.date())
    return connections


@pytest.fixture(scope="module")
def workers(filled: Connections, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DuckWorkers]:
    options = DuckOptions(
        extension_directory=tmp_path_factory.mktemp("extensions"), memory_limit="256MB", threads=2
    )
    workers = DuckWorkers(Setup(connections=filled, options=options, memory_mb=512), count=1)
    yield workers
    workers.close()


def ask(workers: DuckWorkers, text: str, user: str = ANN, **limits: Any) -> list[tuple[Any, ...]]:
    question = Question(user_id=user, text=text, limits=Limits(**limits))
    found = pa.ipc.open_stream(workers.ask(question)).read_all()
    return [tuple(row.values()) for row in found.to_pylist()]


@pytest.mark.parametrize("place", ["am", "hot.am", "lake.am"])
def test_users_take_turns_in_one_process_and_each_sees_their_own(
    workers: DuckWorkers, place: str
) -> None:
    for user in (ANN, AMY, ANN):
        assert ask(workers, NOTES.format(place), user) == [(f"of {user}",)]


@pytest.mark.parametrize(
    "text",
    [
        "SELECT CAST(content AS INTEGER) FROM {}.digital_notes_raw",
        "SELECT error(content) FROM {}.digital_notes_raw",
        "SELECT * FROM {}.digital_notes_raw WHERE CASE WHEN user_id <> 'x' THEN error(content) END",
        "SELECT max(error(content)) FROM {}.digital_notes_raw WHERE length(content) <> {length}",
    ],
)
@pytest.mark.parametrize("place", ["am", "hot.am", "lake.am"])
def test_an_objection_can_not_be_made_to_tell_of_other_peoples_rows(
    workers: DuckWorkers, text: str, place: str
) -> None:
    """A part of a question may be computed before its conditions, on rows they would not let in."""
    with pytest.raises(QueryError) as objection:
        ask(workers, text.format(place, length=len(f"of {AMY}")), ANN)
    assert AMY not in str(objection.value)
    assert ANN in str(objection.value)
    nobody = ask(workers, text.format(place, length=1).replace("{}", place), "works nobody")
    assert nobody in ([], [(None,)])


@pytest.mark.parametrize("table", ["api_token", "publication", "trust", "invite", "seen"])
def test_tables_that_are_not_the_users_are_refused_by_the_database(
    workers: DuckWorkers, table: str
) -> None:
    with pytest.raises(QueryError, match="permission denied"):
        ask(workers, f"SELECT * FROM hot.am.{table}")


def test_the_guard_stands_before_it(workers: DuckWorkers) -> None:
    with pytest.raises(NotReadOnlyError):
        ask(workers, "SELECT * FROM postgres_query('hot', 'RESET ROLE')")


def test_too_much_memory_or_time_ends_that_question_alone(workers: DuckWorkers) -> None:
    for text in (
        "SELECT length(repeat('x', 4000000000))",
        "SELECT array_agg(i) FROM range(1000000000) t(i)",
        "SELECT list_transform(range(1000), lambda x: repeat('y', 10000000))",
    ):
        with pytest.raises(OutOfMemoryError):
            ask(workers, text)
    endless = (
        "WITH RECURSIVE t AS (SELECT 1 AS a UNION ALL SELECT a + 1 FROM t) FROM t SELECT sum(a)"
    )
    with pytest.raises(TimedOutError):
        ask(workers, endless, timeout_s=0.2)
    with pytest.raises(TooLargeError):
        ask(workers, "FROM range(100)", rows=10)
    assert ask(workers, NOTES.format("am")) == [(f"of {ANN}",)]


def test_a_process_that_dies_is_replaced(workers: DuckWorkers) -> None:
    assert ask(workers, "SELECT 1") == [(1,)]
    children = psutil.Process().children()
    (answering,) = [child for child in children if "resources.duck_workers" in child.cmdline()]
    answering.kill()
    answering.wait()
    assert ask(workers, "SELECT 1") == [(1,)]


def test_when_all_are_busy_that_is_said_and_later_it_goes_on(workers: DuckWorkers) -> None:
    slow = "SELECT sum(a.i * b.i) FROM range(10000000) a(i), range(10000000) b(i)"
    with ThreadPoolExecutor(2) as pool:
        # Both are slower than one waits for a free process.
        asked = [pool.submit(ask, workers, slow, ANN, timeout_s=4) for _ in range(2)]
        told = {type(question.exception()) for question in asked}
    assert told == {TimedOutError, BusyDuckError}
    assert ask(workers, "SELECT 1") == [(1,)]


def test_no_process_is_left_behind(filled: Connections) -> None:
    workers = DuckWorkers(Setup(connections=filled, options=DuckOptions()), count=1)
    ask(workers, "SELECT 1")
    before = {child.pid for child in psutil.Process().children()}
    workers.close()
    after = {child.pid for child in psutil.Process().children()}
    assert len(before - after) == 1
