"""A desktop to collect from, and the API to collect for: a real X server, a real API process."""

import os
import select
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import httpx
import psycopg
import pytest

from infra.ports import choose_free
from ingest_api.tokens import Scope, create_token
from resources.connections import Connections
from tests.collectors.desktop.x_programs import Screen
from tests.variables import variables_of

PATIENCE_S = 60


def until(condition: Callable[[], object], *, what: str) -> None:
    """Wait for something that has to come."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come"
        threading.Event().wait(0.03)


@contextmanager
def running_display() -> Iterator[tuple[str, Callable[[], None]]]:
    """A screen of 800 by 600 in memory, and what ends it."""
    program = shutil.which("Xvfb")
    if program is None:
        assert "CI" not in os.environ, "Xvfb is missing: apt-get install xvfb"
        pytest.skip("needs Xvfb (apt-get install xvfb)")
    reading, writing = os.pipe()
    command = [program, "-displayfd", str(writing), "-screen", "0", "800x600x24"]
    command += ["-nolisten", "tcp", "-noreset"]
    with subprocess.Popen(command, pass_fds=(writing,), stderr=subprocess.DEVNULL) as server:

        def end() -> None:
            server.terminate()
            server.wait()

        os.close(writing)
        try:
            assert select.select([reading], [], [], PATIENCE_S)[0], "Xvfb did not start"
            yield f":{os.read(reading, 20).decode().strip()}", end
        finally:
            os.close(reading)
            end()


@pytest.fixture(scope="session")
def display() -> Iterator[str]:
    """The screen that most tests share."""
    with running_display() as (display, _):
        yield display


@pytest.fixture
def screen(display: str) -> Iterator[Screen]:
    """The X server as programs and the window manager use it."""
    with closing(Screen(display)) as screen:
        yield screen


class Api:
    """The API as a process that can be started, killed and started again on its port."""

    def __init__(self, connections: Connections, home: Path) -> None:
        self.port = choose_free(["api"])["api"]
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        self._environment = os.environ | {
            "AM_HOME": str(home),
            **variables_of(connections),
        }

    def start(self) -> None:
        command = [sys.executable, "-m", "uvicorn", "--factory", "--port", str(self.port)]
        command += ["--no-access-log", "--log-level", "warning"]
        command += ["ingest_api.main:app_from_environment"]
        self._process = subprocess.Popen(command, env=self._environment)
        until(self._is_ready, what="the API")

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/readyz").is_success
        except httpx.TransportError:
            return False


@pytest.fixture(scope="module")
def api(connections: Connections, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """The API over the real stack."""
    api = Api(connections, tmp_path_factory.mktemp("api-home"))
    api.start()
    yield api
    api.kill()


@pytest.fixture
def database(connections: Connections) -> Iterator[psycopg.Connection]:
    """A look behind the door."""
    with psycopg.connect(connections.database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def device(request: pytest.FixtureRequest) -> str:
    """A device of this test alone."""
    return f"desk-{request.node.name[:60]}"


@pytest.fixture
def token(database: psycopg.Connection, device: str) -> str:
    """May write as that device of the user `ada`."""
    return create_token(database, user_id="ada", device_id=device, scopes=frozenset({Scope.WRITE}))


class SwallowedAnswers:
    """A way to the API on which requests arrive and their answers are lost."""

    def __init__(self, port: int) -> None:
        self._api = port
        self._server = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self.url = f"http://127.0.0.1:{self._server.getsockname()[1]}"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()
        for one in self._sockets:
            one.close()
        self._thread.join(PATIENCE_S)

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:  # closed
                return
            upstream = socket.create_connection(("127.0.0.1", self._api))
            self._sockets += [client, upstream]
            threading.Thread(target=_forward, args=(client, upstream), daemon=True).start()


def _forward(source: socket.socket, target: socket.socket) -> None:
    try:
        while piece := source.recv(1 << 16):
            target.sendall(piece)
    except OSError:  # the client was killed
        return


@pytest.fixture
def swallowed_answers(api: Api) -> Iterator[SwallowedAnswers]:
    """Such a way."""
    with closing(SwallowedAnswers(api.port)) as way:
        yield way
