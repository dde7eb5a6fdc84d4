"""Every route, asked by a client that knows all ids of another user, whose name differs in one
letter: it learns nothing of that user, and changes nothing.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pyarrow as pa
import pytest
from minio import Minio
from starlette.routing import BaseRoute, WebSocketRoute
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from am_assets.schemas.moments import moment_schema
from ingest_api.main import build_app
from ingest_api.pairing import create_invite
from ingest_api.settings import Settings
from models.catalog import Task
from resources.connections import Connections
from resources.vectors import VectorStore
from tests.ingest_api.conftest import ClientFor
from tests.ingest_api.security.every_route import NEEDED, asked, every_route, filled
from tests.ingest_api.test_uploads import PLACE, naming, put, send, sha256, sound
from tests.planting import object_store
from tests.resources import moments_data

PHONE, OLD_PHONE, BUCKET = "victims-phone", "victims-old-phone", "aw-watcher-window_victim"
WHEN = "2026-03-01T08:00:00Z"
DIMENSION = 384  # of the tiny profile's embedder
SPEECH = "media.text.transcribed.words"


class Victim:
    """What somebody has sent, every id of it, and a word that is in all of it and in no id."""

    def __init__(self, client: httpx.Client, name: str, connections: Connections) -> None:
        self.client, self.name = client, name
        self.word = f"torte{uuid4().hex}"
        self.ids = {
            "device_id": PHONE,
            "alias_id": OLD_PHONE,
            "bucket_id": BUCKET,
            "name": "digital.notes.raw",
            "user_id": name,
            "event_id": "1",
            "part": "1",
        }
        self._send()
        self._plant_moment(connections)

    def _send(self) -> None:
        told = {"device_id": PHONE, "recorded_at": WHEN}
        for device_id in (PHONE, OLD_PHONE):
            self._post("/devices", {"device_id": device_id, "name": self.word})
        watched = {"client": "aw-watcher-window", "type": "currentwindow", "hostname": PHONE}
        self.client.post(f"/api/0/buckets/{BUCKET}", json=watched).raise_for_status()
        event = {"timestamp": WHEN, "duration": 1, "data": {"app": "editor", "title": self.word}}
        self.client.post(f"/api/0/buckets/{BUCKET}/events", json=[event]).raise_for_status()
        self._post("/notes/upload", {**told, "content": f"plum {self.word}"})
        refused = self._post("/sensor/gps", {**told, "latitude": 95, "note": self.word})
        self.ids["dead_letter_id"] = refused["dead_letters"][0]["id"]
        made = self._post("/v1/notifications", {"title": self.word, "body": self.word})
        self.ids["notification_id"] = str(made["notification_id"])
        content = sound() + self.word.encode()
        self.ids["key"] = put(self.client, content).json()["blob_key"]
        self.ids["sha256"] = sha256(content)
        send(self.client, naming(content, device_id=PHONE, note=self.word))
        place = {**PLACE, "sha256": sha256(b"later")}
        self.ids["upload_id"] = self._post("/v1/blobs/uploads", place)["upload_id"]
        part = f"/v1/blobs/uploads/{self.ids['upload_id']}/1"
        self.client.put(part, content=b"later").raise_for_status()

    def _post(self, path: str, content: Any) -> dict[str, Any]:
        answer = self.client.post(path, json=content)
        answer.raise_for_status()
        told: dict[str, Any] = answer.json()
        return told

    def _plant_moment(self, connections: Connections) -> None:
        model_id = Settings().model_choice().spec(Task.TEXT_EMBEDDING).model_id
        own = {"user_id": self.name, "device_id": PHONE, "model_id": model_id}
        vector = [1.0] + [0.0] * (DIMENSION - 1)
        row = moments_data.moment(f"plum {self.word}", **own, vector=vector)
        table = pa.Table.from_pylist([row], schema=moment_schema(DIMENSION))
        store = VectorStore(connections, model_id=model_id, dimension=DIMENSION)
        store.replace(["e1"], table, user_id=self.name, source_stream=SPEECH)
        self.ids["moment_id"] = row["moment_id"]


@pytest.fixture
def victim(client_for: ClientFor, user: str, connections: Connections) -> Victim:
    return Victim(client_for(f"{user}-v"), f"{user}-v", connections)


@pytest.fixture
def hostile(client_for: ClientFor, user: str) -> httpx.Client:
    return client_for(f"{user}-h")


@pytest.fixture(scope="module")
def routes(connections: Connections) -> list[BaseRoute]:
    return every_route(build_app(Settings(), connections))


def attempts(ids: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """What is told besides the path: nothing, all ids as a query, as an object, as an array."""
    content = {**ids, "recorded_at": WHEN, "content": "forged", "alias_ids": [PHONE, OLD_PHONE]}
    content |= {"stream": "device.audio.raw", "day": "2026-03-01", "title": "forged", "name": "me"}
    yield {}
    yield {"params": {**ids, **NEEDED, "user": ids["user_id"], "device": PHONE, "limit": 1000}}
    yield {"params": {"q": "plum"}, "json": content}
    yield {"params": {"q": "plum"}, "json": [content]}


def kept(database: psycopg.Connection, user: str) -> dict[str, list[str]]:
    """All of a user's rows by table; what a read by that user writes is left out."""
    tables = database.execute(
        "SELECT DISTINCT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid "
        "WHERE c.relnamespace = 'am'::regnamespace AND c.relkind IN ('r', 'p', 'v') "
        "AND a.attname = 'user_id'"
    ).fetchall()
    rows = {
        table: database.execute(
            f"SELECT t::text FROM am.{table} t WHERE user_id = %s ORDER BY 1".encode(), (user,)
        ).fetchall()
        for (table,) in tables
        if table not in ("audit", "api_token")
    }
    return {table: [text for (text,) in found] for table, found in rows.items() if found}


