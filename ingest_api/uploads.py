"""Uploads that take more than one request: in parts, which may be sent again, or past AM to the
object store itself. Either is completed by AM, which reads the bytes once more and stores them only
if they have the hash that was announced.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import class_row
from psycopg_pool import AsyncConnectionPool
from pydantic import BaseModel

from ingest_api.border import translating
from ingest_api.errors import ConflictError, NotFoundError
from ingest_api.own_blobs import ANY_TYPE, OwnBlobs, Place, Stored, media_type_of
from ingest_api.spool import spool
from resources.blobs import BlobAbsentError, BlobStore

MAX_PARTS = 10_000
MAX_OPEN = 32  # uploads of one user that are not finished
KEEP_UNFINISHED = timedelta(days=7)
PRESIGNED_FOR = timedelta(hours=1)
SWEPT_AT_ONCE = 20

COUNT_OPEN = """
SELECT count(*) FROM am.blob_upload
WHERE user_id = %s AND finished_at IS NULL AND expires_at > now()
"""
FIND_OPEN = """
SELECT * FROM am.blob_upload WHERE user_id = %s AND stream = %s AND day = %s AND sha256 = %s
    AND media_type = %s AND is_presigned = %s AND finished_at IS NULL AND expires_at > now()
ORDER BY created_at LIMIT 1
"""
BEGIN = """
INSERT INTO am.blob_upload (user_id, stream, day, sha256, media_type, is_presigned, expires_at)
VALUES (%s, %s, %s, %s, %s, %s, now() + %s) RETURNING *
"""
FIND = """
SELECT * FROM am.blob_upload WHERE upload_id = %s AND user_id = %s AND expires_at > now()
"""
PARTS = """
SELECT part, byte_count, sha256 FROM am.blob_upload_part WHERE upload_id = %s ORDER BY part
"""
NOTE_PART = """
INSERT INTO am.blob_upload_part (upload_id, part, byte_count, sha256) VALUES (%s, %s, %s, %s)
ON CONFLICT (upload_id, part) DO UPDATE SET byte_count = excluded.byte_count,
    sha256 = excluded.sha256, stored_at = now()
