"""Sealing again what lies in the clear, or under a key that has been retired.

One blob after the other, each noted when it is done: it may be ended at any time and called again.
"""

import hashlib
import io
import logging
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import psycopg
from psycopg.rows import class_row

from resources import removals
from resources.blobs import BlobAbsentError, BlobCorruptError, BlobStore, user_of
from resources.connections import Connections
from resources.keys import KeyRing

log = logging.getLogger(__name__)

NAMED_BY_HASH = re.compile(r"/([0-9a-f]{64})$")
# A minute, because a blob may be sealed just before the key is retired, and noted just after it.
TO_DO = """
WITH named AS (
    SELECT user_id, blob_key, is_sealed, sealed_key_id, stored_at, true AS is_blob FROM am.blob
    UNION ALL
    SELECT user_id, payload_key, is_sealed, sealed_key_id, received_at, false FROM am.dead_letter
    WHERE payload_key IS NOT NULL
), newest AS (
    SELECT user_id, key_id, (
        SELECT max(retired_at) + interval '1 minute' FROM am.data_key AS older
        WHERE older.user_id = current.user_id AND older.destroyed_at IS NULL
    ) AS begin_at FROM am.data_key AS current WHERE retired_at IS NULL
), to_do AS (
    SELECT user_id, blob_key, is_sealed, is_blob FROM named LEFT JOIN newest USING (user_id)
    WHERE NOT is_sealed OR CASE WHEN sealed_key_id IS NULL THEN stored_at < begin_at
        ELSE begin_at IS NOT NULL AND sealed_key_id <> key_id END
)
"""
ONE_USER = "WHERE %(user)s::text IS NULL OR user_id = %(user)s"
COUNT = f"""{TO_DO} SELECT user_id, count(*) FILTER (WHERE NOT is_sealed) AS in_the_clear,
    count(*) FILTER (WHERE is_sealed) AS under_older_keys
FROM to_do {ONE_USER} GROUP BY user_id ORDER BY user_id"""
LIST = f"{TO_DO} SELECT blob_key, is_blob FROM to_do {ONE_USER} ORDER BY user_id, blob_key"
# Who removes blobs for good, or copies them, is not at it at the same time: one that is gone is not
# brought back by being sealed, and a backup's blobs are all under keys that it has too.
NOBODY_ELSE = f"SELECT pg_advisory_xact_lock({removals.LOCK})"
LOCK_BLOB = "SELECT 1 FROM am.blob WHERE user_id = %s AND blob_key = %s FOR UPDATE"
LOCK_LETTER = "SELECT 1 FROM am.dead_letter WHERE user_id = %s AND payload_key = %s FOR UPDATE"
NOTE_BLOB = """UPDATE am.blob SET is_sealed = true, sealed_key_id = %s
WHERE user_id = %s AND blob_key = %s"""
NOTE_LETTER = """UPDATE am.dead_letter SET is_sealed = true, sealed_key_id = %s
WHERE user_id = %s AND payload_key = %s"""
LINE = {True: LOCK_BLOB, False: LOCK_LETTER}
NOTE = {True: NOTE_BLOB, False: NOTE_LETTER}


@dataclass(frozen=True)
class ToSeal:
    """How many of a user's blobs are not under the newest key."""

    user_id: str
    in_the_clear: int
    under_older_keys: int


@dataclass
class Resealed:
    """What was done. `damaged` are left as they are, and listed by key."""

    sealed_count: int = 0
    gone_count: int = 0
    damaged: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Resealing:
    """The blobs of one database and object store."""

    connections: Connections

    def to_do(self, user_id: str | None = None) -> list[ToSeal]:
        """By user (None = all of them); who has nothing to do is left out."""
        with psycopg.connect(self.connections.database_url) as connection:
            cursor = connection.cursor(row_factory=class_row(ToSeal))
            return cursor.execute(COUNT.encode(), {"user": user_id}).fetchall()

    def run(
        self,
        user_id: str | None = None,
        *,
        on_progress: Callable[[Resealed], None] = lambda _: None,
    ) -> Resealed:
        """Do all that there is to do when it begins.

        Raises: psycopg.Error, resources.blobs.BlobUnreachableError; it goes on at the next call.
        """
        done = Resealed()
        url = self.connections.database_url
        blobs, keys = BlobStore(self.connections), KeyRing(self.connections)
        with (
            psycopg.connect(url) as lister,
            lister.cursor(name="to_seal") as cursor,  # on the server: they may be millions
            psycopg.connect(url, autocommit=True) as connection,
        ):
            cursor.execute(LIST.encode(), {"user": user_id})
            for key, is_blob in cursor:
                _Turn(connection, blobs, keys, done).reseal(key, is_blob=is_blob)
                on_progress(done)
        return done


@dataclass(frozen=True)
class _Turn:
    connection: psycopg.Connection[Any]
    blobs: BlobStore
    keys: KeyRing
    done: Resealed

    def reseal(self, key: str, *, is_blob: bool) -> None:
        whose = (user_of(key), key)
        with self.connection.transaction():
            self.connection.execute(NOBODY_ELSE)
            if self.connection.execute(LINE[is_blob].encode(), whose).fetchone() is None:
                return
            newest = self.keys.current(whose[0]).key_id
            try:
                key_id = self._sealed(key, newest)
                self.done.sealed_count += 1
            except BlobAbsentError:
                key_id = newest  # there is nothing left to do
                self.done.gone_count += 1
            except BlobCorruptError as error:
                log.warning("left as it is: %s", error)
                self.done.damaged.append(key)
                return
            self.connection.execute(NOTE[is_blob].encode(), (key_id, *whose))

    def _sealed(self, key: str, newest: UUID) -> UUID:
        """Which key seals it now; what is under the newest already stays as it is."""
        if self.blobs.key_of(key) == newest:
            return newest
        size = self.blobs.facts(key).byte_count
        named = NAMED_BY_HASH.search(key)
        content = _Checked(
            self.blobs.read(key), key=key, size=size, sha256=named[1] if named else None
        )
        return self.blobs.reseal(key, io.BufferedReader(content))


class _Checked(io.RawIOBase):
    """Pieces as a file, whose last byte is given only once all were seen to be what they should."""

    def __init__(self, pieces: Iterator[bytes], *, key: str, size: int, sha256: str | None) -> None:
        self._pieces = pieces
        self._key = key
        self._left = size
        self._sha256 = sha256
        self._digest = hashlib.sha256()
        self._held = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._held and self._left:
            self._held = next(self._pieces, b"")
            if not self._held:
                raise BlobCorruptError(f"the blob {self._key!r} is cut off")
            self._digest.update(self._held)
            self._left -= len(self._held)
            if self._left <= 0:
                self._check_all()
        given = self._held[: len(buffer)]
        buffer[: len(given)] = given
        self._held = self._held[len(given) :]
        return len(given)

    def _check_all(self) -> None:
        """The end: a sealed blob is verified to its end, one in the clear has to fit its name."""
        if next(self._pieces, b"") or self._left:
            raise BlobCorruptError(f"the blob {self._key!r} is longer than it was")
        if self._sha256 and self._digest.hexdigest() != self._sha256:
            raise BlobCorruptError(f"the blob {self._key!r} has not the hash that names it")
