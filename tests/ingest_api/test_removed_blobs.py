"""Who asks for a blob that was removed is told when and why, and may send it again."""

import base64
from datetime import UTC, datetime, timedelta

import httpx
import psycopg

from am_assets.streams.audio import AUDIO, EXAMPLE_WAV
from am_assets.streams.registry import REGISTRY
from resources.blob_plan import BlobRules
from resources.blob_retention import BlobRetention
from resources.blobs import BlobStore
from resources.connections import Connections
from resources.hot import HotStore
from tests.ingest_api.conftest import ClientFor
from tests.resources.stored_blobs import BLOB_READERS

SILENCE = {
    "device_id": "phone",
    "timestamp": "2026-05-04T12:00:00Z",
    "data": EXAMPLE_WAV,
    "format": "wav",
}
(VAD,) = (work for work in BLOB_READERS if AUDIO in work.sources)


def _hear_nothing(database: psycopg.Connection, user: str) -> None:
    database.execute(
        "INSERT INTO am.work_item (enrichment, version, user_id, item_id, source_stream, "
        "device_id, day, ts, state) SELECT %s, %s, user_id, event_id, %s, device_id, "
        "'2026-05-04', ts, 'empty' FROM am.device_audio_raw WHERE user_id = %s "
        "ON CONFLICT DO NOTHING",
        (VAD.name, VAD.version, AUDIO.name, user),
    )


def _prune(connections: Connections) -> None:
    url = connections.database_url
    BlobRetention(
        url,
        BlobStore(connections),
        HotStore(url),
        registry=REGISTRY,
        readers=BLOB_READERS,
        rules=BlobRules(),
    ).prune(now=datetime.now(UTC) + timedelta(days=8))


def _send(client: httpx.Client) -> None:
    client.post("/audio/upload", json=SILENCE).raise_for_status()


def test_a_removed_blob_is_answered_410_with_the_day_and_the_reason_and_can_be_sent_again(
    client: httpx.Client,
    client_for: ClientFor,
    user: str,
    database: psycopg.Connection,
    connections: Connections,
) -> None:
    _send(client)
    query = "SELECT blob_key FROM am.blob WHERE user_id = %s"
    row = database.execute(query, (user,)).fetchone()
    assert row is not None
    path = f"/v1/blobs/{row[0]}"
    assert client.get(path).content == base64.b64decode(EXAMPLE_WAV)
    _hear_nothing(database, user)
    _prune(connections)
    gone = client.get(path)
    assert gone.status_code == 410
    assert f"was removed on {datetime.now(UTC):%Y-%m-%d}" in gone.text
    assert "media_audio_vad_filtered, version 1, found nothing in it" in gone.text
    assert client_for(f"{user}x").get(path).status_code == 404
    assert client.get(f"{path[:-1]}0").status_code == 404
    _send(client)
    _send(client)
    told = "SELECT count(*) FROM am.device_audio_raw WHERE user_id = %s"
    assert database.execute(told, (user,)).fetchone() == (1,)
