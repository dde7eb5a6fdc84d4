"""Every declared door takes its stream's example, and the row is in the table."""

import gzip
import json
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pyarrow as pa
import pytest

from am_assets.streams.registry import REGISTRY
from am_assets.streams.stream import Door, Stream

NOW = "2026-03-01T08:30:00.250+01:00"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
GPS = {"latitude": 45.2, "longitude": 13.6, "accuracy": 8, "device_id": "phone"}
HTTP_DOORS = [
    pytest.param(stream, door, id=door.path)
    for stream in REGISTRY.raw
    for door in (Door(path=f"/v1/streams/{stream.name}"), *stream.doors)
    if door.protocol == "http"
]


def message(stream: Stream, **changes: Any) -> dict[str, Any]:
    """The stream's example as a device would send it."""
    return {**stream.example, "device_id": "phone", "recorded_at": NOW, **changes}


def count(database: psycopg.Connection, table: str, user: str) -> int:
    """How many rows of one user a table holds."""
    row = database.execute(f"SELECT count(*) FROM am.{table} WHERE user_id = %s", (user,))
    return int((row.fetchone() or (0,))[0])


@pytest.mark.parametrize(("stream", "door"), HTTP_DOORS)
def test_each_door_stores_its_streams_example_once_however_often_it_is_sent(
    stream: Stream, door: Door, client: httpx.Client, database: psycopg.Connection, user: str
) -> None:
    body: Any = message(stream, message_id=str(uuid4()))
    body = [body] if door.many else body
    first = client.post(door.path, json=body)
    second = client.post(door.path, json=body)
    assert (first.status_code, first.json()["status"]) == (200, "success"), first.text
    assert first.json()["stored"] == 1
    assert second.json()["duplicate"] == 1
    assert count(database, stream.table, user) == 1


def test_a_row_keeps_the_senders_offset_and_all_fields_without_a_column(
    client: httpx.Client, database: psycopg.Connection, user: str
) -> None:
    client.post("/sensor/gps", json={**GPS, "recorded_at": NOW, "hdop": 1.5, "nested": {"a": [1]}})
    row = database.execute(
        "SELECT ts, tz_offset_min, accuracy_m, extra FROM am.device_sensor_gps_raw "
        "WHERE user_id = %s",
        (user,),
    ).fetchone()
    assert row is not None
    assert row[0].isoformat().startswith("2026-03-01T07:30:00.250")
    assert row[1:] == (60, 8.0, {"hdop": 1.5, "nested": {"a": [1]}})


def test_a_naive_time_is_local_time_of_the_device(
    client: httpx.Client, database: psycopg.Connection, user: str
) -> None:
    client.post("/sensor/gps", json={**GPS, "recorded_at": "2026-03-01T09:00:00+05:30"})
    client.post("/sensor/gps", json={**GPS, "recorded_at": "2026-03-01T10:00:00"})
    rows = database.execute(
        "SELECT ts AT TIME ZONE 'UTC', tz_offset_min, extra->>'recorded_at_as_sent' "
        "FROM am.device_sensor_gps_raw WHERE user_id = %s ORDER BY ts DESC LIMIT 1",
        (user,),
    ).fetchall()
    assert rows == [(datetime(2026, 3, 1, 4, 30), 330, "2026-03-01T10:00:00")]  # noqa: DTZ001


def test_ndjson_gzip_and_arrow_bring_the_same_rows(
    client: httpx.Client, database: psycopg.Connection, user: str
) -> None:
    rows = [{**GPS, "recorded_at": f"2026-03-01T08:00:{second:02}Z"} for second in range(30)]
    lines = "\n".join(json.dumps(row) for row in rows).encode()
    path = "/v1/streams/device.sensor.gps.raw"
    sink = pa.BufferOutputStream()
    table = pa.Table.from_pylist(rows)
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    answers = [
        client.post(path, content=lines, headers={"Content-Type": "application/x-ndjson"}),
        client.post(
            path,
            content=gzip.compress(json.dumps(rows).encode()),
            headers={"Content-Encoding": "gzip"},
        ),
        client.post(
            path,
            content=sink.getvalue().to_pybytes(),
            headers={"Content-Type": "application/vnd.apache.arrow.stream"},
        ),
    ]
    assert [(a.json()["stored"], a.json()["duplicate"]) for a in answers] == [
        (30, 0),
        (0, 30),
        (0, 30),
    ]
    assert count(database, "device_sensor_gps_raw", user) == 30


@pytest.mark.parametrize("number", [1, 100])  # one by one, and column by column
def test_arrow_columns_of_kinds_that_json_lacks_are_kept_as_text(
    client: httpx.Client, database: psycopg.Connection, user: str, number: int
) -> None:
    rows = [
        {
            **GPS,
            "recorded_at": f"2026-03-01T08:{n // 60:02}:{n % 60:02}Z",
            "fixed": NOON,
            "raw": b"x",
        }
        for n in range(number)
    ]
    table = pa.Table.from_pylist(rows)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    answer = client.post(
        "/v1/streams/device.sensor.gps.raw",
        content=sink.getvalue().to_pybytes(),
        headers={"Content-Type": "application/vnd.apache.arrow.stream"},
    )
    assert answer.json()["stored"] == number, answer.text
    kept = database.execute(
        "SELECT DISTINCT extra FROM am.device_sensor_gps_raw WHERE user_id = %s", (user,)
    ).fetchall()
    assert kept == [({"fixed": NOON.isoformat(), "raw": "eA=="},)]


