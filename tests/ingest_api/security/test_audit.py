"""Whoever reads personal data leaves a line, durably, and the line says nothing of the content."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

import httpx
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from psycopg_pool import AsyncConnectionPool

from ingest_api.audit import Auditor, Reading, kind_of
from ingest_api.errors import UnavailableError
from ingest_api.tokens import Scope
from resources.connections import Connections
from tests.ingest_api.conftest import ClientFor
from tests.ingest_api.founding.conftest import socket_of
from tests.ingest_api.security.conftest import Serve
from tests.ingest_api.test_bad_input import GOOD, PATH
from tests.ingest_api.test_uploads import naming, put, send, sound

SPAN = {"from": "2026-03-01T00:00:00Z", "to": "2026-03-02T00:00:00Z"}


def lines(database: psycopg.Connection, user: str) -> Sequence[tuple[Any, ...]]:
    """The user's audit log, oldest first."""
    return database.execute(
        "SELECT kind, route, item_count, status FROM am.audit WHERE user_id = %s ORDER BY seq",
        (user,),
    ).fetchall()


def test_every_read_leaves_a_line_with_its_kind_and_count(
    client: httpx.Client, database: psycopg.Connection, user: str
) -> None:
    content = sound()
    key = put(client, content).json()["blob_key"]
    send(client, naming(content))
    client.post(PATH, json=[GOOD, {**GOOD, "latitude": 95}])
    assert lines(database, user) == []
    shown = client.get("/v1/timeline", params=SPAN)
    client.get("/v1/search", params={"q": "bread"})
    client.get("/v1/dead-letters")
    client.get(f"/v1/blobs/{key}")
    client.get("/v1/moments/nosuch")
    count = len(shown.json()["entries"])
    assert count >= 1
    assert lines(database, user) == [
        ("timeline", "/v1/timeline", count, 200),
        ("search", "/v1/search", 0, 200),
        ("dead letters", "/v1/dead-letters", 1, 200),
        ("blobs", "/v1/blobs/{key:path}", 1, 200),
        ("moments", "/v1/moments/{moment_id}", None, 404),
    ]


def test_devices_the_ledger_and_who_streams_sound_are_reads_as_well(
    client: httpx.Client, database: psycopg.Connection, user: str
) -> None:
    client.post("/devices", json={"device_id": "phone", "name": "Ann's"})
    client.get("/devices")
    client.get("/devices/activity")
    client.get("/devices/phone")
    client.patch("/devices/phone", json={"name": "Amy's"})
    client.post("/devices", json={"device_id": "old-phone"})
    client.post("/devices/phone/merge", json={"alias_ids": ["old-phone"]})
    client.get("/v1/ledger", params={"day": "2026-03-01"})
    client.get("/audio/connections")
    assert lines(database, user) == [
        ("devices", "/devices", None, 201),
        ("devices", "/devices", 1, 200),
        ("devices", "/devices/activity", 1, 200),
        ("devices", "/devices/{device_id}", 1, 200),
        ("devices", "/devices/{device_id}", None, 200),
        ("devices", "/devices", None, 201),
        ("devices", "/devices/{device_id}/merge", None, 200),
        ("ledger", "/v1/ledger", 0, 200),
        ("audio", "/audio/connections", 0, 200),
    ]


def test_who_may_only_write_is_told_no_more_than_was_said_and_leaves_no_line(
    client_for: ClientFor, database: psycopg.Connection, user: str
) -> None:
    told = client_for(user, scope=Scope.WRITE).post("/devices", json={"device_id": "phone"})
    assert told.status_code == 201
    assert lines(database, user) == []


def test_a_device_that_asks_of_itself_on_its_socket_leaves_a_line_before_it_is_told(
    base_url: str, token_for: Callable[..., str], database: psycopg.Connection, user: str
) -> None:
    for scope in (Scope.WRITE, Scope.ADMIN):
        path = f"/realtime/ws/phone?token={token_for(user, scope=scope)}"
        with socket_of(base_url, path) as socket:
            assert socket.ask({"type": "device_query"}, "device_info")["is_registered"]
    assert lines(database, user) == [("realtime", "/realtime/ws/{device_id}", None, 101)]


