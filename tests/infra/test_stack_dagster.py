"""Dagster in the stack: runs are executed, and a run whose process died does not stay started."""

import json
import signal
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import psutil
import pytest

from infra.home import load_state
from infra.ports import choose_free
from infra.processes import end, processes_of
from infra.stack import ALL_PARTS, Stack
from ingest_api.settings import Settings

pytestmark = pytest.mark.slow
OPTIONAL = {"mqtt"}  # where no broker is set there is nothing to subscribe to
LAUNCH = """mutation($params: ExecutionParams!) { launchRun(executionParams: $params) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""
RUNS = "{ runsOrError { ... on Runs { results { runId status rootRunId } } } }"


@pytest.fixture(scope="module")
def dagster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    home = tmp_path_factory.mktemp("dagster-home")
    ports = choose_free(["api", "dagster"])
    settings = Settings(
        home=home, s3_bucket="am-test", api_port=ports["api"], dagster_port=ports["dagster"]
    )
    stack = Stack(home, settings=settings, definitions="tests.fixtures.tiny_definitions")
    stack.start()
    yield stack
    stack.stop()
    assert processes_of(stack.home) == []


def ask(stack: Stack, query: str, **variables: Any) -> Any:
    answer = answer_to(stack, query, **variables)
    assert "errors" not in answer, answer
    return answer["data"]


def answer_to(stack: Stack, query: str, **variables: Any) -> Any:
    """As it came, with its errors."""
    connection = HTTPConnection("127.0.0.1", stack.settings.dagster_port, timeout=30)
    body = json.dumps({"query": query, "variables": variables})
    connection.request("POST", "/graphql", body, {"Content-Type": "application/json"})
    return json.loads(connection.getresponse().read())


def launch(stack: Stack, job: str, config: dict[str, Any] | None = None) -> str:
    selector = {
        "jobName": job,
        "repositoryName": "__repository__",
        "repositoryLocationName": "am",
    }
    params = {"selector": selector, "runConfigData": config or {}}
    answer = ask(stack, LAUNCH, params=params)["launchRun"]
    assert answer["__typename"] == "LaunchRunSuccess", answer
    return str(answer["run"]["runId"])


def await_status(stack: Stack, run: str, status: str, *, within_s: float = 400) -> None:
    """Of the run itself, or of a retry of it."""
    deadline = time.monotonic() + within_s
    while True:
        found = [
            (r["runId"], r["status"])
            for r in ask(stack, RUNS)["runsOrError"]["results"]
            if run in {r["runId"], r["rootRunId"]}
        ]
        if status in {s for _, s in found}:
            return
        assert time.monotonic() < deadline, found


def test_a_run_is_queued_executed_and_recorded(dagster: Stack) -> None:
    await_status(dagster, launch(dagster, "quick_job"), "SUCCESS")


def await_all_ready(stack: Stack) -> None:
    """A busy machine may answer one look too late."""
    deadline = time.monotonic() + 60
    while waiting := [part for part in stack.status() if not part.is_ready]:
        assert time.monotonic() < deadline, waiting


def sockets_of(process: psutil.Process) -> list[Any]:
    """None of a process that has ended meanwhile: the daemon's runs come and go."""
    try:
        return list(process.net_connections("inet"))
    except psutil.NoSuchProcess:
        return []


def test_every_part_is_ready_and_on_loopback_alone(dagster: Stack) -> None:
    assert set(dagster.part_names) >= set(ALL_PARTS) - OPTIONAL
    await_all_ready(dagster)
    heard = [
        (name, c.laddr)
        for name in dagster.part_names
        for process in processes_of(dagster.home, name)
        for c in sockets_of(process)
        if c.laddr and not c.raddr and c.status in (psutil.CONN_LISTEN, psutil.CONN_NONE)
    ]
    outside = [
        (name, place)
        for name, place in heard
        if not ip_address(place.ip.removeprefix("::ffff:")).is_loopback
    ]
    assert outside == []
    listening = {place.port for _, place in heard}
    state = load_state(dagster.home)
    assert state is not None
    assert {dagster.settings.api_port, dagster.settings.dagster_port} <= listening
    assert {state.ports["postgres"], state.ports["s3"]} <= listening


@pytest.mark.slow
def test_a_run_in_progress_at_a_power_cut_fails_and_is_started_again(
    dagster: Stack, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    run = launch(dagster, "wait_job", {"ops": {"waiting": {"config": {"file": str(gate)}}}})
    await_status(dagster, run, "STARTED")
    end(processes_of(dagster.home), ask=signal.SIGKILL, patience_s=10)
    gate.touch()
    dagster.start()
    await_status(dagster, run, "FAILURE")
    await_status(dagster, run, "SUCCESS")


def test_a_run_that_dies_while_the_database_is_away_fails_and_is_started_again(
    dagster: Stack, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    run = launch(dagster, "wait_job", {"ops": {"waiting": {"config": {"file": str(gate)}}}})
    await_status(dagster, run, "STARTED")
    server = psutil.Process(dagster.supervisor.states()["dagster-code"].pid)
    runs = server.children(recursive=True)
    stop_and_await(dagster, "postgres")
    end(runs, ask=signal.SIGKILL, patience_s=10)
    gate.touch()
    await_words(dagster, "dagster-code", "OperationalError")  # it has looked, and found nobody
    dagster.start()
    await_data(dagster)
    await_status(dagster, run, "FAILURE")
    await_status(dagster, run, "SUCCESS")


def await_data(stack: Stack) -> None:
    """Wait until the web page has let go of all the connections that went with the database."""
    deadline = time.monotonic() + 60
    while "errors" in (answer := answer_to(stack, RUNS)):
        assert time.monotonic() < deadline, answer


def stop_and_await(stack: Stack, part: str) -> None:
    """Stop one part and wait for its end."""
    stack.supervisor.stop(part)
    deadline = time.monotonic() + 60
    while stack.supervisor.states()[part].is_up:
        assert time.monotonic() < deadline


def await_words(stack: Stack, part: str, words: str) -> None:
    """Wait until a part's log holds them."""
    deadline = time.monotonic() + 120
    while words not in stack.home.log_of(part).read_text(errors="replace"):
        assert time.monotonic() < deadline
