"""Blobs as they are read: facts first, then any stretch of the bytes, piece by piece."""

from collections.abc import Iterator
from dataclasses import dataclass

import urllib3
from minio import Minio
from minio.error import MinioException

from resources.connections import REGION, Connections

CONNECT_S, READ_S = 3.0, 60.0
PIECE = 1 << 18
ABSENT = {"NoSuchKey", "NoSuchObject"}


class BlobError(Exception):
    """A blob that is not read.

    BlobError
    ├── BlobAbsentError      there is none by that key
    └── BlobUnreachableError the object store does not answer
    """


class BlobAbsentError(BlobError):
    """There is no blob by that key."""


class BlobUnreachableError(BlobError):
    """The object store does not answer."""


@dataclass(frozen=True)
class BlobFacts:
    """What is known of a blob without reading it. `etag` changes when the bytes do."""

    key: str
    byte_count: int
    media_type: str
    etag: str


class BlobReader:
    """Reads the bucket that the front door writes to."""

    def __init__(self, connections: Connections) -> None:
        """Opens nothing yet."""
        self._bucket = connections.s3_bucket
        self._client = Minio(
            connections.s3_host,
            access_key=connections.s3_access_key,
            secret_key=connections.s3_secret_key,
            secure=connections.is_s3_secure,
            region=REGION,
            http_client=urllib3.PoolManager(
                timeout=urllib3.Timeout(connect=CONNECT_S, read=READ_S),
                retries=urllib3.Retry(total=1),
            ),
        )

    def facts(self, key: str) -> BlobFacts:
        """Size, type and tag. Raises: BlobAbsentError, BlobUnreachableError."""
        try:
            found = self._client.stat_object(self._bucket, key)
        except (MinioException, urllib3.exceptions.HTTPError) as error:
            raise _translated(error, key) from error
        media_type = found.content_type or "application/octet-stream"
        return BlobFacts(key, found.size or 0, media_type, found.etag or "")

    def read(self, key: str, *, start: int, byte_count: int) -> Iterator[bytes]:
        """`byte_count` bytes (at least 1) from `start` on, in pieces.

        Raises: BlobAbsentError, BlobUnreachableError.
        """
        try:
            answer = self._client.get_object(self._bucket, key, offset=start, length=byte_count)
        except (MinioException, urllib3.exceptions.HTTPError) as error:
            raise _translated(error, key) from error
        with answer:
            yield from answer.stream(PIECE)


def _translated(error: Exception, key: str) -> BlobError:
    if getattr(error, "code", None) in ABSENT:
        return BlobAbsentError(f"there is no blob {key!r}")
    return BlobUnreachableError(f"the object store does not answer: {error}")