def stored(store: Minio, bucket: str, user: str) -> list[tuple[str | None, str | None]]:
    """All of a user's objects."""
    return sorted(
        (found.object_name, found.etag)
        for folder in ("blobs", "uploads")
        for found in store.list_objects(bucket, prefix=f"{folder}/{user}/", recursive=True)
    )


@pytest.mark.slow
def test_no_route_tells_or_changes_anything_of_another_user(
    routes: list[BaseRoute],
    hostile: httpx.Client,
    victim: Victim,
    database: psycopg.Connection,
    connections: Connections,
) -> None:
    store = object_store(connections)
    before = kept(database, victim.name), stored(store, connections.s3_bucket, victim.name)
    assert set(before[0]) >= {"device", "dead_letter", "landing", "blob", "blob_upload"}
    own_token = hostile.headers["authorization"].removeprefix("Bearer ")
    told = []
    failed = []
    for method, path in asked(routes):
        for besides in attempts(victim.ids):
            where = filled(path, {**victim.ids, "token": own_token})
            answer = hostile.request(method, where, **besides)
            told += [(method, path, besides)] if victim.word in answer.text else []
            failed += [(method, path, besides)] if answer.status_code >= 500 else []
    assert (told, failed) == ([], [])
    after = kept(database, victim.name), stored(store, connections.s3_bucket, victim.name)
    assert after == before
    searched = victim.client.get("/v1/search", params={"q": "plum"}).json()
    assert victim.word in json.dumps(searched)  # the owner finds it: there was something to find


def test_no_socket_tells_or_changes_anything_of_another_user(
    routes: list[BaseRoute],
    base_url: str,
    token_for: Callable[..., str],
    victim: Victim,
    database: psycopg.Connection,
    user: str,
) -> None:
    before = kept(database, victim.name)
    number = int(victim.ids["notification_id"])
    frames: list[dict[str, Any]] = [
        {"type": "device_query"},
        {"type": "device_update", "payload": {"device_id": PHONE, "name": "mine"}},
        {"type": "heartbeat", "payload": {"timestamp": WHEN}},
        {"type": "delivered", "notification_id": number},
        {"type": "notification_delivered", "payload": {"notification_id": number}},
        {"type": "audio_chunk", "data": {"blob_sha256": victim.ids["sha256"]}},
        {"type": "ping"},
    ]
    heard = []
    for path in (route.path for route in routes if isinstance(route, WebSocketRoute)):
        where = f"{filled(path, victim.ids)}?token={token_for(f'{user}-h')}"
        with connect(base_url.replace("http", "ws", 1) + where) as line:
            for frame in frames:
                line.send(json.dumps(frame))
                with suppress(TimeoutError, ConnectionClosed):
                    heard.append(str(line.recv(timeout=5)))
    assert len(heard) >= len(frames)
    assert [text for text in heard if victim.word in text] == []
    assert kept(database, victim.name) == before


def test_a_code_that_somebody_used_is_worth_nothing_to_who_knows_it(
    base_url: str, victim: Victim, database: psycopg.Connection
) -> None:
    code = create_invite(database, user_id=victim.name)
    body = {"code": code, "device_id": PHONE}
    assert httpx.post(f"{base_url}/v1/pair", json=body).status_code == 201
    again = httpx.post(f"{base_url}/v1/pair", json={**body, "device_id": "hostile"})
    assert (again.status_code, "token" in again.json()) == (404, False)
