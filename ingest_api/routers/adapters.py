"""The doors for other apps: `/{adapter}/…`, with the token in the path where an app can do no else.

Whoever is let in gets the app's own success reply once all of the request is committed; what can't
be read is a dead letter, so that no app tries for ever or drops what it has.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response
from pydantic import SecretStr
from starlette.types import Message

from am_assets.streams.registry import Registry
from ingest_api.adapters.adapter import Adapter, AppRequest, Item, Landed, Reply, Unread
from ingest_api.adapters.addressing import addressed, by_address
from ingest_api.adapters.catalog import ADAPTERS
from ingest_api.auth import authorize
from ingest_api.bodies import read_body
from ingest_api.errors import (
    ForbiddenError,
    MalformedBodyError,
    Reason,
    RejectedError,
    UnauthorizedError,
)
from ingest_api.landing import Arrival
from ingest_api.services import Services
from ingest_api.tokens import PREFIX, Principal, Scope

METHODS = ["GET", "POST", "PUT"]
LARGE = 64 * 1024  # bytes; read in a thread, so that other requests go on

Handler = Callable[[Request], Awaitable[Response]]


def adapter_router(registry: Registry, *, secrets: Mapping[str, SecretStr]) -> APIRouter:
    """All adapters' paths; `secrets` are the users' own keys for OwnTracks, by user id."""
    router = APIRouter(tags=["apps"])
    for adapter in ADAPTERS.values():
        handler = _handler(adapter, registry, secrets)
        described = f"/{adapter.name}"
        router.add_api_route(
            described,
            handler,
            methods=["POST"],
            summary=f"Data of {adapter.app}.",
            operation_id=f"app_{adapter.name}",
        )
        for path in (described, f"{described}/{{tail:path}}", *adapter.roots):
            router.add_api_route(path, handler, methods=METHODS, include_in_schema=False)
    return router


def split_token(path: str) -> tuple[str | None, str]:
    """The first token in a path, and the path without it and without slashes at its ends."""
    parts = [part for part in path.split("/") if part]
    token = next((part for part in parts if part.startswith(PREFIX)), None)
    return token, "/".join(part for part in parts if part != token)


def _handler(adapter: Adapter, registry: Registry, secrets: Mapping[str, SecretStr]) -> Handler:
    async def handle(request: Request) -> Response:
        token, tail = split_token(request.url.path.removeprefix(f"/{adapter.name}"))
        told = _without_body(request, tail)
        own = adapter.own_token(told) if adapter.own_token else None
        try:
            principal = await authorize(request, Scope.WRITE, app_token=token or own)
        except (UnauthorizedError, ForbiddenError) as error:
            if adapter.refused_status is None:
                raise
            return Response(str(error), status_code=adapter.refused_status)
        told = replace(told, secret=_secret(secrets, principal))
        told, items = await _read(request, told, adapter)
        arrival = await _arrival(request, items, principal, adapter, registry)
        landed = await _land(request, arrival) if items else Landed()
        return _response(adapter.reply(told, landed))

    return handle


def _without_body(request: Request, tail: str) -> AppRequest:
    return AppRequest(
        received_at=datetime.now(UTC),
        method=request.method,
        tail=tail,
        query=dict(request.query_params),
        headers=dict(request.headers),
    )


def _secret(secrets: Mapping[str, SecretStr], principal: Principal) -> str | None:
    secret = secrets.get(principal.user_id)
    return None if secret is None else secret.get_secret_value()


async def _read(
    request: Request, told: AppRequest, adapter: Adapter
) -> tuple[AppRequest, Sequence[Item]]:
    """The request with its body, and what the adapter makes of it.

    Raises: TooLargeError.
    """
    services: Services = request.app.state.services
    limit = services.settings.api_max_body_mb << 20
    raw = await read_body(Request({**request.scope, "headers": []}, request.receive), limit=limit)
    told = replace(told, body=raw)
    try:
        inflated = await read_body(Request(request.scope, _once(raw)), limit=limit)
        told = replace(told, body=inflated)
        return told, await _understood(told, adapter)
    except MalformedBodyError as error:
        return told, [_whole(told, Reason.NOT_JSON, error)]
    except RejectedError as error:
        return told, [_whole(told, error.code, error)]


def _once(body: bytes) -> Callable[[], Awaitable[Message]]:
    """A body that was read already, to be read again."""

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


async def _understood(told: AppRequest, adapter: Adapter) -> Sequence[Item]:
    if len(told.body) > LARGE:
        return await asyncio.to_thread(adapter.read, told)
    return adapter.read(told)


def _whole(told: AppRequest, code: Reason, error: Exception) -> Unread:
    """The body as it came; the query where all is in that."""
    content = told.body or urlencode(told.query).encode()
    return Unread(content=content, code=code, reason=str(error))


async def _arrival(
    request: Request,
    items: Sequence[Item],
    principal: Principal,
    adapter: Adapter,
    registry: Registry,
) -> Arrival:
    elements = await asyncio.to_thread(
        addressed, items, registry=registry, device_id=principal.device_id
    )
    return Arrival(
        elements=elements,
        route=by_address(registry),
        door=f"/{adapter.name}",
        principal=principal,
        device_id=_default_device(request, items, principal) or adapter.name,
        trace_id=request.state.trace_id,
    )


async def _land(request: Request, arrival: Arrival) -> Landed:
    """Commit all of it.

    Raises: UnavailableError.
    """
    services: Services = request.app.state.services
    receipt = await services.landing.land(arrival)
    return Landed(stored=receipt.stored, duplicate=receipt.duplicate, rejected=receipt.rejected)


def _default_device(request: Request, items: Sequence[Item], principal: Principal) -> str | None:
    """Whose an event is that names no device: the token's, the request's, else its neighbours'."""
    named = principal.device_id or request.headers.get("x-device-id")
    asked = named or request.query_params.get("device_id") or request.query_params.get("device")
    return asked or next((device for item in items if (device := _named_by(item))), None)


def _named_by(item: Item) -> str | None:
    device_id = None if isinstance(item, Unread) else item.columns.get("device_id")
    return str(device_id) if device_id else None


def _response(reply: Reply) -> Response:
    return Response(
        reply.content,
        status_code=reply.status,
        media_type=reply.media_type,
        headers=dict(reply.headers),
    )
