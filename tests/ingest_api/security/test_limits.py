"""How much the front door takes: per token, at once, in one body, in one frame."""

import json
import socket
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from urllib.parse import urlsplit
from uuid import UUID

import httpx
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from ingest_api.errors import TooManyRequestsError
from ingest_api.limits import MIB, RateLimits, body_limit
from ingest_api.settings import Settings
from tests.ingest_api.security.conftest import Serve
from tests.ingest_api.test_bad_input import GOOD, PATH

TOKEN, OTHER = UUID(int=1), UUID(int=2)
ZSTD = {"Content-Encoding": "zstd"}


class Clock:
    """Goes on when it is told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def rates(clock: Clock, **settings: float) -> RateLimits:
    """Limits with a clock of the test's own."""
    return RateLimits(Settings.model_validate(settings), clock=clock)


@given(
    st.integers(1, 50),
    st.integers(1, 50),
    st.lists(st.floats(0, 2, allow_subnormal=False), max_size=200),
)
def test_no_token_ever_gets_more_than_its_burst_and_its_rate(
    rate: int, burst: int, pauses: list[float]
) -> None:
    clock = Clock()
    limits = rates(clock, api_requests_per_s=rate, api_request_burst=burst)
    admitted = 0
    for pause in pauses:
        clock.now += pause
        assert 0 <= limits.wait_s(TOKEN) <= 1 / rate + 1e-6
        with suppress(TooManyRequestsError):
            limits.admit(TOKEN)
            admitted += 1
    assert admitted <= burst + rate * sum(pauses) + 1e-6


def test_who_waits_as_long_as_told_is_admitted() -> None:
    clock = Clock()
    limits = rates(clock, api_requests_per_s=0.5, api_request_burst=1)
    limits.admit(TOKEN)
    limits.admit(OTHER)
    with pytest.raises(TooManyRequestsError) as told:
        limits.admit(TOKEN)
    clock.now += told.value.retry_after_s + 1e-6
    limits.admit(TOKEN)


def test_a_body_overdraws_its_tokens_share_and_only_that_ones() -> None:
    clock = Clock()
    limits = rates(clock, api_mb_per_s=1, api_mb_burst=2)
    limits.admit(TOKEN)
    limits.charge(TOKEN, 4 * MIB)
    with pytest.raises(TooManyRequestsError) as told:
        limits.admit(TOKEN)
    assert 1.9 < told.value.retry_after_s < 2.1
    limits.admit(OTHER)
    clock.now += 2.1
    limits.admit(TOKEN)


def test_replicas_together_give_a_token_its_share_once() -> None:
    clock = Clock()
    told = {"api_requests_per_s": 2, "api_request_burst": 8, "api_replicas": 4}
    replicas = [rates(clock, **told) for _ in range(4)]
    admitted = 0
    for limits in replicas:
        for _ in range(10):
            with suppress(TooManyRequestsError):
                limits.admit(TOKEN)
                admitted += 1
    assert admitted == 8
    assert {limits.wait_s(TOKEN) for limits in replicas} == {2.0}


def test_a_rate_of_zero_is_no_limit() -> None:
    limits = rates(Clock(), api_requests_per_s=0, api_mb_per_s=0)
    for _ in range(10_000):
        limits.admit(TOKEN)
        limits.charge(TOKEN, 1 << 40)


@pytest.mark.parametrize(
    ("method", "path", "setting"),
    [
        ("POST", "/sensor/gps", "AM_API_MAX_BODY_MB"),
        ("POST", "/v1/streams/a/complete", "AM_API_MAX_BODY_MB"),
        ("PUT", "/v1/blobs/abc", "AM_API_MAX_BLOB_MB"),
        ("POST", "/v1/blobs", "AM_API_MAX_BLOB_MB"),
        ("PUT", "/v1/blobs/uploads/1/2", "AM_API_MAX_PART_MB"),
        ("POST", "/v1/blobs/uploads/1/complete", "AM_API_MAX_CONTROL_MB"),
        ("POST", "/v1/blobs/missing", "AM_API_MAX_CONTROL_MB"),
        ("POST", "/v1/pair", "AM_API_MAX_CONTROL_MB"),
    ],
)
def test_each_kind_of_route_has_its_own_limit(method: str, path: str, setting: str) -> None:
    assert body_limit(method, path, Settings()).setting == setting


