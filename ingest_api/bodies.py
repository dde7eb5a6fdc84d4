"""Reading a request's body: bounded, decompressed, and cut into elements."""

import asyncio
import zlib
from collections.abc import Callable
from typing import Any

import pyarrow as pa
from fastapi import Request
from pydantic_core import from_json

from ingest_api.errors import MalformedBodyError, TooLargeError

NDJSON = ("application/x-ndjson", "application/ndjson", "application/jsonl")
ARROW = "application/vnd.apache.arrow.stream"
GZIP_OR_ZLIB = 32 + zlib.MAX_WBITS  # zlib's way to say: look at the header
LARGE = 64 * 1024  # bytes; more are decompressed in a thread, so that other requests go on
PIECE = 1 << 18


async def read_body(request: Request, *, limit: int) -> bytes:
    """The whole body, decompressed.

    Raises: TooLargeError past `limit` bytes, before or after decompression; MalformedBodyError.
    """
    pieces = bytearray()
    async for piece in request.stream():
        pieces += piece
        if len(pieces) > limit:
            raise _too_large(limit)
    decompress = _decompressor(request.headers.get("content-encoding", ""))
    if decompress is None:
        return bytes(pieces)
    if len(pieces) > LARGE:
        return await asyncio.to_thread(decompress, bytes(pieces), limit)
    return decompress(bytes(pieces), limit)


def elements_of(body: bytes, *, content_type: str) -> tuple[list[Any], bool]:
    """The elements of a body, and whether it is a single one.

    A line of NDJSON that is no JSON is an element too, as bytes, so that the others are stored.
    Raises: MalformedBodyError.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind in NDJSON:
        return [_line(line) for line in body.splitlines() if line.strip()], False
    if kind == ARROW:
        return _arrow_rows(body), False
    content = read_json(body)
    return (content, False) if isinstance(content, list) else ([content], True)


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


def _arrow_rows(body: bytes) -> list[Any]:
    try:
        with pa.ipc.open_stream(body) as reader:
            rows: list[Any] = reader.read_all().to_pylist()
            return rows
    except (pa.ArrowInvalid, OSError) as error:
        raise MalformedBodyError(f"the body is no Arrow IPC stream: {error}") from error


def _decompressor(encoding: str) -> Callable[[bytes, int], bytes] | None:
    """What undoes a content encoding, to at most so many bytes; None where there is none."""
    match encoding.strip().lower():
        case "identity" | "":
            return None
        case "gzip" | "x-gzip" | "deflate":
            return _inflate
        case "zstd":
            return _unzstd
        case other:
            raise MalformedBodyError(
                f"content-encoding {other!r}: send gzip, deflate, zstd or none"
            )


def _unzstd(body: bytes, limit: int) -> bytes:
    content = bytearray()
    try:
        with pa.CompressedInputStream(pa.BufferReader(body), "zstd") as stream:
            while piece := stream.read(PIECE):
                content += piece
                if len(content) > limit:
                    raise _too_large(limit)
    except OSError as error:
        raise MalformedBodyError(f"the body is not compressed as it says: {error}") from error
    return bytes(content)


def _inflate(body: bytes, limit: int) -> bytes:
    inflater = zlib.decompressobj(GZIP_OR_ZLIB)
    try:
        content = inflater.decompress(body, limit + 1)
    except zlib.error as error:
        raise MalformedBodyError(f"the body is not compressed as it says: {error}") from error
    if len(content) > limit:
        raise _too_large(limit)
    if not inflater.eof:
        raise MalformedBodyError("the compressed body is cut off")
    return content


def _too_large(limit: int) -> TooLargeError:
    return TooLargeError(
        f"the body is larger than {limit >> 20} MiB (AM_API_MAX_BODY_MB): send smaller pieces"
    )
