"""Messages that name their type: over HTTP, and taken apart."""

import uuid
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from am_assets.streams.registry import REGISTRY
from ingest_api.errors import RejectedError
from ingest_api.realtime import Frame, messages_of, read_frame, zone_of
from ingest_api.unified import OWN_NAMES, TYPES, by_type, flattened, required_fields
from resources.connections import Connections
from tests.ingest_api.founding.conftest import Rows, socket_of
from tests.ingest_api.test_replay import run

WHEN = "2026-03-01T08:30:00Z"
FOUNDING = 24  # types that the predecessors' server took


def message(kind: str, **fields: Any) -> dict[str, Any]:
    """A message as the predecessors' clients nest it."""
    return {
        "message_type_id": kind,
        "device_id": "phone",
        "data": dict(REGISTRY[TYPES[kind]].example),
        "metadata": {"timestamp": WHEN, "source_id": "test"},
        **fields,
    }


@pytest.mark.parametrize("kind", TYPES)
def test_each_type_stores_its_streams_example(
    kind: str, client: httpx.Client, rows: Rows, user: str
) -> None:
    answer = client.post("/ingest/message", json=message(kind))
    assert (answer.status_code, answer.json()["status"]) == (200, "success"), answer.text
    assert answer.json()["topic"] == TYPES[kind]
    (row,) = rows(REGISTRY[TYPES[kind]].table, "device_id, extra", user)
    assert row[0] == "phone"
    assert row[1]["message_metadata"]["source_id"] == "test"
    assert row[1].get("message_type_id", OWN_NAMES[TYPES[kind]]) == kind


def test_an_unknown_type_and_one_without_data_are_answered_200_and_kept(
    client: httpx.Client, rows: Rows, user: str
) -> None:
    bodies = [message("gps", message_type_id="mood"), message("gps", data=None), {"no": "type"}]
    answers = [client.post("/ingest/message", json=body) for body in bodies]
    assert [answer.status_code for answer in answers] == [200, 200, 200]
    assert {answer.json()["status"] for answer in answers} == {"quarantined"}
    assert len(rows("dead_letter", "payload", user)) == 3


def test_the_types_are_listed_and_described_to_anybody(base_url: str) -> None:
    listed = httpx.get(f"{base_url}/ingest/message-types").json()
    assert len(list(TYPES)[:FOUNDING]) == FOUNDING
    assert set(listed) == set(TYPES)
    one = httpx.get(f"{base_url}/ingest/message-types/accelerometer").json()
    assert one == {
        "message_type_id": "accelerometer",
        "topic": "device.sensor.accelerometer.raw",
        "pipeline_hint": "direct_storage",
        "validation_rules": {"required_fields": ["x", "y", "z"]},
    }
    assert listed["audio_chunk"]["pipeline_hint"] == "audio_transcription"
    assert httpx.get(f"{base_url}/ingest/message-types/mood").status_code == 404


@pytest.mark.parametrize(
    ("path", "needed"),
    [
        ("/os-events/event-types", "foreground"),
        ("/system/apps/stats", "device.system.apps.android.raw"),
        ("/system/metadata/types", "device_capabilities"),
        ("/", "/ingest/message"),
    ],
)
def test_older_clients_questions_are_answered(path: str, needed: str, base_url: str) -> None:
    answer = httpx.get(base_url + path)
    assert answer.status_code == 200
    assert needed in answer.text


def test_the_owner_sees_which_devices_stream_sound(
    base_url: str, client: httpx.Client, token_for: Any, user: str
) -> None:
    with socket_of(base_url, f"/audio/stream/phone?token={token_for(user)}") as socket:
        socket.ask({"type": "ping", "data": {"timestamp": 1}}, "pong")
        told = client.get("/audio/connections").json()
    assert (told["active_connections"], told["connected_devices"]) == (1, ["phone"])


