"""The registry of devices over HTTP."""

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_api.devices import Activity, activity_of
from ingest_api.tokens import Scope
from tests.ingest_api.conftest import ClientFor

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PIXEL = {
    "device_id": "pixel",
    "name": "Pixel",
    "device_type": "mobile_android",
    "platform": "android",
    "model": None,
    "tags": ["pocket"],
    "metadata": {"sensors": ["gps"]},
    "locale": "hr-HR",
}
GPS = {"latitude": 45.2, "longitude": 13.6, "recorded_at": "2026-03-01T08:00:00Z"}


@pytest.mark.parametrize("path", ["/devices", "/devices/"])
def test_a_device_is_registered_once_and_brought_up_to_date_after(
    path: str, client: httpx.Client
) -> None:
    first = client.post(path, json=PIXEL)
    second = client.post(path, json={"device_id": "pixel", "model": "Pixel 8"})
    assert (first.status_code, second.status_code) == (201, 200)
    device = second.json()
    assert (device["name"], device["model"], device["is_active"]) == ("Pixel", "Pixel 8", True)
    # What has no column is kept, too.
    assert device["metadata"] == {"sensors": ["gps"], "locale": "hr-HR"}
    assert [one["device_id"] for one in client.get(path).json()] == ["pixel"]


def test_a_device_is_read_changed_retired_and_comes_back(client: httpx.Client) -> None:
    client.post("/devices", json=PIXEL)
    changed = client.patch("/devices/pixel", json={"name": "Old", "device_id": "other"})
    assert (changed.status_code, changed.json()["name"]) == (200, "Old")
    assert changed.json()["device_id"] == "pixel"
    deleted = client.delete("/devices/pixel")
    assert (deleted.status_code, deleted.content) == (204, b"")
    assert client.get("/devices/pixel").json()["is_active"] is False
    assert client.get("/devices?is_active=true").json() == []
    assert len(client.get("/devices?is_active=false&device_type=mobile_android").json()) == 1
    assert client.post("/devices", json={"device_id": "pixel"}).json()["is_active"] is True


def test_an_unknown_device_is_404_everywhere(client: httpx.Client) -> None:
    answers = [
        client.get("/devices/none"),
        client.patch("/devices/none", json={"name": "x"}),
        client.delete("/devices/none"),
        client.post("/devices/none/merge", json={"alias_ids": ["other"]}),
        client.delete("/devices/none/aliases/other"),
        client.get("/devices/%00"),
        client.patch("/devices/a%00b", json={"name": "x"}),
    ]
    assert {answer.status_code for answer in answers} == {404}


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"[]",
        b"7",
        b"{}",
        b'{"device_id": ""}',
        b'{"device_id": 7}',
        b'{"device_id": "a\\u0000b"}',
        b'{"device_id": "a", "name": "\\ud800"}',
        b'{"device_id": "a", "metadata": 7}',
        b'{"device_id": "a", "metadata": {"x": NaN}}',
        b'{"device_id": "a", "tz_offset_min": 100000}',
        b'{"device_id": "' + b"x" * 129 + b'"}',
    ],
)
def test_a_registration_that_can_not_be_kept_is_refused_with_a_reason(
    content: bytes, client: httpx.Client
) -> None:
    answer = client.post("/devices", content=content)
    assert answer.status_code in (400, 422), answer.text
    assert answer.json()["detail"]


def test_users_never_see_or_touch_each_others_devices(client_for: ClientFor, user: str) -> None:
    ada, bob = client_for(f"{user}-ada"), client_for(f"{user}-bob")
    ada.post("/devices", json=PIXEL)
    assert bob.get("/devices").json() == []
    assert bob.get("/devices/pixel").status_code == 404
    assert bob.delete("/devices/pixel").status_code == 404
    bob.post("/devices", json={**PIXEL, "name": "Bob's"})
    assert ada.get("/devices/pixel").json()["name"] == "Pixel"


def test_a_devices_own_token_speaks_for_it_alone(client_for: ClientFor, user: str) -> None:
    phone = client_for(user, device="pixel", scope=Scope.WRITE)
    assert phone.post("/devices", json=PIXEL).status_code == 201
    assert phone.post("/devices", json={**PIXEL, "device_id": "other"}).status_code == 403
    assert phone.patch("/devices/other", json={"name": "x"}).status_code == 403
    assert phone.get("/devices").status_code == 403
    assert phone.post("/devices/pixel/merge", json={"alias_ids": ["x"]}).status_code == 403
    assert phone.delete("/devices/pixel").status_code == 204


