"""A connection that breaks in the middle of a commit: what is answered is what became of it."""

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import psycopg
import pytest
import uvicorn

from ingest_api.main import build_app
from ingest_api.settings import Settings
from resources.connections import Connections
from tests.ingest_api.conftest import _port
from tests.ingest_api.test_bad_input import GOOD, PATH

NEVER = 1_000


class Cable:
    """Between AM and PostgreSQL: cut after so many answers to whoever mentions the armed word.

    What AM has said until then still arrives; PostgreSQL's answer, from then on, does not.
    """

    def __init__(self, host: str, port: int) -> None:
        self.word = b""
        self.answers_left = NEVER
        self._armed: set[socket.socket] = set()
        self._server = (host, port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def arm(self, word: bytes, *, answers: int) -> None:
        """From now on; what was armed before is not any more."""
        self._armed.clear()
        self.word, self.answers_left = word, answers

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._server)
                for target in (self._up, self._down):
                    threading.Thread(target=target, args=(client, server), daemon=True).start()

    def _up(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while said := client.recv(1 << 16):
                if self.word and self.word in said:
                    self._armed.add(client)
                server.sendall(said)
            server.shutdown(socket.SHUT_WR)

    def _down(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while said := server.recv(1 << 16):
                if client in self._armed and self.answers_left == 0:
                    break
                self.answers_left -= client in self._armed
                client.sendall(said)
            self._armed.discard(client)
            self.word = b""
            client.shutdown(socket.SHUT_RDWR)


@pytest.fixture(scope="module")
def cable(connections: Connections) -> Iterator[Cable]:
    """To this module's database."""
    parts = urlsplit(connections.database_url)
    cable = Cable(parts.hostname or "", parts.port or 0)
    yield cable
    cable.close()


@pytest.fixture(scope="module")
def base_url(connections: Connections, cable: Cable) -> Iterator[str]:
    """An API that reaches its database through the cable."""
    parts = urlsplit(connections.database_url)
    address = f"{parts.username}:{parts.password}@127.0.0.1:{cable.port}"
    url = parts._replace(netloc=address).geturl()
    app = build_app(Settings(), replace(connections, database_url=url))
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{_port(server)}"
    server.should_exit = True
    thread.join(20)
    assert not thread.is_alive()


@pytest.mark.parametrize("answers", range(8))
@pytest.mark.parametrize("is_known", [True, False])
def test_a_200_means_stored_and_a_503_means_not_wherever_the_connection_breaks(
    cable: Cable,
    client: httpx.Client,
    database: psycopg.Connection,
    user: str,
    answers: int,
    is_known: bool,
) -> None:
    device = f"cut-{uuid4()}"
    if is_known:
        assert client.post(PATH, json={**GOOD, "device_id": device, "latitude": 7}).is_success
    cable.arm(device.encode(), answers=answers)
    answer = client.post(PATH, json={**GOOD, "device_id": device})
    cable.arm(b"", answers=NEVER)
    query = (
        "SELECT count(*) FROM am.device_sensor_gps_raw "
        "WHERE user_id = %s AND device_id = %s AND latitude = 1"
    )
    found = database.execute(query, (user, device)).fetchone()
    assert (answer.status_code, found) in [(200, (1,)), (503, (0,))], answer.text
    if answer.is_success:
        assert (answer.json()["stored"], answer.json()["received"]) == (1, 1)
    again = client.post(PATH, json={**GOOD, "device_id": device}).json()
    assert (again["stored"], again["duplicate"]) == ((0, 1) if answer.is_success else (1, 0))
