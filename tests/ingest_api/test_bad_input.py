"""Bad input gets a clear answer or becomes a dead letter; none of it harms its neighbours."""

import base64
import gzip
import io
import json
import wave
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest_api.tokens import Scope
from tests.ingest_api.conftest import ClientFor

PATH = "/v1/streams/device.sensor.gps.raw"
GOOD = {"device_id": "phone", "recorded_at": "2026-03-01T08:00:00Z", "latitude": 1, "longitude": 2}
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="


def wav(seconds: float) -> bytes:
    """A recording of silence."""
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(bytes(2 * round(16_000 * seconds)))
    return buffer.getvalue()


def b64(content: bytes) -> str:
    """As JSON carries bytes."""
    return base64.b64encode(content).decode()


FUTURE = (datetime.now(UTC) + timedelta(days=30)).isoformat()
BAD_POSITIONS = [
    ("not_an_object", 17),
    ("not_an_object", ["a"]),
    ("no_time", {"device_id": "phone", "latitude": 1, "longitude": 2}),
    ("bad_time", {**GOOD, "recorded_at": "yesterday"}),
    ("bad_time", {**GOOD, "recorded_at": 0}),
    ("future_time", {**GOOD, "recorded_at": FUTURE}),
    ("bad_value", {**GOOD, "latitude": 95}),
    ("bad_value", {**GOOD, "latitude": "north"}),
    ("bad_value", {**GOOD, "latitude": None}),
    ("bad_text", {**GOOD, "note": "a\x00b"}),
    ("no_device", {**GOOD, "device_id": "x" * 200}),
    ("no_device", {**GOOD, "device_id": 5}),
]


@pytest.mark.parametrize(("code", "element"), BAD_POSITIONS)
def test_a_bad_element_is_a_dead_letter_and_its_neighbours_are_stored(
    code: str, element: Any, client: httpx.Client
) -> None:
    answer = client.post(PATH, json=[GOOD, element, {**GOOD, "latitude": 3}])
    body = answer.json()
    assert (answer.status_code, body["status"]) == (200, "partial")
    assert (body["stored"], body["rejected"]) == (2, 1)
    assert [letter["code"] for letter in body["dead_letters"]] == [code]
    assert len(body["dead_letters"][0]["reason"]) > 10


def test_a_dead_letter_keeps_the_element_whole_and_counts_how_often_it_came(
    client: httpx.Client, database: psycopg.Connection, user: str
) -> None:
    bad = {**GOOD, "latitude": 95, "note": "keep me", "deep": {"a": [1, None]}}
    for _ in range(3):
        client.post(PATH, json=bad)
    rows = database.execute(
        "SELECT payload, times_seen FROM am.dead_letter WHERE user_id = %s", (user,)
    ).fetchall()
    assert [(json.loads(payload), seen) for payload, seen in rows] == [(bad, 3)]


def test_a_broken_line_of_ndjson_does_not_stop_the_other_lines(client: httpx.Client) -> None:
    lines = f"{json.dumps(GOOD)}\n{{broken\n\n{json.dumps({**GOOD, 'latitude': 5})}"
    answer = client.post(
        PATH, content=lines, headers={"Content-Type": "application/x-ndjson"}
    ).json()
    assert (answer["stored"], answer["rejected"]) == (2, 1)
    assert answer["dead_letters"][0]["code"] == "not_json"


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[1,", b"\xff\xfe", b'{"latitude": NaN}', b"[]", b"[" * 100_000],
)
def test_a_body_that_is_no_json_is_answered_400_with_the_place_where_it_breaks(
    body: bytes, client: httpx.Client
) -> None:
    answer = client.post(PATH, content=body)
    assert answer.status_code == 400
    assert "body" in answer.json()["detail"]


def test_truncated_and_exploding_gzip_are_refused(client: httpx.Client) -> None:
    whole = gzip.compress(json.dumps([GOOD] * 50).encode())
    bomb = gzip.compress(bytes(64 << 20))
    headers = {"Content-Encoding": "gzip"}
    assert client.post(PATH, content=whole[:-20], headers=headers).status_code == 400
    assert client.post(PATH, content=b"no gzip", headers=headers).status_code == 400
    assert client.post(PATH, content=bomb, headers=headers).status_code == 413


def test_a_body_over_the_limit_is_answered_413_and_says_which_limit(client: httpx.Client) -> None:
    answer = client.post(PATH, content=bytes(5 << 20))
    assert answer.status_code == 413
    assert "4 MiB" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (b"", "empty_blob"),
        (b"not a sound at all", "bad_blob"),
        (wav(0), "empty_blob"),
        (base64.b64decode(PNG), "bad_blob"),
    ],
)
def test_audio_without_sound_is_a_dead_letter(
    content: bytes, code: str, client: httpx.Client
) -> None:
    answer = client.post(
        "/audio/upload",
        json={"device_id": "p", "recorded_at": "2026-03-01T08:00:00Z", "data": b64(content)},
    ).json()
    assert (answer["status"], answer["dead_letters"][0]["code"]) == ("quarantined", code)


