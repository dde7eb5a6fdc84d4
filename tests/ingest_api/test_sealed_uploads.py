"""What comes in over HTTP lies sealed in the object store, and goes out over HTTP as it came."""

import base64
import hashlib
import io
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import httpx
import psycopg
import pytest
import uvicorn

from ingest_api.main import build_app
from ingest_api.settings import Settings
from resources.blobs import BlobStore
from resources.connections import Connections
from resources.keys import KeyRing
from resources.master_keys import FileMasterKey
from resources.sealed import MAGIC
from tests.ingest_api.conftest import _port
from tests.ingest_api.test_bad_input import wav
from tests.ingest_api.test_uploads import PLACE, begun, naming, put, send, sha256
from tests.planting import object_store

WHEN = "2026-03-01T08:00:00Z"


def marked() -> tuple[bytes, bytes]:
    """A word that occurs nowhere else, and a recording of more than two chunks around it."""
    word = b"whispered-" + uuid4().hex.encode()
    return word, wav(2) + word + wav(1) + word


def stored(connections: Connections, key: str) -> bytes:
    """The object store's own bytes."""
    with object_store(connections).get_object(connections.s3_bucket, key) as answer:
        return bytes(answer.read())


def carrying(content: bytes) -> dict[str, str]:
    """A message that holds the bytes itself."""
    data = base64.b64encode(content).decode()
    return {"device_id": "p", "recorded_at": WHEN, "data": data}


def bring(client: httpx.Client, content: bytes, way: str) -> None:
    """Send a blob before the message that names it."""
    if way == "whole":
        put(client, content).raise_for_status()
    elif way == "in parts":
        path = begun(client, content)
        for number, part in enumerate((content[:90_000], content[90_000:]), start=1):
            client.put(f"{path}/{number}", content=part).raise_for_status()
        client.post(f"{path}/complete").raise_for_status()
    elif way == "presigned":
        place = {**PLACE, "sha256": sha256(content)}
        told = client.post("/v1/blobs/presign", json=place).json()
        httpx.put(told["url"], content=content).raise_for_status()
        client.post(f"/v1/blobs/uploads/{told['upload_id']}/complete").raise_for_status()


def test_parts_are_sealed_while_they_wait_and_what_came_in_the_clear_goes(
    client: httpx.Client, connections: Connections, user: str
) -> None:
    word, content = marked()
    path = begun(client, content)
    client.put(f"{path}/1", content=content).raise_for_status()
    assert word not in stored(connections, f"uploads/{user}/{path.rpartition('/')[2]}/00001")
    told = client.post("/v1/blobs/presign", json={**PLACE, "sha256": sha256(content)}).json()
    httpx.put(told["url"], content=content).raise_for_status()
    temporary = f"uploads/{user}/{told['upload_id']}/00001"
    assert word in stored(connections, temporary)
    client.post(f"/v1/blobs/uploads/{told['upload_id']}/complete").raise_for_status()
    assert BlobStore(connections).absent([temporary]) == {temporary}


@pytest.mark.parametrize("way", ["whole", "in it", "in parts", "presigned"])
def test_whatever_way_a_blob_comes_its_bytes_are_sealed_and_go_out_again(
    client: httpx.Client, connections: Connections, user: str, way: str
) -> None:
    word, content = marked()
    bring(client, content, way)
    assert send(client, carrying(content) if way == "in it" else naming(content))["stored"] == 1
    key = f"blobs/{user}/device.audio.raw/2026-03-01/{sha256(content)}"
    lies = stored(connections, key)
    assert lies.startswith(MAGIC)
    assert word not in lies
    whole = client.get(f"/v1/blobs/{key}")
    assert (whole.content, whole.headers["content-length"]) == (content, str(len(content)))
    asked = {"sha256": [sha256(content)]}
    assert client.post("/v1/blobs/missing", json=asked).json() == {"missing": []}


def test_a_range_of_a_sealed_blob_is_that_of_the_content(client: httpx.Client, user: str) -> None:
    _, content = marked()
    key = put(client, content).json()["blob_key"]
    size = len(content)
    for first, last in ((0, 0), (0, 99), (16_383, 16_384), (40_000, 70_000), (size - 5, size - 1)):
        answer = client.get(f"/v1/blobs/{key}", headers={"Range": f"bytes={first}-{last}"})
        assert answer.status_code == 206
        assert answer.content == content[first : last + 1]
        assert answer.headers["content-range"] == f"bytes {first}-{last}/{size}"
    tail = client.get(f"/v1/blobs/{key}", headers={"Range": "bytes=-1000"})
    assert tail.content == content[-1000:]
    behind = client.get(f"/v1/blobs/{key}", headers={"Range": f"bytes={size}-"})
    assert behind.status_code == 416
    tag = client.get(f"/v1/blobs/{key}").headers["etag"]
    assert client.get(f"/v1/blobs/{key}", headers={"If-None-Match": tag}).status_code == 304