def test_a_first_row_registers_its_device_and_makes_it_active(client: httpx.Client) -> None:
    client.post("/devices", json=PIXEL)
    client.post("/sensor/gps", json={**GPS, "device_id": "watch"})
    activity = {one["device_id"]: one for one in client.get("/devices/activity").json()}
    assert (activity["watch"]["status"], activity["pixel"]["status"]) == ("active", "offline")
    assert activity["watch"]["last_data_received"] is not None
    assert activity["pixel"]["last_data_received"] is None
    shown = client.get("/devices/watch").json()
    assert (shown["name"], shown["device_type"]) == ("watch", "other")
    client.post("/sensor/gps", json={**GPS, "device_id": "pixel"})
    assert client.get("/devices/pixel").json()["last_data_at"] is not None


@given(minutes=st.integers(0, 60 * 24 * 30))
def test_activity_only_ever_falls_with_time(minutes: int) -> None:
    order = [Activity.ACTIVE, Activity.IDLE, Activity.INACTIVE, Activity.OFFLINE]
    now = activity_of(NOW - timedelta(minutes=minutes), now=NOW)
    later = activity_of(NOW - timedelta(minutes=minutes), now=NOW + timedelta(hours=1))
    assert order.index(now) <= order.index(later)


@pytest.mark.parametrize(
    ("silent", "expected"),
    [
        (timedelta(minutes=59), "active"),
        (timedelta(hours=1), "idle"),
        (timedelta(days=1), "inactive"),
        (timedelta(days=7), "offline"),
        (None, "offline"),
    ],
)
def test_the_borders_of_activity(silent: timedelta | None, expected: str) -> None:
    assert activity_of(None if silent is None else NOW - silent, now=NOW) == expected


def test_merged_ids_are_one_device_and_their_rows_stay_where_they_are(
    client: httpx.Client, database: psycopg.Connection, user: str
) -> None:
    for name in ("new", "old", "older"):
        client.post("/devices", json={"device_id": name})
    client.post("/devices/old/merge", json={"alias_ids": ["older"]})
    merged = client.post("/devices/new/merge", json={"alias_ids": ["old"]})
    assert merged.json()["alias_ids"] == ["old", "older"]
    sent = client.post("/sensor/gps", json={**GPS, "device_id": "older"}).json()
    again = client.post("/sensor/gps", json={**GPS, "device_id": "older"}).json()
    assert (sent["stored"], again["duplicate"]) == (1, 1)
    joined = database.execute(
        "SELECT r.device_id, i.canonical_id FROM am.device_sensor_gps_raw r "
        "JOIN am.device_identity i USING (user_id, device_id) WHERE user_id = %s",
        (user,),
    ).fetchall()
    assert joined == [("older", "new")]
    (only,) = client.get("/devices/activity").json()
    assert (only["device_id"], only["status"]) == ("new", "active")
    assert client.get("/devices/older").json()["merged_into"] == "new"


def test_a_merge_can_be_undone_and_never_makes_a_ring(client: httpx.Client) -> None:
    for name in ("a", "b", "c"):
        client.post("/devices", json={"device_id": name})
    assert client.post("/devices/a/merge", json={"alias_ids": ["b"]}).status_code == 200
    assert client.post("/devices/b/merge", json={"alias_ids": ["a"]}).status_code == 409
    assert client.post("/devices/a/merge", json={"alias_ids": ["a"]}).status_code == 409
    assert client.post("/devices/a/merge", json={"alias_ids": ["none"]}).status_code == 404
    assert client.post("/devices/a/merge", json={"alias_ids": []}).status_code == 422
    # The id of an alias stands for its device.
    assert client.post("/devices/b/merge", json={"alias_ids": ["c"]}).json()["device_id"] == "a"
    assert client.delete("/devices/a/aliases/b").status_code == 204
    assert client.delete("/devices/a/aliases/b").status_code == 404
    assert [one["device_id"] for one in client.get("/devices").json()] == ["a", "b"]


def test_two_merges_at_once_leave_no_ring(
    client_for: ClientFor, database: psycopg.Connection, user: str
) -> None:
    client = client_for(user)
    for name in ("a", "b"):
        client.post("/devices", json={"device_id": name})
    answers: list[int] = []

    def merge(canonical: str, alias: str) -> None:
        answer = client.post(f"/devices/{canonical}/merge", json={"alias_ids": [alias]})
        answers.append(answer.status_code)

    pair: list[Any] = [
        threading.Thread(target=merge, args=names) for names in (("a", "b"), ("b", "a"))
    ]
    for thread in pair:
        thread.start()
    for thread in pair:
        thread.join()
    assert sorted(answers) == [200, 409]
    count = database.execute(
        "SELECT count(*) FROM am.device_alias WHERE user_id = %s", (user,)
    ).fetchone()
    assert count == (1,)


def test_metadata_is_changed_like_any_other_field(client: httpx.Client) -> None:
    made = {"device_id": "tablet", "name": "Tablet", "device_type": "other"}
    client.post("/devices", json=made).raise_for_status()
    changed = client.patch("/devices/tablet", json={"metadata": {"colour": "grey"}})
    assert (changed.status_code, changed.json()["metadata"]) == (200, {"colour": "grey"})