@pytest.mark.parametrize(
    ("method", "path", "setting"),
    [
        ("POST", PATH, "AM_API_MAX_BODY_MB"),
        ("POST", "/v1/blobs?stream=device.audio.raw&day=2026-03-01", "AM_API_MAX_BLOB_MB"),
        ("POST", "/v1/pair", "AM_API_MAX_CONTROL_MB"),
        ("POST", "/v1/blobs/missing", "AM_API_MAX_CONTROL_MB"),
    ],
)
def test_a_body_that_is_too_large_is_answered_413_whether_it_says_its_length_or_not(
    serve: Serve, bearer: dict[str, str], method: str, path: str, setting: str
) -> None:
    body = bytes(2 * MIB)
    small = {"api_max_body_mb": 1, "api_max_blob_mb": 1}
    with serve(**small) as url, httpx.Client(base_url=url, headers=bearer) as client:
        for content in (body, (body[i : i + 65_536] for i in range(0, len(body), 65_536))):
            answer = client.request(method, path, content=content)
            assert answer.status_code == 413, answer.text
            assert setting in answer.json()["detail"]


def test_parts_may_not_add_up_to_more_than_a_blob(serve: Serve, bearer: dict[str, str]) -> None:
    place = {"stream": "device.audio.raw", "day": "2026-03-01", "sha256": "0" * 64}
    with (
        serve(api_max_blob_mb=1) as url,
        httpx.Client(base_url=url, headers=bearer) as client,
    ):
        made = client.post("/v1/blobs/uploads", json=place).json()
        path = f"/v1/blobs/uploads/{made['upload_id']}"
        sizes = (600 << 10, 500 << 10, 100 << 10)
        statuses = [
            client.put(f"{path}/{number}", content=bytes(size)).status_code
            for number, size in enumerate(sizes, start=1)
        ]
    assert statuses == [200, 413, 200]


