"""The API with the doors for other apps, and a look at what came of a request."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
import uvicorn
from pydantic import SecretStr

from am_assets.streams.registry import REGISTRY
from ingest_api.main import build_app
from ingest_api.settings import Settings
from resources.connections import Connections
from tests.ingest_api.conftest import _port

SEALED_USER = "u-sealed"
SECRET = "correct horse battery"

RowsOf = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture(scope="module")
def base_url(connections: Connections) -> Iterator[str]:
    """Where the API answers; a real server on a free port."""
    secrets = {SEALED_USER: SecretStr(SECRET)}
    settings = Settings.model_validate({"api_max_body_mb": 4, "owntracks_secrets": secrets})
    app = build_app(settings, connections)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{_port(server)}"
    server.should_exit = True
    thread.join(10)
    assert not thread.is_alive()


@pytest.fixture
def rows_of(database: psycopg.Connection, user: str) -> RowsOf:
    """Reads columns of the user's rows of one stream, by time and device."""

    def read(stream: str, columns: str, *, of: str = user) -> list[tuple[Any, ...]]:
        query = (
            f"SELECT {columns} FROM am.{REGISTRY[stream].table} WHERE user_id = %s "
            "ORDER BY ts, device_id"
        )
        return database.execute(query.encode(), (of,)).fetchall()

    return read


@pytest.fixture
def letters_of(database: psycopg.Connection, user: str) -> Callable[[], list[tuple[Any, ...]]]:
    """Reads door, code and payload of the user's dead letters."""

    def read(of: str = user) -> list[tuple[Any, ...]]:
        return database.execute(
            "SELECT door, code, payload FROM am.dead_letter WHERE user_id = %s ORDER BY payload",
            (of,),
        ).fetchall()

    return read
