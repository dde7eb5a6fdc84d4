"""A client that knows all ids of another user gets nothing by them, and changes nothing."""

from typing import Any
from uuid import UUID

import httpx
import psycopg
import pytest

from tests.ingest_api.conftest import ClientFor
from tests.ingest_api.test_bad_input import GOOD, PATH
from tests.ingest_api.test_uploads import PLACE, STREAM, naming, put, send, sha256, sound


class Victim:
    """What somebody has sent, and every id of it."""

    def __init__(self, client: httpx.Client, name: str) -> None:
        self.client, self.name = client, name
        self.content = sound()
        self.key = put(client, self.content).json()["blob_key"]
        send(client, naming(self.content, device_id="victims-phone"))
        letter = {**GOOD, "latitude": 95, "device_id": "victims-phone"}
        self.letter = client.post(PATH, json=letter).json()["dead_letters"][0]["id"]
        place = {**PLACE, "sha256": sha256(b"later")}
        self.upload = client.post("/v1/blobs/uploads", json=place).json()["upload_id"]
        client.put(f"/v1/blobs/uploads/{self.upload}/1", content=b"later").raise_for_status()


@pytest.fixture
def victim(client_for: ClientFor, user: str) -> Victim:
    return Victim(client_for(f"{user}-v"), f"{user}-v")


@pytest.fixture
def hostile(client_for: ClientFor, user: str) -> httpx.Client:
    return client_for(f"{user}-h")


def test_another_users_blob_looks_like_none_by_key_and_by_hash(
    hostile: httpx.Client, victim: Victim
) -> None:
    assert hostile.get(f"/v1/blobs/{victim.key}").status_code == 404
    own = victim.key.replace(victim.name, victim.name.replace("-v", "-h"))
    assert hostile.get(f"/v1/blobs/{own}").status_code == 404
    for path in (
        f"blobs/x/../{victim.name}/{STREAM}/2026-03-01/{sha256(victim.content)}",
        f"uploads/{victim.name}/{victim.upload}/00001",
        f"%75ploads/{victim.name}/{victim.upload}/00001",
        "lake/device_audio_raw/_delta_log/00000000000000000000.json",
    ):
        assert hostile.get(f"/v1/blobs/{path}").status_code == 404, path
    asked = {"sha256": [sha256(victim.content)]}
    assert hostile.post("/v1/blobs/missing", json=asked).json() == {"missing": asked["sha256"]}


def test_naming_another_users_blob_brings_none_of_it(
    hostile: httpx.Client, victim: Victim, database: psycopg.Connection, user: str
) -> None:
    answer = send(hostile, naming(victim.content))
    assert answer["dead_letters"][0]["code"] == "no_blob"
    forged = naming(victim.content, blob_key=victim.key, blob_bytes=3, user_id=victim.name)
    assert send(hostile, forged)["rejected"] == 1
    own = sound()
    put(hostile, own)
    send(hostile, naming(own, blob_key=victim.key, user_id=victim.name))
    keys = database.execute(
        "SELECT user_id, blob_key FROM am.device_audio_raw WHERE user_id = %s", (f"{user}-h",)
    ).fetchall()
    assert [(user_id, victim.name in key) for user_id, key in keys] == [(f"{user}-h", False)]


def test_another_users_upload_can_not_be_seen_filled_completed_or_deleted(
    hostile: httpx.Client, victim: Victim
) -> None:
    path = f"/v1/blobs/uploads/{victim.upload}"
    answers = [
        hostile.get(path),
        hostile.put(f"{path}/1", content=b"forged"),
        hostile.put(f"{path}/2", content=b"forged"),
        hostile.post(f"{path}/complete"),
        hostile.delete(path),
    ]
    assert {answer.status_code for answer in answers} == {404}
    done = victim.client.post(f"{path}/complete")
    assert (done.status_code, done.json()["sha256"]) == (200, sha256(b"later"))


def test_another_users_dead_letters_rows_and_moments_are_not_there(
    hostile: httpx.Client, victim: Victim
) -> None:
    assert [
        letter["dead_letter_id"] for letter in victim.client.get("/v1/dead-letters").json()
    ] == [victim.letter]
    assert hostile.get("/v1/dead-letters").json() == []
    assert hostile.get(f"/v1/moments/{victim.letter}").status_code == 404
    for query in ({}, {"user_id": victim.name}, {"user": victim.name}):
        answer = hostile.get(
            "/v1/timeline", params={"from": "2026-03-01T00:00:00Z", "kinds": "audio", **query}
        )
        assert answer.status_code in (200, 422)
        assert answer.json().get("entries", []) == []
    day = hostile.get("/v1/ledger", params={"day": "2026-03-01"}).json()
    assert day["lines"] == []


def test_sending_as_another_users_device_touches_only_ones_own(
    hostile: httpx.Client, victim: Victim, database: psycopg.Connection
) -> None:
    before = rows_of(database, victim.name)
    message = {**GOOD, "device_id": "victims-phone", "user_id": victim.name, "name": "mine now"}
    assert hostile.post(PATH, json=message).json()["stored"] == 1
    hostile.post(PATH, json={**GOOD, "device_id": "victims-phone", "latitude": 95})
    assert rows_of(database, victim.name) == before


def rows_of(database: psycopg.Connection, user: str) -> list[Any]:
    """All of a user's rows that a request could touch."""
    return [
        database.execute(
            f"SELECT * FROM am.{table} WHERE user_id = %s ORDER BY 1, 2, 3", (user,)
        ).fetchall()
        for table in ("device", "dead_letter", "landing", "blob", "device_audio_raw")
    ]


@pytest.mark.parametrize("token", ["am_", "am_' OR 1=1 --", "x" * 10_000, "am_%00", "*"])
def test_no_made_up_token_is_let_in(base_url: str, token: str) -> None:
    for headers in ({"Authorization": f"Bearer {token}"}, {"X-API-Key": token}):
        assert httpx.get(f"{base_url}/v1/timeline", headers=headers).status_code == 401


def test_a_revoked_token_is_let_in_no_more(
    base_url: str, token_for: Any, database: psycopg.Connection, user: str
) -> None:
    token = token_for(user)
    database.execute("UPDATE am.api_token SET revoked_at = now() WHERE user_id = %s", (user,))
    headers = {"X-API-Key": token}
    assert httpx.get(f"{base_url}/v1/dead-letters", headers=headers).status_code == 401


def test_an_upload_of_nobody_is_not_there(hostile: httpx.Client) -> None:
    assert hostile.get(f"/v1/blobs/uploads/{UUID(int=0)}").status_code == 404
