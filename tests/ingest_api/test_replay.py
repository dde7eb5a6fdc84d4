"""Dead letters get another chance through the stage that refused them."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from uuid import UUID

import httpx
import psycopg
from psycopg_pool import AsyncConnectionPool
from pydantic import SecretStr

from am_assets.streams.registry import REGISTRY
from ingest_api.adapters.sealing import seal
from ingest_api.landing import LandingStage, Zones
from ingest_api.limits import blob_limit
from ingest_api.own_blobs import OwnBlobs
from ingest_api.replay import Replayed, replay
from ingest_api.settings import Settings
from ingest_api.writer import Writer
from resources.blobs import BlobStore
from resources.connections import Connections
from tests.ingest_api.test_bad_input import GOOD, PATH


def run(
    connections: Connections,
    ids: Sequence[UUID],
    *,
    max_future: timedelta,
    secrets: Mapping[str, SecretStr] | None = None,
) -> list[Replayed]:
    """Replay with a stage of its own."""

    async def work() -> list[Replayed]:
        writer, blobs = Writer(connections.database_url), BlobStore(connections)
        await writer.start()
        async with AsyncConnectionPool(
            connections.database_url, min_size=1, max_size=4, open=False
        ) as pool:
            stage = LandingStage(
                zones=Zones(pool),
                blobs=blobs,
                own_blobs=OwnBlobs(
                    pool=pool, blobs=blobs, registry=REGISTRY, limit=blob_limit(Settings())
                ),
                writer=writer,
                max_future=max_future,
            )
            async with pool.connection() as connection:
                found = await replay(
                    connection,
                    stage=stage,
                    blobs=blobs,
                    registry=REGISTRY,
                    ids=ids,
                    secrets=secrets,
                )
        await writer.stop()
        return found

    return asyncio.run(work())


def test_a_dead_letter_becomes_a_row_once_its_reason_is_gone(
    client: httpx.Client, database: psycopg.Connection, connections: Connections, user: str
) -> None:
    ahead = {**GOOD, "recorded_at": "2090-01-01T00:00:00Z", "note": "x" * 300_000}
    letter = client.post(PATH, json=ahead).json()["dead_letters"][0]
    ids = [UUID(letter["id"])]
    still = run(connections, ids, max_future=timedelta(days=1))
    taken = run(connections, ids, max_future=timedelta(days=40_000))
    assert [(r.is_taken, bool(r.reason)) for r in still + taken] == [(False, True), (True, False)]
    row = database.execute(
        "SELECT extra FROM am.device_sensor_gps_raw WHERE user_id = %s", (user,)
    ).fetchone()
    assert row is not None
    assert row[0] == {"note": "x" * 300_000}
    assert client.get("/v1/dead-letters").json() == []
    assert len(client.get("/v1/dead-letters?state=replayed").json()) == 1


def test_a_large_dead_letter_keeps_its_payload_in_the_object_store(
    client: httpx.Client, database: psycopg.Connection, connections: Connections, user: str
) -> None:
    bad = {**GOOD, "latitude": 95, "note": "y" * 300_000}
    client.post(PATH, json=bad)
    row = database.execute(
        "SELECT payload, payload_key FROM am.dead_letter WHERE user_id = %s", (user,)
    ).fetchone()
    assert row is not None
    assert row[0] is None
    assert json.loads(BlobStore(connections).get(row[1])) == bad


def test_a_body_that_an_adapter_could_not_read_is_read_once_more_by_the_adapter(
    client: httpx.Client, database: psycopg.Connection, connections: Connections, user: str
) -> None:
    fix = json.dumps({"_type": "location", "lat": 48.1, "lon": 11.5, "tst": 1704067200}).encode()
    sealed = {"_type": "encrypted", "data": seal(fix, secret="flour")}
    path = f"/owntracks/pub?u={user}&d=phone"
    assert client.post(path, json=sealed).json() == []
    ids = [row[0] for row in open_letters(database, user)]
    still = run(connections, ids, max_future=timedelta(days=1))
    assert [(one.is_taken, "encrypted" in one.reason) for one in still] == [(False, True)]
    taken = run(connections, ids, max_future=timedelta(days=1), secrets={user: SecretStr("flour")})
    assert [one.is_taken for one in taken] == [True]
    rows = database.execute(
        "SELECT device_id, latitude FROM am.device_sensor_gps_raw WHERE user_id = %s", (user,)
    ).fetchall()
    assert rows == [("phone", 48.1)]
    assert open_letters(database, user) == []


def test_of_a_body_read_once_more_each_element_stands_for_itself(
    client: httpx.Client, database: psycopg.Connection, connections: Connections, user: str
) -> None:
    about = {"timestamp": "2024-01-01T00:00:00Z", "device_id": "iphone"}
    place = {"type": "Point", "coordinates": [11.5, 48.1]}
    good = {"type": "Feature", "geometry": place, "properties": about}
    bad = {**good, "geometry": {"type": "Point", "coordinates": [11.5, 95]}}
    body = {"locations": [good, bad]}
    client.post("/overland", content=b"{broken", params={"device_id": "iphone"})
    # What an adapter of an earlier version did not understand, and this one does.
    database.execute(
        "UPDATE am.dead_letter SET payload = %s WHERE user_id = %s",
        (json.dumps(body).encode(), user),
    )
    (letter,) = open_letters(database, user)
    taken = run(connections, [letter[0]], max_future=timedelta(days=1))
    assert [one.is_taken for one in taken] == [True]
    left = open_letters(database, user)
    assert [(stream, code) for _, stream, code in left] == [("device.sensor.gps.raw", "bad_value")]


def test_a_letter_keeps_what_its_adapter_needs_and_no_token(
    client: httpx.Client, database: psycopg.Connection, user: str
) -> None:
    token = client.headers["Authorization"].removeprefix("Bearer ")
    client.post(f"/traccar/{token}?id=&lat=x&token={token}", headers={"Cookie": "c=1"})
    row = database.execute(
        "SELECT request, payload FROM am.dead_letter WHERE user_id = %s", (user,)
    ).fetchone()
    assert row is not None
    assert row[0]["query"] == {"id": "", "lat": "x"}
    assert token.encode() not in json.dumps(row[0]).encode() + bytes(row[1])


def open_letters(database: psycopg.Connection, user: str) -> list[tuple[UUID, str, str]]:
    """Id, stream and code of a user's open dead letters."""
    return database.execute(
        "SELECT dead_letter_id, stream, code FROM am.dead_letter "
        "WHERE user_id = %s AND state = 'open'",
        (user,),
    ).fetchall()
