"""The doors for messages: one route a declared door, and one for every stream by its name.

Their routes take the request and give the response: FastAPI has nothing to do for them but to
describe them, and `ingest_api.straight` serves them without it.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from pydantic_core import to_json

from am_assets.schemas.json_schema import message_schema
from am_assets.streams.registry import Registry
from am_assets.streams.stream import Stream
from ingest_api.answers import answer
from ingest_api.auth import authorize, require
from ingest_api.batch import ElementRouter, to_stream
from ingest_api.bodies import elements_of, read_body
from ingest_api.errors import MalformedBodyError, NotFoundError
from ingest_api.landing import Arrival
from ingest_api.mixed_doors import mixed_doors, unfolded
from ingest_api.services import Services
from ingest_api.tokens import Principal, Scope

CanWrite = Annotated[Principal, Depends(require(Scope.WRITE))]
Handler = Callable[[Request], Awaitable[Response]]
JSON = "application/json"


def message_router(registry: Registry) -> APIRouter:
    """All message doors of a registry, each with its schema in the OpenAPI document."""
    router = APIRouter(tags=["messages"])
    for stream in registry.raw:
        for path in _http_paths(stream):
            router.add_api_route(
                path,
                _handler(to_stream(stream)),
                methods=["POST"],
                summary=stream.summary,
                operation_id=f"send_{path.strip('/').replace('/', '_')}",
                openapi_extra={"requestBody": _request_body(stream)},
                response_model=dict[str, Any],
            )
    for path, (summary, route) in mixed_doors(registry).items():
        router.add_api_route(
            path,
            _handler(route),
            methods=["POST"],
            summary=summary,
            response_model=dict[str, Any],
        )
    router.add_api_route(
        "/v1/streams/{name}", _unknown_stream, methods=["POST"], include_in_schema=False
    )
    return router


async def receive(request: Request, principal: Principal, route: ElementRouter) -> dict[str, Any]:
    """Read a request, land all of it, and answer.

    Raises: IngestError.
    """
    services: Services = request.app.state.services
    body = await read_body(request, limit=services.settings.api_max_body_mb << 20)
    elements, is_single = elements_of(body, content_type=request.headers.get("content-type", ""))
    elements = unfolded(request.scope["path"], elements)
    if len(elements) == 0:
        raise MalformedBodyError("the body holds no element")
    trace_id: str = request.state.trace_id
    receipt = await services.landing.land(
        Arrival(
            elements=elements,
            route=route,
            door=request.scope["path"],
            principal=principal,
            size=len(body),
            device_id=request.headers.get("x-device-id"),
            trace_id=trace_id,
        )
    )
    return answer(receipt, is_single=is_single, trace_id=trace_id)


def _handler(route: ElementRouter) -> Handler:
    async def send(request: Request) -> Response:
        principal = await authorize(request, Scope.WRITE)
        content = to_json(await receive(request, principal, route))
        return Response(content, media_type=JSON)

    return send


async def _unknown_stream(name: str, _principal: CanWrite) -> None:
    raise NotFoundError(f"there is no stream {name!r} to send to; GET /v1/streams lists them")


def _inlined(part: Any, definitions: Mapping[str, Any]) -> Any:
    """A schema without references: what they lead to lies nowhere in the OpenAPI document."""
    if isinstance(part, list):
        return [_inlined(one, definitions) for one in part]
    if not isinstance(part, dict):
        return part
    if "$ref" in part:
        return _inlined(definitions[part["$ref"].removeprefix("#/$defs/")], definitions)
    return {name: _inlined(one, definitions) for name, one in part.items()}


def _http_paths(stream: Stream) -> list[str]:
    declared = (door.path for door in stream.doors if door.protocol == "http")
    return [f"/v1/streams/{stream.name}", *declared]


def _request_body(stream: Stream) -> dict[str, Any]:
    schema = message_schema(stream)
    own = {name: part for name, part in schema.items() if not name.startswith("$")}
    one = _inlined(own, schema.get("$defs", {}))
    many = {"type": "array", "items": one}
    return {
        "required": True,
        "content": {"application/json": {"schema": {"anyOf": [one, many]}}},
    }
