"""Blobs in the object store: put, looked at, read whole or in part, removed.

What is stored is sealed under the user's key on the way in and opened on the way out: nobody else
reads or writes the object store's bytes. The second part of a blob's key names the user.

BlobError
├── BlobAbsentError         there is none by that key
│   └── BlobErasedError     the key that it was sealed with is destroyed
├── BlobCorruptError        the bytes are not those that were stored
└── BlobUnreachableError    the object store does not answer, or does not take data
    └── BlobKeyError        the keys can't be had: nothing can be sealed or opened now
"""

import io
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from itertools import chain
from typing import BinaryIO, cast
from uuid import UUID

import urllib3
from minio import Minio
from minio.error import MinioException
from urllib3 import BaseHTTPResponse

from resources.connections import Connections
from resources.keys import DataKey, DestroyedKeyError, KeyRing, KeyRingError, UnknownKeyError
from resources.master_keys import MasterKeyError
from resources.s3 import Patience, s3_client
from resources.sealed import (
    BEGINNING,
    PIECE,
    TAG,
    Head,
    SealBrokenError,
    Sealing,
    Stretch,
    check_head,
    opened,
    opened_stretch,
    read_head,
)

PARALLEL = 8
PATIENCE = Patience(connect_s=3.0, read_s=60.0, tries_again=1, connections=2 * PARALLEL)
ABSENT = {"NoSuchKey", "NoSuchObject"}
NO_SUCH_RANGE = "InvalidRange"
PARTS = "uploads/"  # parts of what is verified once it is whole
ANY_TYPE = "application/octet-stream"


class BlobError(Exception):
    """A blob that is not stored or not read."""


class BlobAbsentError(BlobError):
    """There is no blob by that key."""


class BlobErasedError(BlobAbsentError):
    """The blob's key is destroyed; nobody can read it any more."""


class BlobCorruptError(BlobError):
    """The stored bytes are not those that were put by this key."""


class BlobUnreachableError(BlobError):
    """The object store does not answer, or does not take data."""


class BlobKeyError(BlobUnreachableError):
    """The master key is missing or wrong, or the data keys can't be read."""


@dataclass(frozen=True)
class BlobFacts:
    """What is known of a blob without reading it. `etag` changes when the bytes do."""

    key: str
    byte_count: int
    media_type: str
    etag: str


@dataclass(frozen=True)
class _Found:
    """A stored blob's beginning. `head` None: it is in the clear. `size` is as it is stored."""

    head: Head | None
    size: int
    media_type: str
    etag: str
    beginning: bytes

    @property
    def byte_count(self) -> int:
        return self.head.byte_count if self.head else self.size


