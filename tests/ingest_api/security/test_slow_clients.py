"""Clients that take their time do not keep a place at the door."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import httpx
import pytest

from tests.ingest_api.security.conftest import Serve
from tests.ingest_api.test_bad_input import GOOD, PATH

HURRY = {
    "api_head_timeout_s": 0.5,
    "api_body_idle_s": 0.5,
    "api_body_timeout_s": 1.5,
    "api_send_idle_s": 0.5,
}


@contextmanager
def dialled(url: str, *, buffer: int | None = None) -> Iterator[socket.socket]:
    """A bare connection."""
    host = urlsplit(url)
    line = socket.socket()
    if buffer is not None:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
    line.settimeout(10)
    line.connect((host.hostname, host.port))
    with line:
        yield line


def say_often(line: socket.socket, said: bytes) -> None:
    """Say the same thing without end, reading nothing."""
    for _ in range(1_000_000):
        line.sendall(said)


def rest(line: socket.socket) -> bytes:
    """All that the server still says, until it hangs up."""
    told = b""
    while piece := line.recv(65_536):
        told += piece
    return told


def test_headers_that_stop_are_not_waited_for(serve: Serve) -> None:
    with serve(**HURRY) as url:
        for said in (b"", b"GET /healthz HTTP/1.1\r\nHost: a\r\nX-A: "):
            with dialled(url) as line:
                line.sendall(said)
                assert rest(line).startswith(b"HTTP/1.1 400")


def test_a_header_a_moment_does_not_stretch_the_time_for_all_headers(serve: Serve) -> None:
    with serve(**HURRY) as url, dialled(url) as line:
        line.sendall(b"GET /healthz HTTP/1.1\r\n")
        begin = time.monotonic()
        line.settimeout(0.1)
        while True:
            try:
                told = line.recv(100)
                break
            except TimeoutError:
                line.sendall(b"X-A: b\r\n")
        assert told.startswith(b"HTTP/1.1 400")
        assert time.monotonic() - begin < 3


def test_the_second_request_of_a_connection_has_the_same_deadline(serve: Serve) -> None:
    with serve(**HURRY) as url, dialled(url) as line:
        line.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        assert line.recv(1000).startswith(b"HTTP/1.1 200")
        line.sendall(b"GET /hea")
        assert b"HTTP/1.1 400" in rest(line)


def test_headers_without_end_are_cut_off(serve: Serve) -> None:
    with serve() as url, dialled(url) as line:
        line.sendall(b"GET /healthz HTTP/1.1\r\n")
        with pytest.raises(ConnectionError):
            say_often(line, b"X-Filler: " + b"a" * 8_000 + b"\r\n")


@pytest.mark.parametrize("path", [PATH, "/v1/pair", "/v1/blobs/missing"])
def test_a_body_that_stops_is_answered_408(serve: Serve, bearer: dict[str, str], path: str) -> None:
    with serve(**HURRY) as url, dialled(url) as line:
        head = f"POST {path} HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        auth = f"Authorization: {bearer['Authorization']}\r\nContent-Length: 1000\r\n\r\n"
        line.sendall(f"{head}{auth}{{".encode())
        told = rest(line)
        assert told.startswith(b"HTTP/1.1 408"), told
        assert b"connection: close" in told.lower()


def test_a_body_that_drips_is_answered_408_after_its_whole_time(
    serve: Serve, bearer: dict[str, str]
) -> None:
    with serve(**HURRY) as url, dialled(url) as line:
        head = f"POST {PATH} HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n"
        line.sendall(f"{head}Authorization: {bearer['Authorization']}\r\n\r\n".encode())
        line.settimeout(0.1)
        told = b""
        for _ in range(100):
            try:
                told = line.recv(1000)
                break
            except TimeoutError:
                line.sendall(b" ")
        assert told.startswith(b"HTTP/1.1 408")
        assert httpx.post(url + PATH, json=GOOD, headers=bearer).status_code == 200


def test_who_does_not_read_an_answer_is_hung_up_on(serve: Serve) -> None:
    with serve(**HURRY) as url, dialled(url, buffer=4_096) as line:
        asked = b"GET /openapi.json HTTP/1.1\r\nHost: a\r\n\r\n"
        with pytest.raises(ConnectionError):  # at the latest when it is told that nobody reads
            say_often(line, asked)
        assert httpx.get(f"{url}/healthz").status_code == 200
