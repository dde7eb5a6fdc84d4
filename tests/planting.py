"""Rows put straight into the database, with their ledger lines: what the front door would write.

For tests of what happens after the landing. Each test uses days (or users) of its own, because the
stack is shared.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
from minio import Minio
from psycopg import sql
from psycopg.types.json import Json

from am_assets.schemas.columns import ColumnType, columns
from am_assets.streams.stream import Stream
from resources.blobs import BlobStore
from resources.connections import Connections
from resources.hot import table_of

Values = Mapping[str, Any]


class Garden:
    """Plants rows of one user's device."""

    def __init__(
        self, connections: Connections, *, user_id: str = "ada", device_id: str = "phone"
    ) -> None:
        self.connections = connections
        self.user_id = user_id
        self.device_id = device_id

    def plant(self, stream: Stream, rows: Sequence[tuple[datetime, Values]]) -> list[UUID]:
        """Commit rows and their ledger line; the event ids in order."""
        with psycopg.connect(self.connections.database_url) as connection:
            return self.plant_in(connection, stream, rows)

    def plant_in(
        self,
        connection: psycopg.Connection,
        stream: Stream,
        rows: Sequence[tuple[datetime, Values]],
    ) -> list[UUID]:
        """The same in a transaction of the caller's, who commits."""
        ids = [uuid4() for _ in rows]
        for event_id, (ts, values) in zip(ids, rows, strict=True):
            self._insert(connection, stream, {**values, "ts": ts, "event_id": event_id})
        for day in sorted({ts.astimezone(UTC).date() for ts, _ in rows}):
            count = sum(ts.astimezone(UTC).date() == day for ts, _ in rows)
            self._note(connection, stream, day, count)
        return ids

    def plant_blobs(
        self, stream: Stream, blobs: Sequence[tuple[datetime, bytes, Values]]
    ) -> list[UUID]:
        """Put blobs into the object store, and commit the rows that name them."""
        return self.plant(
            stream,
            [
                (ts, {**self._put(stream, ts, content), "media_type": "audio/wav", **values})
                for ts, content, values in blobs
            ],
        )

    def _put(self, stream: Stream, ts: datetime, content: bytes) -> Values:
        sha256 = hashlib.sha256(content).hexdigest()
        key = f"blobs/{self.user_id}/{stream.table}/{ts:%Y-%m-%d}/{sha256}"
        BlobStore(self.connections).put_all([(key, content, "audio/wav")])
        return {"blob_key": key, "blob_sha256": sha256, "blob_bytes": len(content)}

    def _insert(self, connection: psycopg.Connection, stream: Stream, values: Values) -> None:
        row = {
            "user_id": self.user_id,
            "device_id": self.device_id,
            "tz_offset_min": 60,
            "received_at": datetime.now(UTC),
            "schema_version": stream.schema_version,
            **values,
        }
        kinds = {column.name: column.type for column in columns(stream)}
        connection.execute(
            sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
                table_of(stream),
                sql.SQL(", ").join(map(sql.Identifier, row)),
                sql.SQL(", ").join(map(sql.Placeholder, row)),
            ),
            {
                n: Json(v) if kinds[n] is ColumnType.JSON and v is not None else v
                for n, v in row.items()
            },
        )

    def _note(self, connection: psycopg.Connection, stream: Stream, day: date, count: int) -> None:
        connection.execute(
            "INSERT INTO am.landing (batch_id, user_id, device_id, stream, day, door, received, "
            "stored, duplicate, rejected) VALUES (%s, %s, %s, %s, %s, 'test', %s, %s, 0, 0)",
            (uuid4(), self.user_id, self.device_id, stream.name, day, count, count),
        )


def object_store(connections: Connections) -> Minio:
    """A client of the stack's object store."""
    return Minio(
        connections.s3_host,
        access_key=connections.s3_access_key,
        secret_key=connections.s3_secret_key,
        secure=connections.is_s3_secure,
    )


def days_from(first: date) -> Iterator[date]:
    """Days that no other module uses, one after the other."""
    while True:
        yield first
        first += timedelta(days=1)


def rows_of(connections: Connections, query: str, *values: object) -> list[tuple[Any, ...]]:
    """What a query gives."""
    with psycopg.connect(connections.database_url) as connection:
        return connection.execute(query.encode(), values).fetchall()
