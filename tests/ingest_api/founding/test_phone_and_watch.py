"""The phone's and the watch's sockets, as those clients really speak, without a token."""

import json
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from am_assets.streams.audio import EXAMPLE_WAV
from tests.ingest_api.founding.conftest import (
    FLUTTER,
    WATCH,
    Guest,
    Rows,
    rest,
    socket_of,
)

PHONE = f"/realtime/ws/{FLUTTER.device_id}"
WRIST = f"/realtime/ws/{WATCH.device_id}"
# As Dart prints a local time: microseconds, no zone.
LOCAL = "2026-03-01T08:30:00.123456"


def phone(base_url: str) -> Any:
    """The phone's first socket: no token, no header."""
    return socket_of(base_url, PHONE, address=FLUTTER.address)


def watch(base_url: str) -> Any:
    """The watch's socket: it names its device in a header."""
    headers = {"X-Device-ID": WATCH.device_id}
    return socket_of(base_url, WRIST, address=WATCH.address, headers=headers)


def reading(kind: str, **data: Any) -> dict[str, Any]:
    """A frame of the phone, with the nulls that its models have."""
    return {
        "type": "data",
        "payload": {
            "message_type_id": kind,
            "data": {
                "device_id": FLUTTER.device_id,
                "recorded_at": LOCAL,
                "timestamp": None,
                "message_id": str(uuid.uuid4()),
                "trace_id": None,
                "services_encountered": ["mobile-client"],
                **data,
            },
        },
        "metadata": {"source_id": kind, "timestamp": LOCAL},
    }


def beat(who: Guest, **data: Any) -> dict[str, Any]:
    """A reading of the watch, whose JSON omits what is null."""
    return {
        "message_type_id": "heartrate",
        "data": {
            "device_id": who.device_id,
            "recorded_at": "2026-03-01T08:30:00.500Z",
            "message_id": str(uuid.uuid4()),
            "bpm": 61,
            "confidence": 0.75,
            "source": "wearable",
            "services_encountered": ["wearable-client"],
            **data,
        },
    }


def frame_of_watch(payload: dict[str, Any], **more: Any) -> dict[str, Any]:
    """The envelope that the watch puts round everything, anew at each send."""
    return {
        "id": str(uuid.uuid4()),
        "message_type": "data",
        "payload": payload,
        "timestamp": "2026-03-01T08:30:01.000Z",
        **more,
    }


def test_a_phone_is_greeted_and_pinged_with_rising_integers(base_url: str) -> None:
    with phone(base_url) as socket:
        hello = socket.hear("connection_established")
        pings = [socket.hear("health_check_ping") for _ in range(3)]
    assert {"gps_reading", "screen_text"} <= set(hello["supported_message_types"])
    assert hello["payload"]["features"] == hello["features"]
    assert [ping["ping_id"] for ping in pings] == [1, 2, 3]
    assert all(type(ping["payload"]["ping_id"]) is int for ping in pings)
    assert all(type(ping["server_time_ms"]) is int for ping in pings)


def test_a_phones_reading_is_stored_before_its_ack(base_url: str, rows: Rows) -> None:
    sent = reading("gps_reading", latitude=45.2, longitude=13.6, accuracy=8.0, altitude=None)
    with phone(base_url) as socket:
        ack = socket.ask(sent, "data_ack")
        stored = rows("device_sensor_gps_raw", "event_id::text, accuracy_m", FLUTTER.user)
    message_id = sent["payload"]["data"]["message_id"]
    assert (ack["message_id"], ack["payload"]["message_id"]) == (message_id, message_id)
    assert (message_id, 8.0) in stored


def test_a_live_heartbeat_teaches_the_zone_of_a_phone_that_sends_local_times(
    base_url: str, rows: Rows
) -> None:
    who = Guest(FLUTTER.user, FLUTTER.address, f"phone-{uuid.uuid4()}")
    local = (datetime.now(UTC) + timedelta(hours=5, minutes=30)).replace(tzinfo=None)
    sent = reading("power_state", battery_level=81.0, is_charging=False, device_id=who.device_id)
    with socket_of(base_url, f"/realtime/ws/{who.device_id}", address=who.address) as socket:
        socket.ask(
            {"type": "heartbeat", "payload": {"timestamp": local.isoformat()}}, "heartbeat_ack"
        )
    device = rows("device", "device_id, tz_offset_min", who.user)
    assert (who.device_id, 330) in device
    with socket_of(base_url, f"/realtime/ws/{who.device_id}", address=who.address) as socket:
        assert socket.ask(sent, "data_ack")["status"] == "success"