"""
FINISH = "UPDATE am.blob_upload SET finished_at = now() WHERE upload_id = %s"
FORGET = "DELETE FROM am.blob_upload WHERE upload_id = %s"
EXPIRED = "SELECT * FROM am.blob_upload WHERE expires_at <= now() ORDER BY expires_at LIMIT %s"


class Part(BaseModel):
    """A part that is stored; its SHA-256 tells whether it is what was sent."""

    part: int
    byte_count: int
    sha256: str


class UploadState(BaseModel):
    """How far an upload is."""

    upload_id: UUID
    sha256: str
    expires_at: datetime
    is_finished: bool
    parts: list[Part]


class Presigned(BaseModel):
    """Where to put the bytes by HTTP PUT; afterwards the upload is completed like any other."""

    upload_id: UUID
    url: str
    expires_at: datetime


@dataclass(frozen=True)
class _Upload:
    upload_id: UUID
    user_id: str
    stream: str
    day: date
    sha256: str
    media_type: str
    is_presigned: bool
    created_at: datetime
    expires_at: datetime
    finished_at: datetime | None

    @property
    def place(self) -> Place:
        """Where its blob belongs."""
        return Place(
            sha256=self.sha256, stream=self.stream, day=self.day, media_type=self.media_type
        )

    def key(self, part: int) -> str:
        """Where a part lies until the blob is whole; no route reads there."""
        return f"uploads/{self.user_id}/{self.upload_id}/{part:05}"


class Uploads:
    """Every method raises UnavailableError where a store is down, and NotFoundError for an upload
    that is another user's, or none, or expired.
    """

    def __init__(
        self,
        *,
        pool: AsyncConnectionPool,
        blobs: BlobStore,
        own: OwnBlobs,
        public_endpoint: str | None,
    ) -> None:
        """`public_endpoint`: the object store as clients see it; None = as AM sees it."""
        self._pool = pool
        self._blobs = blobs
        self._own = own
        self._public_endpoint = public_endpoint

    async def begin(self, user_id: str, place: Place) -> UploadState:
        """Begin an upload in parts, or go on with the one that was begun for the same blob.

        Raises: NotFoundError, MalformedBodyError, ConflictError for too many at once.
        """
        upload = await self._begin(user_id, place, is_presigned=False)
        return _state(upload, await self._parts(upload))

    async def presign(self, user_id: str, place: Place) -> Presigned:
        """Begin an upload that goes to the object store itself, or give its address anew.

        Raises: as `begin`.
        """
        upload = await self._begin(user_id, place, is_presigned=True)
        url = self._blobs.presigned_put(
            upload.key(1), valid_for=PRESIGNED_FOR, endpoint=self._public_endpoint
        )
        until = datetime.now(UTC) + PRESIGNED_FOR
        return Presigned(upload_id=upload.upload_id, url=url, expires_at=until)

    async def put_part(
        self, user_id: str, upload_id: UUID, part: int, pieces: AsyncIterator[bytes]
    ) -> Part:
        """Store a part; sending it again replaces it. Raises: ConflictError, TooLargeError."""
        upload = await self._upload(user_id, upload_id)
        if upload.finished_at is not None or upload.is_presigned:
            raise ConflictError("this upload takes no parts: it is finished or presigned")
        others = sum(p.byte_count for p in await self._parts(upload) if p.part != part)
        with spool(self._own.limit) as received:
            await received.fill(pieces)
            if others + received.byte_count > self._own.limit.byte_count:
                raise self._own.limit.exceeded()
            await self._own.put(upload.key(part), received, ANY_TYPE)
            told = Part(part=part, byte_count=received.byte_count, sha256=received.sha256)
        await self._execute(NOTE_PART, (upload_id, part, told.byte_count, told.sha256))
        return told

    async def state(self, user_id: str, upload_id: UUID) -> UploadState:
        """Which parts are there."""
        upload = await self._upload(user_id, upload_id)
        return _state(upload, await self._parts(upload))

    async def complete(self, user_id: str, upload_id: UUID) -> Stored:
        """Make one blob of the parts. May be called again, and by several at once.

        Raises: ConflictError where parts are missing, TooLargeError, MismatchError.
        """
        upload = await self._upload(user_id, upload_id)
        if upload.finished_at is not None:
            return await self._finished(upload)
        numbers = await self._numbers(upload)
        with spool(self._own.limit) as whole:
            with translating():
                try:
                    await asyncio.to_thread(whole.append_all, self._pieces(upload, numbers))
                except BlobAbsentError:
                    # The same request, sent twice: the other copy was faster and has tidied up.
                    upload = await self._upload(user_id, upload_id)
                    if upload.finished_at is None:
                        raise
                    return await self._finished(upload)
            stored = await self._own.store(user_id, upload.place, whole)
        await self._execute(FINISH, (upload_id,))
        await self._remove(upload, numbers)
        return stored

    async def cancel(self, user_id: str, upload_id: UUID) -> None:
        """Forget an upload and its parts; a blob that it has made stays."""
        await self._forget(await self._upload(user_id, upload_id))

    async def _begin(self, user_id: str, place: Place, *, is_presigned: bool) -> _Upload:
        self._own.check(place)
        await self._sweep()
        media_type = media_type_of(place.media_type)
        told = (user_id, place.stream, place.day, place.sha256, media_type, is_presigned)
        with translating():
            async with self._pool.connection() as connection:
                cursor = connection.cursor(row_factory=class_row(_Upload))
                # A client that lost the answer begins anew: it must not fill up its own room.
                upload = await (await cursor.execute(FIND_OPEN, told)).fetchone()
                if upload is None:
                    await _check_open(connection, user_id)
                    made = await cursor.execute(BEGIN, (*told, KEEP_UNFINISHED))
                    upload = await made.fetchone()
        assert upload is not None
        return upload

    async def _upload(self, user_id: str, upload_id: UUID) -> _Upload:
        with translating():
            async with self._pool.connection() as connection:
                cursor = connection.cursor(row_factory=class_row(_Upload))
                found = await (await cursor.execute(FIND, (upload_id, user_id))).fetchone()
        if found is None:
            raise NotFoundError(f"there is no upload {upload_id}; one lives for 7 days")
        return found

    async def _parts(self, upload: _Upload) -> list[Part]:
        with translating():
            async with self._pool.connection() as connection:
                cursor = connection.cursor(row_factory=class_row(Part))
                return await (await cursor.execute(PARTS, (upload.upload_id,))).fetchall()

    async def _numbers(self, upload: _Upload) -> list[int]:
        """The parts to put together. Raises: ConflictError where some are missing."""
        if upload.is_presigned:
            return [1]
        numbers = [part.part for part in await self._parts(upload)]
        absent = sorted(set(range(1, max(numbers, default=1) + 1)) - set(numbers))
        if absent:
            raise ConflictError(f"parts are missing: {', '.join(map(str, absent[:20]))}")
        return numbers

    def _pieces(self, upload: _Upload, numbers: Sequence[int]) -> Iterator[bytes]:
        # What came past AM is in the clear until it is put together.
        read = self._blobs.received if upload.is_presigned else self._blobs.read
        for number in numbers:
            yield from read(upload.key(number))

    async def _finished(self, upload: _Upload) -> Stored:
        for sha256, key, byte_count in await self._own.find(upload.user_id, [upload.sha256]):
            stored = self._own.at(upload.user_id, upload.place, byte_count=byte_count)
            if (stored.sha256, stored.blob_key) == (sha256, key):
                return stored
        raise NotFoundError("the blob of this upload has been erased")

    async def _sweep(self) -> None:
        """Forget some of what nobody has finished: whoever begins anew cleans up a little."""
        with translating():
            async with self._pool.connection() as connection:
                cursor = connection.cursor(row_factory=class_row(_Upload))
                expired = await (await cursor.execute(EXPIRED, (SWEPT_AT_ONCE,))).fetchall()
        for upload in expired:
            await self._forget(upload)

    async def _forget(self, upload: _Upload) -> None:
        # Also a presigned one's, which has no line, and may have been put again by its URL.
        parts = {1, *(part.part for part in await self._parts(upload))}
        await self._remove(upload, sorted(parts))
        await self._execute(FORGET, (upload.upload_id,))

    async def _remove(self, upload: _Upload, numbers: Sequence[int]) -> None:
        with translating():
            await asyncio.to_thread(self._blobs.remove_all, [upload.key(n) for n in numbers])

    async def _execute(self, statement: str, parameters: Sequence[object]) -> None:
        with translating():
            async with self._pool.connection() as connection:
                await connection.execute(statement.encode(), parameters)


async def _check_open(connection: AsyncConnection, user_id: str) -> None:
    row = await (await connection.execute(COUNT_OPEN, (user_id,))).fetchone()
    if row is not None and row[0] >= MAX_OPEN:
        raise ConflictError(
            f"{MAX_OPEN} uploads are open: complete or delete some (begun anew, each tells its id)"
        )


def _state(upload: _Upload, parts: list[Part]) -> UploadState:
    return UploadState(
        upload_id=upload.upload_id,
        sha256=upload.sha256,
        expires_at=upload.expires_at,
        is_finished=upload.finished_at is not None,
        parts=parts,
    )
