"""From a request's elements to a receipt: understand, store the blobs, commit the rows."""

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pyarrow as pa
from psycopg_pool import AsyncConnectionPool

from ingest_api.batch import Batch, DeadLetter, ElementRouter, fit_columns, read_many
from ingest_api.border import translating
from ingest_api.envelope import Sender, StoredBlob
from ingest_api.own_blobs import OwnBlobs
from ingest_api.tokens import Principal
from ingest_api.writer import Receipt, Writer
from resources.blobs import BlobStore

LARGE_PAYLOAD = 256 * 1024  # bytes; a larger dead letter goes to the object store
MANY_ELEMENTS = 50  # or a large text: understood in a thread, so that other requests go on
MANY_IN_COLUMNS = 1_000
LARGE_TEXT = 64 * 1024
NAMED_AT_ONCE = 4  # requests whose stored blobs are in memory at the same time

REMEMBER_S = 5.0

OFFSETS = "SELECT device_id, tz_offset_min FROM am.device WHERE user_id = %s AND tz_offset_min <> 0"


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """One request's content and where it came in; `request` as in `Sender`."""

    elements: Sequence[Any] | pa.Table
    route: ElementRouter
    door: str
    principal: Principal
    size: int = 0
    device_id: str | None = None
    trace_id: str | None = None
    request: Mapping[str, Any] | None = None


class LandingStage:
    """Where everything arrives, whatever door it came through."""

    def __init__(
        self,
        *,
        zones: "Zones",
        blobs: BlobStore,
        own_blobs: OwnBlobs,
        writer: Writer,
        max_future: timedelta,
    ) -> None:
        """Takes parts that are started elsewhere."""
        self._zones = zones
        self._own_blobs = own_blobs
        self._turns = asyncio.Semaphore(NAMED_AT_ONCE)
        self._blobs = blobs
        self._writer = writer
        self._max_future = max_future

    async def land(self, arrival: Arrival) -> Receipt:
        """Store all of it: blobs first, then rows, dead letters and ledger in one commit.

        Raises: UnavailableError; sending it again is safe then. TooLargeError where it names more
        bytes than one request may.
        """
        batch = await self._read(arrival, {})
        if not batch.named_blobs:
            return await self._store(batch)
        async with self._turns:
            named = await self._own_blobs.named(arrival.principal.user_id, batch.named_blobs)
            return await self._store(await self._read(arrival, named) if named else batch)

    async def _store(self, batch: Batch) -> Receipt:
        payload_keys = {
            letter.dead_letter_id: payload_key(letter)
            for letter in batch.dead_letters
            if len(letter.payload) > LARGE_PAYLOAD
        }
        if blobs := [*_row_blobs(batch), *_letter_blobs(batch, payload_keys)]:
            with translating():
                await asyncio.to_thread(self._blobs.put_all, blobs)
        receipt = await self._writer.land(batch, payload_keys=payload_keys)
        self._zones.learn(batch)
        return receipt

    async def _read(self, arrival: Arrival, blobs: Mapping[str, StoredBlob]) -> Batch:
        sender = Sender(
            user_id=arrival.principal.user_id,
            door=arrival.door,
            received_at=datetime.now(UTC),
            max_future=self._max_future,
            trace_id=arrival.trace_id,
            bound_device_id=arrival.principal.device_id,
            default_device_id=arrival.device_id,
            offsets_min=await self._zones.offsets_min(arrival.principal.user_id),
            blobs=blobs,
            request=arrival.request,
        )

        def read() -> Batch:
            return read_many(arrival.elements, route=arrival.route, sender=sender, batch_id=uuid4())

        many = MANY_IN_COLUMNS if fit_columns(arrival.elements, arrival.route) else MANY_ELEMENTS
        if blobs or len(arrival.elements) > many or arrival.size > LARGE_TEXT:
            return await asyncio.to_thread(read)
        return read()


class Zones:
    """The devices' last known offsets from UTC, for the times that name none."""

    def __init__(self, pool: AsyncConnectionPool) -> None:
        """Takes connections from `pool`."""
        self._pool = pool
        self._known: dict[str, tuple[float, dict[str, int]]] = {}

    async def offsets_min(self, user_id: str) -> Mapping[str, int]:
        """Minutes by device id, at most a few seconds old.

        Raises: UnavailableError.
        """
        until, offsets = self._known.get(user_id, (0.0, {}))
        if until > time.monotonic():
            return offsets
        with translating():
            async with self._pool.connection() as connection:
                rows = await (await connection.execute(OFFSETS, (user_id,))).fetchall()
        self._known[user_id] = (time.monotonic() + REMEMBER_S, dict(rows))
        return self._known[user_id][1]

    def learn(self, batch: Batch) -> None:
        """Use at once what a batch told of its devices' zones."""
        for (user_id, device_id), offset in batch.devices.items():
            if offset and user_id in self._known:
                self._known[user_id][1][device_id] = offset


def payload_key(letter: DeadLetter) -> str:
    """Where a large dead letter's payload lies in the object store."""
    return f"dead_letters/{letter.user_id}/{letter.day.isoformat()}/{letter.dead_letter_id}"


def _row_blobs(batch: Batch) -> Iterator[tuple[str, bytes, str]]:
    for row in batch.rows:
        if row.blob is not None and not row.blob.is_stored:
            yield row.blob.key, row.blob.content, row.blob.media_type


def _letter_blobs(batch: Batch, keys: Mapping[UUID, str]) -> Iterator[tuple[str, bytes, str]]:
    for letter in batch.dead_letters:
        if letter.dead_letter_id in keys:
            yield keys[letter.dead_letter_id], letter.payload, "application/json"
