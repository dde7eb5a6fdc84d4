"""Sensor and health apps, and the protocols of metrics: each value in its stream and unit."""

import gzip
import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)

from tests.ingest_api.adapters.conftest import RowsOf

GENERIC = "device.sensor.generic.raw"
HEART_RATE = "device.health.heartrate.raw"
STEPS = "device.health.steps.raw"
NANOSECONDS = 1704067200_500_000_000
THEN = datetime(2024, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC)
NEW_YEAR = datetime(2024, 1, 1, tzinfo=UTC)
Letters = Callable[[], list[tuple[Any, ...]]]


def logged(name: str, second: int = 0, **values: Any) -> dict[str, Any]:
    """A reading as Sensor Logger sends it."""
    return {"name": name, "time": NANOSECONDS + second * 10**9, "values": values, "accuracy": 3}


def test_sensor_loggers_readings_reach_the_streams_of_their_sensors(
    client: httpx.Client, rows_of: RowsOf
) -> None:
    batch = {
        "messageId": 7,
        "sessionId": "s-1",
        "deviceId": "d-1",
        "payload": [
            logged("accelerometer", x=0.1, y=-0.2, z=9.8),
            logged("gyroscope", x=1, y=2, z=3),
            logged("magnetometer", x=20, y=-4, z=41),
            logged("barometer", pressure=1013.25, relativeAltitude=0.5),
            logged("location", latitude=1, longitude=2, speed=-1, horizontalAccuracy=4,
                   altitudeAboveMeanSeaLevel=100, altitude=147, bearing=90),
            logged("battery", batteryLevel=0.55, batteryState="charging", lowPowerMode=False),
            logged("heartrate", bpm=61),
            logged("bluetooth", id="AA:BB", rssi=-61, txPowerLevel=12),
            logged("network", type="wifi", ssid="garden", bssid="f0:9f"),
            logged("annotation", text="coffee", millisecond_press_duration=80),
            logged("microphone", dBFS=-33.5),
        ],
    }  # fmt: skip
    answer = client.post("/sensor-logger", json=batch)
    assert (answer.status_code, answer.text) == (200, "OK")
    acceleration = rows_of(
        "device.sensor.accelerometer.raw",
        "ts, device_id, x_m_s2, z_m_s2, extra->>'messageId', extra->>'sessionId'",
    )
    assert acceleration == [(THEN, "d-1", 0.1, 9.8, "7", "s-1")]
    assert rows_of("device.sensor.gyroscope.raw", "x, y, z, unit") == [(1, 2, 3, "rad/s")]
    assert rows_of("device.sensor.magnetometer.raw", "x, y, z") == [(20, -4, 41)]
    assert rows_of("device.sensor.barometer.raw", "pressure, unit") == [(1013.25, "hPa")]
    fix = rows_of("device.sensor.gps.raw", "altitude_m, accuracy_m, heading_deg, speed_m_s")
    assert fix == [(100, 4, 90, None)]
    assert rows_of("device.state.power.raw", "battery_level, is_charging") == [(55, True)]
    assert rows_of(HEART_RATE, "bpm") == [(61,)]
    assert rows_of("device.network.bluetooth.raw", "device_address, rssi_dbm") == [("AA:BB", -61)]
    assert rows_of("device.network.wifi.raw", "ssid, is_connected") == [("garden", True)]
    assert rows_of("digital.notes.raw", "content") == [("coffee",)]
    assert rows_of(GENERIC, "sensor_type, value") == [("microphone", {"dBFS": -33.5})]


def test_sensor_loggers_repeated_batch_is_no_new_row_and_equal_values_at_two_times_are_two(
    client: httpx.Client, rows_of: RowsOf
) -> None:
    payload = [logged("microphone", second, dBFS=-30) for second in (0, 1)]
    for _ in range(2):
        client.post("/sensor-logger", json={"deviceId": "d", "payload": payload})
    assert len(rows_of(GENERIC, "ts")) == 2


