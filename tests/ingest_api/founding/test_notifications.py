"""Notifications reach their device until it says so, and what it says is stored."""

import json
from typing import Any

import httpx
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed

from ingest_api.notifications import State, notification_id_of, response_element
from ingest_api.tokens import Scope
from tests.ingest_api.conftest import ClientFor
from tests.ingest_api.founding.conftest import Socket, socket_of
from tests.ingest_api.founding.test_devices import NOW

ACTIONS = {"actions": [{"id": "done", "title": "Done"}, {"id": "reply", "isTextInput": True}]}
TokenFor = Any


def inbox(base_url: str, token: str, device_id: str = "phone") -> Any:
    """The device's socket for notifications."""
    return socket_of(base_url, f"/notifications/ws/{device_id}?token={token}")


def send(client: httpx.Client, **fields: Any) -> int:
    """Make a notification; its id."""
    told = {"title": "Water the plants", "body": "It is dry.", "data": ACTIONS, **fields}
    answer = client.post("/v1/notifications", json=told)
    assert answer.status_code == 201, answer.text
    found: int = answer.json()["notification_id"]
    return found


def hear_ids(socket: Socket, pings: int) -> list[int]:
    """The notifications that come until so many pings have."""
    ids: list[int] = []
    while pings:
        frame = json.loads(socket.connection.recv(timeout=20))
        if frame["type"] == "ping":
            pings -= 1
        if "title" in frame or "body" in frame:
            ids.append(frame["id"])
    return ids


def test_a_notification_is_sent_at_each_connection_until_it_is_delivered(
    base_url: str, client: httpx.Client, token_for: TokenFor, user: str
) -> None:
    token = token_for(user, scope=Scope.WRITE)
    notification_id = send(client)
    for _ in range(2):
        with inbox(base_url, token) as socket:
            assert hear_ids(socket, 3) == [notification_id]  # and once on each
    with inbox(base_url, token) as socket:
        shown = socket.hear("notification")
        assert type(shown["id"]) is int
        assert (shown["title"], shown["data"]["actions"]) == (
            "Water the plants",
            ACTIONS["actions"],
        )
        socket.ask({"type": "delivered", "notification_id": shown["id"]}, "notification_ack")
    with inbox(base_url, token) as socket:
        assert hear_ids(socket, 3) == []


def test_an_open_socket_is_told_at_once(
    base_url: str, client: httpx.Client, token_for: TokenFor, user: str
) -> None:
    with inbox(base_url, token_for(user)) as socket:
        socket.hear("ping")
        notification_id = send(client)
        assert socket.hear("notification")["id"] == notification_id


def test_what_a_device_says_is_a_row_once_and_a_state(
    base_url: str, client: httpx.Client, token_for: TokenFor, user: str, database: Any
) -> None:
    notification_id = send(client, device_id="phone")
    response = {
        "action": "reply",
        "actionData": {"from": "card"},
        "timestamp": "2026-03-01T08:30:00.000Z",
        "text_input": "later",
    }
    frames: list[dict[str, Any]] = [
        {"type": "delivered", "notification_id": notification_id},
        {"type": "delivered", "notification_id": float(notification_id)},
        {"type": "read", "notification_id": notification_id},
        {
            "type": "response",
            "notification_id": notification_id,
            "response": response,
            "resolved": True,
        },
    ]
    with inbox(base_url, token_for(user)) as socket:
        acks = [socket.ask(frame, "notification_ack") for frame in frames]
    assert [ack["stored"] for ack in acks] == [1, 0, 1, 1]
    rows = database.execute(
        "SELECT notification_id, response_type, action_id, action_data, text_response "
        "FROM am.device_notification_response_raw WHERE user_id = %s ORDER BY 2",
        (user,),
    ).fetchall()
    assert rows == [
        (notification_id, "delivered", None, None, None),
        (notification_id, "read", None, None, None),
        (notification_id, "text_reply", "reply", {"from": "card"}, "later"),
    ]
    (state,) = database.execute(
        "SELECT times_sent >= 1, delivered_at IS NOT NULL, read_at IS NOT NULL, "
        "responded_at IS NOT NULL FROM am.notification_delivery WHERE user_id = %s",
        (user,),
    ).fetchall()
    assert state == (True, True, True, True)


