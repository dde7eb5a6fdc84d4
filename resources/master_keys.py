"""The master key, which wraps the users' data keys: its shape, and the two that AM has of its own.

A key management service is a third one: a class with the three members of `MasterKey`, and a
function that makes one, named by `AM_MASTER_KEY_PROVIDER`.
"""

import base64
import binascii
import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEY_BYTES, NONCE_BYTES, ID_DIGITS = 32, 12, 16
ID_OF = b"am master key\0"
Context = Mapping[str, str]


class MasterKeyError(Exception):
    """The master key is missing or is not the right one: nothing can be sealed or opened."""


@dataclass(frozen=True)
class Wrapped:
    """A data key as it is kept. `master_id` names the master key that wrapped it."""

    content: bytes
    master_id: str


class MasterKey(Protocol):
    """What wraps data keys. All members raise MasterKeyError where there is no such key."""

    @property
    def master_id(self) -> str:
        """Of the key that wraps from now on."""
        ...

    def wrap(self, secret: bytes, context: Context) -> Wrapped:
        """A data key, of 32 bytes, under the newest master key.

        `context` is no secret, and is bound to it: a service's encryption context.
        """
        ...

    def unwrap(self, wrapped: Wrapped, context: Context) -> bytes:
        """The data key again, also where an earlier master key wrapped it."""
        ...


@dataclass(frozen=True)
class LocalKey:
    """One master key in memory. `where` it came from is for messages."""

    secret: bytes = field(repr=False)
    where: str

    @classmethod
    def of_text(cls, text: str, *, where: str) -> "LocalKey":
        """From base64. Raises: MasterKeyError."""
        try:
            secret = base64.b64decode(text.strip(), validate=True)
        except (binascii.Error, ValueError) as cause:
            raise MasterKeyError(f"{where} holds no base64: {ADVICE}") from cause
        if len(secret) != KEY_BYTES:
            raise MasterKeyError(f"{where} holds {len(secret)} bytes, not {KEY_BYTES}: {ADVICE}")
        return cls(secret, where)

    @property
    def master_id(self) -> str:
        """Follows from the key, and tells nothing of it."""
        return hashlib.sha256(ID_OF + self.secret).hexdigest()[:ID_DIGITS]

    def wrap(self, secret: bytes, context: Context) -> Wrapped:
        """By AES-256-GCM under a random nonce, which is put before it."""
        nonce = os.urandom(NONCE_BYTES)
        content = nonce + AESGCM(self.secret).encrypt(nonce, secret, _bound(context))
        return Wrapped(content, self.master_id)

    def unwrap(self, wrapped: Wrapped, context: Context) -> bytes:
        """Raises: MasterKeyError where it was changed, or is another user's."""
        nonce, content = wrapped.content[:NONCE_BYTES], wrapped.content[NONCE_BYTES:]
        try:
            return AESGCM(self.secret).decrypt(nonce, content, _bound(context))
        except InvalidTag as cause:
            raise MasterKeyError(
                f"a data key in the database has been changed: the master key in {self.where} does "
                "not open it. Restore am.data_key from a backup."
            ) from cause


ADVICE = "restore it from your backup of the master key (docs/encryption.md)."


@dataclass(frozen=True)
class FileMasterKey:
    """A file with 32 bytes as base64; earlier keys lie beside it, as `<name>-<id>.key`.

    It is read whenever it is needed, so that a new one counts at once in every process.
    """

    path: Path

    @property
    def master_id(self) -> str:
        """Raises: MasterKeyError."""
        return self.newest().master_id

    def wrap(self, secret: bytes, context: Context) -> Wrapped:
        """Raises: MasterKeyError."""
        return self.newest().wrap(secret, context)

    def unwrap(self, wrapped: Wrapped, context: Context) -> bytes:
        """Raises: MasterKeyError."""
        return choose([self.newest(), *self._earlier()], wrapped).unwrap(wrapped, context)

    def newest(self) -> LocalKey:
        """The key in the file itself. Raises: MasterKeyError."""
        return _read(self.path)

    def aside(self, master_id: str) -> Path:
        """Where that key lies once it is an earlier one."""
        return self.path.with_name(f"{self.path.stem}-{master_id}{self.path.suffix}")

    def _earlier(self) -> Iterator[LocalKey]:
        pattern = self.aside("*").name
        yield from (_read(path) for path in sorted(self.path.parent.glob(pattern)))


@dataclass(frozen=True)
class GivenMasterKey:
    """A key that a variable holds; `earlier` ones open what they wrapped, until it is rewrapped."""

    newest: LocalKey
    earlier: Sequence[LocalKey] = ()

    @property
    def master_id(self) -> str:
        """Of the newest."""
        return self.newest.master_id

    def wrap(self, secret: bytes, context: Context) -> Wrapped:
        """By the newest."""
        return self.newest.wrap(secret, context)

    def unwrap(self, wrapped: Wrapped, context: Context) -> bytes:
        """Raises: MasterKeyError."""
        return choose([self.newest, *self.earlier], wrapped).unwrap(wrapped, context)


def choose(keys: Sequence[LocalKey], wrapped: Wrapped) -> LocalKey:
    """The key that wrapped it. Raises: MasterKeyError where it is none of them."""
    for key in keys:
        if key.master_id == wrapped.master_id:
            return key
    raise MasterKeyError(
        f"the data keys were wrapped by the master key {wrapped.master_id}, and "
        f"{keys[0].where} holds {keys[0].master_id}: {ADVICE}"
    )


def new_master_key() -> str:
    """A fresh one, as base64."""
    return base64.b64encode(os.urandom(KEY_BYTES)).decode()


def _read(path: Path) -> LocalKey:
    try:
        return LocalKey.of_text(path.read_text(), where=str(path))
    except FileNotFoundError as cause:
        raise MasterKeyError(
            f"there is no master key at {path}, and no blob can be stored or read without it: "
            + ADVICE
        ) from cause
    except (OSError, UnicodeDecodeError) as cause:
        raise MasterKeyError(f"the master key {path} can't be read: {cause!r}") from cause


def _bound(context: Context) -> bytes:
    return json.dumps(dict(context), sort_keys=True).encode()
