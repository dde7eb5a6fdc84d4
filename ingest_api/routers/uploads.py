"""Blobs that come by themselves, before the message that names them by `blob_sha256`.

A 2xx means that the bytes are stored and have the SHA-256 that they are named by.
"""

from datetime import date
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Path, Query, Request, status
from pydantic import BaseModel, ConfigDict, Field

from ingest_api.auth import require
from ingest_api.errors import MalformedBodyError
from ingest_api.own_blobs import ANY_TYPE, SHA256, OwnBlobs, Place, Spot, Stored
from ingest_api.refusals import refusals
from ingest_api.tokens import Principal, Scope
from ingest_api.uploads import MAX_PARTS, Part, Presigned, Uploads, UploadState

router = APIRouter(tags=["blobs"], responses=refusals(400, 401, 403, 408, 413, 422, 429, 503))
MAX_ASKED = 1_000

Writing = Annotated[Principal, Depends(require(Scope.WRITE))]
Sha256 = Annotated[str, Path(pattern=SHA256, description="Of the body, in hexadecimal.")]
StreamName = Annotated[str, Query(description="The stream of the message that will name it.")]
Day = Annotated[date, Query(description="The UTC day of that message's time.")]
PartNumber = Annotated[int, Path(ge=1, le=MAX_PARTS)]
BYTES: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"*/*": {"schema": {"type": "string", "format": "binary"}}},
    }
}


def own_blobs_of(request: Request) -> OwnBlobs:
    """The one that the application was started with."""
    own: OwnBlobs = request.app.state.services.own_blobs
    return own


def uploads_of(request: Request) -> Uploads:
    """The one that the application was started with."""
    uploads: Uploads = request.app.state.services.uploads
    return uploads


Own = Annotated[OwnBlobs, Depends(own_blobs_of)]
UnderWay = Annotated[Uploads, Depends(uploads_of)]


class Hashes(BaseModel):
    """Which blobs a client has."""

    model_config = ConfigDict(extra="forbid")

    sha256: list[Annotated[str, Field(pattern=SHA256)]] = Field(max_length=MAX_ASKED)


class Missing(BaseModel):
    """Which of them AM does not have from this user."""

    missing: list[str]


@router.put(
    "/v1/blobs/{sha256}",
    status_code=status.HTTP_201_CREATED,
    responses=refusals(404),
    openapi_extra=BYTES,
)
async def put_blob(
    request: Request, principal: Writing, own: Own, sha256: Sha256, stream: StreamName, day: Day
) -> Stored:
    """Store the body, if it has this SHA-256. Sending it again is safe."""
    spot = _spot(request, stream, day)
    return await own.receive(principal.user_id, spot, request.stream(), sha256=sha256)


@router.post(
    "/v1/blobs",
    status_code=status.HTTP_201_CREATED,
    responses=refusals(404),
    openapi_extra=BYTES,
)
async def post_blob(
    request: Request, principal: Writing, own: Own, stream: StreamName, day: Day
) -> Stored:
    """Store the body; the answer tells its SHA-256."""
    spot = _spot(request, stream, day)
    return await own.receive(principal.user_id, spot, request.stream(), sha256=None)


@router.post("/v1/blobs/missing")
async def missing_blobs(principal: Writing, own: Own, asked: Hashes) -> Missing:
    """Which of these blobs have still to be sent. Only your own count."""
    return Missing(missing=await own.missing(principal.user_id, asked.sha256))


@router.post("/v1/blobs/presign", status_code=status.HTTP_201_CREATED, responses=refusals(404, 409))
async def presign_blob(principal: Writing, uploads: UnderWay, place: Place) -> Presigned:
    """An address in the object store to put the bytes to; complete the upload afterwards."""
    return await uploads.presign(principal.user_id, place)


@router.post("/v1/blobs/uploads", status_code=status.HTTP_201_CREATED, responses=refusals(404, 409))
async def begin_upload(principal: Writing, uploads: UnderWay, place: Place) -> UploadState:
    """Begin an upload in parts, which can go on after a lost connection for 7 days.

    Where one is open for the same blob the answer is that one, with the parts that it has.
    """
    return await uploads.begin(principal.user_id, place)


@router.put(
    "/v1/blobs/uploads/{upload_id}/{part}", responses=refusals(404, 409), openapi_extra=BYTES
)
async def put_part(
    request: Request, principal: Writing, uploads: UnderWay, upload_id: UUID, part: PartNumber
) -> Part:
    """Store one part; sending it again replaces it."""
    _refuse_encoding(request)
    return await uploads.put_part(principal.user_id, upload_id, part, request.stream())


@router.get("/v1/blobs/uploads/{upload_id}", responses=refusals(404))
async def upload_state(principal: Writing, uploads: UnderWay, upload_id: UUID) -> UploadState:
    """Which parts are there."""
    return await uploads.state(principal.user_id, upload_id)


@router.post("/v1/blobs/uploads/{upload_id}/complete", responses=refusals(404, 409))
async def complete_upload(principal: Writing, uploads: UnderWay, upload_id: UUID) -> Stored:
    """Make one blob of the parts, if together they have the SHA-256. May be sent again."""
    return await uploads.complete(principal.user_id, upload_id)


@router.delete(
    "/v1/blobs/uploads/{upload_id}",
    status_code=status.HTTP_204_NO_CONTENT,
    responses=refusals(404),
)
async def cancel_upload(principal: Writing, uploads: UnderWay, upload_id: UUID) -> None:
    """Forget an upload and its parts; a blob that it has made stays."""
    await uploads.cancel(principal.user_id, upload_id)


def _spot(request: Request, stream: str, day: date) -> Spot:
    _refuse_encoding(request)
    media_type = request.headers.get("content-type", ANY_TYPE)
    return Spot(stream=stream, day=day, media_type=media_type)


def _refuse_encoding(request: Request) -> None:
    """The hash is that of the bytes as they are."""
    if request.headers.get("content-encoding", "identity") != "identity":
        raise MalformedBodyError("blobs are sent as they are, without a content-encoding")