@pytest.mark.parametrize(
    ("kind", "table", "data"),
    [
        ("accelerometer", "device_sensor_accelerometer_raw", {"x": 0.1, "y": -0.3, "z": 9.79}),
        ("power_state", "device_state_power_raw", {"battery_level": 81.0, "is_charging": True}),
        (
            "wifi_state",
            "device_network_wifi_raw",
            {"ssid": "garden", "bssid": None, "signal_strength": -50, "connected": True},
        ),
        (
            "bluetooth_scan",
            "device_network_bluetooth_raw",
            {"device_name": "Pods", "device_address": "AA:BB:CC:DD:EE:FF", "rssi": -61},
        ),
        (
            "system_event",
            "os_events_system_raw",
            {"event_type": "screen_on", "event_category": "screen", "metadata": {}},
        ),
        (
            "app_lifecycle",
            "os_events_app_lifecycle_raw",
            {"app_identifier": "org.mozilla.firefox", "event_type": "foreground"},
        ),
        (
            "android_apps",
            "device_system_apps_android_raw",
            {"running_applications": [{"pid": 0, "name": "Maps", "package_name": "maps"}]},
        ),
        (
            "notification",
            "os_events_notifications_raw",
            {"notification_id": "17", "app_identifier": "mail", "title": "Hello", "body": None},
        ),
        ("screen_text", "digital_screen_text_raw", {"text_content": "bake at 220 °C"}),
        ("heartrate", "device_health_heartrate_raw", {"bpm": 61, "confidence": None}),
    ],
)
def test_all_that_a_phone_sends_has_its_table(
    kind: str, table: str, data: dict[str, Any], base_url: str, rows: Rows
) -> None:
    sent = reading(kind, **data)
    with phone(base_url) as socket:
        ack = socket.ask(sent, "data_ack")
    assert ack["status"] == "success", ack
    stored = rows(table, "event_id::text", FLUTTER.user)
    assert (sent["payload"]["data"]["message_id"],) in stored


def test_what_the_envelope_tells_besides_is_kept_with_the_row(base_url: str, rows: Rows) -> None:
    sent = reading("heartrate", bpm=77, source="chest strap")
    with phone(base_url) as socket:
        socket.ask(sent, "data_ack")
    (extra,) = [
        extra
        for bpm, extra in rows("device_health_heartrate_raw", "bpm, extra", FLUTTER.user)
        if bpm == 77
    ]
    assert extra["message_metadata"] == {"source_id": "heartrate", "timestamp": LOCAL}
    assert extra["source"] == "chest strap"
    assert extra["recorded_at_as_sent"] == LOCAL


def test_sound_in_its_own_frame_is_acknowledged_as_sound(base_url: str, rows: Rows) -> None:
    message_id = str(uuid.uuid4())
    sound = {
        "device_id": FLUTTER.device_id,
        "recorded_at": LOCAL,
        "message_id": message_id,
        "data": EXAMPLE_WAV,
        "sample_rate": 16_000,
        "format": "wav",
        "file_id": None,
    }
    with phone(base_url) as socket:
        ack = socket.ask({"type": "audio_chunk", "payload": sound, "metadata": {}}, "audio_ack")
    assert (ack["message_id"], ack["status"]) == (message_id, "success")
    assert rows("device_audio_raw", "event_id::text, sample_rate_hz", FLUTTER.user) == [
        (message_id, 16_000)
    ]


def test_a_batch_is_acknowledged_whole_and_its_bad_message_is_a_dead_letter(
    base_url: str, rows: Rows
) -> None:
    readings = [reading("barometer", pressure=1000.0 + number) for number in range(3)]
    batch = [one["payload"] for one in readings] + [{"message_type_id": "mood", "data": {"x": 1}}]
    with phone(base_url) as socket:
        ack = socket.ask({"type": "batch_data", "payload": batch}, "batch_ack")
        again = socket.ask({"type": "batch_data", "payload": {"messages": batch}}, "batch_ack")
    assert (ack["total"], ack["stored"], ack["failed"]) == (4, 3, 1)
    assert again["duplicate"] == 3
    assert len(ack["message_ids"]) == 3
    assert len(rows("device_sensor_barometer_raw", "event_id", FLUTTER.user)) == 3
    codes = rows("dead_letter", "code, times_seen", FLUTTER.user)
    assert ("unknown_type", 2) in codes


