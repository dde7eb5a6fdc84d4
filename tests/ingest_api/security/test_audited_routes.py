"""Every route of the application is public and listed here, or asks for a token; and every one that
a reader may use leaves a line in the audit log, whoever wrote it.
"""

from collections.abc import Callable
from typing import Annotated

import httpx
import psycopg
import pytest
from fastapi import Depends
from fastapi.routing import APIRoute
from fastapi.testclient import TestClient
from starlette.routing import BaseRoute, Route, WebSocketRoute
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from ingest_api.auth import require
from ingest_api.main import build_app
from ingest_api.settings import Settings
from ingest_api.tokens import Principal, Scope
from resources.connections import Connections
from tests.ingest_api.security.conftest import Serve
from tests.ingest_api.security.every_route import NEEDED, REFUSED, asked, every_route, filled


@pytest.fixture(scope="module")
def routes(connections: Connections) -> list[BaseRoute]:
    return every_route(build_app(Settings(), connections))


def test_every_route_is_one_that_this_test_understands(routes: list[BaseRoute]) -> None:
    assert [route for route in routes if not isinstance(route, Route | WebSocketRoute)] == []
    assert sum(isinstance(route, APIRoute) for route in routes) > 100


def test_no_route_that_is_not_public_answers_without_a_token(
    routes: list[BaseRoute], serve: Serve
) -> None:
    with serve() as url, httpx.Client(base_url=url) as client:
        let_in = [
            (method, path)
            for method, path in asked(routes)
            if client.request(method, filled(path)).status_code not in (401, 499)
        ]
    assert let_in == []


def test_every_route_that_a_reader_may_use_leaves_a_line(
    routes: list[BaseRoute],
    serve: Serve,
    token_for: Callable[..., str],
    database: psycopg.Connection,
    user: str,
) -> None:
    headers = {"Authorization": f"Bearer {token_for(user, scope=Scope.READ)}"}
    answered: dict[str, int] = {}
    with serve() as url, httpx.Client(base_url=url, headers=headers, timeout=60) as client:
        for method, path in asked(routes):
            status = client.request(method, filled(path), params=NEEDED).status_code
            if status not in REFUSED:
                answered[path] = status
    found = database.execute(
        "SELECT DISTINCT route FROM am.audit WHERE user_id = %s", (user,)
    ).fetchall()
    silent = {path: status for path, status in answered.items() if (path,) not in found}
    assert silent == {}, "give the route `require(Scope.READ)`: who may read is what audits"
    assert {"/v1/timeline", "/v1/ledger", "/devices", "/devices/activity"} <= set(answered)


def test_who_may_only_write_is_refused_by_every_route_that_a_reader_may_use(
    routes: list[BaseRoute], serve: Serve, token_for: Callable[..., str], user: str
) -> None:
    reader = {"Authorization": f"Bearer {token_for(user, scope=Scope.READ)}"}
    writer = {"Authorization": f"Bearer {token_for(user, scope=Scope.WRITE)}"}
    both = []
    with serve() as url, httpx.Client(base_url=url, timeout=60) as client:
        for method, path in asked(routes):
            statuses = [
                client.request(method, filled(path), params=NEEDED, headers=headers).status_code
                for headers in (reader, writer)
            ]
            if not set(statuses) & set(REFUSED):
                both.append((method, path, statuses))
    assert both == []


def test_no_socket_opens_without_a_token_or_for_who_may_only_read(
    routes: list[BaseRoute], serve: Serve, token_for: Callable[..., str], user: str
) -> None:
    paths = [route.path for route in routes if isinstance(route, WebSocketRoute)]
    token = token_for(user, scope=Scope.READ)
    with serve() as url:
        for path in paths:
            for query in ("", f"?token={token}"):
                address = url.replace("http", "ws", 1) + filled(path) + query
                with pytest.raises((InvalidStatus, ConnectionClosed)), connect(address) as line:
                    line.recv(timeout=10)
    assert len(paths) >= 4


def test_a_route_that_forgets_the_audit_log_can_not_be_written(
    connections: Connections, token_for: Callable[..., str], database: psycopg.Connection, user: str
) -> None:
    """A route that a stranger to this project might add, with the dependency and nothing more."""
    app = build_app(Settings(), connections)

    @app.get("/v1/diaries/{name}")
    def diary(name: str, principal: Annotated[Principal, Depends(require(Scope.READ))]) -> str:
        return f"{name} of {principal.user_id}"

    with TestClient(app, headers={"X-API-Key": token_for(user)}) as client:
        assert client.get("/v1/diaries/spring").json() == f"spring of {user}"
    lines = database.execute(
        "SELECT kind, route, status FROM am.audit WHERE user_id = %s", (user,)
    ).fetchall()
    assert lines == [("diaries", "/v1/diaries/{name}", 200)]
