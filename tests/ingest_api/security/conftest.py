"""APIs of a test's own: as `am up` serves them, with limits that a test can reach."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import psycopg
import pytest
import uvicorn

from ingest_api.main import build_app
from ingest_api.serve import configuration
from ingest_api.settings import Settings
from ingest_api.tokens import Scope, create_token
from resources.connections import Connections
from tests.ingest_api.conftest import _port

Serve = Callable[..., AbstractContextManager[str]]


@pytest.fixture
def serve(connections: Connections) -> Iterator[Serve]:
    """Serves the API with some settings; gives its address."""

    @contextmanager
    def serving(**settings: Any) -> Iterator[str]:
        told = Settings.model_validate({"api_max_body_mb": 4, **settings})
        app = build_app(told, connections)
        config = configuration(
            told, app, host="127.0.0.1", port=0, log_config=None, log_level="info"
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        try:
            yield f"http{'s' if told.tls_files() else ''}://127.0.0.1:{_port(server)}"
        finally:
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive()

    levels = {name: logging.getLogger(name).level for name in ("uvicorn", "uvicorn.error")}
    yield serving
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.fixture
def bearer(token_for: Callable[..., str], user: str) -> dict[str, str]:
    """Headers of a client that may do all for one user."""
    return {"Authorization": f"Bearer {token_for(user)}"}


def token(connections: Connections, user: str, scope: Scope = Scope.ADMIN) -> str:
    """A new token."""
    with psycopg.connect(connections.database_url, autocommit=True) as database:
        return create_token(database, user_id=user, device_id="*", scopes=frozenset({scope}))
