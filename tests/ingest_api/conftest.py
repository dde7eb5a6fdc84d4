"""The API as it runs, over the real stack, and clients with tokens."""

import threading
import time
from collections.abc import Callable, Iterator

import httpx
import psycopg
import pytest
import uvicorn

from ingest_api.main import build_app
from ingest_api.settings import Settings
from ingest_api.tokens import Scope, create_token
from resources.connections import Connections

ClientFor = Callable[..., httpx.Client]


@pytest.fixture(scope="module")
def base_url(connections: Connections) -> Iterator[str]:
    """Where the API answers; a real server on a free port."""
    settings = Settings(api_max_body_mb=4)
    config = uvicorn.Config(
        build_app(settings, connections), host="127.0.0.1", port=0, log_level="warning"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{_port(server)}"
    server.should_exit = True
    thread.join(10)
    assert not thread.is_alive()


def _port(server: uvicorn.Server) -> int:
    deadline = time.monotonic() + 20
    while not server.started:
        assert time.monotonic() < deadline, "the API did not start"
        threading.Event().wait(0.02)
    port: int = server.servers[0].sockets[0].getsockname()[1]
    return port


@pytest.fixture
def database(connections: Connections) -> Iterator[psycopg.Connection]:
    """A look behind the door."""
    with psycopg.connect(connections.database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def token_for(database: psycopg.Connection) -> Callable[..., str]:
    """Makes tokens."""

    def make(user: str, device: str = "*", scope: Scope = Scope.ADMIN) -> str:
        return create_token(database, user_id=user, device_id=device, scopes=frozenset({scope}))

    return make


@pytest.fixture
def client_for(base_url: str, token_for: Callable[..., str]) -> Iterator[ClientFor]:
    """Makes clients that carry a user's token."""
    clients: list[httpx.Client] = []

    def make(user: str, **token: object) -> httpx.Client:
        headers = {"Authorization": f"Bearer {token_for(user, **token)}"}
        clients.append(httpx.Client(base_url=base_url, headers=headers, timeout=30))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def user(request: pytest.FixtureRequest) -> str:
    """A user of this test alone."""
    return f"u-{abs(hash(request.node.nodeid)):x}"


@pytest.fixture
def client(client_for: ClientFor, user: str) -> httpx.Client:
    """A client of that user, for any device."""
    return client_for(user)