def test_a_wrong_token_pops_up_in_sensor_logger(base_url: str) -> None:
    answer = httpx.post(f"{base_url}/sensor-logger/am_wrong", json={"payload": []})
    assert (answer.status_code, "am key create" in answer.text) == (499, True)


def export(name: str, units: str, *samples: dict[str, Any]) -> dict[str, Any]:
    """A metric as Health Auto Export sends it."""
    return {"data": {"metrics": [{"name": name, "units": units, "data": list(samples)}]}}


def test_health_auto_exports_metrics_reach_their_streams_and_its_windows_may_overlap(
    client: httpx.Client, rows_of: RowsOf
) -> None:
    day = "2021-12-24 00:04:00 +0800"
    bodies = [
        export("heart_rate", "count/min", {"date": day, "Min": 60, "Avg": 61.5, "Max": 70}),
        export("step_count", "count", {"date": day, "qty": 12, "source": "iPhone"}),
        export("blood_oxygen_saturation", "%", {"date": day, "qty": 97}),
        export("blood_pressure", "mmHg", {"date": day, "systolic": 120, "diastolic": 80}),
        export("sleep_analysis", "hr", {"startDate": day, "qty": 0.5, "value": "Core"}),
    ]
    for body in (*bodies, *bodies):
        answer = client.post("/health-auto-export", json=body)
        assert (answer.status_code, answer.json()["success"]) == (200, True)
    when = datetime(2021, 12, 23, 16, 4, tzinfo=UTC)
    assert rows_of(HEART_RATE, "ts, tz_offset_min, bpm, extra->>'Max'") == [(when, 480, 61.5, "70")]
    assert rows_of(STEPS, "step_count, extra->>'source'") == [(12, "iPhone")]
    assert rows_of("device.health.blood_oxygen.raw", "ts") == [(when,)]
    assert rows_of("device.health.blood_pressure.raw", "ts") == [(when,)]
    assert rows_of("device.health.sleep.raw", "sleep_stage") == [("light",)]


@pytest.mark.parametrize(
    ("units", "sent", "kept", "unit"),
    [
        ("km", 1.5, 1500, "m"),
        ("mi", 1, 1609.344, "m"),
        ("kcal", 100, 418.4, "kJ"),
        ("degF", 98.6, 37, "degC"),
        ("lb", 10, 4.5359237, "kg"),
        ("mi/hr", 10, 4.4704, "m/s"),
        ("count", 3, 3, "count"),
    ],
)
def test_health_auto_exports_regional_units_are_converted_and_kept(
    units: str, sent: float, kept: float, unit: str, client: httpx.Client, rows_of: RowsOf
) -> None:
    sample = {"date": "2021-12-24 12:04:05 AM +0800", "qty": sent, "source": "Watch"}
    client.post("/health-auto-export", json=export("quantity", units, sample))
    ((value, kept_unit, readings),) = rows_of(GENERIC, "value, unit, readings")
    assert (value, kept_unit) == (pytest.approx(kept), unit)
    assert (readings["qty"], readings["units"], readings["source"]) == (sent, units, "Watch")


def test_a_workout_is_a_reading_its_route_is_fixes_and_its_heart_rates_are_heart_rates(
    client: httpx.Client, rows_of: RowsOf
) -> None:
    at = "2021-12-24 09:00:00 +0100"
    workout = {
        "id": "4f5c0b1e-6d9f-4f0e-8a53-0d0f6c5f3c11",
        "name": "Running",
        "start": at,
        "end": "2021-12-24 09:30:00 +0100",
        "distance": {"qty": 5, "units": "km"},
        "route": [{"latitude": 1, "longitude": 2, "timestamp": at, "speed": 3, "course": -1}],
        "heartRateData": [{"date": at, "Min": 1, "Avg": 140, "Max": 2, "units": "bpm"}],
    }
    mood = {"id": "x", "start": at, "kind": "daily_mood", "valence": 0.5}
    body = {"data": {"metrics": [], "workouts": [workout], "stateOfMind": [mood]}}
    client.post("/health-auto-export", json=body)
    kept = dict(rows_of(GENERIC, "sensor_type, readings"))
    assert kept["workout"]["distance"] == {"qty": 5, "units": "km"}
    assert kept["state_of_mind"]["valence"] == 0.5
    fix = rows_of("device.sensor.gps.raw", "latitude, speed_m_s, heading_deg, extra->>'workout'")
    assert fix == [(1, 3, None, "Running")]
    assert rows_of(HEART_RATE, "bpm, measurement_type") == [(140, "workout")]


