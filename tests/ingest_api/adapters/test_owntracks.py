"""OwnTracks is read as the app sends it and answered as it wants."""

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from nacl.secret import SecretBox

from tests.ingest_api.adapters.conftest import SEALED_USER, SECRET, RowsOf
from tests.ingest_api.conftest import ClientFor

GPS = "device.sensor.gps.raw"
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
AT = {"X-Limit-U": "jane", "X-Limit-D": "phone", "User-Agent": "OwnTracks-Android/2.5"}
LOCATION = {
    "_type": "location",
    "_id": "c5bf0e62",
    "lat": 48.856826,
    "lon": 2.292713,
    "tst": 1704067200,
    "created_at": 1704067260,
    "acc": 12,
    "alt": 519,
    "vac": 4,
    "vel": 36,
    "cog": 180,
    "batt": 85,
    "bs": 2,
    "conn": "w",
    "t": "u",
    "m": 1,
    "tid": "JJ",
    "p": 100.694,
    "SSID": "home",
    "inregions": ["Home"],
    "motionactivities": ["walking"],
    "topic": "owntracks/jane/phone",
}
NEW_YEAR = datetime(2024, 1, 1, tzinfo=UTC)


def sealed(content: Any, secret: str = SECRET) -> dict[str, str]:
    """A message as the app encrypts it."""
    box = SecretBox(secret.encode().ljust(32, b"\0"))
    text = base64.b64encode(box.encrypt(json.dumps(content).encode())).decode()
    return {"_type": "encrypted", "data": text}


def test_a_location_becomes_a_fix_in_metres_a_second_and_keeps_all_that_was_sent(
    client: httpx.Client, rows_of: RowsOf
) -> None:
    answer = client.post("/owntracks/pub", json=LOCATION, headers=AT)
    assert (answer.status_code, answer.json()) == (200, [])
    columns = "ts, device_id, latitude, longitude, altitude_m, accuracy_m, heading_deg, speed_m_s"
    assert rows_of(GPS, columns) == [
        (NEW_YEAR, "phone", 48.856826, 2.292713, 519, 12, 180, 10.0),
    ]
    ((extra,),) = rows_of(GPS, "extra")
    assert extra == LOCATION


def test_a_location_with_a_known_battery_state_is_a_power_reading_too(
    client: httpx.Client, rows_of: RowsOf
) -> None:
    for second, state in enumerate((0, 1, 2, 3)):
        client.post(
            "/owntracks/pub", json={**LOCATION, "tst": 1704067200 + second, "bs": state}, headers=AT
        )
    power = rows_of("device.state.power.raw", "battery_level, is_charging")
    assert power == [(85, False), (85, True), (85, False)]
    assert len(rows_of(GPS, "ts")) == 4


def test_what_the_app_leaves_out_because_it_is_zero_stays_unknown(
    client: httpx.Client, rows_of: RowsOf
) -> None:
    client.post("/owntracks", json={"_type": "location", "lat": 1, "lon": 2, "tst": 1704067200})
    columns = "device_id, altitude_m, accuracy_m, heading_deg, speed_m_s, extra->>'vel'"
    assert rows_of(GPS, columns) == [("owntracks", None, None, None, None, None)]


def test_a_repeated_message_with_another_created_at_is_the_same_row(
    client: httpx.Client, rows_of: RowsOf
) -> None:
    for created_at in (1704067260, 1704069999):
        client.post("/owntracks/pub", json={**LOCATION, "created_at": created_at}, headers=AT)
    assert len(rows_of(GPS, "ts")) == 1


def test_the_token_may_be_the_basic_password_or_in_the_path_and_no_token_is_refused(
    base_url: str, token_for: Callable[..., str], user: str, rows_of: RowsOf
) -> None:
    token = token_for(user)
    url = f"{base_url}/owntracks/pub"
    assert httpx.post(url, json=LOCATION, auth=("jane", token)).json() == []
    assert httpx.post(f"{base_url}/owntracks/{token}/pub", json=LOCATION).json() == []
    assert httpx.post(url, json=LOCATION).status_code == 401
    wrong = httpx.post(f"{base_url}/owntracks/am_wrong/pub", json=LOCATION)
    assert wrong.status_code == 401
    assert len(rows_of(GPS, "ts")) == 1


def test_a_token_of_one_device_speaks_for_it_whatever_the_app_calls_it(
    client_for: ClientFor, user: str, rows_of: RowsOf
) -> None:
    client_for(user, device="pixel").post("/owntracks/pub", json=LOCATION, headers=AT)
    assert rows_of(GPS, "device_id, extra->>'device_id_as_sent'") == [("pixel", "phone")]


def test_the_device_is_named_by_header_query_or_topic(
    client: httpx.Client, rows_of: RowsOf
) -> None:
    nameless = {name: value for name, value in LOCATION.items() if name != "topic"}
    client.post("/owntracks/pub", json=nameless, headers={"X-Limit-D": "a-header"})
    client.post("/owntracks/pub?u=jane&d=b-query", json=nameless)
    client.post("/owntracks/pub", json={**LOCATION, "topic": "owntracks/jane/c-topic"})
    assert [row[0] for row in rows_of(GPS, "device_id")] == ["a-header", "b-query", "c-topic"]


def test_a_point_out_of_range_is_a_dead_letter_and_still_a_success_for_the_app(
    client: httpx.Client, letters_of: Callable[[], list[tuple[Any, ...]]]
) -> None:
    answer = client.post("/owntracks/pub", json={**LOCATION, "lat": 95, "bs": 0}, headers=AT)
    assert (answer.status_code, answer.json()) == (200, [])
    ((door, code, payload),) = letters_of()
    assert (door, code, json.loads(payload)["lat"]) == ("/owntracks", "bad_value", 95)