def test_bytes_that_look_sealed_are_kept_as_they_are_sent(client: httpx.Client) -> None:
    content = MAGIC + uuid4().bytes * 10
    place = {**PLACE, "sha256": sha256(content)}
    told = client.post("/v1/blobs/presign", json=place).json()
    httpx.put(told["url"], content=content).raise_for_status()
    done = client.post(f"/v1/blobs/uploads/{told['upload_id']}/complete").json()
    assert client.get(f"/v1/blobs/{done['blob_key']}").content == content


def test_a_large_dead_letter_is_sealed_and_shown_as_it_was_sent(
    client: httpx.Client, connections: Connections, database: psycopg.Connection, user: str
) -> None:
    word = uuid4().hex
    bad = {"device_id": "p", "recorded_at": "never", "data": "x", "why": word * 10_000}
    assert client.post("/v1/streams/device.audio.raw", json=bad).json()["rejected"] == 1
    row = database.execute(
        "SELECT payload_key FROM am.dead_letter WHERE user_id = %s", (user,)
    ).fetchone()
    assert row is not None
    assert word.encode() not in stored(connections, row[0])
    assert json.loads(BlobStore(connections).get(row[0])) == bad


def test_a_damaged_blob_is_answered_500_before_a_byte_of_it_and_asked_for_again(
    client: httpx.Client, connections: Connections
) -> None:
    _, content = marked()
    key = put(client, content).json()["blob_key"]
    changed = bytearray(stored(connections, key))
    changed[200] ^= 1
    replace_object(connections, key, bytes(changed))
    answer = client.get(f"/v1/blobs/{key}")
    assert (answer.status_code, "damaged" in answer.json()["detail"]) == (500, True)
    assert send(client, naming(content))["dead_letters"][0]["code"] == "no_blob"
    put(client, content)
    assert client.get(f"/v1/blobs/{key}").content == content


def test_an_erased_users_blobs_are_not_found_and_can_be_sent_anew(
    client: httpx.Client, connections: Connections, user: str
) -> None:
    _, content = marked()
    key = put(client, content).json()["blob_key"]
    KeyRing(connections).destroy(user)
    with second_api(connections) as url:  # one that does not remember the key
        fresh = httpx.Client(base_url=url, headers=client.headers, timeout=30)
        assert fresh.get(f"/v1/blobs/{key}").status_code == 404
        asked = {"sha256": [sha256(content)]}
        assert fresh.post("/v1/blobs/missing", json=asked).json()["missing"] == [sha256(content)]
        assert put(client, content).status_code == 201  # this one remembers it
        assert fresh.get(f"/v1/blobs/{key}").content == content


def test_without_the_master_key_the_api_answers_503_and_stores_nothing(
    client: httpx.Client,
    connections: Connections,
    database: psycopg.Connection,
    user: str,
    tmp_path: Path,
) -> None:
    _, content = marked()
    lost = replace(connections, master_key=FileMasterKey(tmp_path / "master.key"))
    with second_api(lost) as url:
        broken = httpx.Client(base_url=url, headers=client.headers, timeout=30)
        answers = [
            put(broken, content),
            broken.post("/v1/streams/device.audio.raw", json=carrying(content)),
            broken.get("/readyz"),
        ]
    for answer in answers:
        assert answer.status_code == 503
        assert str(tmp_path / "master.key") in answer.json()["detail"]
        assert answer.headers["retry-after"]
    for table in ("blob", "landing", "dead_letter"):
        count = database.execute(
            f"SELECT count(*) FROM am.{table} WHERE user_id = %s".encode(), (user,)
        ).fetchone()
        assert count == (0,)
    key = f"blobs/{user}/device.audio.raw/2026-03-01/{hashlib.sha256(content).hexdigest()}"
    assert BlobStore(connections).absent([key]) == {key}


def replace_object(connections: Connections, key: str, content: bytes) -> None:
    """Change what lies in the object store, past AM."""
    object_store(connections).put_object(
        connections.s3_bucket, key, io.BytesIO(content), len(content)
    )


@contextmanager
def second_api(connections: Connections) -> Iterator[str]:
    """Another API over the same stores."""
    app = build_app(Settings(), connections)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{_port(server)}"
    finally:
        server.should_exit = True
        thread.join(10)
