"""Dead letters get another chance through the stage that refused them."""

import asyncio
import json
from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

import httpx
import psycopg
from psycopg_pool import AsyncConnectionPool

from am_assets.streams.registry import REGISTRY
from ingest_api.landing import LandingStage, Zones
from ingest_api.limits import blob_limit
from ingest_api.own_blobs import OwnBlobs
from ingest_api.replay import Replayed, replay
from ingest_api.settings import Settings
from ingest_api.writer import Writer
from resources.blobs import BlobStore
from resources.connections import Connections
from tests.ingest_api.test_bad_input import GOOD, PATH


def run(connections: Connections, ids: Sequence[UUID], *, max_future: timedelta) -> list[Replayed]:
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
                    connection, stage=stage, blobs=blobs, registry=REGISTRY, ids=ids
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
