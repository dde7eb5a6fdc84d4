"""Blobs over HTTP: the user's own bytes, whole or in part."""

import re
from dataclasses import dataclass
from itertools import chain
from typing import Annotated

from fastapi import APIRouter, Header, Response, status
from fastapi.responses import StreamingResponse

from ingest_api.audit import Tallied
from ingest_api.errors import GoneError, NotFoundError
from ingest_api.routers.asking import Asking, Reader, Stores, answering
from resources.blob_retention import removed_blob
from resources.blobs import BlobAbsentError, BlobFacts, BlobStore

router = APIRouter(tags=["asking"])
ONE_RANGE = re.compile(r"^bytes=(\d*)-(\d*)$")
INLINE = ("image/", "audio/", "video/")  # anything else could be a page with a script


@dataclass(frozen=True)
class Part:
    """A stretch of bytes, the last one not included."""

    start: int
    stop: int


class UnsatisfiableRangeError(ValueError):
    """The range lies behind the end."""


@router.get("/v1/blobs/{key:path}")
def blob(
    key: str,
    principal: Reader,
    stores: Stores,
    tally: Tallied,
    wanted: Annotated[str | None, Header(alias="Range")] = None,
    known: Annotated[str | None, Header(alias="If-None-Match")] = None,
) -> Response:
    """The bytes: all, or (206) the one `Range` that is asked for.

    304 where `If-None-Match` names what there is; 410 for what was removed, with the day and the
    reason; 416 for a range behind the end.
    """
    if not is_own(key, principal.user_id):
        raise NotFoundError(f"there is no blob {key!r}")  # nobody learns whether there is one
    facts = _facts(stores, key, user_id=principal.user_id)
    tally.count = 1
    headers = _headers(facts)
    if headers["ETag"] in (tag.strip() for tag in (known or "").split(",")):
        return Response(status_code=status.HTTP_304_NOT_MODIFIED, headers=headers)
    try:
        part = part_of(wanted, facts.byte_count)
    except UnsatisfiableRangeError:
        nowhere = {**headers, "Content-Range": f"bytes */{facts.byte_count}"}
        return Response(status_code=status.HTTP_416_RANGE_NOT_SATISFIABLE, headers=nowhere)
    return _streamed(stores.blobs, facts, part, headers)


def _facts(stores: Asking, key: str, *, user_id: str) -> BlobFacts:
    """Raises: GoneError for what was removed, NotFoundError for what never was."""
    with answering():
        try:
            return stores.blobs.facts(key)
        except BlobAbsentError:
            with stores.hot.reader(user_id) as connection:
                removed = removed_blob(connection, user_id, key)
            if removed is None:
                raise
    raise GoneError(removed.told)


def _headers(facts: BlobFacts) -> dict[str, str]:
    is_shown = facts.media_type.startswith(INLINE) and "svg" not in facts.media_type
    return {
        "ETag": f'"{facts.etag}"',
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, max-age=3600",
        "X-Content-Type-Options": "nosniff",
        "Content-Disposition": "inline" if is_shown else "attachment",
    }


def _streamed(
    blobs: BlobStore, facts: BlobFacts, part: Part | None, headers: dict[str, str]
) -> Response:
    stretch = part or Part(0, facts.byte_count)
    length = stretch.stop - stretch.start
    headers["Content-Length"] = str(length)
    if part:
        headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{facts.byte_count}"
    pieces = blobs.read(facts.key, start=stretch.start, byte_count=length) if length else iter(())
    with answering():  # the first bytes come before the answer, so that it can tell what is wrong
        body = chain([next(pieces, b"")], pieces)
    return StreamingResponse(
        body, status_code=206 if part else 200, media_type=facts.media_type, headers=headers
    )


def is_own(key: str, user_id: str) -> bool:
    """Whether a key is inside the user's folder, and stays there however it is read."""
    return key.startswith(f"blobs/{user_id}/") and not {"", ".", ".."} & set(key.split("/"))


def part_of(wanted: str | None, byte_count: int) -> Part | None:
    """What a Range header asks for; None = everything, also for what is not one range of bytes.

    Raises: UnsatisfiableRangeError.
    """
    match = ONE_RANGE.match(wanted or "")
    if match is None or not any(match.groups()):
        return None
    first, last = match.groups()
    start = int(first) if first else max(0, byte_count - int(last))
    stop = min(byte_count, int(last) + 1) if first and last else byte_count
    if first and last and int(last) < int(first):
        return None
    if start >= byte_count:
        raise UnsatisfiableRangeError(wanted)
    return Part(start, stop)
