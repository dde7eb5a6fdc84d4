"""Tokens are in no log, wherever a client puts them; and answers carry what protects a browser."""

import base64
import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from infra.ports import choose_free
from ingest_api.adapters.catalog import ADAPTERS
from ingest_api.redaction import RedactingFormatter, redact
from resources.connections import Connections
from tests.ingest_api.security.conftest import Serve
from tests.ingest_api.test_bad_input import GOOD, PATH
from tests.variables import variables_of

TOKENS = st.text("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-", min_size=43)

# Words that occur nowhere else.
COPIED, WRITTEN, BURIED = "the-safe-is-4711-left", "i-owe-tomo-a-coffee", "a-letter-for-nobody"
SEARCHED, APP_PASSWORD = "where-is-the-thermos", "an-old-password-of-mine"


@contextmanager
def api(connections: Connections, home: Path, **settings: str) -> Iterator[tuple[str, Path]]:
    """The API as `am up` starts it, and what it writes."""
    port, log = choose_free(["api"])["api"], home / "api.log"
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AM_")}
    environment = {
        **kept,
        "AM_HOME": str(home),
        "AM_API_PORT": str(port),
        **variables_of(connections),
        **settings,
    }
    command = [sys.executable, "-m", "ingest_api.serve"]
    with (
        log.open("wb") as out,
        subprocess.Popen(command, env=environment, stdout=out, stderr=out) as process,
    ):
        try:
            yield f"http://127.0.0.1:{port}", log
        finally:
            process.terminate()
            process.wait(30)


def await_ready(url: str) -> None:
    transport = httpx.HTTPTransport(retries=8)  # 0, 0.5, 1, 2 … seconds apart
    with httpx.Client(transport=transport) as client:
        assert client.get(f"{url}/readyz").status_code == 200


def test_no_token_and_no_word_of_anybodys_is_in_any_log(
    connections: Connections, token_for: Callable[..., str], user: str, tmp_path: Path
) -> None:
    good, wrong = token_for(user), "am_" + "w" * 43
    with api(connections, tmp_path, AM_API_ACCESS_LOG="true") as (url, log):
        await_ready(url)
        for token in (good, wrong):
            say_everywhere(url, token)
            send_from_apps(url, token)
        break_the_database(connections, lambda: say(url, {"X-API-Key": good}, good))
    text = log.read_text()
    secrets = {
        "a good token": good,
        "a wrong token": wrong,
        "a good token in base64": base64.b64encode(f"ann:{good}".encode()).decode(),
        "the database's password": connections.database_url.split(":")[2].split("@")[0],
        "the store's key": connections.s3_secret_key,
        "a position": "45.123456",
        "what was copied": COPIED,
        "what was written": WRITTEN,
        "a dead letter's payload": BURIED,
        "what was searched for": SEARCHED,
        "an app's own password": APP_PASSWORD,
    }
    assert [name for name, secret in secrets.items() if secret in text] == []
    others = [path for path in tmp_path.rglob("*") if path.is_file() and path != log]
    assert [path for path in others if good in path.read_text(errors="replace")] == []
    assert PATH in text
    assert '"WebSocket /audio/stream/phone?…" [accepted]' in text
    for pattern in ("/v1/moments/{moment_id}", "/owntracks/{tail:path}", "/write"):
        assert f" {pattern} " in text


def say_everywhere(url: str, token: str) -> None:
    """Use a token in every place where a client can put it, and say things of one's own."""
    basic = base64.b64encode(f"ann:{token}".encode()).decode()
    for headers in (
        {"Authorization": f"Bearer {token}"},
        {"X-API-Key": token},
        {"Authorization": f"Basic {token}"},
        {"Authorization": f"Basic {basic}"},
        {"Cookie": f"token={token}"},
    ):
        say(url, headers, token)
    socket = url.replace("http", "ws")
    for path in ("audio/stream", "realtime/ws", "notifications/ws", "heartbeat"):
        try:
            with connect(f"{socket}/{path}/phone?token={token}") as line:
                line.send(json.dumps({"type": "ping", "note": WRITTEN}))
                line.recv()
        except (InvalidStatus, ConnectionClosed):
            continue


def say(url: str, headers: dict[str, str], token: str) -> None:
    """Send and ask what is nobody else's business."""
    gps = {**GOOD, "latitude": 45.123456}
    told = {"device_id": "phone", "recorded_at": "2026-03-01T08:00:00Z"}
    # The first moment loads the vector store's library, which takes seconds.
    with httpx.Client(base_url=url, headers=headers, timeout=60) as client:
        client.post(PATH, json=gps)
        client.post(f"{PATH}?token={token}", content=b"{")
        client.post("/digital/clipboard", json={**told, "content_text": COPIED})
        client.post("/notes/upload", json={**told, "content": WRITTEN})
        client.post(PATH, json={**gps, "latitude": 95, "note": BURIED})
        client.get("/v1/search", params={"q": SEARCHED})
        client.get("/v1/timeline", params={"kinds": SEARCHED})
        client.get(f"/v1/moments/{token}?api_key={token}")
        client.get(f"/owntracks/{token}/{token}")
        client.get(f"/nowhere/{token}")


