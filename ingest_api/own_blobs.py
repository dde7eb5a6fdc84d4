"""A user's blobs by their SHA-256: stored, asked for, and read for the messages that name them.

Blobs are content-addressed per user: one lies under its user, stream, day and SHA-256, and no user
can ask for, or learn of, another's. Bytes are stored under that name only once they were seen to
have that hash. `am.blob` knows all of a user's blobs, those too that came inside of messages.
"""

import asyncio
import hashlib
import logging
import re
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from datetime import date

from psycopg_pool import AsyncConnectionPool
from pydantic import BaseModel, ConfigDict, Field

from am_assets.streams.registry import Registry, UnknownStreamError
from am_assets.streams.stream import Stream
from ingest_api.border import translating
from ingest_api.elements import blob_key
from ingest_api.envelope import StoredBlob
from ingest_api.errors import MalformedBodyError, MismatchError, NotFoundError
from ingest_api.limits import BodyLimit
from ingest_api.spool import Spool, spool
from resources.blobs import BlobCorruptError, BlobStore

log = logging.getLogger(__name__)

SHA256 = r"^[0-9a-f]{64}$"
MEDIA_TYPE = re.compile(r"^[a-z]+/[A-Za-z0-9.+-]+(;[ -~]*)?$")
MAX_MEDIA_TYPE = 200
ANY_TYPE = "application/octet-stream"

NOTE = """
INSERT INTO am.blob (user_id, sha256, blob_key, byte_count, media_type) VALUES (%s, %s, %s, %s, %s)
ON CONFLICT DO NOTHING
"""
FIND = """
SELECT sha256, blob_key, byte_count FROM am.blob WHERE user_id = %s AND sha256 = ANY(%s)
ORDER BY sha256, blob_key
"""


