"""How a blob is sealed: the bytes that the object store holds. Pure; no key is looked up here.

    "AM-SEAL" 1 · key id, 16 bytes · plain size, 8 bytes      the header
    salt, 24 bytes · commitment, 32 bytes                     Cobblestone-256's own beginning
    chunks of 16 KiB, each with its tag of 16 bytes; the last one is always shorter

What follows the header is Cobblestone-256 (c2sp.org/chunked-encryption: AES-256-GCM under a key
that HKDF derives for this blob alone) as the `cryptography` package has it. Header and name of the
blob are its context, so that the commitment tells whether they are what was sealed.
"""

import hmac
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO
from uuid import UUID

from cryptography.cobblestone import Cobblestone256Decryptor, Cobblestone256Encryptor
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDFExpand

MAGIC = b"AM-SEAL\x01"
HEADER = struct.Struct(">8s16sQ")
SALT, COMMITMENT = 24, 32
BEGINNING = HEADER.size + SALT + COMMITMENT  # before the first chunk
CHUNK, TAG = 1 << 14, 16
SEALED_CHUNK = CHUNK + TAG
PIECE = 1 << 20  # bytes that are sealed or opened at once
KEY_BYTES, NONCE_BYTES = 32, 12
DERIVATION = b"c2sp.org/chunked-encryption@v1+AEAD_AES_256_GCM\0"


class SealBrokenError(Exception):
    """The bytes are not those that were sealed under this name and key."""


@dataclass(frozen=True)
class Head:
    """What stands before the chunks. `byte_count` is the plain size."""

    key_id: UUID
    byte_count: int
    salt: bytes = field(default=b"", repr=False)
    commitment: bytes = field(default=b"", repr=False)

    @property
    def header(self) -> bytes:
        """Its first part, as it is stored."""
        return HEADER.pack(MAGIC, self.key_id.bytes, self.byte_count)

    @property
    def sealed_size(self) -> int:
        """Bytes of the whole sealed blob."""
        chunks = self.byte_count // CHUNK + 1
        return BEGINNING + self.byte_count + chunks * TAG

    def context(self, name: str) -> bytes:
        """What the sealed bytes are bound to."""
        return b"AM blob\0" + self.header + name.encode()


@dataclass(frozen=True)
class Stretch:
    """Chunks `first` up to, not including, `end`, that hold the plain bytes `start` to `stop`."""

    start: int
    stop: int

    @property
    def first(self) -> int:
        """The chunk that holds the first byte."""
        return self.start // CHUNK

    @property
    def end(self) -> int:
        """The chunk after the one that holds the last byte."""
        return (self.stop - 1) // CHUNK + 1

    @property
    def offset(self) -> int:
        """Where the first of these chunks begins in the sealed blob."""
        return BEGINNING + self.first * SEALED_CHUNK

    @property
    def length(self) -> int:
        """Sealed bytes of all of them, or more than there are."""
        return (self.end - self.first) * SEALED_CHUNK


def read_head(beginning: bytes) -> Head | None:
    """What the first `BEGINNING` bytes of a stored blob tell; None: it is not sealed.

    Raises: SealBrokenError where they are too few.
    """
    if not beginning.startswith(MAGIC):
        return None
    if len(beginning) < BEGINNING:
        raise SealBrokenError("it is cut off within its head")
    _, key_id, byte_count = HEADER.unpack_from(beginning)
    salt = beginning[HEADER.size : HEADER.size + SALT]
    return Head(UUID(bytes=key_id), byte_count, salt, beginning[HEADER.size + SALT : BEGINNING])