def send_from_apps(url: str, token: str) -> None:
    """Put the token where each app puts it: in the path, the query, the password."""
    with httpx.Client(base_url=url, timeout=60) as client:
        for name in ADAPTERS:
            for path in (f"/{name}/{token}", f"/{name}/{token}/pub", f"/{name}/x/{token}/y"):
                client.post(path, content=b"{" + BURIED.encode())
                client.get(path, params={"lat": "45.123456", "lon": "1", "token": token})
            client.post(f"/{name}", auth=("ann", token), json={"_type": "x", "note": WRITTEN})
        client.post("/write", params={"u": "ann", "p": token}, content=b"m v=1")
        client.post("/api/v2/write", headers={"Authorization": f"Token {token}"}, content=b"m v=1")
        login = {"action": "auth", "user": "ann", "pass": APP_PASSWORD}
        client.post(f"/ulogger/{token}/client/index.php", data=login)


def break_the_database(connections: Connections, work: Callable[[], None]) -> None:
    """Work while no row can be written and no line be noted: errors are logged too."""
    with psycopg.connect(connections.database_url, autocommit=True) as database:
        database.execute("ALTER TABLE am.landing RENAME TO landing_away")
        database.execute("ALTER TABLE am.audit RENAME TO audit_away")
        try:
            work()
        finally:
            database.execute("ALTER TABLE am.landing_away RENAME TO landing")
            database.execute("ALTER TABLE am.audit_away RENAME TO audit")


@given(TOKENS, st.sampled_from(["Bearer {}", "/x/{}/y", "?token={}", "'{}'", "a{}\n"]))
def test_no_token_survives_redaction(random: str, around: str) -> None:
    token = f"am_{random}"
    assert token not in redact("GET " + around.format(token))


@given(st.text(max_size=60))
def test_redacting_twice_changes_nothing(text: str) -> None:
    assert redact(redact(text)) == redact(text)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("at postgresql://am:pw@127.0.0.1:5/am failed", "at postgresql://…@127.0.0.1:5/am failed"),
        ('"WebSocket /a?key=apikeyhere" 403', '"WebSocket /a?…" 403'),
        ("https://s3/b/k?X-Amz-Signature=abc&x=1 put", "https://s3/b/k?… put"),
        ("headers: {'authorization': 'Bearer abc'}", "headers: {'authorization': '…'}"),
        ("what? a=b is not a query", "what? a=b is not a query"),
        ("moment am_12 and role am_reader", "moment am_12 and role am_reader"),
    ],
)
def test_what_is_hidden_and_what_is_not(text: str, shown: str) -> None:
    assert redact(text) == shown


def test_a_traceback_is_redacted_too() -> None:
    token = "am_" + "t" * 43
    error = ValueError(f"cannot use {token}")
    told = (ValueError, error, None)
    shown = RedactingFormatter().format(logging.LogRecord("a", 40, "a", 1, "failed", None, told))
    assert token not in shown
    assert "ValueError: cannot use am_…" in shown


def test_every_answer_protects_the_browser_that_gets_it(
    serve: Serve, bearer: dict[str, str]
) -> None:
    with serve() as url:
        answers = [
            httpx.get(f"{url}/healthz"),
            httpx.get(f"{url}/nowhere"),
            httpx.post(url + PATH, content=b"{", headers=bearer),
            httpx.post(url + PATH, json=GOOD),
            httpx.post(url + PATH, content=bytes(5 << 20), headers=bearer),
            httpx.get(f"{url}/docs"),
        ]
    assert [answer.status_code for answer in answers] == [200, 404, 400, 401, 413, 200]
    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert "server" not in answer.headers
        assert "strict-transport-security" not in answer.headers


@pytest.mark.parametrize("sent", ["a b", "x" * 129, "é"])
def test_a_trace_id_that_is_none_is_replaced(serve: Serve, sent: str) -> None:
    with serve() as url:
        odd = httpx.get(f"{url}/healthz", headers=[(b"X-Trace-ID", sent.encode("latin-1"))])
        fine = httpx.get(f"{url}/healthz", headers={"X-Trace-ID": "mine-1"})
    assert odd.headers["x-trace-id"] != sent
    assert fine.headers["x-trace-id"] == "mine-1"
