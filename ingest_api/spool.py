"""Bytes on their way through the front door that are too many for the memory: a file on disk, its
length and its SHA-256.
"""

import asyncio
import hashlib
import tempfile
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager
from typing import BinaryIO

from ingest_api.errors import UnavailableError
from ingest_api.limits import BodyLimit

PIECE = 1 << 20  # bytes that are written and hashed at once, in a thread


class Spool:
    """A temporary file that knows what is in it. It has no name and is gone once it is closed."""

    def __init__(self, file: BinaryIO, limit: BodyLimit) -> None:
        """`limit` is for all that is put in."""
        self._file = file
        self._limit = limit
        self._digest = hashlib.sha256()
        self.byte_count = 0

    @property
    def sha256(self) -> str:
        """Of what is in it, in hexadecimal."""
        return self._digest.hexdigest()

    def append(self, piece: bytes | bytearray) -> None:
        """Put bytes at the end. Raises: TooLargeError; UnavailableError when the disk is full."""
        self.byte_count += len(piece)
        if self.byte_count > self._limit.byte_count:
            raise self._limit.exceeded()
        self._digest.update(piece)
        try:
            self._file.write(piece)
        except OSError as error:
            raise UnavailableError(f"there is no room for this upload: {error}") from error

    def append_all(self, pieces: Iterable[bytes]) -> None:
        """Put in many pieces; to be called in a thread."""
        for piece in pieces:
            self.append(piece)

    async def fill(self, pieces: AsyncIterator[bytes]) -> None:
        """Put in all that comes, without stopping other requests."""
        gathered = bytearray()
        async for piece in pieces:
            gathered += piece
            if len(gathered) >= PIECE:
                await asyncio.to_thread(self.append, gathered)
                gathered = bytearray()
        await asyncio.to_thread(self.append, gathered)

    def opened(self) -> BinaryIO:
        """The file, at its beginning."""
        self._file.flush()
        self._file.seek(0)
        return self._file


@contextmanager
def spool(limit: BodyLimit) -> Iterator[Spool]:
    """An empty one, closed at the end."""
    with tempfile.TemporaryFile(prefix="am-upload-") as file:
        yield Spool(file, limit)