@pytest.mark.parametrize(
    "bad",
    [
        "{",
        "[]",
        b"\xff\x00",
        {"type": "dance", "payload": {}},
        {"no": "type"},
        {"type": "data", "payload": 7},
        {"type": "data", "payload": {"message_type_id": "gps_reading", "data": None}},
        {"type": "data", "payload": {"message_type_id": ["gps"], "data": {}}},
        {"type": "data", "payload": {"message_type_id": "gps_reading", "data": {"latitude": 95}}},
        {"type": "data", "payload": {"message_type_id": "gps_reading", "data": {"a": "\x00"}}},
        {"type": "audio_chunk", "payload": {"data": "@@", "recorded_at": LOCAL}},
        {"type": "batch_data", "payload": None},
        {"type": "device_register", "payload": {"name": {"no": "text"}}},
        {"type": "notification_response", "payload": {"notification_id": "seven"}},
    ],
)
def test_a_bad_frame_is_acknowledged_and_becomes_a_dead_letter(
    bad: Any, base_url: str, database: psycopg.Connection
) -> None:
    device_id = f"phone-{uuid.uuid4()}"
    with socket_of(base_url, f"/realtime/ws/{device_id}", address=FLUTTER.address) as socket:
        socket.hear("connection_established")
        socket.say(bad)
        ack: dict[str, Any] = {"type": "health_check_ping"}
        while ack["type"] == "health_check_ping":
            ack = json.loads(socket.connection.recv(timeout=20))
        assert "error" not in ack["type"]
        assert ack["status"] == "quarantined"
        assert socket.ask(reading("light", lux=300.0), "data_ack")["status"] == "success"
    letters = database.execute(
        "SELECT dead_letter_id::text, octet_length(payload) > 0 FROM am.dead_letter "
        "WHERE user_id = %s AND device_id = %s",
        (FLUTTER.user, device_id),
    ).fetchall()
    assert letters == [(ack["dead_letters"][0]["id"], True)]


def test_two_sockets_of_one_device_live_side_by_side(base_url: str) -> None:
    with phone(base_url) as first, phone(base_url) as second:
        for socket in (first, second, first):
            sent = reading("magnetometer", x=22.5, y=-4.1, z=41.0)
            assert socket.ask(sent, "data_ack")["status"] == "success"
            socket.hear("health_check_ping")


def test_a_phone_registers_over_its_socket_and_can_ask_and_change(
    base_url: str, rows: Rows
) -> None:
    told = {
        "name": "Pixel",
        "device_type": "mobile_android",
        "manufacturer": "Google",
        "model": "Pixel 8",
        "os_version": "15",
        "app_version": "1.2.0",
        "platform": "android",
        "metadata": {"device_subtype": "phone", "capabilities": ["gps", "camera"]},
    }
    with phone(base_url) as socket:
        registered = socket.ask({"type": "device_register", "payload": told}, "device_registered")
        updated = socket.ask(
            {"type": "device_update", "payload": {"app_version": "1.3.0"}}, "device_updated"
        )
        shown = socket.ask({"type": "device_query", "payload": {}}, "device_info")
    assert (registered["status"], updated["status"]) == ("success", "success")
    known = rows("device", "device_id, name, model, app_version", FLUTTER.user)
    assert (FLUTTER.device_id, "Pixel", "Pixel 8", "1.3.0") in known
    # Let in without a token, it may write; what others said of it is not shown to it.
    assert (shown["is_registered"], shown["model"]) == (True, None)


def test_a_watchs_reading_that_is_sent_twice_is_one_row(base_url: str, rows: Rows) -> None:
    now = beat(WATCH, metadata={"on_body": True})
    later = {**now, "data": {k: v for k, v in now["data"].items() if k != "metadata"}}
    with watch(base_url) as socket:
        first = socket.ask(frame_of_watch(now), "data_ack")
        second = socket.ask(
            {**frame_of_watch({}), "message_type": "batch_data", "payload": [later]}, "batch_ack"
        )
    assert (first["stored"], second["duplicate"]) == (1, 1)
    stored = rows("device_health_heartrate_raw", "event_id::text, device_id, extra", WATCH.user)
    assert [row[:2] for row in stored] == [(now["data"]["message_id"], WATCH.device_id)]
    assert stored[0][2]["metadata"] == {"on_body": True}


