"""One real day through the public doors, processed by Dagster: what `make demo` promises.

The day is sent in peace, sent again, and sent for a second user while every part is killed; in the
end both users have the same tables.
"""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
import psycopg
import pytest

from am_assets.schemas.columns import columns
from am_assets.streams.registry import REGISTRY
from am_assets.streams.stream import Stream
from infra.commands.backfill import days_between
from infra.commands.demo import Backlog
from infra.deep import Deep
from infra.demo.day import real_day
from infra.demo.findings import find, score
from infra.demo.send import SendReport, send
from infra.demo.truth import DemoDay
from infra.ports import choose_free
from infra.stack import Stack
from infra.weights import ignore_progress, pull
from ingest_api.settings import Settings
from ingest_api.tokens import Scope, create_token
from resources.connections import Connections
from resources.lake import Lake
from resources.lake_check import errors

pytestmark = pytest.mark.slow

CALM, STORMY = "calm", "stormy"
PATIENCE_S = 400
# What tells of the run, the hour and the user, and not of the day.
PASSING = {
    "user_id",
    "run_id",
    "received_at",
    "trace_id",
    "event_id",
    "source_event_id",
    "blob_key",
}
ANY_ID = "[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"  # words name the stretch they were heard in


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """All parts, as `am up` starts them."""
    models_dir = Settings().models_dir.resolve()
    pull(models_dir, "tiny", ignore_progress)
    ports = choose_free(["api", "dagster"])
    home = tmp_path_factory.mktemp("whole")
    settings = Settings(
        home=home, api_port=ports["api"], dagster_port=ports["dagster"], models_dir=models_dir
    )
    stack = Stack(home, settings=settings)
    stack.start()
    yield stack
    stack.stop()


@pytest.fixture(scope="module")
def day() -> DemoDay:
    """Yesterday, so that nothing lies in the future."""
    return real_day(datetime.now(UTC).date() - timedelta(days=1), seed=1)


@pytest.fixture(scope="module")
def connections(whole: Stack) -> Connections:
    """Where that stack is."""
    return whole.settings.connections()


@pytest.fixture(scope="module")
def calm(whole: Stack, connections: Connections, day: DemoDay) -> SendReport:
    """The day sent and processed in peace."""
    report = send_as(CALM, whole, connections, day)
    await_done(connections)
    return report


def test_the_findings_agree_with_what_really_happened(
    calm: SendReport, connections: Connections, day: DemoDay
) -> None:
    assert (calm.sent, calm.failures) == (len(day.messages), ())
    with psycopg.connect(connections.database_url) as connection:
        scores = score(find(connection, user_id=CALM, truth=day.truth), day.truth)
    assert scores.word_error_rate is not None
    assert scores.character_accuracy is not None
    assert scores.activity_accuracy is not None
    assert scores.word_error_rate <= 0.10
    assert scores.character_accuracy >= 0.97
    assert scores.activity_accuracy >= 0.80


def test_quiet_recordings_are_empty_and_not_failed(
    calm: SendReport, connections: Connections, day: DemoDay
) -> None:
    assert calm.sent
    with psycopg.connect(connections.database_url) as connection:
        states = connection.execute(
            "SELECT DISTINCT state FROM am.work_item WHERE user_id = %s "
            "AND enrichment = 'media_audio_vad_filtered' AND item_id = ANY(%s::uuid[])",
            (CALM, list(day.truth.quiet_ids)),
        ).fetchall()
    assert states == [("empty",)]


def test_every_stream_has_as_many_rows_in_the_lake_as_in_the_database(
    calm: SendReport, connections: Connections, day: DemoDay
) -> None:
    assert calm.sent
    lake = Lake(connections)
    with psycopg.connect(connections.database_url) as connection:
        for name, sent in day.truth.counts.items():
            stream = REGISTRY[name]
            assert count(connection, stream, CALM) == sent
            assert len(lake.read_day(stream, day.day)) == sent


def test_the_deep_check_finds_every_derived_rows_source(
    calm: SendReport, connections: Connections
) -> None:
    assert calm.sent
    assert errors(Deep(connections, REGISTRY).derived_faults()) == []


def test_sending_the_day_again_stores_nothing_new_and_the_ledger_adds_up(
    calm: SendReport, whole: Stack, connections: Connections, day: DemoDay
) -> None:
    again = send_as(CALM, whole, connections, day)
    assert again.failures == ()
    with psycopg.connect(connections.database_url) as connection:
        row = connection.execute(
            "SELECT sum(received), sum(stored), sum(duplicate), sum(rejected) FROM am.landing "
            "WHERE user_id = %s",
            (CALM,),
        ).fetchone()
    assert row == (calm.sent + again.sent, calm.sent, again.sent, 0)


def test_killing_every_part_while_it_works_ends_with_the_same_tables(
    calm: SendReport, whole: Stack, connections: Connections, day: DemoDay
) -> None:
    assert calm.sent
    send_as(STORMY, whole, connections, day)
    for part in ("dagster-code", "postgres", "objects", "dagster-daemon", "api", "supervisor"):
        await_progress(connections)
        kill(whole, part)
        whole.start()
    await_done(connections)
    with psycopg.connect(connections.database_url) as connection:
        for stream in REGISTRY.values():
            assert content(connection, stream, STORMY) == content(connection, stream, CALM), stream


