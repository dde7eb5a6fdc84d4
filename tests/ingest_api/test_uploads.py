"""Blobs that come before the message that names them: whole, in parts, presigned."""

import base64
import gzip
import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import httpx
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_api.own_blobs import ANY_TYPE, media_type_of
from ingest_api.tokens import Scope
from resources.blobs import BlobStore
from resources.connections import Connections
from tests.ingest_api.conftest import ClientFor
from tests.ingest_api.test_bad_input import wav

STREAM = "device.audio.raw"
PLACE = {"stream": STREAM, "day": "2026-03-01"}
WHEN = "2026-03-01T08:00:00Z"


def sha256(content: bytes) -> str:
    """As AM names bytes."""
    return hashlib.sha256(content).hexdigest()


def sound(seconds: float = 0.5) -> bytes:
    """A recording unlike any other."""
    return wav(seconds) + uuid4().bytes


def naming(content: bytes, **changes: Any) -> dict[str, Any]:
    """A message that names a blob."""
    return {"device_id": "p", "recorded_at": WHEN, "blob_sha256": sha256(content), **changes}


def send(client: httpx.Client, message: dict[str, Any]) -> dict[str, Any]:
    """Send a message of the stream; its answer."""
    answer = client.post(f"/v1/streams/{STREAM}", json=message)
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def put(client: httpx.Client, content: bytes, **changes: Any) -> httpx.Response:
    """Put a blob by its name."""
    return client.put(
        f"/v1/blobs/{sha256(content)}",
        params={**PLACE, **changes},
        content=content,
        headers={"Content-Type": "audio/wav"},
    )


def row(database: psycopg.Connection, user: str) -> Any:
    """What is known of the user's one recording."""
    return database.execute(
        "SELECT blob_sha256, blob_bytes, media_type, duration_ms, blob_key, extra "
        "FROM am.device_audio_raw WHERE user_id = %s",
        (user,),
    ).fetchone()


def test_a_blob_put_first_is_measured_and_stored_with_the_message_that_names_it(
    client: httpx.Client, database: psycopg.Connection, user: str
) -> None:
    content = sound()
    first, again = put(client, content), put(client, content)
    assert (first.status_code, again.status_code) == (201, 201), first.text
    stored = first.json()
    assert stored == again.json()
    assert (stored["sha256"], stored["byte_count"]) == (sha256(content), len(content))
    assert send(client, naming(content))["stored"] == 1
    digest, size, kind, _, key, extra = row(database, user)
    assert (digest, size, kind, extra) == (sha256(content), len(content), "audio/wav", None)
    assert key == stored["blob_key"]
    assert client.get(f"/v1/blobs/{key}").content == content


def test_the_message_that_names_a_blob_is_the_same_row_as_the_one_that_carries_it(
    client: httpx.Client,
) -> None:
    content = wav(0.4)
    carried = {"device_id": "p", "recorded_at": WHEN, "data": base64.b64encode(content).decode()}
    assert send(client, carried)["stored"] == 1
    assert send(client, naming(content))["duplicate"] == 1


def test_a_blob_of_another_day_is_copied_to_where_the_row_belongs(
    client: httpx.Client, database: psycopg.Connection, user: str
) -> None:
    content = sound()
    assert put(client, content, day="2025-12-31").status_code == 201
    assert send(client, naming(content))["stored"] == 1
    key = row(database, user)[4]
    assert "/2026-03-01/" in key
    assert client.get(f"/v1/blobs/{key}").content == content


def test_a_named_blob_that_is_not_there_is_a_dead_letter_and_its_neighbours_are_stored(
    client: httpx.Client,
) -> None:
    content, absent = sound(), sound()
    put(client, content)
    messages = [naming(absent), naming(content)]
    answer = client.post(f"/v1/streams/{STREAM}", json=messages).json()
    assert (answer["stored"], answer["rejected"]) == (1, 1)
    assert answer["dead_letters"][0]["code"] == "no_blob"
    assert sha256(absent) in answer["dead_letters"][0]["reason"]


@pytest.mark.parametrize("name", ["", "x" * 64, "../../etc/passwd", 7, ["a"], "A" * 64])
def test_a_name_that_is_no_sha256_is_a_dead_letter(client: httpx.Client, name: object) -> None:
    answer = send(client, {"device_id": "p", "recorded_at": WHEN, "blob_sha256": name})
    assert answer["dead_letters"][0]["code"] == "no_blob"


def test_a_blob_that_the_store_has_lost_is_missing_and_not_named(
    client: httpx.Client, connections: Connections
) -> None:
    content = sound()
    stored = put(client, content).json()
    BlobStore(connections).remove_all([stored["blob_key"]])
    assert send(client, naming(content))["rejected"] == 1
    asked = client.post("/v1/blobs/missing", json={"sha256": [sha256(content)]})
    assert asked.json() == {"missing": [sha256(content)]}