@pytest.mark.parametrize("body", [b"{broken", b"\xff\xfe", b"7", b'"text"', b"[1]"])
def test_a_body_that_is_no_message_is_kept_byte_by_byte_and_answered_with_success(
    body: bytes, client: httpx.Client, letters_of: Callable[[], list[tuple[Any, ...]]]
) -> None:
    answer = client.post("/owntracks/pub", content=body)
    assert (answer.status_code, answer.json()) == (200, [])
    assert [bytes(payload) for _, _, payload in letters_of()] == [body.strip(b"[]")]


def test_an_empty_body_is_a_friend_who_left_and_nothing_to_keep(
    client: httpx.Client, letters_of: Callable[[], list[tuple[Any, ...]]]
) -> None:
    assert client.post("/owntracks/pub", content=b"").json() == []
    assert letters_of() == []


def test_a_transition_is_an_event_and_the_fix_it_was_told_from(
    client: httpx.Client, rows_of: RowsOf
) -> None:
    message = {
        "_type": "transition",
        "wtst": 1704000000,
        "lat": 48.1,
        "lon": 2.2,
        "tst": 1704067200,
        "acc": 20,
        "tid": "JJ",
        "event": "enter",
        "desc": "Home",
        "t": "c",
        "rid": "6da9cf",
    }
    assert client.post("/owntracks/pub", json=message, headers=AT).json() == []
    columns = "ts, event_type, event_category, description, metadata->>'rid'"
    assert rows_of("os.events.system.raw", columns) == [
        (NEW_YEAR, "region_enter", "location", "Home", "6da9cf")
    ]
    assert rows_of(GPS, "ts, latitude, accuracy_m") == [(NEW_YEAR, 48.1, 20)]


def test_waypoints_a_last_will_and_a_status_are_kept_and_answered(
    client: httpx.Client, rows_of: RowsOf
) -> None:
    point = {"_type": "waypoint", "desc": "Home", "lat": 1, "lon": 2, "rad": 50, "tst": 1704067200}
    messages = [
        point,
        {"_type": "waypoints", "waypoints": [{**point, "tst": 1704067201, "desc": "Work"}]},
        {"_type": "lwt", "tst": 1704067202},
        {"_type": "status", "android": {"hib": 1, "bo": 0}, "tst": 1704067203},
        {"_type": "configuration", "tst": 1704067204, "password": "am_x", "mode": 3},
    ]
    for message in messages:
        assert client.post("/owntracks/pub", json=message, headers=AT).json() == []
    kept = rows_of("device.metadata.raw", "metadata_type, metadata")
    assert [kind for kind, _ in kept] == [
        "owntracks_waypoint",
        "owntracks_waypoint",
        "owntracks_status",
        "owntracks_configuration",
    ]
    assert [kept[0][1]["desc"], kept[1][1]["desc"]] == ["Home", "Work"]
    assert kept[3][1]["password"] == "***"
    assert rows_of("os.events.system.raw", "event_type") == [("connection_lost",)]


def test_steps_are_counted_and_a_phone_that_does_not_count_says_so_in_its_metadata(
    client: httpx.Client, rows_of: RowsOf
) -> None:
    told = {"_type": "steps", "tst": 1704067200, "from": 1704060000, "to": 1704067200}
    client.post("/owntracks/pub", json={**told, "steps": 1234}, headers=AT)
    client.post("/owntracks/pub", json={**told, "steps": -1}, headers=AT)
    assert rows_of("device.health.steps.raw", "step_count") == [(1234,)]
    assert rows_of("device.metadata.raw", "metadata->>'steps'") == [("-1",)]


def test_the_picture_of_a_point_of_interest_is_a_photo_and_not_in_the_fix(
    client: httpx.Client, rows_of: RowsOf
) -> None:
    message = {**LOCATION, "poi": "café", "image": PNG, "imagename": "x.jpg"}
    client.post("/owntracks/pub", json=message, headers=AT)
    assert rows_of("device.image.camera.raw", "ts, width_px, extra->>'poi'") == [
        (NEW_YEAR, 1, "café")
    ]
    assert rows_of(GPS, "extra->>'imagename', extra->>'image'") == [("x.jpg", None)]


def test_an_encrypted_message_is_opened_with_the_users_secret_and_answered_encrypted(
    client_for: ClientFor, rows_of: RowsOf
) -> None:
    client = client_for(SEALED_USER)
    answer = client.post("/owntracks/pub", json=sealed(LOCATION), headers=AT).json()
    assert answer["_type"] == "encrypted"
    box = SecretBox(SECRET.encode().ljust(32, b"\0"))
    assert json.loads(box.decrypt(base64.b64decode(answer["data"]))) == []
    assert rows_of(GPS, "latitude, speed_m_s", of=SEALED_USER) == [(48.856826, 10.0)]
    assert client.post("/owntracks/pub", json={**LOCATION, "tst": 1704067300}).json() == []


def test_a_message_under_another_secret_is_a_dead_letter_that_keeps_the_ciphertext(
    client_for: ClientFor, letters_of: Callable[..., list[tuple[Any, ...]]]
) -> None:
    message = sealed(LOCATION, secret="another")
    assert client_for(SEALED_USER).post("/owntracks/pub", json=message).status_code == 200
    ((_, code, payload),) = letters_of(of=SEALED_USER)
    assert (code, json.loads(payload)) == ("bad_value", message)


def test_an_encrypted_message_of_a_user_without_a_secret_is_kept_and_answered_with_success(
    client: httpx.Client, letters_of: Callable[..., list[tuple[Any, ...]]]
) -> None:
    assert client.post("/owntracks/pub", json=sealed(LOCATION)).json() == []
    assert [code for _, code, _ in letters_of()] == ["bad_value"]
