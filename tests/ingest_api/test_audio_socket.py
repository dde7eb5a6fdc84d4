"""Sound over a WebSocket: each chunk is acknowledged once it is committed."""

import json
from typing import Any

import psycopg
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from am_assets.streams.registry import REGISTRY
from ingest_api.serve import RefusedSockets

EXAMPLE = REGISTRY["device.audio.raw"].example


def url(base_url: str) -> str:
    """The socket of one device."""
    return base_url.replace("http", "ws") + "/audio/stream/phone"


def chunk(second: int) -> dict[str, Any]:
    """A chunk as the phones send it."""
    return {
        "message_type": "audio_chunk",
        "data": {
            **EXAMPLE,
            "recorded_at": f"2026-03-01T08:00:{second:02}Z",
            "message_id": f"0189d3c1-6b6a-7c4e-9d5a-{second:012}",
        },
    }


def test_chunks_are_stored_before_their_ack_and_the_path_names_the_device(
    base_url: str, token_for: Any, database: psycopg.Connection, user: str
) -> None:
    headers = {"Authorization": f"Bearer {token_for(user)}"}
    with connect(url(base_url), additional_headers=headers) as socket:
        for second in range(3):
            frame = json.dumps(chunk(second))
            socket.send(frame if second else frame.encode())  # some clients send binary frames
            answer = json.loads(socket.recv())
            assert (answer["type"], answer["status"]) == ("ack", "success")
            row = database.execute(
                "SELECT count(*), min(device_id) FROM am.device_audio_raw WHERE user_id = %s",
                (user,),
            ).fetchone()
            assert row == (second + 1, "phone")


def test_a_bad_frame_is_answered_and_the_socket_goes_on(
    base_url: str, token_for: Any, user: str
) -> None:
    with connect(f"{url(base_url)}?token={token_for(user)}") as socket:
        answers = []
        for frame in (
            "{",
            "[]",
            json.dumps({"message_type": "dance"}),
            json.dumps({"message_type": "ping", "data": {"timestamp": 5}}),
            json.dumps({"message_type": "audio_chunk", "data": {"data": "@@"}}),
            json.dumps({"message_type": "audio_chunk", "data": 7}),
            json.dumps(chunk(1)),
        ):
            socket.send(frame)
            answers.append(json.loads(socket.recv()))
    kinds = [(answer["type"], answer.get("status")) for answer in answers]
    assert kinds == [
        ("error", 400),
        ("error", 400),
        ("error", 400),
        ("pong", None),
        ("ack", "quarantined"),
        ("ack", "quarantined"),
        ("ack", "success"),
    ]


def test_a_socket_that_is_not_opened_says_why_as_a_request_would_and_is_no_error_in_the_log(
    base_url: str, token_for: Any, user: str, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(InvalidStatus) as nameless, connect(url(base_url)):
        pass
    answer = nameless.value.response
    assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert "send a token" in json.loads(answer.body)["detail"]
    other = {"Authorization": f"Bearer {token_for(user, device='tv')}"}
    with (
        pytest.raises(InvalidStatus) as foreign,
        connect(url(base_url).replace("audio/stream", "realtime/ws"), additional_headers=other),
    ):
        pass
    assert foreign.value.response.status_code == 403
    assert "'tv' alone" in json.loads(foreign.value.response.body)["detail"]
    assert [one for one in caplog.records if RefusedSockets().filter(one)] == []
