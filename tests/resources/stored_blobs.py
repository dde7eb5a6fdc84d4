"""Blobs with their rows and the ends of their work, as the front door and the queue leave them."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg

from am_assets.derived.catalog import ENRICHMENTS
from am_assets.streams.stream import Stream
from resources.blobs import BlobStore
from resources.connections import Connections
from resources.work import State
from tests.resources.rows import insert

BLOB_READERS = [one for one in ENRICHMENTS if one.needs_blob]


@dataclass(frozen=True)
class Shelf:
    """One user's blobs."""

    connections: Connections
    user_id: str

    def put(
        self, stream: Stream, ts: datetime, content: bytes, *, device: str = "phone", **values: Any
    ) -> str:
        """Store one and the row that names it; its key."""
        sha256 = hashlib.sha256(content).hexdigest()
        key = f"blobs/{self.user_id}/{stream.name}/{ts.astimezone(UTC):%Y-%m-%d}/{sha256}"
        BlobStore(self.connections).put_all([(key, content, "application/octet-stream")])
        event_id = uuid4()
        row = {"blob_key": key, "blob_sha256": sha256, "blob_bytes": len(content), **values}
        told = {**row, "user_id": self.user_id, "device_id": device, "ts": ts, "event_id": event_id}
        insert(self.connections.database_url, stream, [told])
        self._execute(
            "INSERT INTO am.blob (user_id, sha256, blob_key, byte_count, media_type) "
            "VALUES (%s, %s, %s, %s, 'application/octet-stream') ON CONFLICT DO NOTHING",
            (self.user_id, sha256, key, len(content)),
        )
        self._queue(stream, ts, event_id, device)
        return key

    def end(self, key: str, state: State, at: datetime, *, reason: str | None = None) -> None:
        """Everybody who reads such blobs is done with this one, and found what `state` says."""
        self._execute(
            "UPDATE am.work_item SET state = %s, updated_at = %s, reason = %s WHERE fingerprint = "
            "'' AND (user_id, item_id) IN (SELECT user_id, event_id FROM "
            f"am.{key.split('/')[-3].replace('.', '_')} WHERE blob_key = %s)",
            (state, at, reason, key),
        )

    def lines(self) -> dict[str, int]:
        """What `am.blob` knows of."""
        with psycopg.connect(self.connections.database_url) as connection:
            query = "SELECT blob_key, byte_count FROM am.blob WHERE user_id = %s"
            return dict(connection.execute(query, (self.user_id,)).fetchall())

    def present(self, *keys: str) -> set[str]:
        """Those that the object store has."""
        return set(keys) - BlobStore(self.connections).absent(keys)

    def _queue(self, stream: Stream, ts: datetime, event_id: UUID, device: str) -> None:
        for work in BLOB_READERS:
            if stream in work.sources:
                self._execute(
                    "INSERT INTO am.work_item (enrichment, version, user_id, item_id, "
                    "source_stream, device_id, day, ts) VALUES (%s, %s, %s, %s, %s, %s, %s, %s)",
                    (
                        *(work.name, work.version, self.user_id, event_id),
                        *(stream.name, device, ts.astimezone(UTC).date(), ts),
                    ),
                )

    def _execute(self, query: str, values: tuple[Any, ...]) -> None:
        with psycopg.connect(self.connections.database_url) as connection:
            connection.execute(query.encode(), values)


def minutes(count: int) -> timedelta:
    """So many."""
    return timedelta(minutes=count)