def test_truncated_audio_is_stored_with_the_length_that_is_really_there(
    client: httpx.Client, database: psycopg.Connection, user: str
) -> None:
    content = wav(2)[: 44 + 16_000]
    client.post(
        "/audio/upload",
        json={
            "device_id": "p",
            "recorded_at": "2026-03-01T08:00:00Z",
            "data": b64(content),
            "duration_ms": 2000,
            "sample_rate": 44_100,
        },
    )
    row = database.execute(
        "SELECT duration_ms, sample_rate_hz, extra FROM am.device_audio_raw WHERE user_id = %s",
        (user,),
    ).fetchone()
    assert row == (500, 16_000, {"claimed_duration_ms": 2000, "claimed_sample_rate_hz": 44_100})


def test_a_png_called_jpeg_is_stored_as_the_png_it_is(
    client: httpx.Client, database: psycopg.Connection, user: str
) -> None:
    client.post(
        "/images/upload",
        json={
            "device_id": "p",
            "recorded_at": "2026-03-01T08:00:00Z",
            "image_data": f"data:image/jpeg;base64,{PNG}",
            "format": "jpeg",
            "width": 640,
            "height": 1,
        },
    )
    row = database.execute(
        "SELECT media_type, width_px, height_px, extra FROM am.device_image_camera_raw "
        "WHERE user_id = %s",
        (user,),
    ).fetchone()
    assert row == ("image/png", 1, 1, {"format": "jpeg", "claimed_width_px": 640})


def test_a_wrong_token_no_token_and_a_missing_scope_are_told_apart(
    base_url: str, client_for: ClientFor, user: str
) -> None:
    assert httpx.post(base_url + PATH, json=GOOD).status_code == 401
    wrong = httpx.post(base_url + PATH, json=GOOD, headers={"X-API-Key": "am_wrong"})
    assert wrong.status_code == 401
    assert "am key create" in wrong.json()["detail"]
    reader = client_for(user, scope=Scope.READ)
    assert reader.post(PATH, json=GOOD).status_code == 403
    writer = client_for(user, scope=Scope.WRITE)
    assert writer.get("/v1/dead-letters").status_code == 403


def test_a_token_of_one_device_can_not_write_as_another(client_for: ClientFor, user: str) -> None:
    phone = client_for(user, device="phone", scope=Scope.WRITE)
    answer = phone.post(PATH, json=[GOOD, {**GOOD, "device_id": "laptop"}]).json()
    assert (answer["stored"], answer["rejected"]) == (1, 1)
    assert answer["dead_letters"][0]["code"] == "wrong_device"


def test_two_users_with_the_same_device_id_and_message_never_meet(
    client_for: ClientFor, database: psycopg.Connection, user: str
) -> None:
    for name in (f"{user}-a", f"{user}-b"):
        assert client_for(name).post(PATH, json=GOOD).json()["stored"] == 1


def test_an_unknown_stream_is_answered_404_with_where_to_look(client: httpx.Client) -> None:
    answer = client.post("/v1/streams/device.sensor.mood.raw", json=GOOD)
    assert (answer.status_code, "GET /v1/streams" in answer.json()["detail"]) == (404, True)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)
FIELDS = st.sampled_from(
    ["device_id", "recorded_at", "latitude", "longitude", "accuracy", "message_id", "extra", "x"]
)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(elements=st.lists(st.dictionaries(FIELDS, JSON) | JSON, min_size=1, max_size=5))
def test_no_json_whatever_is_answered_500_or_lost_from_the_counts(
    elements: list[Any], client: httpx.Client
) -> None:
    body = json.dumps(elements, allow_nan=True).encode()
    answer = client.post(PATH, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code in (200, 400), answer.text
    if answer.status_code == 200:
        counts = answer.json()
        assert counts["received"] == len(elements)
        assert counts["received"] == sum(counts[k] for k in ("stored", "duplicate", "rejected"))