def test_a_clients_re_send_with_a_new_time_is_a_duplicate_for_streams_that_say_so(
    client: httpx.Client,
) -> None:
    audio = REGISTRY["device.audio.raw"]
    first = client.post("/audio/upload", json=message(audio, message_id="phone-1700000000.1"))
    again = client.post(
        "/audio/upload",
        json=message(audio, message_id="phone-1700000030.2", recorded_at="2026-03-01T09:00:00Z"),
    )
    assert (first.json()["stored"], again.json()["duplicate"]) == (1, 1)


def test_a_batch_of_several_sensors_reaches_each_sensors_table(
    client: httpx.Client, database: psycopg.Connection, user: str
) -> None:
    reading = {"device_id": "phone", "recorded_at": NOW}
    answer = client.post(
        "/sensor/batch",
        json=[
            {**reading, "sensor_type": "gps", "value": {"latitude": 1, "longitude": 2}},
            {**reading, "sensor_type": "heartrate", "value": {"bpm": 61}},
            {**reading, "sensor_type": "mood", "value": {"level": 7}},
            {**reading, "value": {"level": 7}},
        ],
    ).json()
    assert (answer["status"], answer["stored"], answer["rejected"]) == ("partial", 3, 1)
    assert answer["dead_letters"][0]["code"] == "unknown_type"
    assert count(database, "device_health_heartrate_raw", user) == 1
    assert count(database, "device_sensor_generic_raw", user) == 1


def test_a_batch_may_hold_plain_numbers_and_come_as_an_object_with_readings(
    client: httpx.Client, database: psycopg.Connection, user: str
) -> None:
    readings = [
        {"sensor_type": "temperature", "value": 21.5, "unit": "celsius"},
        {"sensor_type": "heartrate", "value": 61},
        {"sensor_type": "light", "value": 120, "device_id": "watch"},
        {"sensor_type": "cpu", "value": 17.5, "unit": "percent"},
        {"sensor_type": "generic", "value": 7},
        {"sensor_type": "gps", "value": 7},
    ]
    body = {"device_id": "laptop", "recorded_at": NOW, "readings": readings}
    answers = [client.post("/sensor/batch", json=body).json() for _ in range(2)]
    assert [(a["stored"], a["duplicate"], a["rejected"]) for a in answers] == [(5, 0, 1), (0, 5, 1)]
    assert "latitude, longitude" in answers[0]["dead_letters"][0]["reason"]
    rows = database.execute(
        "SELECT device_id, illuminance_lux FROM am.device_sensor_light_raw WHERE user_id = %s",
        (user,),
    ).fetchall()
    assert rows == [("watch", 120.0)]


def test_the_openapi_document_describes_every_door(base_url: str) -> None:
    paths = httpx.get(f"{base_url}/openapi.json", timeout=60).json()["paths"]
    assert {door.path for _, door in (p.values for p in HTTP_DOORS)} <= set(paths)  # type: ignore[misc]


# 48 x 32 pixels of one colour, as an iPhone packs them.
HEIC = (
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAX1tZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAAAAAA"
    "AAAAAAAAACJpbG9jAAAAAERAAAEAAQAAAAABoQABAAAAAAAAABoAAAAjaWluZgAAAAAAAQAAABVpbmZlAgAAAAABAABo"
    "dmMxAAAAAA5waXRtAAAAAAABAAAA/WlwcnAAAADdaXBjbwAAAHZodmNDAQNwAAAAkAAAAAAAHvAA/P34+AAADwNgAAEA"
    "GEABDAH//wNwAAADAJAAAAMAAAMAHroCQGEAAQAqQgEBA3AAAAMAkAAAAwAAAwAeoCCBBZbq5Ka5uAhoMCAAAAMDIAAA"
    "AwAhYgABAAZEAcFzwIkAAAATY29scm5jbHgAAQANAAaAAAAAFGlzcGUAAAAAAAAAQAAAAEAAAAAoY2xhcAAAADAAAAAB"
    "AAAAIAAAAAH////wAAAAAv///+AAAAACAAAAEHBpeGkAAAAAAwgICAAAABhpcG1hAAAAAAAAAAEAAQWBAgMFhAAAACJt"
    "ZGF0AAAAFigBrxmA70mlvtMTh/6ngv8irWmPm4A="
)


def test_an_iphones_photo_is_kept_with_the_size_that_it_is_shown_in(
    client: httpx.Client, database: psycopg.Connection, user: str
) -> None:
    sent = {"device_id": "iphone", "recorded_at": NOW, "image_data": HEIC, "width": 64}
    assert client.post("/images/upload", json=sent).json()["stored"] == 1
    cut = {**sent, "image_data": HEIC[:200]}
    assert client.post("/images/upload", json=cut).json()["dead_letters"][0]["code"] == "bad_blob"
    row = database.execute(
        "SELECT media_type, width_px, height_px, blob_bytes, extra->>'claimed_width_px' "
        "FROM am.device_image_camera_raw WHERE user_id = %s",
        (user,),
    ).fetchone()
    assert row == ("image/heic", 48, 32, 443, "64")
