"""The hot worker: by the public doors with no Dagster run at all, killed, shared, and reported."""

import base64
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
from dagster import (
    AssetKey,
    AssetObservation,
    DagsterInstance,
    Definitions,
    EvaluateAutomationConditionsResult,
    evaluate_automation_conditions,
)

from am_assets.definitions import build_defs
from am_assets.derived import media_audio_vad_filtered, media_text_transcribed_words, moments
from am_assets.derived.asset import derived_key
from am_assets.derived.enrichment import Enrichment, Item, NothingFound, Outcome
from am_assets.live import RUN_ID
from am_assets.process import Counts, Tools, process
from am_assets.raw.asset import raw_key
from am_assets.streams.audio import AUDIO
from am_assets.streams.digital import CLIPBOARD, NOTE
from infra.demo import media
from infra.ports import choose_free
from infra.processes import processes_of
from infra.stack import Stack
from ingest_api.settings import Settings
from ingest_api.tokens import Scope, create_token
from models.errors import ModelUnavailableError
from resources.compute import Compute, LocalCompute, ModelChoice
from resources.connections import Connections
from resources.work_items import Recent
from sensors.hot_worker import HotWorker
from sensors.unfinished import find_unfinished
from tests.models.media import tiny_weights
from tests.planting import Garden, days_from, rows_of

pytestmark = pytest.mark.slow

DAYS = days_from(date(2022, 1, 1))
VAD, WORDS = media_audio_vad_filtered.ENRICHMENT, media_text_transcribed_words.ENRICHMENT
MOMENTS = moments.ENRICHMENT
CHAIN = (VAD, WORDS, MOMENTS)
SOUND = {"sample_rate_hz": 16_000, "channels": 1, "duration_ms": 1}
PATIENCE_S = 90
FAILURES = (1, 2, 3)


@pytest.fixture(scope="module")
def compute() -> Compute:
    return LocalCompute(ModelChoice("tiny", tiny_weights()))


@pytest.fixture
def tools(connections: Connections, compute: Compute) -> Tools:
    return Tools.at(connections, compute)


@pytest.fixture
def instance() -> Iterator[DagsterInstance]:
    with DagsterInstance.ephemeral() as instance:
        # As that of a stack, it is not without any event when the first day is materialized.
        instance.report_runless_asset_event(AssetObservation("the_beginning"))
        yield instance


@contextmanager
def working(worker: HotWorker) -> Iterator[HotWorker]:
    """A worker in a thread; it is gone at the end."""
    thread = threading.Thread(target=worker.run)
    thread.start()
    try:
        yield worker
    finally:
        worker.end()
        thread.join()


def until(is_so: Callable[[], object], what: str = "") -> None:
    """Others do the work; there is nothing to wait on but its result."""
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def has_length(things: Sequence[object], count: int) -> bool:
    return len(things) == count


def at(day: date, second: float = 0) -> datetime:
    return datetime(day.year, day.month, day.day, 8, tzinfo=UTC) + timedelta(seconds=second)


def notes(day: date, count: int) -> list[tuple[datetime, dict[str, str]]]:
    return [(at(day, n), {"content": f"note {n}", "note_type": "text"}) for n in range(count)]


def states(connections: Connections, enrichment: Enrichment, day: date) -> list[str]:
    query = "SELECT state FROM am.work_item WHERE enrichment = %s AND day = %s ORDER BY ts"
    return [state for (state,) in rows_of(connections, query, enrichment.name, day)]


# By the public doors -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """Database, store, API and hot worker: nothing of Dagster runs."""
    ports = choose_free(["api", "dagster"])
    home = tmp_path_factory.mktemp("hot-home")
    settings = Settings(
        home=home,
        api_port=ports["api"],
        dagster_port=ports["dagster"],
        models_dir=tiny_weights().resolve(),
    )
    stack = Stack(home, parts=("postgres", "objects", "api", "hot"), settings=settings)
    stack.start()
    yield stack
    stack.stop()
    assert processes_of(stack.home) == []