def test_a_blob_that_has_rotted_in_the_store_makes_no_row(
    client: httpx.Client, connections: Connections
) -> None:
    content = sound()
    stored = put(client, content).json()
    BlobStore(connections).put_all([(stored["blob_key"], sound(), "audio/wav")])
    assert send(client, naming(content))["dead_letters"][0]["code"] == "no_blob"
    put(client, content)
    assert send(client, naming(content))["stored"] == 1


def test_bytes_that_are_not_what_they_are_called_are_refused_and_nothing_is_stored(
    client: httpx.Client,
) -> None:
    wrong = sha256(b"something else")
    answer = client.put(f"/v1/blobs/{wrong}", params=PLACE, content=sound())
    assert answer.status_code == 422
    asked = client.post("/v1/blobs/missing", json={"sha256": [wrong]})
    assert asked.json() == {"missing": [wrong]}


def test_a_body_without_a_name_is_named_by_its_hash(client: httpx.Client) -> None:
    content = sound()
    answer = client.post("/v1/blobs", params=PLACE, content=content)
    assert (answer.status_code, answer.json()["sha256"]) == (201, sha256(content))


def test_a_body_of_unknown_length_is_stored_too(client: httpx.Client) -> None:
    content = sound(8)

    def pieces() -> Iterator[bytes]:
        for start in range(0, len(content), 10_000):
            yield content[start : start + 10_000]

    answer = client.post("/v1/blobs", params=PLACE, content=pieces())
    assert (answer.status_code, answer.json()["byte_count"]) == (201, len(content))


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"stream": "device.sensor.gps.raw"}, 400),
        ({"stream": "no.such.stream.raw"}, 404),
        ({"day": "yesterday"}, 422),
    ],
)
def test_a_place_where_no_blob_belongs_is_refused(
    client: httpx.Client, changes: dict[str, str], status: int
) -> None:
    assert put(client, sound(), **changes).status_code == status


def test_an_empty_or_encoded_blob_is_refused(client: httpx.Client) -> None:
    assert put(client, b"").status_code == 400
    packed = gzip.compress(sound())
    answer = client.post(
        "/v1/blobs", params=PLACE, content=packed, headers={"Content-Encoding": "gzip"}
    )
    assert answer.status_code == 400


def test_only_those_blobs_are_missing_that_the_user_has_not_sent_in_any_way(
    client: httpx.Client, client_for: ClientFor, user: str
) -> None:
    carried, whole, absent = sound(), sound(), sound()
    data = base64.b64encode(carried).decode()
    send(client, {"device_id": "p", "recorded_at": WHEN, "data": data})
    put(client, whole)
    asked = {"sha256": [sha256(absent), sha256(carried), sha256(whole), sha256(absent)]}
    answer = client.post("/v1/blobs/missing", json=asked)
    assert answer.json() == {"missing": [sha256(absent)]}
    stranger = client_for(f"{user}-2").post("/v1/blobs/missing", json=asked)
    assert stranger.json() == {"missing": [sha256(absent), sha256(carried), sha256(whole)]}


def begun(client: httpx.Client, content: bytes) -> str:
    """The path of a new upload in parts."""
    answer = client.post("/v1/blobs/uploads", json={**PLACE, "sha256": sha256(content)})
    assert answer.status_code == 201, answer.text
    return f"/v1/blobs/uploads/{answer.json()['upload_id']}"


def test_parts_in_any_order_and_twice_become_the_one_blob(client: httpx.Client) -> None:
    content = sound(4)
    path = begun(client, content)
    cut = len(content) // 3
    parts = {1: content[:cut], 2: content[cut : 2 * cut], 3: content[2 * cut :]}
    assert client.put(f"{path}/2", content=b"a torn part").status_code == 200
    for number in (3, 2, 1, 2):
        told = client.put(f"{path}/{number}", content=parts[number]).json()
        assert told == {
            "part": number,
            "byte_count": len(parts[number]),
            "sha256": sha256(parts[number]),
        }
    state = client.get(path).json()
    assert [part["part"] for part in state["parts"]] == [1, 2, 3]
    assert state["is_finished"] is False
    done, again = client.post(f"{path}/complete"), client.post(f"{path}/complete")
    assert (done.status_code, again.json()) == (200, done.json())
    assert client.get(f"/v1/blobs/{done.json()['blob_key']}").content == content
    assert client.get(path).json()["is_finished"] is True
    assert client.put(f"{path}/1", content=b"late").status_code == 409
    assert send(client, naming(content))["stored"] == 1