def test_a_watch_without_a_socket_for_them_gets_notifications_on_its_own(
    base_url: str, client: httpx.Client, token_for: TokenFor, user: str
) -> None:
    notification_id = send(client, device_id="watch")
    with socket_of(base_url, f"/realtime/ws/watch?token={token_for(user)}") as socket:
        shown = socket.hear("notification")
        assert shown["id"] == shown["payload"]["id"] == notification_id
        delivered = {"notification_id": notification_id}
        socket.ask({"type": "notification_delivered", "payload": delivered}, "notification_ack")
        pressed = {**delivered, "action_id": "done", "response_data": "yes"}
        ack = socket.ask({"type": "notification_response", "payload": pressed}, "notification_ack")
    assert (ack["status"], ack["notification_id"]) == ("success", notification_id)


def test_a_notification_for_one_device_reaches_its_aliases_and_no_others(
    base_url: str, client: httpx.Client, token_for: TokenFor, user: str
) -> None:
    for name in ("phone", "new-phone"):
        client.post("/devices", json={"device_id": name})
    client.post("/devices/new-phone/merge", json={"alias_ids": ["phone"]})
    notification_id = send(client, device_id="phone")
    token = token_for(user)
    with inbox(base_url, token, "new-phone") as socket:
        assert hear_ids(socket, 2) == [notification_id]
    with inbox(base_url, token, "desk") as socket:
        assert hear_ids(socket, 2) == []


def test_nobody_answers_for_somebody_elses_notification(
    base_url: str,
    client: httpx.Client,
    token_for: TokenFor,
    user: str,
    database: psycopg.Connection,
) -> None:
    notification_id = send(client)
    with inbox(base_url, token_for(f"{user}-other")) as socket:
        assert hear_ids(socket, 2) == []
        socket.ask({"type": "delivered", "notification_id": notification_id}, "notification_ack")
    states = database.execute(
        "SELECT delivered_at FROM am.notification_delivery WHERE notification_id = %s",
        (notification_id,),
    ).fetchall()
    assert states == []
    with inbox(base_url, token_for(user)) as socket:
        assert hear_ids(socket, 2) == [notification_id]


def test_only_the_owner_sends_notifications(client_for: ClientFor, user: str) -> None:
    told = {"title": "Hello"}
    for scope in (Scope.WRITE, Scope.READ):
        answer = client_for(user, scope=scope).post("/v1/notifications", json=told)
        assert answer.status_code == 403
    owner = client_for(user)
    assert owner.post("/v1/notifications", json={"title": ""}).status_code == 422
    assert owner.post("/v1/notifications", json={"title": "a", "data": 7}).status_code == 422
    assert owner.post("/v1/notifications", json={"title": "a\x00b"}).status_code == 422


def test_a_revoked_tokens_open_socket_is_closed(
    base_url: str, token_for: TokenFor, user: str, database: psycopg.Connection
) -> None:
    with inbox(base_url, token_for(user)) as socket:
        socket.hear("ping")
        database.execute("UPDATE am.api_token SET revoked_at = now() WHERE user_id = %s", (user,))
        with pytest.raises(ConnectionClosed):
            socket.hear("nothing is sent for ever")
        assert socket.connection.close_code == 1008


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        ({}, "clicked"),
        ({"action": "tap"}, "clicked"),
        ({"action": "dismissed"}, "dismissed"),
        ({"action": "done"}, "button_click"),
        ({"action": "reply", "text_input": ""}, "text_reply"),
    ],
)
def test_what_a_person_did_is_told_by_the_response(response: dict[str, Any], expected: str) -> None:
    told = {"notification_id": 7.0, "response": response}
    element = response_element(State.RESPONDED, told, at=NOW)
    assert (element["notification_id"], element["response_type"]) == (7, expected)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=8,
)
WORDS = st.sampled_from(["notification_id", "response", "action", "actionData", "timestamp", "x"])


@given(told=st.dictionaries(WORDS, JSON))
def test_no_response_is_too_strange_to_be_an_element_with_a_time(told: dict[str, Any]) -> None:
    element = response_element(State.RESPONDED, told, at=NOW)
    assert {"recorded_at", "timestamp"} & {k for k, v in element.items() if v is not None}
    assert notification_id_of(told) is None or isinstance(notification_id_of(told), int)
