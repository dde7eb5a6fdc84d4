"""The doors for other apps: `/{adapter}/…`, with the token in the path where an app can do no else.

Whoever is let in gets the app's own success reply once all of the request is committed; what can't
be read is a dead letter, so that no app tries for ever or drops what it has.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime

from fastapi import APIRouter, Request, Response
from pydantic import SecretStr
from starlette.types import Message

from am_assets.streams.registry import Registry
from ingest_api.adapters.adapter import Adapter, AppRequest, Landed, Reply
from ingest_api.adapters.catalog import ADAPTERS
from ingest_api.adapters.text import BETWEEN, fields_of
from ingest_api.app_requests import Received, arrival, understood, unreadable
from ingest_api.auth import authorize
from ingest_api.bodies import read_body
from ingest_api.errors import ForbiddenError, MalformedBodyError, UnauthorizedError
from ingest_api.landing import Arrival
from ingest_api.services import Services
from ingest_api.tokens import PREFIX, Principal, Scope

METHODS = ["GET", "POST", "PUT"]
LARGE = 64 * 1024  # bytes; read in a thread, so that other requests go on

Handler = Callable[[Request], Awaitable[Response]]


def adapter_router(registry: Registry, *, secrets: Mapping[str, SecretStr]) -> APIRouter:
    """All adapters' paths; `secrets` are the users' own keys for OwnTracks, by user id."""
    router = APIRouter(tags=["apps"])
    for adapter in (one for one in ADAPTERS.values() if not one.has_own_router):
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


def without_token(told: AppRequest) -> tuple[AppRequest, str | None]:
    """A request without the tokens in its query, so that none is kept with data; and the first."""
    found = {name: _tokens(value) for name, value in told.query.items()}
    query = {name: value for name, value in told.query.items() if not found[name]}
    tokens = (token for tokens in found.values() for token in tokens)
    return replace(told, query=query), next(tokens, None)


def _tokens(value: str) -> list[str]:
    return [part for part in value.split(BETWEEN) if part.startswith(PREFIX)]


def _handler(adapter: Adapter, registry: Registry, secrets: Mapping[str, SecretStr]) -> Handler:
    async def handle(request: Request) -> Response:
        token, tail = split_token(request.url.path.removeprefix(f"/{adapter.name}"))
        told = _without_body(request, tail)
        own = adapter.own_token(told) if adapter.own_token else None
        told, in_query = without_token(told)
        try:
            principal = await authorize(request, Scope.WRITE, app_token=token or own or in_query)
        except (UnauthorizedError, ForbiddenError) as error:
            if adapter.refused_status is None:
                raise
            return Response(str(error), status_code=adapter.refused_status)
        told = replace(told, secret=_secret(secrets, principal))
        received = await _read(request, told, adapter)
        landed = Landed()
        if received.items:
            brought = await asyncio.to_thread(
                arrival,
                received,
                principal=principal,
                registry=registry,
                trace_id=request.state.trace_id,
            )
            landed = await land(request, brought)
        return response(adapter.reply(received.told, landed))

    return handle


def _without_body(request: Request, tail: str) -> AppRequest:
    return AppRequest(
        received_at=datetime.now(UTC),
        method=request.method,
        tail=tail,
        query=fields_of(request.scope["query_string"]),
        headers=dict(request.headers),
    )


def _secret(secrets: Mapping[str, SecretStr], principal: Principal) -> str | None:
    secret = secrets.get(principal.user_id)
    return None if secret is None else secret.get_secret_value()


async def _read(request: Request, told: AppRequest, adapter: Adapter) -> Received:
    """The request with its body, and what the adapter makes of it.

    Raises: TooLargeError.
    """
    services: Services = request.app.state.services
    limit = services.settings.api_max_body_mb << 20
    raw = await read_body(Request({**request.scope, "headers": []}, request.receive), limit=limit)
    told = replace(told, body=raw)
    try:
        told = replace(told, body=await read_body(Request(request.scope, _once(raw)), limit=limit))
    except MalformedBodyError as error:
        return Received(adapter=adapter, told=told, items=[unreadable(told, error)])
    if len(told.body) > LARGE:
        return await asyncio.to_thread(understood, told, adapter)
    return understood(told, adapter)


def _once(body: bytes) -> Callable[[], Awaitable[Message]]:
    """A body that was read already, to be read again."""

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return receive


async def land(request: Request, brought: Arrival) -> Landed:
    """Commit all that a request brought.

    Raises: UnavailableError.
    """
    services: Services = request.app.state.services
    receipt = await services.landing.land(brought)
    return Landed(stored=receipt.stored, duplicate=receipt.duplicate, rejected=receipt.rejected)


def response(reply: Reply) -> Response:
    """A reply as HTTP has it."""
    return Response(
        reply.content,
        status_code=reply.status,
        media_type=reply.media_type,
        headers=dict(reply.headers),
    )