def test_health_connects_records_reach_their_streams(client: httpx.Client, rows_of: RowsOf) -> None:
    when = "2024-01-01T00:00:00.500Z"
    body = {
        "timestamp": "2024-01-01T01:00:00Z",
        "app_version": "1.2.3",
        "steps": [{"count": 50, "start_time": when, "end_time": "2024-01-01T00:05:00Z"}],
        "heart_rate": [{"bpm": 62, "time": when}],
        "resting_heart_rate": [{"bpm": 50, "time": when}],
        "oxygen_saturation": [{"percentage": 98, "time": when}],
        "weight": [{"kilograms": 70.5, "time": when}],
        "sleep": [
            {
                "session_end_time": "2024-01-01T08:00:00Z",
                "duration_seconds": 3600,
                "stages": [
                    {"stage": "deep", "start_time": when, "duration_seconds": 1800},
                    {"stage": "sleeping", "start_time": when, "duration_seconds": 1800},
                ],
            }
        ],
        "exercise": [{"type": "RUNNING", "start_time": when, "end_time": when}],
    }
    answer = client.post("/health-connect?device_id=pixel", json=body)
    assert (answer.status_code, answer.json()) == (200, {"success": True})
    assert rows_of(STEPS, "ts, device_id, step_count") == [(THEN, "pixel", 50)]
    assert sorted(rows_of(HEART_RATE, "bpm")) == [(50,), (62,)]
    assert rows_of("device.health.blood_oxygen.raw", "ts") == [(THEN,)]
    assert rows_of("device.health.sleep.raw", "ts, sleep_stage") == [(THEN, "deep")]
    kept = {kind: (value, unit) for kind, value, unit in rows_of(GENERIC, "sensor_type,value,unit")}
    assert kept == {"weight": (70.5, "kg"), "sleep": (None, None), "exercise": (None, None)}


LINES = (
    b'cpu,host=laptop,cpu=cpu0 usage_user=1.5,ok=t,note="a \\"b\\" , c=d" 1704067200500000000\n'
    b"# a comment\n"
    b"\n"
    b"cpu,host=laptop,cpu=cpu1 usage_user=1.5 1704067200500000000\n"
    b"this is no line\n"
    b"mem,host=laptop used=12i 1704067200500000000\n"
)


def test_lines_of_influx_become_readings_and_a_bad_line_spoils_no_other(
    client: httpx.Client, rows_of: RowsOf, letters_of: Letters
) -> None:
    answer = client.post("/influx/api/v2/write?org=o&bucket=b&precision=ns", content=LINES)
    assert (answer.status_code, answer.content) == (204, b"")
    kept = rows_of(GENERIC, "ts, device_id, sensor_type, value, readings->'tags'->>'cpu'")
    assert sorted(kept, key=str) == sorted(
        [
            (THEN, "laptop", "cpu", None, "cpu0"),
            (THEN, "laptop", "cpu", 1.5, "cpu1"),
            (THEN, "laptop", "mem", 12, None),
        ],
        key=str,
    )
    ((_, code, payload),) = letters_of()
    assert (code, bytes(payload)) == ("bad_value", b"this is no line")