@pytest.fixture(scope="module")
def client(small: Stack) -> Iterator[httpx.Client]:
    with psycopg.connect(small.settings.connections().database_url) as connection:
        scopes = frozenset({Scope.WRITE, Scope.READ})
        token = create_token(connection, user_id="ada", device_id="*", scopes=scopes)
    url = f"http://127.0.0.1:{small.settings.api_port}"
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=url, headers=headers, timeout=60) as client:
        yield client


def post_clip(client: httpx.Client, name: str, ts: datetime) -> None:
    body = {
        "device_id": "phone",
        "recorded_at": ts.isoformat(),
        "message_id": str(uuid4()),
        "data": base64.b64encode(media.clip(name).wav).decode(),
    }
    client.post("/audio/upload", json=body).raise_for_status()


def is_heard(client: httpx.Client, question: str, word: str) -> bool:
    answer = client.get("/v1/search", params={"q": question, "kind": "speech"})
    answer.raise_for_status()
    return any(word in hit["text"].lower() for hit in answer.json()["hits"])


def hot_pid(stack: Stack) -> int | None:
    return next(part.pid for part in stack.status() if part.name == "hot")


def test_what_is_said_can_be_searched_and_dagster_is_told_although_nothing_of_it_runs(
    small: Stack, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = datetime.now(UTC)
    post_clip(client, "go-forward", begin)
    until(lambda: is_heard(client, "go forward", "forward"), "never found")
    monkeypatch.setenv("DAGSTER_HOME", str(small.home.dagster))
    with DagsterInstance.get() as instance:
        for enrichment in CHAIN:
            until(partial(instance.get_materialized_partitions, derived_key(enrichment)))
            told = instance.get_materialized_partitions(derived_key(enrichment))
            assert told == {begin.date().isoformat()}
    connections = small.settings.connections()
    assert {run for (run,) in rows_of(connections, "SELECT run_id FROM am.work_item")} == {RUN_ID}


def test_what_a_killed_worker_had_begun_is_done_by_the_next(
    small: Stack, client: httpx.Client
) -> None:
    connections = small.settings.connections()
    running = "SELECT count(*) FROM am.work_item WHERE state = 'running' AND enrichment = %s"
    first = hot_pid(small)
    assert first
    post_clip(client, "austen-0870", datetime.now(UTC))
    until(lambda: rows_of(connections, running, WORDS.name) == [(1,)], "nobody transcribes")
    os.kill(first, signal.SIGKILL)
    until(lambda: is_heard(client, "how much might be prudently", "prudently"), "lost")
    assert hot_pid(small) not in {None, first}
    assert rows_of(connections, running, WORDS.name) == [(0,)]


def test_the_worker_ends_when_asked_and_its_log_names_no_error(small: Stack) -> None:
    pid = hot_pid(small)
    assert pid
    os.kill(pid, signal.SIGTERM)
    log = small.home.log_of("hot")
    until(lambda: "ended" in log.read_text())
    assert "ERROR" not in log.read_text()
    until(lambda: hot_pid(small) not in {None, pid}, "the supervisor started no other")


# In the test's own process -----------------------------------------------------------------------


def test_it_takes_what_has_just_landed_and_leaves_the_backlog_of_the_same_day(
    tools: Tools, instance: DagsterInstance
) -> None:
    day = next(DAYS)
    connections = tools.lake.connections
    garden = Garden(connections)
    garden.plant(NOTE, notes(day, 2))
    long_ago = "SET received_at = received_at - interval '1 hour' WHERE"
    rows_of(connections, f"UPDATE am.{NOTE.table} {long_ago} ts::date = %s RETURNING 1", day)
    rows_of(connections, f"UPDATE am.landing {long_ago} day = %s RETURNING 1", day)
    with working(HotWorker(tools, open_instance=lambda: instance)):
        garden.plant(NOTE, [(at(day, 99), {"content": "new", "note_type": "text"})])
        until(lambda: states(connections, MOMENTS, day) == ["done"])
    assert states(connections, MOMENTS, day) == ["done"]
    assert process(MOMENTS, day, tools, run_id="asset").done == 2


def test_two_workers_share_what_lands_and_do_nothing_twice(
    tools: Tools, instance: DagsterInstance
) -> None:
    day = next(DAYS)
    done: list[UUID] = []
    lock = threading.Lock()

    def count(items: Sequence[Item], compute: Compute) -> list[Outcome]:
        with lock:
            done.extend(item.item_id for item in items if item.ts.date() == day)
        return [NothingFound() for _ in items]

    counting = replace(MOMENTS, name="counted", run=count, task=None, batch=4)
    workers = [
        HotWorker(tools, open_instance=lambda: instance, enrichments=[counting]) for _ in range(2)
    ]
    with working(workers[0]), working(workers[1]):
        ids = Garden(tools.lake.connections).plant(NOTE, notes(day, 40))
        until(lambda: states(tools.lake.connections, counting, day) == ["empty"] * 40)
    assert sorted(done) == sorted(ids)


def test_an_error_is_logged_once_and_the_next_landing_is_worked_off_all_the_same(
    tools: Tools, instance: DagsterInstance, caplog: pytest.LogCaptureFixture
) -> None:
    day = next(DAYS)
    tried: list[UUID] = []

    def stumble(items: Sequence[Item], compute: Compute) -> list[Outcome]:
        tried.extend(item.item_id for item in items)
        if len(tried) <= len(FAILURES):
            raise ZeroDivisionError("a mistake in the code")
        return [NothingFound() for _ in items]

    stumbling = replace(MOMENTS, name="stumbling", run=stumble, task=None, sources=(CLIPBOARD,))
    copied = [(at(day), {"content_text": "x", "content_type": "text"})]
    connections = tools.lake.connections
    with working(HotWorker(tools, open_instance=lambda: instance, enrichments=[stumbling])):
        for number in FAILURES:
            Garden(connections).plant(CLIPBOARD, copied)
            until(partial(has_length, tried, number))
        Garden(connections).plant(CLIPBOARD, copied)
        until(lambda: "empty" in states(connections, stumbling, day))
    complaints = [record for record in caplog.records if "ZeroDivisionError" in record.message]
    assert len(complaints) == 1


def test_a_missing_model_leaves_items_blocked_until_it_is_there(
    tools: Tools, instance: DagsterInstance
) -> None:
    day = next(DAYS)

    def lack(items: Sequence[Item], compute: Compute) -> list[Outcome]:
        raise ModelUnavailableError("text_embedding", "nowhere", "am models pull")

    lacking = replace(MOMENTS, name="lacking", run=lack, task=None)
    connections = tools.lake.connections
    with working(HotWorker(tools, open_instance=lambda: instance, enrichments=[lacking])):
        Garden(connections).plant(NOTE, notes(day, 1))
        until(lambda: states(connections, lacking, day) == ["blocked"])
    there = replace(MOMENTS, name="lacking")
    assert process(there, day, tools, run_id="asset").done == 1


def test_a_slow_transaction_keeps_nothing_that_landed_after_it_waiting(
    tools: Tools, instance: DagsterInstance
) -> None:
    day = next(DAYS)
    connections = tools.lake.connections
    garden = Garden(connections)
    with (
        working(HotWorker(tools, open_instance=lambda: instance)),
        psycopg.connect(connections.database_url) as slow,
    ):
        garden.plant(NOTE, notes(day, 1))  # TimescaleDB: who makes a chunk keeps others from it
        until(lambda: states(connections, MOMENTS, day) == ["done"])
        garden.plant_in(slow, NOTE, [(at(day, 25), {"content": "slow", "note_type": "text"})])
        garden.plant(NOTE, [(at(day, 50), {"content": "overtaking", "note_type": "text"})])
        until(lambda: states(connections, MOMENTS, day) == ["done"] * 2)
        slow.commit()
        until(lambda: states(connections, MOMENTS, day) == ["done"] * 3)


def test_days_that_it_derived_are_still_completed_and_published_by_the_assets(
    tools: Tools, instance: DagsterInstance
) -> None:
    day = next(DAYS)
    defs = build_defs(resources={"tools": tools})
    before = evaluate_automation_conditions(defs=defs, instance=instance)
    hear_live(tools, instance, day)
    # Nothing of it is in the lake, and that is known whether or not any event is seen.
    behind = {one.asset for one in find_unfinished(tools, tools.registry, CHAIN)}
    assert {tuple(derived_key(one).path) for one in (VAD, WORDS)} <= behind

    told = evaluate_automation_conditions(defs=defs, instance=instance, cursor=before.cursor)
    assert told.total_requested == 0  # the runs that follow the landing are enough
    materialize(defs, instance, raw_key(AUDIO), day)
    landed = evaluate_automation_conditions(defs=defs, instance=instance, cursor=told.cursor)
    assert day in days_of(landed, VAD)
    for enrichment in CHAIN:
        counts = materialize(defs, instance, derived_key(enrichment), day)
        assert (counts["items_enqueued"], counts["rows_derived"]) == (0, 0)
    for output in (VAD.output, WORDS.output):
        assert output
        (row,) = tools.lake.read_day(output, day).to_pylist()
        assert row["run_id"] == RUN_ID
        assert day not in {one.day for one in tools.lake.days_behind([output])}


def test_what_it_tells_dagster_asks_for_nothing_without_end(
    tools: Tools, instance: DagsterInstance
) -> None:
    day = next(DAYS)
    defs = build_defs(resources={"tools": tools})
    cursor = evaluate_automation_conditions(defs=defs, instance=instance).cursor
    hear_live(tools, instance, day)
    materialize(defs, instance, raw_key(AUDIO), day)
    asked = []
    for _ in range(8):
        tick = evaluate_automation_conditions(defs=defs, instance=instance, cursor=cursor)
        cursor = tick.cursor
        due = [one for one in CHAIN if day in days_of(tick, one)]
        asked += due
        for enrichment in due:
            materialize(defs, instance, derived_key(enrichment), day)
        # The digest follows them, and nothing follows it.
    assert {one.name for one in asked} == {one.name for one in CHAIN}
    assert tick.total_requested == 0


def hear_live(tools: Tools, instance: DagsterInstance, day: date) -> None:
    """Have the hot worker work off one recording, and tell of it."""
    partition = day.isoformat()
    with working(HotWorker(tools, open_instance=lambda: instance)):
        sound = media.clip("go-forward").wav
        Garden(tools.lake.connections).plant_blobs(AUDIO, [(at(day), sound, SOUND)])
        until(lambda: states(tools.lake.connections, MOMENTS, day) == ["done"])
    for enrichment in CHAIN:
        assert partition in instance.get_materialized_partitions(derived_key(enrichment))


def days_of(evaluated: EvaluateAutomationConditionsResult, enrichment: Enrichment) -> set[date]:
    """Which days of its asset are asked for."""
    partitions = evaluated.get_requested_partitions(derived_key(enrichment))
    return {date.fromisoformat(partition) for partition in partitions if partition}


def materialize(
    defs: Definitions, instance: DagsterInstance, key: AssetKey, day: date
) -> dict[str, Any]:
    """Run one asset's day; its metadata."""
    told = defs.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=instance, partition_key=day.isoformat(), asset_selection=[key]
    )
    assert told.success
    events = [event.materialization for event in told.get_asset_materialization_events()]
    (mine,) = [event for event in events if event.partition == day.isoformat()]
    return {name: value.value for name, value in mine.metadata.items()}


def test_recent_work_of_one_user_leaves_that_of_another(tools: Tools) -> None:
    day = next(DAYS)
    connections = tools.lake.connections
    begin = datetime.now(UTC) - timedelta(minutes=1)
    for user in ("ada", "bo"):
        Garden(connections, user_id=user).plant(NOTE, notes(day, 1))
    counts = process(MOMENTS, day, tools, run_id="hot", recent=Recent("bo", begin), limit=5)
    assert (counts.enqueued, counts.done) == (1, 1)
    again = process(MOMENTS, day, tools, run_id="hot", recent=Recent("bo", begin), limit=5)
    assert again == Counts()
