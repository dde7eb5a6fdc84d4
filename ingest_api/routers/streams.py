"""What streams there are, and what each takes."""

from typing import Any

from fastapi import APIRouter, Request

from am_assets.schemas.json_schema import message_schema
from am_assets.streams.registry import UnknownStreamError
from am_assets.streams.stream import Stream
from ingest_api.errors import NotFoundError

router = APIRouter(tags=["streams"])


@router.get("/v1/streams")
async def list_streams(request: Request) -> list[dict[str, Any]]:
    """Every stream: its name, table, summary, doors."""
    return [_described(stream) for stream in request.app.state.services.registry.values()]


@router.get("/v1/streams/{name}/schema")
async def stream_schema(request: Request, name: str) -> dict[str, Any]:
    """The JSON Schema (Draft 2020-12) of one stream's messages."""
    try:
        return message_schema(request.app.state.services.registry[name])
    except UnknownStreamError as error:
        raise NotFoundError(str(error)) from error


def _described(stream: Stream) -> dict[str, Any]:
    return {
        "name": stream.name,
        "table": stream.table,
        "summary": stream.summary,
        "kind": stream.kind,
        "is_derived": stream.is_derived,
        "sensitivity": stream.sensitivity.value,
        "keep_hot_days": stream.keep_hot.days,
        "doors": [] if stream.is_derived else [f"/v1/streams/{stream.name}", *_paths(stream)],
    }


def _paths(stream: Stream) -> list[str]:
    return [door.path for door in stream.doors]