def test_a_weeks_backfill_computes_each_of_its_days_and_changes_no_row(
    calm: SendReport, whole: Stack, connections: Connections, day: DemoDay
) -> None:
    assert calm.sent
    windows = REGISTRY["device.sensor.accelerometer.windowed"]
    with psycopg.connect(connections.database_url) as connection:
        before = content(connection, windows, CALM)
    first = day.day - timedelta(days=6)
    backfill_id = backfill(whole, windows.name, first, day.day)
    week = {str(one) for one in days_between(first, day.day)}
    states: dict[str, str] = {}

    def is_over() -> bool:
        states.update(partition_states(whole, backfill_id))
        ended = {"SUCCESS", "FAILURE", "CANCELED"}
        return set(states) == week and set(states.values()) <= ended

    wait(is_over, lambda: f"the backfill's runs: {states}")
    assert states == dict.fromkeys(week, "SUCCESS")
    with psycopg.connect(connections.database_url) as connection:
        assert content(connection, windows, CALM) == before


def backfill(stack: Stack, name: str, first: date, last: date) -> str:
    """Start one by the command. Returns its id."""
    command = [sys.executable, "-m", "infra.cli", "backfill", name]
    command += ["--from", str(first), "--to", str(last)]
    environment = os.environ | {
        "AM_HOME": str(stack.settings.home),
        "AM_DAGSTER_PORT": str(stack.settings.dagster_port),
    }
    told = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    return told.stdout.split()[0]


def partition_states(stack: Stack, backfill_id: str) -> dict[str, str]:
    """How the backfill's runs ended, by day; what has no run yet is not there."""
    query = """query($id: String!) { partitionBackfillOrError(backfillId: $id) {
      ... on PartitionBackfill { runs(limit: 100) { status tags { key value } } } } }"""
    answer = httpx.post(
        f"http://127.0.0.1:{stack.settings.dagster_port}/graphql",
        json={"query": query, "variables": {"id": backfill_id}},
        timeout=60,
    ).json()
    runs = answer["data"]["partitionBackfillOrError"]["runs"]
    return {
        tag["value"]: run["status"]
        for run in runs
        for tag in run["tags"]
        if tag["key"] == "dagster/partition"
    }


def send_as(user: str, stack: Stack, connections: Connections, day: DemoDay) -> SendReport:
    """Send the day through the doors."""
    with psycopg.connect(connections.database_url) as connection:
        token = create_token(
            connection, user_id=user, device_id="*", scopes=frozenset({Scope.WRITE})
        )
    return asyncio.run(
        send(
            day.messages,
            base_url=f"http://127.0.0.1:{stack.settings.api_port}",
            token=token,
            concurrency=8,
            on_progress=lambda *_: None,
        )
    )


def await_done(connections: Connections) -> None:
    """Until nothing is left to process or to publish."""
    left: list[str] = ["?"]

    def is_done() -> bool:
        left[:] = Backlog(connections).open()
        return not left

    wait(is_done, lambda: f"still to do: {left}")


def await_progress(connections: Connections) -> None:
    """Until another item has been worked on, or nothing is left."""
    before = progress(connections)
    wait(
        lambda: progress(connections) != before or not Backlog(connections).open(),
        lambda: "nothing moves",
    )


def progress(connections: Connections) -> Any:
    """Changes with every item and every published day."""
    with psycopg.connect(connections.database_url) as connection:
        return connection.execute(
            "SELECT max(updated_at), (SELECT max(published_at) FROM am.publication) "
            "FROM am.work_item"
        ).fetchone()


def wait(is_true: Callable[[], bool], complaint: Callable[[], str]) -> None:
    """Ask again until it is so."""
    deadline = time.monotonic() + PATIENCE_S
    while not is_true():
        assert time.monotonic() < deadline, complaint()
        time.sleep(0.3)  # other processes do the work; there is nothing to wait on


def kill(stack: Stack, name: str) -> None:
    """As the kernel kills: without a word."""
    if name == "supervisor":
        pid = int((stack.home.run / "supervisord.pid").read_text())
    else:
        (pid,) = (part.pid for part in stack.status() if part.name == name and part.pid)
    os.kill(pid, signal.SIGKILL)


def count(connection: psycopg.Connection[Any], stream: Stream, user: str) -> int:
    """Rows of one user."""
    row = connection.execute(
        f"SELECT count(*) FROM am.{stream.table} WHERE user_id = %s".encode(), (user,)
    ).fetchone()
    return int(row[0]) if row else 0


def content(connection: psycopg.Connection[Any], stream: Stream, user: str) -> list[str]:
    """All that a user's rows tell, in order; without what differs from user to user."""
    told = ", ".join(c.name for c in columns(stream) if c.name not in PASSING)
    rows = connection.execute(
        f"SELECT regexp_replace(row({told})::text, %s, 'id', 'g') FROM am.{stream.table} "
        "WHERE user_id = %s ORDER BY 1".encode(),
        (ANY_ID, user),
    )
    return [text for (text,) in rows]
