"""The users' data keys: made when first needed, found by id, retired, destroyed.

KeyRingError
├── UnknownKeyError      the database has no such key of this user
├── DestroyedKeyError    it was destroyed, and what it sealed with it
└── KeyStoreError        the database does not answer, or has no such table yet

The master key's own error, `MasterKeyError`, passes through. A key that was destroyed opens nothing
any more: here at once, in other processes within `REMEMBER_S`.
"""

import os
import threading
import time
import weakref
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import psycopg
from psycopg.rows import class_row

from resources.connections import Connections
from resources.master_keys import KEY_BYTES, MasterKey, MasterKeyError, Wrapped
from resources.removals import LOCK

REMEMBER_S = 30.0
CONNECT_S = 3
AGAIN_AFTER_S = 1.0
IDLE_S = 1.0  # after so long the server may have been restarted

FIND = "SELECT * FROM am.data_key WHERE key_id = %s AND user_id = %s"
FIND_CURRENT = "SELECT * FROM am.data_key WHERE user_id = %s AND retired_at IS NULL"
ARE_CURRENT = "SELECT key_id FROM am.data_key WHERE key_id = ANY(%s) AND retired_at IS NULL"
ALL = "SELECT * FROM am.data_key ORDER BY user_id, created_at"
ONE_A_MASTER = """SELECT DISTINCT ON (master_id) * FROM am.data_key
WHERE destroyed_at IS NULL ORDER BY master_id, key_id"""
MAKE = """INSERT INTO am.data_key (key_id, user_id, wrapped, master_id) VALUES (%s, %s, %s, %s)
ON CONFLICT (user_id) WHERE retired_at IS NULL DO NOTHING"""
RETIRE = "UPDATE am.data_key SET retired_at = now() WHERE user_id = %s AND retired_at IS NULL"
DESTROY = """UPDATE am.data_key SET wrapped = NULL, destroyed_at = now(),
    retired_at = coalesce(retired_at, now()) WHERE user_id = %s AND destroyed_at IS NULL"""
# Otherwise the page on disk keeps the old line for a while.
WIPE = "VACUUM (FULL) am.data_key"
# A backup holds keys and blobs that fit each other: it waits, or this does.
NO_BACKUP = f"SELECT pg_advisory_xact_lock({LOCK})"
# Keys are not made while they are rewrapped.
MAKING = "LOCK TABLE am.data_key IN ROW EXCLUSIVE MODE"
REWRAPPING = "LOCK TABLE am.data_key IN SHARE ROW EXCLUSIVE MODE"
TO_REWRAP = "SELECT * FROM am.data_key WHERE destroyed_at IS NULL AND master_id <> %s"
REWRAP = "UPDATE am.data_key SET wrapped = %s, master_id = %s WHERE key_id = %s"
IS_IN_THE_CLEAR = """
SELECT EXISTS (SELECT 1 FROM am.blob WHERE blob_key = %(key)s AND NOT is_sealed)
    OR EXISTS (SELECT 1 FROM am.dead_letter WHERE payload_key = %(key)s AND NOT is_sealed)"""


class KeyRingError(Exception):
    """A data key that can't be had."""


class UnknownKeyError(KeyRingError):
    """The user has no such key."""


class DestroyedKeyError(KeyRingError):
    """The key was destroyed on purpose."""


class KeyStoreError(KeyRingError):
    """The database that holds the keys can't be asked."""


@dataclass(frozen=True)
class DataKey:
    """What seals and opens one user's blobs; `secret` is 32 bytes."""

    key_id: UUID
    user_id: str
    secret: bytes = field(repr=False)


@dataclass(frozen=True)
class KeyLine:
    """A data key as the database keeps it. `wrapped` None: it was destroyed."""

    key_id: UUID
    user_id: str
    wrapped: bytes | None = field(repr=False)
    master_id: str
    created_at: datetime
    retired_at: datetime | None
    destroyed_at: datetime | None


@dataclass(frozen=True)
class _Held:
    key: DataKey
    line: KeyLine
    until: float