@pytest.mark.parametrize(
    ("precision", "stamp"),
    [
        ("", 1704067200_000_000_000),
        ("ns", 1704067200_000_000_000),
        ("u", 1704067200_000_000),
        ("us", 1704067200_000_000),
        ("ms", 1704067200_000),
        ("s", 1704067200),
        ("m", 28401120),
        ("h", 473352),
    ],
)
def test_influx_precisions_name_the_same_instant(
    precision: str, stamp: int, client: httpx.Client, rows_of: RowsOf
) -> None:
    query = {"db": "d", **({"precision": precision} if precision else {})}
    body = gzip.compress(f"m,host=h v=1 {stamp}".encode())
    answer = client.post("/write", params=query, content=body, headers={"Content-Encoding": "gzip"})
    assert answer.status_code == 204
    assert rows_of(GENERIC, "ts, extra->>'bucket'") == [(NEW_YEAR, "d")]


def test_influx_clients_put_their_token_where_their_version_does(
    base_url: str, token_for: Callable[..., str], user: str, rows_of: RowsOf
) -> None:
    token = token_for(user)
    v2 = httpx.post(
        f"{base_url}/api/v2/write", content=b"a v=1", headers={"Authorization": f"Token {token}"}
    )
    v1 = httpx.post(f"{base_url}/write", params={"u": "x", "p": token}, content=b"b v=1")
    basic = httpx.post(f"{base_url}/influx/write", auth=("x", token), content=b"c v=1")
    assert [v2.status_code, v1.status_code, basic.status_code] == [204, 204, 204]
    assert httpx.post(f"{base_url}/write", content=b"d v=1").status_code == 401
    marks = rows_of(GENERIC, "sensor_type, extra->>'is_time_of_arrival'")
    assert sorted(marks) == [("a", "true"), ("b", "true"), ("c", "true")]


def metrics() -> dict[str, Any]:
    """A request as an OpenTelemetry exporter sends it."""
    point = {"timeUnixNano": str(NANOSECONDS), "attributes": []}
    core = {"key": "core", "value": {"intValue": "3"}}
    return {
        "resourceMetrics": [
            {
                "resource": {"attributes": [{"key": "host.name", "value": {"stringValue": "lap"}}]},
                "scopeMetrics": [
                    {
                        "metrics": [
                            {
                                "name": "temperature",
                                "unit": "Cel",
                                "gauge": {
                                    "dataPoints": [
                                        {**point, "asDouble": 41.5, "attributes": [core]}
                                    ]
                                },
                            },
                            {
                                "name": "requests",
                                "sum": {
                                    "dataPoints": [{**point, "asInt": "17"}],
                                    "isMonotonic": True,
                                },
                            },
                            {
                                "name": "latency",
                                "histogram": {
                                    "dataPoints": [
                                        {
                                            **point,
                                            "count": "3",
                                            "sum": 6.5,
                                            "bucketCounts": ["1", "2"],
                                            "explicitBounds": [1.0],
                                        }
                                    ]
                                },
                            },
                        ]
                    }
                ],
            }
        ]
    }


@pytest.mark.parametrize("is_json", [True, False])
def test_otlp_metrics_become_readings_from_json_and_from_protobuf(
    is_json: bool, client: httpx.Client, rows_of: RowsOf
) -> None:
    if is_json:
        answer = client.post("/v1/metrics", json=metrics())
        assert answer.json() == {}
    else:
        from google.protobuf.json_format import Parse  # noqa: PLC0415

        body = Parse(json.dumps(metrics()), ExportMetricsServiceRequest()).SerializeToString()
        headers = {"Content-Type": "application/x-protobuf"}
        answer = client.post("/v1/metrics", content=body, headers=headers)
        assert ExportMetricsServiceResponse.FromString(answer.content) == (
            ExportMetricsServiceResponse()
        )
    assert answer.status_code == 200
    kept = rows_of(GENERIC, "ts, device_id, sensor_type, value, unit")
    assert sorted(kept, key=lambda row: str(row[2])) == [
        (THEN, "lap", "latency", None, None),
        (THEN, "lap", "requests", 17, None),
        (THEN, "lap", "temperature", 41.5, "Cel"),
    ]
    parts = dict(rows_of(GENERIC, "sensor_type, readings"))
    assert parts["temperature"]["attributes"] == {"core": 3}
    assert parts["latency"]["sum"] == 6.5