def test_a_completion_that_another_one_overtakes_gets_the_same_answer(
    client: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = sound(1)
    path = begun(client, content)
    client.put(f"{path}/1", content=content[:9]).raise_for_status()
    client.put(f"{path}/2", content=content[9:]).raise_for_status()
    read = BlobStore.read
    faster: list[httpx.Response] = []

    def overtaken(store: BlobStore, key: str, **asked: int) -> Iterator[bytes]:
        if key.endswith("/00002") and not faster:
            monkeypatch.setattr(BlobStore, "read", read)
            faster.append(client.post(f"{path}/complete"))
        return read(store, key, **asked)

    monkeypatch.setattr(BlobStore, "read", overtaken)
    slower = client.post(f"{path}/complete")
    assert [answer.status_code for answer in (*faster, slower)] == [200, 200], slower.text
    assert slower.json() == faster[0].json()


def test_an_upload_with_a_missing_or_wrong_part_is_not_completed_and_can_be_mended(
    client: httpx.Client,
) -> None:
    content = sound(1)
    path = begun(client, content)
    assert client.post(f"{path}/complete").status_code == 409
    client.put(f"{path}/2", content=content[9:])
    told = client.post(f"{path}/complete")
    assert (told.status_code, "missing: 1" in told.json()["detail"]) == (409, True)
    client.put(f"{path}/1", content=b"not these")
    assert client.post(f"{path}/complete").status_code == 422
    client.put(f"{path}/1", content=content[:9])
    assert client.post(f"{path}/complete").json()["byte_count"] == len(content)


def test_a_cancelled_upload_leaves_nothing(
    client: httpx.Client, connections: Connections, user: str
) -> None:
    content = sound()
    path = begun(client, content)
    client.put(f"{path}/1", content=content)
    key = f"uploads/{user}/{path.rpartition('/')[2]}/00001"
    blobs = BlobStore(connections)
    assert blobs.absent([key]) == set()
    assert client.delete(path).status_code == 204
    assert blobs.absent([key]) == {key}
    for answer in (client.get(path), client.delete(path), client.post(f"{path}/complete")):
        assert answer.status_code == 404


def test_an_abandoned_upload_is_swept_once_it_has_expired(
    client: httpx.Client, connections: Connections, database: psycopg.Connection, user: str
) -> None:
    content = sound()
    path = begun(client, content)
    client.put(f"{path}/1", content=content)
    database.execute("UPDATE am.blob_upload SET expires_at = now() WHERE user_id = %s", (user,))
    assert client.get(path).status_code == 404
    begun(client, content)
    key = f"uploads/{user}/{path.rpartition('/')[2]}/00001"
    assert BlobStore(connections).absent([key]) == {key}


def test_a_user_has_only_so_many_uploads_open(client: httpx.Client) -> None:
    statuses = [
        client.post("/v1/blobs/uploads", json={**PLACE, "sha256": sha256(bytes([n]))}).status_code
        for n in range(33)
    ]
    assert statuses == [201] * 32 + [409]


def test_an_upload_begun_anew_goes_on_with_the_parts_that_are_there(client: httpx.Client) -> None:
    content = sound()
    path = begun(client, content)
    client.put(f"{path}/1", content=content).raise_for_status()
    again = client.post("/v1/blobs/uploads", json={**PLACE, "sha256": sha256(content)}).json()
    assert again["upload_id"] == path.rpartition("/")[2]
    assert [part["part"] for part in again["parts"]] == [1]
    assert client.post(f"{path}/complete").json()["byte_count"] == len(content)
    assert begun(client, content) != path


def test_a_presigned_upload_takes_the_bytes_past_am_and_am_verifies_them(
    client: httpx.Client,
) -> None:
    content = sound(1)
    told = client.post("/v1/blobs/presign", json={**PLACE, "sha256": sha256(content)}).json()
    path = f"/v1/blobs/uploads/{told['upload_id']}"
    assert client.post(f"{path}/complete").status_code == 404
    assert datetime.fromisoformat(told["expires_at"]) > datetime.now(UTC)
    httpx.put(told["url"], content=b"forged").raise_for_status()
    assert client.post(f"{path}/complete").status_code == 422
    httpx.put(told["url"], content=content).raise_for_status()
    assert client.post(f"{path}/complete").json()["byte_count"] == len(content)
    assert client.put(f"{path}/1", content=b"x").status_code == 409
    assert httpx.get(told["url"]).status_code == 403
    assert send(client, naming(content))["stored"] == 1


def test_a_reader_stores_nothing(client_for: ClientFor, user: str) -> None:
    reader = client_for(user, scope=Scope.READ)
    place = {**PLACE, "sha256": sha256(b"x")}
    answers = [
        put(reader, b"x"),
        reader.post("/v1/blobs", params=PLACE, content=b"x"),
        reader.post("/v1/blobs/missing", json={"sha256": []}),
        reader.post("/v1/blobs/presign", json=place),
        reader.post("/v1/blobs/uploads", json=place),
        reader.put(f"/v1/blobs/uploads/{UUID(int=1)}/1", content=b"x"),
    ]
    assert {answer.status_code for answer in answers} == {403}


@given(st.text(max_size=40))
def test_a_media_type_is_given_out_again_only_where_it_is_one(text: str) -> None:
    named = media_type_of(text)
    assert named in (text, ANY_TYPE)
    assert named.isprintable()
    assert media_type_of("audio/L16;rate=16000;channels=1") == "audio/L16;rate=16000;channels=1"
