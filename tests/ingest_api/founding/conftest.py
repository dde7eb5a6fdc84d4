"""An API with fast pings, and clients without a token at loopback addresses of their own.

Rules of trust are read before the first request and remembered, so they are made before the API.
"""

import json
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any

import httpx
import psycopg
import pytest
import uvicorn
from websockets.sync.client import ClientConnection, connect

from ingest_api.main import build_app
from ingest_api.settings import Settings
from ingest_api.trust import add_rule
from resources.connections import Connections
from tests.ingest_api.conftest import _port

Rows = Callable[..., list[tuple[Any, ...]]]


@dataclass(frozen=True)
class Guest:
    """A client that has no token: where it comes from, and for whom it may write."""

    user: str
    address: str
    device_id: str


def guest(number: int, device_id: str | None = None) -> Guest:
    """A guest of a user of its own."""
    unique = uuid.uuid4()
    return Guest(f"guest-{unique.hex}", f"127.0.4.{number}", device_id or str(unique))


UBUNTU, MACOS, FLUTTER = guest(1), guest(2), guest(3)
WATCH = guest(4, f"wearable_{uuid.uuid4()}")
HOUSE_ADA, HOUSE_BOB = guest(5), guest(5)  # two people behind one address
STRANGER = guest(6)
# (guest, its one device, its key)
RULES = (
    (UBUNTU, None, None),
    (MACOS, None, "apikeyhere"),
    (FLUTTER, None, None),
    (WATCH, WATCH.device_id, None),
    (HOUSE_ADA, None, None),
    (HOUSE_BOB, HOUSE_BOB.device_id, None),
)


@pytest.fixture(scope="module")
def rules(connections: Connections) -> None:
    """One rule for each guest but the stranger."""
    with psycopg.connect(connections.database_url) as connection:
        for who, device_id, key in RULES:
            add_rule(
                connection,
                user_id=who.user,
                network=ip_network(who.address),
                device_id=device_id,
                key=key,
            )


@pytest.fixture(scope="module")
def base_url(connections: Connections, rules: None) -> Iterator[str]:
    """Where an API of these tests answers."""
    app = build_app(Settings(api_max_body_mb=4, socket_ping_s=0.2), connections)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{_port(server)}"
    server.should_exit = True
    thread.join(10)
    assert not thread.is_alive()


@pytest.fixture
def rows(database: psycopg.Connection) -> Rows:
    """Reads columns of a user's rows of a table, in the order of their time."""

    def read(table: str, columns: str, user: str) -> list[tuple[Any, ...]]:
        statement = f"SELECT {columns} FROM am.{table} WHERE user_id = %s ORDER BY 1"
        return database.execute(statement.encode(), (user,)).fetchall()

    return read


@contextmanager
def rest(base_url: str, who: Guest, headers: dict[str, str]) -> Iterator[httpx.Client]:
    """A guest's HTTP client, at its own address."""
    transport = httpx.HTTPTransport(local_address=who.address)
    with httpx.Client(base_url=base_url, transport=transport, headers=headers) as client:
        yield client


class Socket:
    """A device's end of a socket."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection

    def say(self, frame: Any) -> None:
        """Send one frame, as JSON unless it is text or bytes."""
        is_raw = isinstance(frame, (str, bytes))
        self.connection.send(frame if is_raw else json.dumps(frame))

    def hear(self, kind: str) -> dict[str, Any]:
        """The next frame of a kind; others are passed over, errors never."""
        while True:
            frame: dict[str, Any] = json.loads(self.connection.recv(timeout=20))
            assert "error" not in frame["type"]
            if frame["type"] == kind:
                return frame

    def ask(self, frame: Any, kind: str) -> dict[str, Any]:
        """Send one frame and hear its answer."""
        self.say(frame)
        return self.hear(kind)


@contextmanager
def socket_of(
    base_url: str, path: str, *, address: str = "127.0.0.1", headers: dict[str, str] | None = None
) -> Iterator[Socket]:
    """An open socket from an address."""
    url = base_url.replace("http", "ws", 1) + path
    with connect(url, additional_headers=headers, source_address=(address, 0)) as connection:
        yield Socket(connection)