class BlobStore:
    """Blobs by key; the same bytes under the same key may be put any number of times.

    All methods raise BlobUnreachableError where the object store does not answer, and BlobKeyError
    where there is no key to seal or open with.
    """

    def __init__(self, connections: Connections) -> None:
        """Opens nothing yet."""
        self._bucket = connections.s3_bucket
        self._connections = connections
        self._client = self._client_at(connections.s3_endpoint)
        self._pool = ThreadPoolExecutor(PARALLEL, thread_name_prefix="blobs")
        self._keys = KeyRing(connections)

    def put_all(self, blobs: Iterable[tuple[str, bytes, str]]) -> None:
        """Store (key, content, media type)s; returns when all of them are there."""
        left = list(blobs)
        while left:
            keys = self._current_keys({user_of(key) for key, _, _ in left})
            list(self._pool.map(partial(self._put, keys), left))
            stale = self._stale(keys)
            left = [blob for blob in left if user_of(blob[0]) in stale]

    def put_file(self, key: str, content: BinaryIO, *, byte_count: int, media_type: str) -> None:
        """Store what a file that can seek holds from where it stands on; returns when it is there.

        It is never in memory as a whole.
        """
        user_id, begin = user_of(key), content.tell()
        while True:
            keys = self._current_keys({user_id})
            content.seek(begin)
            self._seal(keys[user_id], key, content, byte_count=byte_count, media_type=media_type)
            if not self._stale(keys):
                return

    def get(self, key: str) -> bytes:
        """The content of one blob. Raises: BlobAbsentError, BlobCorruptError."""
        with _told(key), self._client.get_object(self._bucket, key) as answer:
            found = self._begun(key, answer)
            # In one go: in pieces the client takes several times as long.
            rest: bytes = answer.read()
            return b"".join(self._opened(key, found, iter([rest]), found.byte_count))

    def read(self, key: str, *, start: int = 0, byte_count: int = 0) -> Iterator[bytes]:
        """The bytes from `start` on, in pieces; all that follow where `byte_count` is 0.

        No byte is given that was not verified. Raises: BlobAbsentError, BlobCorruptError.
        """
        with _told(key):
            if start == 0:
                yield from self._read_on(key, byte_count)
                return
            found = self._look(key)
            stop = min(found.byte_count, start + byte_count) if byte_count else found.byte_count
            if start < stop:
                yield from self._read_stretch(key, found.head, Stretch(start, stop))

    def received(self, key: str) -> Iterator[bytes]:
        """What a client has put to a presigned address, as it is; it is not sealed yet.

        Raises: BlobAbsentError.
        """
        with _told(key), self._client.get_object(self._bucket, key) as answer:
            yield from answer.stream(PIECE)

    def facts(self, key: str) -> BlobFacts:
        """Size, type and tag. Raises: BlobAbsentError, BlobCorruptError."""
        with _told(key):
            found = self._look(key)
            if found.head:
                check_head(found.head, secret=self._secret(key, found.head), name=key)
        return BlobFacts(key, found.byte_count, found.media_type, found.etag)

    def absent(self, keys: Iterable[str]) -> set[str]:
        """Those of the keys under which there is nothing that can be read."""
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
        """A URL to which anybody may put one blob for a while; `received` reads it.

        `endpoint`: the object store as clients see it, where that is not as AM sees it.
        """
        address = endpoint or self._connections.s3_endpoint
        client = self._client_at(address)
        url: str = client.presigned_put_object(self._bucket, key, expires=valid_for)
        return url

    def check(self) -> None:
        """Raises: BlobUnreachableError when the bucket can't be reached; BlobKeyError."""
        with _told(self._bucket):
            has_bucket = self._client.bucket_exists(self._bucket)
            self._keys.check()
        if not has_bucket:
            raise BlobUnreachableError(f"the object store has no bucket {self._bucket!r}")

    def listed(self, folder: str) -> list[str]:
        """The keys of all that lies below a folder of the store, `blobs/ada/`."""
        with _told(folder):
            found = self._client.list_objects(self._bucket, prefix=folder, recursive=True)
            return [one.object_name for one in found if one.object_name and not one.is_dir]

    def key_of(self, key: str) -> UUID | None:
        """Which data key a blob is sealed with; None = it is in the clear.

        Raises: BlobAbsentError, BlobCorruptError.
        """
        with _told(key):
            head = self._look(key).head
        return head.key_id if head else None

    def reseal(self, key: str, content: BinaryIO) -> UUID:
        """Replace a blob by the same content, sealed with the user's newest key; returns its id.

        `content`: all of it, once, checked by whoever gives it. Raises: BlobAbsentError.
        """
        with _told(key):
            found = self._look(key)
            newest = self._keys.current(user_of(key))
        size, media_type = found.byte_count, found.media_type
        self._seal(newest, key, content, byte_count=size, media_type=media_type)
        return newest.key_id

    def _client_at(self, endpoint: str) -> Minio:
        place = self._connections
        return s3_client(
            endpoint,
            access_key=place.s3_access_key,
            secret_key=place.s3_secret_key,
            patience=PATIENCE,
        )

    def _put(self, keys: Mapping[str, DataKey], blob: tuple[str, bytes, str]) -> None:
        key, content, media_type = blob
        file, size = io.BytesIO(content), len(content)
        self._seal(keys[user_of(key)], key, file, byte_count=size, media_type=media_type)

    def _seal(
        self, data_key: DataKey, key: str, content: BinaryIO, *, byte_count: int, media_type: str
    ) -> None:
        sealing = Sealing(
            content,
            byte_count=byte_count,
            key_id=data_key.key_id,
            secret=data_key.secret,
            name=key,
        )
        file = cast("BinaryIO", sealing)  # of a file, the client only reads
        with _told(key):
            self._client.put_object(self._bucket, key, file, sealing.size, content_type=media_type)

    def _current_keys(self, users: Iterable[str]) -> dict[str, DataKey]:
        with _told("keys"):
            return {user_id: self._keys.current(user_id) for user_id in users}

    def _stale(self, keys: Mapping[str, DataKey]) -> set[str]:
        """Users whose key was retired or destroyed meanwhile: what it sealed may be lost."""
        with _told("keys"):
            current = self._keys.still_current(keys.values())
        return {user_id for user_id, key in keys.items() if key.key_id not in current}

    def _secret(self, key: str, head: Head) -> bytes:
        return self._keys.find(user_of(key), head.key_id).secret

    def _look(self, key: str) -> _Found:
        """The beginning alone."""
        with self._client.get_object(self._bucket, key, length=BEGINNING) as answer:
            return self._begun(key, answer)

    def _begun(self, key: str, answer: BaseHTTPResponse) -> _Found:
        """What the first bytes tell, and the headers."""
        beginning: bytes = answer.read(BEGINNING)
        told = answer.headers
        size = int(told.get("Content-Range", told["Content-Length"]).rpartition("/")[2])
        head = read_head(beginning)
        if head is None:
            self._require_clear(key)
        elif head.sealed_size != size:
            raise SealBrokenError(f"it holds {size} bytes instead of {head.sealed_size}")
        kind, tag = told.get("Content-Type", ANY_TYPE), told.get("ETag", "").strip('"')
        return _Found(head, size, kind, tag, beginning)

    def _require_clear(self, key: str) -> None:
        """Let pass what was stored before there were keys, and nothing that was slipped in."""
        if not key.startswith(PARTS) and not self._keys.is_in_the_clear(key):
            raise SealBrokenError("it is not sealed, and was not stored before there were keys")

    def _read_on(self, key: str, byte_count: int) -> Iterator[bytes]:
        """From the beginning on, in one request."""
        asked = BEGINNING + Stretch(0, byte_count).length + TAG if byte_count else 0
        with self._client.get_object(self._bucket, key, length=asked) as answer:
            found = self._begun(key, answer)
            stop = min(found.byte_count, byte_count or found.byte_count)
            yield from self._opened(key, found, answer.stream(PIECE), stop)

    def _opened(self, key: str, found: _Found, rest: Iterator[bytes], stop: int) -> Iterator[bytes]:
        """The first `stop` bytes of the content; `rest`: what follows the beginning."""
        if found.head is None:
            return _cut(chain([found.beginning], rest), stop)
        secret = self._secret(key, found.head)
        if stop == found.byte_count:
            return opened(found.head, rest, secret=secret, name=key)
        return opened_stretch(found.head, rest, Stretch(0, stop), secret=secret, name=key)

    def _read_stretch(self, key: str, head: Head | None, stretch: Stretch) -> Iterator[bytes]:
        if head is None:
            length = stretch.stop - stretch.start
            with self._client.get_object(self._bucket, key, stretch.start, length) as answer:
                yield from answer.stream(PIECE)
            return
        secret = self._secret(key, head)
        with self._client.get_object(self._bucket, key, stretch.offset, stretch.length) as answer:
            chunks = answer.stream(PIECE)
            yield from opened_stretch(head, chunks, stretch, secret=secret, name=key)

    def _has(self, key: str) -> bool:
        try:
            self.facts(key)
        except (BlobAbsentError, BlobCorruptError):
            return False
        return True

    def _remove(self, key: str) -> None:
        with _told(key):
            self._client.remove_object(self._bucket, key)