def test_a_token_over_its_rate_is_answered_429_with_when_and_another_is_not(
    serve: Serve, bearer: dict[str, str], token_for: Callable[..., str], user: str
) -> None:
    with serve(api_requests_per_s=0.01, api_request_burst=3) as url:
        answers = [httpx.post(url + PATH, json=GOOD, headers=bearer) for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert 90 <= int(answers[-1].headers["retry-after"]) <= 100
        other = {"X-API-Key": token_for(user)}
        assert httpx.post(url + PATH, json=GOOD, headers=other).status_code == 200
        assert httpx.get(f"{url}/healthz").status_code == 200


def test_a_token_over_its_bytes_is_answered_429(serve: Serve, bearer: dict[str, str]) -> None:
    with serve(api_mb_per_s=0.01, api_mb_burst=1) as url:
        large = {**GOOD, "note": "x" * (2 << 20)}
        statuses = [
            httpx.post(url + PATH, json=large, headers=bearer).status_code for _ in range(2)
        ]
    assert statuses == [200, 429]


def test_more_requests_at_once_than_allowed_are_answered_503_and_nothing_is_lost(
    serve: Serve, bearer: dict[str, str]
) -> None:
    with serve(api_max_concurrent=1) as url:
        host = urlsplit(url)
        with socket.create_connection((host.hostname or "", host.port or 0)) as slow:
            head = f"POST {PATH} HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n"
            slow.sendall(f"{head}Authorization: {bearer['Authorization']}\r\n\r\n".encode())
            busy = until_busy(url, bearer)
            assert busy.headers["retry-after"] == "2"
            assert httpx.get(f"{url}/healthz").status_code == 200
            assert httpx.get(f"{url}/readyz").status_code == 200
            slow.sendall(b"0123456789")
            assert slow.recv(100).startswith(b"HTTP/1.1 400")
        assert httpx.post(url + PATH, json=GOOD, headers=bearer).status_code == 200


def until_busy(url: str, bearer: dict[str, str]) -> httpx.Response:
    """The first answer that is not taken: the slow request needs a moment to be seen."""
    for _ in range(200):
        answer = httpx.post(url + PATH, json=GOOD, headers=bearer)
        if answer.status_code == 503:
            return answer
    raise AssertionError("the API was never busy")


def test_more_sockets_at_once_than_allowed_are_refused_with_503(
    serve: Serve, token_for: Callable[..., str], user: str
) -> None:
    with serve(api_max_sockets=1) as url:
        path = f"{url.replace('http', 'ws')}/audio/stream/phone?token={token_for(user)}"
        with connect(path):
            with pytest.raises(InvalidStatus) as told, connect(path):
                pass
            assert told.value.response.status_code == 503
        with connect(path) as after:
            after.send(json.dumps({"type": "ping"}))
            assert json.loads(after.recv())["type"] == "pong"


def test_a_frame_that_is_too_large_closes_its_socket_alone(
    serve: Serve, token_for: Callable[..., str], user: str
) -> None:
    with serve(api_ws_max_mb=1) as url:
        path = f"{url.replace('http', 'ws')}/audio/stream/phone?token={token_for(user)}"
        with connect(path, max_size=None) as large, connect(path) as other:
            large.send("x" * (2 << 20))
            with pytest.raises(ConnectionClosedError, match="1009"):
                large.recv()
            other.send(json.dumps({"type": "ping"}))
            assert json.loads(other.recv())["type"] == "pong"


def test_a_socket_over_its_rate_is_slowed_and_loses_nothing(
    serve: Serve, token_for: Callable[..., str], user: str
) -> None:
    with serve(api_requests_per_s=20, api_request_burst=2) as url:
        path = f"{url.replace('http', 'ws')}/audio/stream/phone?token={token_for(user)}"
        took: list[str] = []
        with connect(path) as paced:
            sender = threading.Thread(target=say_pings, args=(paced, 8))
            sender.start()
            took = [json.loads(paced.recv(timeout=10))["type"] for _ in range(8)]
            sender.join()
    assert took == ["pong"] * 8


def say_pings(line: ClientConnection, count: int) -> None:
    """Send, without waiting for answers."""
    for _ in range(count):
        line.send(json.dumps({"type": "ping"}))


def test_zstd_is_taken_like_gzip_and_its_bombs_and_stumps_are_refused(
    serve: Serve, bearer: dict[str, str]
) -> None:
    codec = pa.Codec("zstd")
    body = codec.compress(json.dumps([GOOD] * 40).encode(), asbytes=True)
    bomb = codec.compress(bytes(256 * MIB), asbytes=True)
    headers = {**bearer, **ZSTD}
    with serve() as url:
        answers = [
            httpx.post(url + PATH, content=content, headers=headers, timeout=30)
            for content in (body, body + body, body[:-5], b"no zstd", bomb)
        ]
        unknown = {**bearer, "Content-Encoding": "br"}
        assert httpx.post(url + PATH, content=body, headers=unknown).status_code == 400
    assert [answer.status_code for answer in answers] == [200, 400, 400, 400, 413]
    assert answers[0].json()["received"] == 40


def test_what_the_zstd_program_writes_is_read(serve: Serve, bearer: dict[str, str]) -> None:
    line = json.dumps(GOOD).encode()
    try:
        done = subprocess.run(
            ["zstd", "-19", "--stdout"], input=line, capture_output=True, check=True
        )
    except FileNotFoundError:
        pytest.skip("the zstd program is not installed")
    with serve() as url:
        answer = httpx.post(url + PATH, content=done.stdout, headers={**bearer, **ZSTD})
    assert answer.json()["received"] == 1
