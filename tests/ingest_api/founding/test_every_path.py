"""Every path that older clients know, with a body as they send it: 200, and one row.

Envelopes are the phone's: local times without a zone, nulls, its public key instead of a token.
"""

import base64
import io
import wave
from typing import Any
from uuid import uuid4

import httpx
import pytest

from am_assets.streams.image import EXAMPLE_PNG
from am_assets.streams.registry import REGISTRY
from tests.ingest_api.founding.conftest import FLUTTER, Rows, rest, socket_of

KEY = {"X-API-Key": "apikeyhere"}
WHEN = "2026-03-01T08:30:00.123456"
PERIOD = {
    "aggregation_period_start": "2026-03-01T07:00:00Z",
    "aggregation_period_end": "2026-03-01T08:00:00Z",
    "total_screen_time_ms": 600_000,
}
AXES = {"x": 0.1, "y": -0.2, "z": 9.8}
SCREEN_TIME = {
    "category": "social",
    "total_time_ms": 1000,
    "app_count": 1,
    "percentage_of_total": 100,
}
USAGE = {
    "package_name": "org.maps",
    "total_time_foreground_ms": 1000,
    "last_time_used": "2026-03-01T07:59:00Z",
}
APP = {"pid": 0, "name": "Maps", "package_name": "org.maps", "active": True, "hidden": False}
MAC_APP = {**APP, "pid": 7, "bundle_id": "com.maps"}


def sound() -> str:
    """A tenth of a second of silence, as WAV in base64."""
    file = io.BytesIO()
    with wave.open(file, "wb") as recording:
        recording.setparams((1, 2, 16_000, 1_600, "NONE", "not compressed"))
        recording.writeframes(bytes(3_200))
    return base64.b64encode(file.getvalue()).decode()


AUDIO = {"sample_rate": 16_000, "channels": 1, "format": "wav", "duration_ms": 100, "file_id": None}
PHOTO = {"image_data": EXAMPLE_PNG, "format": "png", "width": 1, "height": 1, "metadata": None}
FILE = {"filename": "a.txt", "file_data": "ZmxvdXI=", "content_type": "text/plain", "file_size": 5}
NOTE: dict[str, Any] = {
    "content": " Feed the starter. ",
    "title": None,
    "note_type": "text",
    "tags": [],
}

# (path, the fields that are the path's own, the stream)
SENT: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("/audio/upload", {**AUDIO, "data": sound()}, "device.audio.raw"),
    ("/audio/upload", {**AUDIO, "chunk_data": sound()}, "device.audio.raw"),
    ("/audio/upload", {"audio_data": sound(), "metadata": AUDIO}, "device.audio.raw"),
    (
        "/sensor/gps",
        {"latitude": 45.2, "longitude": 13.6, "altitude": None, "accuracy": 5, "speed": 0},
        "device.sensor.gps.raw",
    ),
    ("/sensor/accelerometer", AXES, "device.sensor.accelerometer.raw"),
    ("/sensor/gyroscope", {**AXES, "unit": "rad/s"}, "device.sensor.gyroscope.raw"),
    ("/sensor/magnetometer", {**AXES, "unit": "\u03bcT"}, "device.sensor.magnetometer.raw"),
    ("/sensor/heartrate", {"bpm": 61, "confidence": 0.9}, "device.health.heartrate.raw"),
    ("/sensor/heartrate", {"heartrate": 61}, "device.health.heartrate.raw"),
    (
        "/sensor/power",
        {"battery_level": 81.5, "is_charging": False, "power_source": None},
        "device.state.power.raw",
    ),
    ("/sensor/temperature", {"temperature": 21.5}, "device.sensor.temperature.raw"),
    ("/sensor/barometer", {"pressure": 1013.2, "altitude": None}, "device.sensor.barometer.raw"),
    ("/sensor/light", {"lux": 320, "color_temperature": None}, "device.sensor.light.raw"),
    (
        "/sensor/wifi",
        {"ssid": "garden", "bssid": None, "signal_strength": -50, "connected": True},
        "device.network.wifi.raw",
    ),
    (
        "/sensor/bluetooth",
        {"device_name": "scale", "device_address": "AA:BB", "rssi": -61, "paired": False},
        "device.network.bluetooth.raw",
    ),
    (
        "/sensor/generic",
        {"sensor_type": "system_metrics", "value": 17.5, "unit": "percent"},
        "device.sensor.generic.raw",
    ),
    ("/health/steps", {"step_count": 1200, "distance_meters": 900}, "device.health.steps.raw"),
    ("/health/sleep", {"sleep_stage": "deep", "duration_seconds": 60}, "device.health.sleep.raw"),
    ("/health/blood-oxygen", {"spo2_percentage": 97}, "device.health.blood_oxygen.raw"),
    (
        "/health/blood-pressure",
        {"systolic": 120, "diastolic": 80, "pulse": None},
        "device.health.blood_pressure.raw",
    ),
    ("/images/upload", {**PHOTO, "camera_type": "front"}, "device.image.camera.raw"),
    ("/images/screenshot", {**PHOTO, "width": 0, "height": 0}, "device.image.screenshot.raw"),
    ("/notes/upload", {**NOTE, "word_count": None}, "digital.notes.raw"),
    ("/notes/digital", NOTE, "digital.notes.raw"),
    ("/documents/upload", {**FILE, "document_type": "general"}, "task.document.ingest"),
    (
        "/digital/clipboard",
        {"content_type": "text", "content_text": "220 C", "source_app": None},
        "digital.clipboard.raw",
    ),
    (
        "/digital/web-analytics",
        {"url": "https://a.example/", "domain": "a.example", "time_spent_seconds": 9},
        "digital.web_analytics.raw",
    ),
    (
        "/digital/screen-text",
        {"text_content": "Oven", "app_package": "org.maps", "content_hash": "ab" * 32},
        "digital.screen_text.raw",
    ),
    (
        "/os-events/app-lifecycle",
        {"app_identifier": "org.maps", "event_type": "launch", "metadata": {}},
        "os.events.app_lifecycle.raw",
    ),
    (
        "/os-events/system",
        {"event_type": "SCREEN_ON", "event_category": "screen", "severity": "info"},
        "os.events.system.raw",
    ),
    (
        "/os-events/notifications",
        {"notification_id": "7", "app_identifier": "org.mail", "title": None, "action": "posted"},
        "os.events.notifications.raw",
    ),
    ("/system/apps/macos", {"running_applications": [MAC_APP]}, "device.system.apps.macos.raw"),
    ("/system/apps/android", {"running_applications": [APP]}, "device.system.apps.android.raw"),
    (
        "/system/apps/android/usage",
        {**PERIOD, "app_usage_stats": [USAGE], "total_unlocks": 3},
        "device.app_usage.android.aggregated",
    ),
    (
        "/system/apps/android/events",
        {"package_name": "org.maps", "event_type": "MOVE_TO_FOREGROUND", "configuration": {}},
        "device.app_usage.android.events",
    ),
    (
        "/system/apps/android/categories",
        {**PERIOD, "category_stats": [SCREEN_TIME], "device_unlocks": 3},
        "device.app_usage.android.categories",
    ),
    (
        "/system/metadata",
        {"metadata_type": "device_capabilities", "metadata": {"model": "Pixel"}},
        "device.metadata.raw",
    ),
)
LISTS: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("/sensor/batch", {"sensor_type": "gyroscope", "value": AXES}, "device.sensor.gyroscope.raw"),
    ("/images/batch", {**PHOTO, "camera_type": "screen"}, "device.image.screenshot.raw"),
    ("/notes/batch", NOTE, "digital.notes.raw"),
    ("/documents/batch", FILE, "task.document.ingest"),
)
ASKED = (
    ("/", {"service", "version", "endpoints"}),
    ("/healthz", {"status", "timestamp", "version"}),
    ("/readyz", {"status"}),
    ("/ingest/message-types", {"gps_reading", "url_to_process"}),
    ("/ingest/message-types/gps_reading", {"topic", "pipeline_hint", "validation_rules"}),
    ("/os-events/event-types", {"app_lifecycle", "system", "notifications"}),
    ("/system/apps/stats", {"max_apps_per_request", "supported_platforms", "topics"}),
    ("/system/metadata/types", {"metadata_types"}),
)