class KeyRing:
    """All data keys of one database. Thread-safe; connects to nothing before it is asked.

    Every method raises MasterKeyError and KeyStoreError.
    """

    def __init__(self, connections: Connections) -> None:
        self._given = connections.master_key
        self._url = connections.database_url
        self._turn = threading.Lock()
        self._open: list[psycopg.Connection[Any]] = []  # one at most
        self._used_at = self._failed_until = 0.0
        weakref.finalize(self, _close, self._open)
        self._held: dict[UUID, _Held] = {}
        self._current: dict[str, UUID] = {}

    def current(self, user_id: str) -> DataKey:
        """The key that seals this user's new blobs; made where there is none."""
        key_id = self._current.get(user_id)
        held = self._held.get(key_id) if key_id else None
        if held and held.until > time.monotonic() and held.line.retired_at is None:
            return held.key
        line = self._one(FIND_CURRENT, (user_id,)) or self._made(user_id)
        self._current[user_id] = line.key_id
        return self._hold(line)

    def find(self, user_id: str, key_id: UUID) -> DataKey:
        """The key that sealed an earlier blob. Raises: UnknownKeyError, DestroyedKeyError."""
        held = self._held.get(key_id)
        if held and held.key.user_id == user_id and held.until > time.monotonic():
            return held.key
        line = self._one(FIND, (key_id, user_id))
        if line is None:
            raise UnknownKeyError(f"{user_id!r} has no data key {key_id}")
        return self._hold(line)

    def still_current(self, keys: Collection[DataKey]) -> set[UUID]:
        """Ids of those that have been neither retired nor destroyed; the others are forgotten."""
        asked = [key.key_id for key in keys]
        with self._asking() as connection:
            found = {row[0] for row in connection.execute(ARE_CURRENT, (asked,)).fetchall()}
        for key_id in set(asked) - found:
            self._held.pop(key_id, None)
        return found

    def rotate(self, user_id: str) -> DataKey:
        """A new key for the user's new blobs; the earlier ones open what they have sealed."""
        with self._asking() as connection, connection.transaction():
            connection.execute(NO_BACKUP)
            connection.execute(MAKING)
            connection.execute(RETIRE, (user_id,))
            self._make(connection, user_id)
        self._forget(user_id)
        return self.current(user_id)

    def destroy(self, user_id: str) -> int:
        """Make everything unreadable for ever that any of the user's keys has sealed.

        Returns how many keys that were. What the user sends later gets a new key.
        """
        with self._asking() as connection:
            count = connection.execute(DESTROY, (user_id,)).rowcount
            connection.execute(WIPE)
        self._forget(user_id)
        return count

    def rewrap(self, renew: Callable[[], None] = lambda: None) -> int:
        """Put all keys under the newest master key, in one transaction; returns how many it did.

        `renew` is called first, when nobody can make a data key: it may put a new master key in
        place, if the earlier one still opens what it has wrapped.
        """
        master = self._master
        with self._asking() as connection, connection.transaction():
            connection.execute(NO_BACKUP)
            connection.execute(REWRAPPING)
            renew()
            cursor = connection.cursor(row_factory=class_row(KeyLine))
            lines = cursor.execute(TO_REWRAP, (master.master_id,)).fetchall()
            for line in lines:
                wrapped = master.wrap(self._unwrap(line), _context(line))
                told = (wrapped.content, wrapped.master_id, line.key_id)
                connection.execute(REWRAP, told)
        return len(lines)

    def lines(self) -> list[KeyLine]:
        """All keys, by user and age."""
        with self._asking() as connection:
            cursor = connection.cursor(row_factory=class_row(KeyLine))
            return cursor.execute(ALL).fetchall()

    def check(self) -> None:
        """Raises: MasterKeyError unless the master key is there, and opens the data keys."""
        _ = self._master.master_id
        with self._asking() as connection:
            cursor = connection.cursor(row_factory=class_row(KeyLine))
            lines = cursor.execute(ONE_A_MASTER).fetchall()
        for line in lines:
            self.find(line.user_id, line.key_id)

    def is_in_the_clear(self, blob_key: str) -> bool:
        """Whether that blob is on record as stored before there were keys."""
        with self._asking() as connection:
            row = connection.execute(IS_IN_THE_CLEAR, {"key": blob_key}).fetchone()
        return row == (True,)

    @property
    def _master(self) -> MasterKey:
        if self._given is None:
            raise MasterKeyError("these connections name no master key")
        return self._given

    def _hold(self, line: KeyLine) -> DataKey:
        """Remember it for a while; what is known already is not unwrapped again."""
        known = self._held.pop(line.key_id, None)
        if known and known.line.wrapped == line.wrapped:
            key = known.key
        else:
            key = DataKey(line.key_id, line.user_id, self._unwrap(line))
        self._held[line.key_id] = _Held(key, line, time.monotonic() + REMEMBER_S)
        return key

    def _unwrap(self, line: KeyLine) -> bytes:
        if line.wrapped is None:
            raise DestroyedKeyError(f"the data key {line.key_id} was destroyed")
        return self._master.unwrap(Wrapped(line.wrapped, line.master_id), _context(line))

    def _made(self, user_id: str) -> KeyLine:
        with self._asking() as connection, connection.transaction():
            connection.execute(MAKING)
            self._make(connection, user_id)
        line = self._one(FIND_CURRENT, (user_id,))  # perhaps another process's
        if line is None:
            raise UnknownKeyError(f"the data key of {user_id!r} was destroyed as it was made")
        return line

    def _make(self, connection: psycopg.Connection[Any], user_id: str) -> None:
        key_id = uuid4()
        context = {"key_id": str(key_id), "user_id": user_id}
        wrapped = self._master.wrap(os.urandom(KEY_BYTES), context)
        connection.execute(MAKE, (key_id, user_id, wrapped.content, wrapped.master_id))

    def _forget(self, user_id: str) -> None:
        self._current.pop(user_id, None)
        for key_id in [k for k, h in dict(self._held).items() if h.key.user_id == user_id]:
            self._held.pop(key_id, None)

    def _one(self, query: str, values: tuple[object, ...]) -> KeyLine | None:
        with self._asking() as connection:
            cursor = connection.cursor(row_factory=class_row(KeyLine))
            return cursor.execute(query.encode(), values).fetchone()

    @contextmanager
    def _asking(self) -> Iterator[psycopg.Connection[Any]]:
        try:
            with self._turn:
                yield self._connected()
        except psycopg.errors.UndefinedTable as cause:
            raise KeyStoreError("the database has no table of keys: `am up` makes it") from cause
        except psycopg.OperationalError as cause:
            raise KeyStoreError(f"the database of the keys does not answer: {cause}") from cause

    def _connected(self) -> psycopg.Connection[Any]:
        """The one connection, or another where that broke while it was not used."""
        if self._open and time.monotonic() - self._used_at > IDLE_S:
            with suppress(psycopg.OperationalError):
                self._open[0].execute("SELECT 1")
        if self._open and self._open[0].closed:
            self._open.clear()
        if not self._open:
            self._open.append(self._made_anew())
        self._used_at = time.monotonic()
        return self._open[0]

    def _made_anew(self) -> psycopg.Connection[Any]:
        """Those that waited for one that can't be made don't each try, one after the other."""
        if time.monotonic() < self._failed_until:
            raise psycopg.OperationalError("it did not answer just now")
        try:
            return psycopg.connect(self._url, autocommit=True, connect_timeout=CONNECT_S)
        except psycopg.OperationalError:
            self._failed_until = time.monotonic() + AGAIN_AFTER_S
            raise


def _close(connections: list[psycopg.Connection[Any]]) -> None:
    for connection in connections:
        connection.close()


def _context(line: KeyLine) -> dict[str, str]:
    """What a wrapped key is bound to."""
    return {"key_id": str(line.key_id), "user_id": line.user_id}