def test_a_watchs_ping_id_comes_back_as_a_double_and_the_socket_goes_on(base_url: str) -> None:
    with watch(base_url) as socket:
        ping = socket.hear("health_check_ping")
        pong = {"ping_id": float(ping["ping_id"]), "client_time_ms": 1_772_353_800_000.0}
        socket.say(frame_of_watch(pong, message_type="health_check_pong"))
        assert socket.hear("health_check_ping")["ping_id"] > ping["ping_id"]
        alive = frame_of_watch({"timestamp": 1_772_353_800_000.0}, message_type="heartbeat")
        socket.ask(alive, "heartbeat_ack")


GPS, SLEEP = "device_sensor_gps_raw", "device_health_sleep_raw"
POWER, ON_BODY = "device_state_power_raw", "device_sensor_on_body_raw"


@pytest.mark.parametrize(
    ("kind", "data", "table", "expected"),
    [
        ("gps", {"latitude": 1.5, "longitude": 2.5}, GPS, {"latitude": 1.5}),
        (
            "sleep_state",
            {"state": "light_sleep", "confidence": 0.5, "duration": 60_000},
            SLEEP,
            {"sleep_stage": "light_sleep", "duration_ms": 60_000.0, "confidence": 0.5},
        ),
        (
            "power_event",
            {"event_type": "battery_low", "battery_level": 14, "is_charging": False},
            POWER,
            {
                "battery_level": 14.0,
                "is_charging": False,
                "event_type": "battery_low",
                "extra->>'message_type_id'": "power_event",
            },
        ),
        ("on_body_status", {"on_body": True}, ON_BODY, {"is_on_body": True}),
    ],
)
def test_a_watchs_own_types_have_their_columns(
    kind: str,
    data: dict[str, Any],
    table: str,
    expected: dict[str, Any],
    base_url: str,
    rows: Rows,
) -> None:
    message = {**beat(WATCH, **data), "message_type_id": kind}
    message["data"].pop("bpm")
    with watch(base_url) as socket:
        assert socket.ask(frame_of_watch(message), "data_ack")["status"] == "success"
    assert tuple(expected.values()) in rows(table, ", ".join(expected), WATCH.user)


def test_a_watch_registers_with_a_slash_and_a_phone_without(base_url: str) -> None:
    headers = {"X-API-Key": "apikeyhere", "X-Device-ID": WATCH.device_id}
    told = {"device_id": WATCH.device_id, "name": "Watch", "device_type": "wearable"}
    with rest(base_url, WATCH, headers) as client:
        answers = [client.post("/devices/", json=told), client.post("/devices/", json=told)]
    assert [answer.status_code for answer in answers][1] == 200
    assert answers[0].status_code in (200, 201)  # known already where it has sent before
    told = {"device_id": FLUTTER.device_id, "name": "Pixel", "device_type": "mobile_android"}
    with rest(base_url, FLUTTER, {"X-API-Key": "apikeyhere"}) as client:
        answer = client.post("/devices", json=told)
    assert answer.is_success
    needed = ("device_id", "name", "device_type", "is_active", "created_at", "updated_at")
    assert all(answer.json()[name] is not None for name in needed)


def test_a_heartbeat_socket_answers_and_notes_the_device(base_url: str, rows: Rows) -> None:
    device_id = f"phone-{uuid.uuid4()}"
    with socket_of(base_url, f"/heartbeat/{device_id}", address=FLUTTER.address) as socket:
        beat_ = {"message_type": "heartbeat", "data": {"timestamp": "2026-03-01T08:30:00.000Z"}}
        ack = socket.ask(beat_, "heartbeat_ack")
        assert ack["message_type"] == "heartbeat_ack"
        socket.ask({"message_type": "ping", "data": {}}, "pong")
        assert socket.ask({"message_type": "dance"}, "ack")["status"] == "quarantined"
    (known,) = [
        row
        for row in rows("device", "device_id, last_seen_at, last_data_at", FLUTTER.user)
        if row[0] == device_id
    ]
    assert known[1] is not None
    assert known[2] is None


def test_a_socket_of_another_device_than_the_rules_is_not_opened(base_url: str) -> None:
    with (
        pytest.raises(Exception, match="401"),
        socket_of(base_url, "/realtime/ws/another", address=WATCH.address),
    ):
        pass