def test_any_client_can_send_a_reading_by_get_and_events_by_post(
    base_url: str, token_for: Callable[..., str], user: str, rows_of: RowsOf, letters_of: Letters
) -> None:
    base = f"{base_url}/events/{token_for(user)}"
    mood = httpx.get(f"{base}/mood", params={"value": "7", "ts": "1704067200", "device_id": "w"})
    assert mood.json() == {"status": "success", "stored": 1, "duplicate": 0, "rejected": 0}
    assert rows_of(GENERIC, "ts, device_id, value") == [(NEW_YEAR, "w", 7)]
    note = {"content": "Feed the starter.", "device_id": "w"}
    assert httpx.post(f"{base}/digital.notes.raw", json=[note]).json()["stored"] == 1
    assert rows_of("digital.notes.raw", "extra->>'is_time_of_arrival'") == [("true",)]
    lines = b'{"value": 1, "ts": 1704067200}\n{broken\n'
    headers = {"Content-Type": "application/x-ndjson"}
    answer = httpx.post(f"{base}/pulse", content=lines, headers=headers)
    assert (answer.status_code, answer.json()["rejected"]) == (200, 1)
    unknown = httpx.post(f"{base}/digital.dreams.raw", json={"a": 1}).json()
    assert (unknown["status"], unknown["rejected"]) == ("quarantined", 1)
    derived = httpx.post(f"{base}/media.text.transcribed.words", json={"text": "forged"}).json()
    assert derived["rejected"] == 1
    codes = sorted(code for _, code, _ in letters_of())
    assert codes == ["not_json", "unknown_type", "unknown_type"]


def test_omis_sound_becomes_an_audio_chunk_that_ends_when_it_came_and_is_kept_once(
    client: httpx.Client, rows_of: RowsOf, letters_of: Letters
) -> None:
    sound = bytes(range(256)) * 125  # a second at 16 kHz
    headers = {"Content-Type": "application/octet-stream"}
    for _ in range(2):
        answer = client.post("/omi?sample_rate=16000&uid=U", content=sound, headers=headers)
        assert (answer.status_code, answer.json()) == (200, {})
    columns = "device_id, sample_rate_hz, channels, duration_ms, extra->>'uid'"
    assert rows_of("device.audio.raw", columns) == [("omi", 16_000, 1, 1000, "U")]
    ((age_s,),) = rows_of("device.audio.raw", "extract(epoch from received_at - ts)::float")
    assert 1 <= age_s < 60
    client.post("/omi?uid=U", content=sound, headers=headers)
    assert [(code, bytes(payload)) for _, code, payload in letters_of()] == [("bad_value", sound)]


def test_omis_transcripts_and_conversations_are_kept_whole_and_once(
    client: httpx.Client, rows_of: RowsOf
) -> None:
    segments = [
        {"text": "good morning", "speaker": "SPEAKER_00", "is_user": True, "start": 0, "end": 1.5},
        {"text": "good morning", "speaker": "SPEAKER_01", "is_user": False, "start": 2, "end": 3},
    ]
    conversation = {
        "id": "c-1",
        "started_at": "2024-01-01T00:00:00+00:00",
        "transcript_segments": segments,
        "structured": {"title": "Morning"},
    }
    summary = {"uid": "U", "created_at": "2024-01-01T00:00:00Z", "summary_json": {"n": 1}}
    for _ in range(2):
        for body in (segments, conversation, summary):
            assert client.post("/omi?session_id=S&uid=U", json=body).json() == {}
    kept = rows_of(GENERIC, "sensor_type, value, extra->>'session_id'")
    assert sorted(kind for kind, _, _ in kept) == [
        "omi_conversation",
        "omi_day_summary",
        "omi_transcript_segment",
        "omi_transcript_segment",
    ]
    assert ("omi_transcript_segment", "good morning", "S") in kept
    when = rows_of(GENERIC, "ts, readings->'structured'->>'title'")
    assert (NEW_YEAR, "Morning") in when