def envelope() -> dict[str, Any]:
    """What the phone puts round each message."""
    return {
        "device_id": f"phone-{uuid4()}",
        "recorded_at": WHEN,
        "timestamp": None,
        "message_id": str(uuid4()),
        "trace_id": None,
        "services_encountered": ["mobile-client"],
        "content_hash": None,
    }


def check(answer: httpx.Response, stream: str, device_id: str, rows: Rows) -> None:
    """What a client parses, and the row behind it."""
    told = answer.json()
    assert (answer.status_code, told["status"]) == (200, "success"), told
    assert (told["total"], told["processed"], told["failed"]) == (1, 1, 0)
    assert (told["topic"], told["stored"]) == (stream, 1)
    assert isinstance(told["trace_id"], str)
    assert isinstance(told["services_encountered"], list)
    found = rows(REGISTRY[stream].table, "device_id", FLUTTER.user)
    assert (device_id,) in found


@pytest.mark.parametrize(("path", "fields", "stream"), SENT)
def test_a_message_as_the_phone_wraps_it_is_answered_as_it_expects_and_is_a_row(
    path: str, fields: dict[str, Any], stream: str, base_url: str, rows: Rows
) -> None:
    message = {**envelope(), **fields}
    with rest(base_url, FLUTTER, KEY) as client:
        check(client.post(path, json=message), stream, message["device_id"], rows)
        again = client.post(path, json=message).json()
    assert (again["status"], again["duplicate"]) == ("success", 1)


@pytest.mark.parametrize(("path", "fields", "stream"), LISTS)
def test_a_list_of_messages_is_answered_with_its_counts(
    path: str, fields: dict[str, Any], stream: str, base_url: str, rows: Rows
) -> None:
    message = {**envelope(), **fields}
    with rest(base_url, FLUTTER, KEY) as client:
        check(client.post(path, json=[message]), stream, message["device_id"], rows)


@pytest.mark.parametrize(("path", "names"), ASKED)
def test_what_older_clients_ask_is_answered_without_a_key(
    path: str, names: set[str], base_url: str
) -> None:
    answer = httpx.get(f"{base_url}{path}")
    assert (answer.status_code, names - set(answer.json())) == (200, set())


def test_the_metrics_have_the_names_that_were_promised(base_url: str) -> None:
    with socket_of(base_url, f"/heartbeat/{FLUTTER.device_id}", address=FLUTTER.address) as socket:
        socket.say({"type": "ping"})
        socket.hear("pong")
    httpx.get(f"{base_url}/healthz")
    told = httpx.get(f"{base_url}/metrics").text
    counters = ("http_requests_total{", 'websocket_connections_total{kind="heartbeat"}')
    for name in (*counters, "http_request_duration_seconds_bucket{"):
        assert name in told