class Sealing:
    """What a file holds from where it stands on, sealed while it is read."""

    def __init__(
        self, content: BinaryIO, *, byte_count: int, key_id: UUID, secret: bytes, name: str
    ) -> None:
        """`secret`: 32 random bytes. `name`: without it the blob can't be opened."""
        head = Head(key_id, byte_count)
        self.size = head.sealed_size
        self._content = content
        self._left = byte_count
        self._encryptor: Cobblestone256Encryptor | None = Cobblestone256Encryptor(
            secret, head.context(name)
        )
        self._ready = bytearray(head.header)

    def read(self, size: int) -> bytes:
        """The next `size` sealed bytes; fewer only at the end.

        Raises: EOFError where the file ends before `byte_count`.
        """
        while len(self._ready) < size and self._encryptor is not None:
            self._seal_on(self._encryptor)
        with memoryview(self._ready) as ready:
            given = bytes(ready[:size])
        del self._ready[:size]
        return given

    def _seal_on(self, encryptor: Cobblestone256Encryptor) -> None:
        if self._left:
            piece = self._content.read(min(PIECE, self._left))
            if not piece:
                raise EOFError(f"the content ends {self._left} bytes early")
            self._left -= len(piece)
            self._ready += encryptor.update(piece)
        else:
            self._ready += encryptor.finalize()
            self._encryptor = None


def check_head(head: Head, *, secret: bytes, name: str) -> None:
    """Raises: SealBrokenError unless this head was sealed by this key, under this name."""
    _chunk_keys(head, secret=secret, name=name)


def opened(head: Head, chunks: Iterator[bytes], *, secret: bytes, name: str) -> Iterator[bytes]:
    """The whole content. `chunks`: all that follows the head, in pieces of any size.

    Only bytes that were verified are given. Raises: SealBrokenError.
    """
    decryptor = Cobblestone256Decryptor(secret, head.context(name))
    left = head.byte_count
    try:
        decryptor.update(head.salt + head.commitment)
        for sealed in chunks:
            if piece := decryptor.update(sealed):
                left -= len(piece)
                yield piece
        last = decryptor.finalize()
    except InvalidTag as cause:
        raise SealBrokenError("its bytes are not those that were sealed") from cause
    if left != len(last):
        raise SealBrokenError("its head tells another size")
    if last:
        yield last


def opened_stretch(
    head: Head, chunks: Iterator[bytes], stretch: Stretch, *, secret: bytes, name: str
) -> Iterator[bytes]:
    """A part of the content. `chunks`: from `stretch.offset` on, in pieces of any size.

    Only bytes that were verified are given. Raises: SealBrokenError.
    """
    # Our own reading of the format until the package itself can open a blob from the middle
    # (pyca/cryptography pull request 15322); the tests hold it against the package.
    cipher, base_nonce = _chunk_keys(head, secret=secret, name=name)
    numbers = range(stretch.first, stretch.end)
    sizes = [min(CHUNK, head.byte_count - number * CHUNK) + TAG for number in numbers]
    for number, sealed in zip(numbers, _cut(chunks, sizes), strict=True):
        nonce = (base_nonce ^ number).to_bytes(NONCE_BYTES, "big")
        try:
            plain = cipher.decrypt(nonce, sealed, None)
        except InvalidTag as cause:
            raise SealBrokenError("its bytes are not those that were sealed") from cause
        begin = number * CHUNK
        yield plain[max(0, stretch.start - begin) : stretch.stop - begin]


def _chunk_keys(head: Head, *, secret: bytes, name: str) -> tuple[AESGCM, int]:
    """The cipher of this blob's chunks, and the nonce that their numbers are mixed into."""
    derived = HKDFExpand(
        SHA512(),
        length=KEY_BYTES + NONCE_BYTES + COMMITMENT,
        info=DERIVATION + head.salt + head.context(name),
    ).derive(secret)
    if not hmac.compare_digest(derived[KEY_BYTES + NONCE_BYTES :], head.commitment):
        raise SealBrokenError("its head is not the one that was sealed under this name")
    nonce = int.from_bytes(derived[KEY_BYTES : KEY_BYTES + NONCE_BYTES], "big")
    return AESGCM(derived[:KEY_BYTES]), nonce


def _cut(pieces: Iterator[bytes], sizes: list[int]) -> Iterator[bytes]:
    """The same bytes in pieces of these sizes. Raises: SealBrokenError where they are too few."""
    held = bytearray()
    for size in sizes:
        while len(held) < size:
            piece = next(pieces, b"")
            if not piece:
                raise SealBrokenError("it is cut off")
            held += piece
        yield bytes(held[:size])
        del held[:size]
