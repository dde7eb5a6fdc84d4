"""Reading a request's body: bounded, decompressed, and cut into elements."""

import asyncio
import struct
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import pyarrow as pa
from fastapi import Request
from pydantic_core import from_json
from starlette.requests import ClientDisconnect

from ingest_api.arrow_sizes import unpacked_bytes
from ingest_api.errors import MalformedBodyError, TooLargeError
from ingest_api.held import HELD, Held

NDJSON = ("application/x-ndjson", "application/ndjson", "application/jsonl")
ARROW = "application/vnd.apache.arrow.stream"
GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS  # zlib's way to say: look at the header
LARGE = 64 * 1024  # bytes; more are decompressed in a thread, so that other requests go on
PIECE = 1 << 18


async def read_body(request: Request, *, limit: int) -> bytes:
    """The whole body, decompressed.

    Raises: TooLargeError past `limit` bytes, before or after decompression; MalformedBodyError;
    BusyError where there is no room in memory for what is in it.
    """
    pieces = bytearray()
    is_whole = False
    while not is_whole:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        pieces += message.get("body", b"")
        is_whole = not message.get("more_body", False)
        if len(pieces) > limit:
            raise _too_large(limit)
    held: Held | None = request.scope.get(HELD)
    content = bytes(pieces)
    decompress = _decompressor(request.headers.get("content-encoding", ""))
    if decompress is not None and len(content) > LARGE:
        content = await asyncio.to_thread(_unpacked, decompress(content), limit, held)
    elif decompress is not None:
        content = _unpacked(decompress(content), limit, held)
    if _kind(request.headers.get("content-type", "")) == ARROW:
        _check_arrow(content, limit, held)
    return content


def elements_of(body: bytes, *, content_type: str) -> tuple[list[Any] | pa.Table, bool]:
    """The elements of a body, and whether it is a single one; Arrow's stay a table.

    A line of NDJSON that is no JSON is an element too, as bytes, so that the others are stored.
    Raises: MalformedBodyError.
    """
    kind = _kind(content_type)
    if kind in NDJSON:
        return [_line(line) for line in body.splitlines() if line.strip()], False
    if kind == ARROW:
        return _arrow_table(body), False
    content = read_json(body)
    return (content, False) if isinstance(content, list) else ([content], True)


def _kind(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def read_json(body: bytes | str) -> Any:
    """Strict JSON: finite numbers, bounded depth, valid Unicode.

    Raises: MalformedBodyError saying where it breaks.
    """
    try:
        return from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise MalformedBodyError(f"the body is not JSON: {error}") from error


def _line(line: bytes) -> Any:
    try:
        return from_json(line, allow_inf_nan=False)
    except ValueError:
        return line


def _check_arrow(body: bytes, limit: int, held: Held | None) -> None:
    """Refuse what becomes too large once it is read: Arrow's buffers may be compressed too."""
    try:
        byte_count = unpacked_bytes(body)
    except (pa.ArrowInvalid, OSError, struct.error) as error:
        raise MalformedBodyError(f"the body is no Arrow IPC stream: {error}") from error
    if byte_count > limit:
        raise _too_large(limit)
    if held is not None:
        held.grow(max(0, byte_count - len(body)))


def _arrow_table(body: bytes) -> pa.Table:
    """The rows; their buffers are checked, because what reads them trusts them."""
    try:
        with pa.ipc.open_stream(body) as reader:
            table = reader.read_all()
            table.validate(full=True)
            return table
    except (pa.ArrowInvalid, OSError) as error:
        raise MalformedBodyError(f"the body is no Arrow IPC stream: {error}") from error


def _decompressor(encoding: str) -> Callable[[bytes], Iterator[bytes]] | None:
    """What undoes a content encoding, piece by piece; None where there is none."""
    match encoding.strip().lower():
        case "identity" | "":
            return None
        case "gzip" | "x-gzip" | "deflate":
            return _inflated
        case "zstd":
            return _unzstd
        case other:
            raise MalformedBodyError(
                f"content-encoding {other!r}: send gzip, deflate, zstd or none"
            )


def _unpacked(pieces: Iterator[bytes], limit: int, held: Held | None) -> bytes:
    """All pieces together, to at most so many bytes; each is counted before the next is made."""
    content = bytearray()
    try:
        for piece in pieces:
            content += piece
            if len(content) > limit:
                raise _too_large(limit)
            if held is not None:
                held.grow(len(piece))
    except (OSError, zlib.error) as error:
        raise MalformedBodyError(f"the body is not compressed as it says: {error}") from error
    return bytes(content)


def _unzstd(body: bytes) -> Iterator[bytes]:
    with pa.CompressedInputStream(pa.BufferReader(body), "zstd") as stream:
        while piece := stream.read(PIECE):
            yield piece


def _inflated(body: bytes) -> Iterator[bytes]:
    """Of all members: gzip files that were put one behind the other are one file."""
    rest, is_whole = body, False
    while rest or not is_whole:
        inflater = zlib.decompressobj(GZIP_OR_ZLIB)
        while not inflater.eof:
            piece = inflater.decompress(rest, PIECE)
            rest = inflater.unconsumed_tail
            yield piece
            if not (rest or inflater.eof or len(piece) == PIECE):
                raise MalformedBodyError("the compressed body is cut off")
        rest, is_whole = inflater.unused_data, True


def _too_large(limit: int) -> TooLargeError:
    return TooLargeError(
        f"the body is larger than {limit >> 20} MiB (AM_API_MAX_BODY_MB): send smaller pieces"
    )