def user_of(key: str) -> str:
    """Whose blob it is. Raises: ValueError where the key tells nobody."""
    _, _, rest = key.partition("/")
    user_id, _, name = rest.partition("/")
    if not user_id or not name:
        raise ValueError(f"{key!r} is not <kind>/<user>/<name>")
    return user_id


def _cut(pieces: Iterable[bytes], byte_count: int) -> Iterator[bytes]:
    """The first bytes of all."""
    for piece in pieces:
        if byte_count and piece:
            yield piece[:byte_count]
            byte_count -= len(piece[:byte_count])


@contextmanager
def _told(key: str) -> Iterator[None]:
    """The one border to the errors of the object store, the keys and the seals."""
    try:
        yield
    except (MinioException, urllib3.exceptions.HTTPError) as error:
        if getattr(error, "code", None) in ABSENT:
            raise BlobAbsentError(f"there is no blob {key!r}") from error
        if getattr(error, "code", None) == NO_SUCH_RANGE:
            raise BlobCorruptError(f"the blob {key!r} is damaged: it ends early") from error
        raise BlobUnreachableError(f"the object store does not answer: {error}") from error
    except DestroyedKeyError as error:
        raise BlobErasedError(f"the blob {key!r} is erased: {error}") from error
    except (SealBrokenError, UnknownKeyError) as error:
        raise BlobCorruptError(f"the blob {key!r} is damaged: {error}") from error
    except (KeyRingError, MasterKeyError) as error:
        raise BlobKeyError(str(error)) from error
