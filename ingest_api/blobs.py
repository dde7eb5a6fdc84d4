"""Bytes to and from the object store."""

import io
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import urllib3
from minio import Minio
from minio.error import MinioException

from ingest_api.errors import NotFoundError, UnavailableError
from resources.connections import REGION, Connections

CONNECT_S, READ_S = 3.0, 60.0
PARALLEL = 8
PIECE = 1 << 20


class BlobStore:
    """Puts and gets whole blobs by key; the keys of the same bytes are the same."""

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
                maxsize=2 * PARALLEL,
            ),
        )
        self._pool = ThreadPoolExecutor(PARALLEL, thread_name_prefix="blobs")

    def put_all(self, blobs: Iterable[tuple[str, bytes, str]]) -> None:
        """Store (key, content, media type)s; returns when all of them are there.

        Raises: UnavailableError when the object store does not take one.
        """
        list(self._pool.map(lambda blob: self._put(*blob), blobs))

    def get(self, key: str) -> bytes:
        """The content of one blob.

        Raises: NotFoundError, UnavailableError.
        """
        return b"".join(self.stream(key))

    def stream(self, key: str) -> Iterator[bytes]:
        """The content of one blob, piece by piece.

        Raises: NotFoundError, UnavailableError.
        """
        try:
            answer = self._client.get_object(self._bucket, key)
        except (MinioException, urllib3.exceptions.HTTPError) as error:
            raise _translated(error, key) from error
        with answer:
            yield from answer.stream(PIECE)

    def check(self) -> None:
        """Raises: UnavailableError when the bucket can't be reached."""
        try:
            if not self._client.bucket_exists(self._bucket):
                raise UnavailableError(f"the object store has no bucket {self._bucket!r}")
        except (MinioException, urllib3.exceptions.HTTPError) as error:
            raise UnavailableError(f"the object store does not answer: {error}") from error

    def _put(self, key: str, content: bytes, media_type: str) -> None:
        try:
            self._client.put_object(
                self._bucket, key, io.BytesIO(content), len(content), content_type=media_type
            )
        except (MinioException, urllib3.exceptions.HTTPError) as error:
            raise UnavailableError(f"the object store does not take data: {error}") from error


def _translated(error: Exception, key: str) -> Exception:
    if getattr(error, "code", None) in ("NoSuchKey", "NoSuchObject"):
        return NotFoundError(f"there is no blob {key!r}")
    return UnavailableError(f"the object store does not answer: {error}")
