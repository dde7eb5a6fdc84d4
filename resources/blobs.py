"""Blobs in the object store: put, looked at, read whole or in part, removed.

BlobError
├── BlobAbsentError       there is none by that key
└── BlobUnreachableError  the object store does not answer, or does not take data
"""

import io
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import BinaryIO

import urllib3
from minio import Minio
from minio.error import MinioException

from resources.connections import REGION, Connections

CONNECT_S, READ_S = 3.0, 60.0
PARALLEL = 8
PIECE = 1 << 18
ABSENT = {"NoSuchKey", "NoSuchObject"}


class BlobError(Exception):
    """A blob that is not stored or not read."""


class BlobAbsentError(BlobError):
    """There is no blob by that key."""


class BlobUnreachableError(BlobError):
    """The object store does not answer, or does not take data."""


@dataclass(frozen=True)
class BlobFacts:
    """What is known of a blob without reading it. `etag` changes when the bytes do."""

    key: str
    byte_count: int
    media_type: str
    etag: str


class BlobStore:
    """Blobs by key; the same bytes under the same key may be put any number of times.

    All methods raise BlobUnreachableError where the object store does not answer.
    """

    def __init__(self, connections: Connections) -> None:
        """Opens nothing yet."""
        self._bucket = connections.s3_bucket
        self._connections = connections
        self._client = _client(connections, connections.s3_host, is_secure=connections.is_s3_secure)
        self._pool = ThreadPoolExecutor(PARALLEL, thread_name_prefix="blobs")

    def put_all(self, blobs: Iterable[tuple[str, bytes, str]]) -> None:
        """Store (key, content, media type)s; returns when all of them are there."""
        list(self._pool.map(lambda blob: self._put(*blob), blobs))

    def put_file(self, key: str, content: BinaryIO, *, byte_count: int, media_type: str) -> None:
        """Store what a file holds from where it stands on; returns when it is there."""
        with _told(key):
            self._client.put_object(self._bucket, key, content, byte_count, content_type=media_type)

    def get(self, key: str) -> bytes:
        """The content of one blob. Raises: BlobAbsentError."""
        with _told(key), self._client.get_object(self._bucket, key) as answer:
            content: bytes = answer.read()
            return content

    def read(self, key: str, *, start: int = 0, byte_count: int = 0) -> Iterator[bytes]:
        """The bytes from `start` on, in pieces; all that follow where `byte_count` is 0.

        Raises: BlobAbsentError.
        """
        with (
            _told(key),
            self._client.get_object(self._bucket, key, offset=start, length=byte_count) as answer,
        ):
            yield from answer.stream(PIECE)

    def facts(self, key: str) -> BlobFacts:
        """Size, type and tag. Raises: BlobAbsentError."""
        with _told(key):
            found = self._client.stat_object(self._bucket, key)
        media_type = found.content_type or "application/octet-stream"
        return BlobFacts(key, found.size or 0, media_type, found.etag or "")

    def absent(self, keys: Iterable[str]) -> set[str]:
        """Those of the keys under which there is nothing."""
        asked = list(keys)
        return {
            key
            for key, is_there in zip(asked, self._pool.map(self._has, asked), strict=True)
            if not is_there
        }

    def remove_all(self, keys: Iterable[str]) -> None:
        """Make blobs gone; those that are gone already don't matter."""
        list(self._pool.map(self._remove, keys))

    def presigned_put(self, key: str, *, valid_for: timedelta, endpoint: str | None = None) -> str:
        """A URL to which anybody may put one blob for a while.

        `endpoint`: the object store as clients see it, where that is not as AM sees it.
        """
        address = endpoint or self._connections.s3_endpoint
        host = address.split("://", 1)[-1].rstrip("/")
        client = _client(self._connections, host, is_secure=address.startswith("https://"))
        url: str = client.presigned_put_object(self._bucket, key, expires=valid_for)
        return url

    def check(self) -> None:
        """Raises: BlobUnreachableError when the bucket can't be reached."""
        with _told(self._bucket):
            has_bucket = self._client.bucket_exists(self._bucket)
        if not has_bucket:
            raise BlobUnreachableError(f"the object store has no bucket {self._bucket!r}")

    def _put(self, key: str, content: bytes, media_type: str) -> None:
        self.put_file(key, io.BytesIO(content), byte_count=len(content), media_type=media_type)

    def _has(self, key: str) -> bool:
        try:
            self.facts(key)
        except BlobAbsentError:
            return False
        return True

    def _remove(self, key: str) -> None:
        with _told(key):
            self._client.remove_object(self._bucket, key)


def _client(connections: Connections, host: str, *, is_secure: bool) -> Minio:
    return Minio(
        host,
        access_key=connections.s3_access_key,
        secret_key=connections.s3_secret_key,
        secure=is_secure,
        region=REGION,
        http_client=urllib3.PoolManager(
            timeout=urllib3.Timeout(connect=CONNECT_S, read=READ_S),
            retries=urllib3.Retry(total=1),
            maxsize=2 * PARALLEL,
        ),
    )


@contextmanager
def _told(key: str) -> Iterator[None]:
    """The one border to the object store's own errors."""
    try:
        yield
    except (MinioException, urllib3.exceptions.HTTPError) as error:
        if getattr(error, "code", None) in ABSENT:
            raise BlobAbsentError(f"there is no blob {key!r}") from error
        raise BlobUnreachableError(f"the object store does not answer: {error}") from error
