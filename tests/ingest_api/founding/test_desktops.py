"""The Linux and the macOS client over REST, as they really speak; who gets in without a token."""

import base64
import io
import wave
from typing import Any

import httpx
import pytest

from am_assets.streams.image import EXAMPLE_PNG
from ingest_api.tokens import Scope
from tests.ingest_api.conftest import ClientFor
from tests.ingest_api.founding.conftest import (
    HOUSE_ADA,
    HOUSE_BOB,
    MACOS,
    STRANGER,
    UBUNTU,
    Guest,
    Rows,
    rest,
    socket_of,
)

LINUX = {"User-Agent": f"pino-proxy-ubuntu/{UBUNTU.device_id}"}
MAC = {"X-API-Key": "apikeyhere"}
GPS = {"latitude": 45.2, "longitude": 13.6, "recorded_at": "2026-03-01T08:00:00Z"}


def wrapped(content: bytes) -> bytes:
    """A recording as a wave file."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(44_100)
        file.writeframes(content)
    return buffer.getvalue()


# arecord writes a whole file, and the client puts that into a second one.
TWICE = base64.b64encode(wrapped(wrapped(bytes(44_100)))).decode()


def linux(second: int, **fields: Any) -> dict[str, Any]:
    """A message of the Linux client; a new time and id at each attempt."""
    return {
        "device_id": UBUNTU.device_id,
        "recorded_at": f"2026-03-01T08:00:{second:02}.120000+00:00",
        "message_id": f"{UBUNTU.device_id}-17723520{second:02}.123456",
        **fields,
    }


def sound(second: int) -> dict[str, Any]:
    """A chunk: its facts stand in the metadata alone."""
    return linux(
        second, audio_data=TWICE, metadata={"sample_rate": 44_100, "channels": 1, "duration": 1}
    )


def screenshot(second: int) -> dict[str, Any]:
    """A picture whose size the client does not know."""
    return linux(second, image_data=EXAMPLE_PNG, format="png", width=0, height=0, metadata={})


def metrics(second: int) -> dict[str, Any]:
    """A poll: only its count and time tell it from the next."""
    polled = {
        "cpu_percent": 17.5,
        "poll_sequence": 42,
        "recorded_at": "2026-03-01T07:59:59.000000+00:00",
    }
    return linux(second, sensor_type="system_metrics", value=17.5, unit="percent", readings=polled)


@pytest.mark.parametrize(
    ("path", "make", "table"),
    [
        ("/audio/upload", sound, "device_audio_raw"),
        ("/images/screenshot", screenshot, "device_image_screenshot_raw"),
        ("/sensor/generic", metrics, "device_sensor_generic_raw"),
    ],
)
def test_what_the_linux_client_sends_again_with_a_new_time_is_answered_200_and_one_row(
    path: str, make: Any, table: str, base_url: str, rows: Rows
) -> None:
    with rest(base_url, UBUNTU, LINUX) as client:
        answers = [client.post(path, json=make(second)) for second in (1, 31, 59)]
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert [answer.json()["stored"] for answer in answers] == [1, 0, 0]
    assert rows(table, "device_id", UBUNTU.user) == [(UBUNTU.device_id,)]


def test_the_linux_clients_empty_list_of_apps_and_its_checks_are_answered_200(
    base_url: str, rows: Rows
) -> None:
    with rest(base_url, UBUNTU, LINUX) as client:
        sent = client.post("/system/apps/android", json=linux(1, running_applications=[]))
        looks = [client.get(path) for path in ("/healthz", "/", "/readyz")]
    assert (sent.status_code, sent.json()["status"]) == (200, "success")
    assert [look.status_code for look in looks] == [200, 200, 200]
    assert {"timestamp", "version", "status"} <= set(looks[0].json())
    assert rows("device_system_apps_android_raw", "running_applications", UBUNTU.user) == [([],)]


def test_the_mac_clients_public_key_is_let_in_by_its_rule(base_url: str, rows: Rows) -> None:
    power = {
        "device_id": MACOS.device_id,
        "timestamp": "2026-03-01T08:00:00.000000+00:00",
        "schema_version": "v1",
        "message_id": f"{MACOS.device_id}-1772352000",
        "battery_level": 88,
        "is_charging": True,
        "is_plugged_in": True,
        "metadata": {"cpu": {"percent": 12.5}},
    }
    audio = {
        "device_id": MACOS.device_id,
        "recorded_at": "2026-03-01T08:00:00.123456",
        "chunk_data": base64.b64encode(wrapped(bytes(4_410))).decode(),
        "sample_rate": 44_100,
        "channels": 1,
        "format": "wav",
        "duration_ms": 50,
    }
    with rest(base_url, MACOS, MAC) as client:
        answers = [
            client.post("/sensor/power", json=power),
            client.post("/audio/upload", json=audio),
        ]
        apps = client.post(
            "/system/apps/macos",
            json={**GPS, "device_id": MACOS.device_id, "running_applications": []},
        )
    assert [answer.json()["status"] for answer in answers] == ["success", "success"]
    assert apps.json()["status"] == "success"
    assert rows("device_state_power_raw", "battery_level, extra", MACOS.user) == [
        (
            88.0,
            {
                "metadata": {"cpu": {"percent": 12.5}},
                "schema_version": "v1",
                "message_id": power["message_id"],
            },
        )
    ]
    # Naive, and nothing is known of the device's zone.
    assert rows("device_audio_raw", "(ts AT TIME ZONE 'UTC')::text", MACOS.user) == [
        ("2026-03-01 08:00:00.123456",)
    ]


@pytest.mark.parametrize(
    ("who", "headers"),
    [
        (STRANGER, {}),
        (STRANGER, {"X-API-Key": "apikeyhere"}),
        (MACOS, {}),
        (MACOS, {"X-API-Key": "guessed"}),
        (UBUNTU, {"X-API-Key": "guessed"}),
        (UBUNTU, {"Authorization": "Bearer am_revoked"}),
        (UBUNTU, {"X-Forwarded-For": UBUNTU.address}),
        (STRANGER, {"X-Forwarded-For": UBUNTU.address}),
        (UBUNTU, {"Forwarded": "for=127.0.4.1"}),
        (UBUNTU, {"Origin": "https://page.example"}),
    ],
)
def test_who_no_rule_fits_is_answered_401(
    who: Guest, headers: dict[str, str], base_url: str
) -> None:
    with rest(base_url, who, headers) as client:
        assert client.post("/sensor/gps", json={**GPS, "device_id": "x"}).status_code == 401
    with (
        pytest.raises(Exception, match="401"),
        socket_of(base_url, "/realtime/ws/x", address=who.address, headers=headers),
    ):
        pass


def test_who_is_let_in_by_a_rule_writes_and_reads_nothing(base_url: str) -> None:
    paths = ("/devices", "/devices/activity", f"/devices/{UBUNTU.device_id}", "/v1/dead-letters")
    with rest(base_url, UBUNTU, LINUX) as client:
        client.post("/sensor/gps", json={**GPS, "device_id": UBUNTU.device_id})
        read = [
            client.get(path).status_code for path in (*paths, "/v1/timeline", "/audio/connections")
        ]
        told = {"device_id": UBUNTU.device_id, "name": "Desk"}
        registered = client.post("/devices", json=told)
        again = client.post("/devices", json={"device_id": UBUNTU.device_id})
        retired = client.delete(f"/devices/{UBUNTU.device_id}")
        sent = client.post("/v1/notifications", json={"title": "Hello"})
    assert set(read) == {403}
    assert (registered.json()["name"], again.json()["name"]) == ("Desk", UBUNTU.device_id)
    assert (retired.status_code, sent.status_code) == (403, 403)


def test_behind_one_address_the_device_says_whose_data_it_is(base_url: str, rows: Rows) -> None:
    bob = {"X-Device-ID": HOUSE_BOB.device_id}
    with rest(base_url, HOUSE_ADA, {"X-Device-ID": "ada-phone"}) as client:
        ada_sent = client.post("/sensor/gps", json=GPS).json()
    with rest(base_url, HOUSE_BOB, bob) as client:
        bob_sent = client.post("/sensor/gps", json=GPS).json()
        other = client.post("/sensor/gps", json={**GPS, "device_id": "ada-phone"}).json()
    with rest(base_url, HOUSE_BOB, {}) as client:
        unclear = client.post("/sensor/gps", json={**GPS, "device_id": HOUSE_BOB.device_id})
    assert (ada_sent["stored"], bob_sent["stored"]) == (1, 1)
    assert other["dead_letters"][0]["code"] == "wrong_device"
    assert unclear.status_code == 401
    assert rows("device_sensor_gps_raw", "device_id", HOUSE_ADA.user) == [("ada-phone",)]
    assert rows("device_sensor_gps_raw", "device_id", HOUSE_BOB.user) == [(HOUSE_BOB.device_id,)]


def test_a_token_goes_before_every_rule(base_url: str, client_for: ClientFor, user: str) -> None:
    token = client_for(user, scope=Scope.WRITE).headers["Authorization"]
    with rest(base_url, UBUNTU, {"Authorization": token}) as client:
        client.post("/sensor/gps", json={**GPS, "device_id": "by-token"})
    mine = client_for(user).get("/devices").json()
    assert [device["device_id"] for device in mine] == ["by-token"]


def test_a_wrong_token_is_never_rescued_by_being_sent_twice(base_url: str) -> None:
    answer = httpx.post(
        f"{base_url}/sensor/gps", json=GPS, headers={"X-API-Key": "am_wrong"}, timeout=20
    )
    assert answer.status_code == 401
