"""While AM can't write, nothing is acknowledged, and the device is told to come again."""

from typing import Any
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
from psycopg import sql
from websockets.exceptions import ConnectionClosed

from resources.connections import Connections
from tests.ingest_api.founding.conftest import socket_of

READING = {
    "type": "data",
    "payload": {
        "message_type_id": "heartrate",
        "data": {"bpm": 61, "recorded_at": "2026-03-01T08:30:00Z", "message_id": "m-1"},
    },
}


def allow(server_url: str, connections: Connections, *, is_allowed: bool) -> None:
    """Open the module's database to connections, or end them all and let no new one in."""
    name = urlsplit(connections.database_url).path.removeprefix("/")
    words = sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}")
    with psycopg.connect(server_url, autocommit=True) as admin:
        admin.execute(words.format(sql.Identifier(name), sql.Literal(is_allowed)))
        if not is_allowed:
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                (name,),
            )


def await_ready(base_url: str) -> None:
    """Until the API says that it can store again, as a client that was refused asks anew."""
    for _ in range(20):
        if httpx.get(f"{base_url}/readyz", timeout=30).is_success:
            return
    raise AssertionError("the API did not find the database again")


def test_a_reading_is_not_acknowledged_unless_it_is_committed(
    base_url: str,
    token_for: Any,
    server_url: str,
    connections: Connections,
    user: str,
) -> None:
    url = f"/realtime/ws/watch?token={token_for(user)}"
    with socket_of(base_url, url) as socket:
        socket.hear("connection_established")
        allow(server_url, connections, is_allowed=False)
        try:
            socket.say(READING)
            with pytest.raises(ConnectionClosed):
                socket.hear("data_ack")
            assert socket.connection.close_code == 1013
        finally:
            allow(server_url, connections, is_allowed=True)
    await_ready(base_url)  # its pool looks for the database again after a while of its own
    with socket_of(base_url, url) as socket:
        assert socket.ask(READING, "data_ack")["stored"] == 1
    with psycopg.connect(connections.database_url) as database:
        rows = database.execute(
            "SELECT bpm, extra FROM am.device_health_heartrate_raw WHERE user_id = %s", (user,)
        ).fetchall()
    assert rows == [(61.0, {"message_id": "m-1"})]