class Spot(BaseModel):
    """Where a blob belongs, and what it is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stream: str = Field(description="The stream of the message that will name it.")
    day: date = Field(description="The UTC day of that message's time.")
    media_type: str = Field(default=ANY_TYPE, description="As the client knows it.")


class Place(Spot):
    """Where a blob belongs, and its name there."""

    sha256: str = Field(pattern=SHA256, description="Of the bytes, in lower-case hexadecimal.")


class Stored(BaseModel):
    """A blob that is stored. A message of its stream names it as `blob_sha256`."""

    sha256: str
    blob_key: str = Field(description="Under /v1/blobs/ the bytes are to be had again.")
    byte_count: int
    media_type: str


class OwnBlobs:
    """The blobs of each user. Every method raises UnavailableError where a store is down."""

    def __init__(
        self,
        *,
        pool: AsyncConnectionPool,
        blobs: BlobStore,
        registry: Registry,
        limit: BodyLimit,
    ) -> None:
        """`limit` is for one blob, and for all blobs that one request names."""
        self._pool = pool
        self._blobs = blobs
        self._registry = registry
        self.limit = limit

    async def receive(
        self, user_id: str, spot: Spot, pieces: AsyncIterator[bytes], *, sha256: str | None
    ) -> Stored:
        """Store a body; without a `sha256` it is named by the one it has.

        Raises: NotFoundError, MalformedBodyError, TooLargeError, MismatchError.
        """
        self.check(spot)
        with spool(self.limit) as received:
            await received.fill(pieces)
            named = {**spot.model_dump(), "sha256": sha256 or received.sha256}
            return await self.store(user_id, Place.model_validate(named), received)

    async def store(self, user_id: str, place: Place, content: Spool) -> Stored:
        """Store what a spool holds, if it is what its place says.

        Raises: MalformedBodyError, MismatchError.
        """
        if content.byte_count == 0:
            raise MalformedBodyError("the body holds 0 bytes")
        if content.sha256 != place.sha256:
            raise MismatchError(f"these bytes have the SHA-256 {content.sha256}: send them again")
        stored = self.at(user_id, place, byte_count=content.byte_count)
        await self.put(stored.blob_key, content, stored.media_type)
        await self._note(user_id, stored)
        return stored

    async def put(self, key: str, content: Spool, media_type: str) -> None:
        """Put what a spool holds into the object store."""
        with translating():
            await asyncio.to_thread(
                self._blobs.put_file,
                key,
                content.opened(),
                byte_count=content.byte_count,
                media_type=media_type,
            )

    async def missing(self, user_id: str, hashes: Sequence[str]) -> list[str]:
        """Those of which the user has no blob, in the order asked. The store itself is asked."""
        keys = {key: sha256 for sha256, key, _ in await self.find(user_id, hashes)}
        with translating():
            gone = await asyncio.to_thread(self._blobs.absent, keys)
        present = {sha256 for key, sha256 in keys.items() if key not in gone}
        return [sha256 for sha256 in dict.fromkeys(hashes) if sha256 not in present]

    async def named(self, user_id: str, hashes: Collection[str]) -> Mapping[str, StoredBlob]:
        """The user's blobs by hash, with their bytes; those that are not there are left out.

        Raises: TooLargeError where they are more, together, than one blob may be.
        """
        keys: dict[str, set[str]] = {}
        sizes: dict[str, int] = {}
        for sha256, key, byte_count in await self.find(user_id, hashes):
            keys.setdefault(sha256, set()).add(key)
            sizes[sha256] = byte_count
        if sum(sizes.values()) > self.limit.byte_count:
            raise self.limit.exceeded()
        with translating():
            return await asyncio.to_thread(self._fetch, keys)

    def at(self, user_id: str, place: Place, *, byte_count: int) -> Stored:
        """What a blob at this place is called. Raises: as `check`."""
        stream = self.check(place)
        return Stored(
            sha256=place.sha256,
            blob_key=blob_key(stream, user_id=user_id, day=place.day, sha256=place.sha256),
            byte_count=byte_count,
            media_type=media_type_of(place.media_type),
        )

    def check(self, spot: Spot) -> Stream:
        """The stream, if it takes blobs. Raises: NotFoundError, MalformedBodyError."""
        try:
            stream = self._registry[spot.stream]
        except UnknownStreamError as error:
            raise NotFoundError(str(error)) from error
        if stream.blob is None or stream.is_derived:
            raise MalformedBodyError(f"the stream {spot.stream!r} takes no blobs")
        return stream

    async def find(self, user_id: str, hashes: Collection[str]) -> list[tuple[str, str, int]]:
        """SHA-256, key and size of each blob that is known to be stored."""
        with translating():
            async with self._pool.connection() as connection:
                cursor = await connection.execute(FIND, (user_id, list(hashes)))
                return [(row[0], row[1], row[2]) for row in await cursor.fetchall()]

    def _fetch(self, keys: Mapping[str, set[str]]) -> dict[str, StoredBlob]:
        found: dict[str, StoredBlob] = {}
        for sha256, candidates in keys.items():
            present = candidates - self._blobs.absent(candidates)
            content = self._whole(min(present), sha256) if present else None
            if content is not None:
                found[sha256] = StoredBlob(content=content, keys=frozenset(present))
        return found

    def _whole(self, key: str, sha256: str) -> bytes | None:
        """The content, or None where it is damaged: then it has to be sent again."""
        try:
            content = self._blobs.get(key)
        except BlobCorruptError:
            log.exception("a blob is not what was stored")
            return None
        if hashlib.sha256(content).hexdigest() != sha256:
            log.error("a blob is not what was stored: %s", key)
            return None
        return content

    async def _note(self, user_id: str, stored: Stored) -> None:
        told = (stored.sha256, stored.blob_key, stored.byte_count, stored.media_type)
        with translating():
            async with self._pool.connection() as connection:
                await connection.execute(NOTE, (user_id, *told))


def media_type_of(named: str) -> str:
    """A media type that can be given out again; bytes of any type where it is none. Pure."""
    return named if MEDIA_TYPE.match(named) and len(named) <= MAX_MEDIA_TYPE else ANY_TYPE