@pytest.mark.parametrize("stream", [REGISTRY[name] for name in sorted(set(TYPES.values()))])
def test_a_message_without_a_required_field_is_refused(stream: Any) -> None:
    sent = {**stream.example}
    aliases = {**stream.aliases}
    for name in required_fields(stream):
        columns = {name, aliases.get(name, name)}
        assert columns & {aliases.get(field, field) for field in sent}, name


FIELDS = st.dictionaries(
    st.sampled_from(["timestamp", "recorded_at", "device_id", "metadata", "bpm", "x"]),
    st.none() | st.integers() | st.text(max_size=5),
)


@given(data=FIELDS, metadata=st.none() | FIELDS, besides=FIELDS)
def test_nothing_of_a_message_is_lost_but_nulls_and_what_the_data_overrules(
    data: dict[str, Any], metadata: dict[str, Any] | None, besides: dict[str, Any]
) -> None:
    whole = {**besides, "message_type_id": "heart_rate", "data": data, "metadata": metadata}
    element = flattened(whole)
    told = {name: value for name, value in data.items() if value is not None}
    assert told.items() <= element.items()
    assert element["message_type_id"] == "heart_rate"
    if metadata:
        assert element["message_metadata"] == metadata
    for name in set(besides) - {"metadata"} - set(told):
        assert besides[name] is None or besides[name] in element.values()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=8,
)


@given(payload=JSON, kind=st.sampled_from(["data", "batch_data", "audio_chunk", "gps"]))
def test_no_payload_is_lost_or_breaks_the_reader(payload: Any, kind: str) -> None:
    found = messages_of(Frame(kind, payload, {}, {"type": kind, "payload": payload}))
    assert found or payload == [] or any(part == [] for part in payload.values())
    route = by_type(REGISTRY)
    for one in found:
        with suppress(RejectedError):  # any other error is a frame that is lost
            route(one)


@given(content=st.binary(max_size=60) | st.text(max_size=60))
def test_no_frame_whatever_breaks_the_reader(content: str | bytes) -> None:
    with suppress(RejectedError):  # any other error is a frame that is lost
        read_frame(content, kinds=("data",))


@given(
    quarters=st.integers(-4 * 12, 4 * 14),
    lag_s=st.floats(0, 50),
    now=st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1)),  # noqa: DTZ001 - made aware below
)
def test_a_live_local_time_tells_its_zone_despite_a_small_lag(
    quarters: int, lag_s: float, now: datetime
) -> None:
    moment = now.replace(tzinfo=UTC)
    local = now + timedelta(minutes=15 * quarters) - timedelta(seconds=lag_s)
    assert zone_of(local.isoformat(), now=moment) == 15 * quarters


@pytest.mark.parametrize(
    "sent", [None, 5, "x", "2026-03-01T08:30:00Z", "2026-03-01T08:37:30", "2020-01-01T00:00:00"]
)
def test_a_time_with_a_zone_or_of_no_live_clock_tells_none(sent: Any) -> None:
    assert zone_of(sent, now=datetime(2026, 3, 1, 8, 30, tzinfo=UTC)) is None


def test_a_dead_letter_of_a_socket_becomes_a_row_once_its_reason_is_gone(
    base_url: str,
    token_for: Any,
    database: psycopg.Connection,
    connections: Connections,
    rows: Rows,
    user: str,
) -> None:
    ahead = {"latitude": 1, "longitude": 2, "recorded_at": "2090-01-01T00:00:00Z"}
    payload = {"message_type_id": "gps", "data": {**ahead, "message_id": str(uuid.uuid4())}}
    with socket_of(base_url, f"/realtime/ws/phone?token={token_for(user)}") as socket:
        ack = socket.ask({"type": "data", "payload": payload}, "data_ack")
    assert ack["message_id"] == payload["data"]["message_id"]  # type: ignore[index]  # a dict
    ids = [UUID(ack["dead_letters"][0]["id"])]
    (taken,) = run(connections, ids, max_future=timedelta(days=40_000))
    assert taken.is_taken, taken.reason
    assert rows("device_sensor_gps_raw", "device_id, latitude", user) == [("phone", 1.0)]