def test_a_line_tells_who_by_which_token_and_trace(
    client_for: ClientFor, database: psycopg.Connection, user: str
) -> None:
    phone = client_for(user, device="phone", scope=Scope.READ)
    phone.get("/v1/dead-letters", headers={"X-Trace-ID": "trace-7"})
    row = database.execute(
        "SELECT a.device_id, a.trace_id, t.device_id FROM am.audit a JOIN am.api_token t "
        "USING (token_id) WHERE a.user_id = %s",
        (user,),
    ).fetchone()
    assert row == ("phone", "trace-7", "phone")


def test_trying_somebody_elses_blob_leaves_a_line_too(
    client_for: ClientFor, database: psycopg.Connection, user: str
) -> None:
    client_for(user).get("/v1/blobs/blobs/somebody/device.audio.raw/2026-03-01/abc")
    assert lines(database, user) == [("blobs", "/v1/blobs/{key:path}", None, 404)]


def test_who_is_not_let_in_leaves_no_line_and_reads_nothing(
    base_url: str, client_for: ClientFor, database: psycopg.Connection, user: str
) -> None:
    assert httpx.get(f"{base_url}/v1/timeline").status_code == 401
    assert client_for(user, scope=Scope.WRITE).get("/v1/timeline").status_code == 403
    assert lines(database, user) == [("timeline", "/v1/timeline", None, 403)]


def test_a_user_sees_the_lines_of_his_own_data_alone(
    client_for: ClientFor, database: psycopg.Connection, user: str
) -> None:
    for name in (user, f"{user}-2"):
        client_for(name).get("/v1/dead-letters")
    with database.transaction():
        database.execute("SET LOCAL ROLE am_reader")
        database.execute("SELECT set_config('app.user_id', %s, true)", (user,))
        seen = database.execute("SELECT DISTINCT user_id FROM am.audit").fetchall()
    assert seen == [(user,)]


def test_what_can_not_be_noted_is_not_given_out(
    serve: Serve, bearer: dict[str, str], database: psycopg.Connection
) -> None:
    with serve() as url:
        assert httpx.get(f"{url}/v1/dead-letters", headers=bearer).status_code == 200
        database.execute("ALTER TABLE am.audit RENAME TO audit_away")
        try:
            refused = httpx.get(f"{url}/v1/dead-letters", headers=bearer)
        finally:
            database.execute("ALTER TABLE am.audit_away RENAME TO audit")
        assert (refused.status_code, "retry-after" in refused.headers) == (503, True)
        assert httpx.get(f"{url}/v1/dead-letters", headers=bearer).status_code == 200


def test_a_noted_line_is_committed_and_many_at_once_share_commits(
    connections: Connections, database: psycopg.Connection, user: str
) -> None:
    reading = Reading(user, UUID(int=5), None, "/v1/timeline", "timeline", 3, 200, None)

    async def work() -> None:
        async with AsyncConnectionPool(connections.database_url, open=False) as pool:
            auditor = Auditor(pool)
            await auditor.start()
            await asyncio.gather(*(auditor.note(reading) for _ in range(200)))
            assert len(lines(database, user)) == 200
            await auditor.stop()

    asyncio.run(work())
    row = database.execute(
        "SELECT count(DISTINCT xmin::text) FROM am.audit WHERE user_id = %s", (user,)
    ).fetchone()
    assert row is not None
    assert row[0] < 20


def test_a_line_that_no_database_takes_is_an_error() -> None:
    reading = Reading("u", UUID(int=5), None, "/", "timeline", 3, 200, None)

    async def work() -> None:
        nowhere = "postgresql://nobody@127.0.0.1:1/none"
        async with AsyncConnectionPool(
            nowhere, open=False, min_size=0, max_size=1, timeout=0.2
        ) as pool:
            auditor = Auditor(pool)
            await auditor.start()
            with pytest.raises(UnavailableError):
                await auditor.note(reading)
            await auditor.stop()

    asyncio.run(work())


@given(st.lists(st.from_regex(r"[a-z]+(-[a-z]+)?", fullmatch=True), min_size=1, max_size=4))
def test_a_kind_is_the_first_word_of_a_path_whatever_version_stands_before_it(
    parts: list[str],
) -> None:
    path = "/" + "/".join(parts)
    assert kind_of(f"/v1{path}") == kind_of(path) == parts[0].replace("-", " ")
