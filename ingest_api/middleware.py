"""What happens to every request: a trace id, counters, headers that protect, errors as answers.

Plain ASGI: a body is passed on piece by piece, and no request costs a task of its own.
"""

import logging
import math
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from uuid import uuid4

from fastapi import Request
from fastapi.responses import JSONResponse
from prometheus_client import Counter, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ingest_api.errors import (
    IngestError,
    TooManyRequestsError,
    UnauthorizedError,
    UnavailableError,
)

log = logging.getLogger(__name__)
access = logging.getLogger("ingest_api.access")

RETRY_AFTER_S = 2
TRACE_ID = re.compile(r"^[\x21-\x7e]{1,128}$")
REQUESTS = Counter("http_requests", "Requests answered.", ["method", "endpoint", "status"])
SECONDS = Histogram("http_request_duration_seconds", "Time to answer.", ["method", "endpoint"])

# A page that needs more says so itself: none of these replaces a header that is there.
PROTECTION = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
UNSTORED = (b"cache-control", b"no-store")
NO_CONTENT_RUNS = b"default-src 'none'; frame-ancestors 'none'"
OWN_CONTENT_RUNS = (
    b"default-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; "
    b"style-src 'self' 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"
)
OWN_HEADERS = (b"x-trace-id", b"x-services-encountered")
ENCRYPTED = (b"strict-transport-security", b"max-age=63072000")


@dataclass
class _Answered:
    status: int = 500  # where the application ends without an answer


class Trace:
    """Carries the client's trace id, or a new one, through and back; counts and times requests."""

    def __init__(self, app: ASGIApp, *, has_access_log: bool = False) -> None:
        """`has_access_log`: one line a request, by the route's pattern: no path, no query."""
        self._app = app
        self._has_access_log = has_access_log

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request; anything else passes."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        trace_id = _trace_id(scope)
        scope.setdefault("state", {})["trace_id"] = trace_id
        answered = _Answered()

        async def told(message: Message) -> None:
            if message["type"] == "http.response.start":
                answered.status = message["status"]
                _add_headers(message, scope, trace_id)
            await send(message)

        begin = time.perf_counter()
        try:
            await self._app(scope, receive, told)
        finally:
            self._count(scope, answered.status, time.perf_counter() - begin)

    def _count(self, scope: Scope, status: int, seconds: float) -> None:
        method, endpoint = scope["method"], endpoint_of(scope)
        _seconds(method, endpoint).observe(seconds)
        _requests(method, endpoint, status).inc()
        if self._has_access_log:
            client = (scope.get("client") or ("-",))[0]
            took_ms = seconds * 1000
            access.info("%s %s %s %d %.1f ms", client, method, endpoint, status, took_ms)


@cache
def _seconds(method: str, endpoint: str) -> Histogram:
    return SECONDS.labels(method, endpoint)


@cache
def _requests(method: str, endpoint: str, status: int) -> Counter:
    return REQUESTS.labels(method, endpoint, status)


def endpoint_of(scope: Scope) -> str:
    """The route's pattern, such as `/v1/moments/{moment_id}`; never what a client put into it."""
    return getattr(scope.get("route"), "path", "unknown")


def _trace_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-trace-id" and TRACE_ID.match(sent := value.decode("latin-1")):
            return str(sent)
    return str(uuid4())


def _add_headers(message: Message, scope: Scope, trace_id: str) -> None:
    """What is there already stays, but for AM's own two."""
    sent = [pair for pair in message["headers"] if pair[0] not in OWN_HEADERS]
    names = {name for name, _ in sent}
    wanted = (*PROTECTION, (b"content-security-policy", _policy(sent)), UNSTORED)
    sent += [pair for pair in wanted if pair[0] not in names]
    if scope.get("scheme") == "https" and ENCRYPTED[0] not in names:
        sent.append(ENCRYPTED)
    sent += [(b"x-trace-id", trace_id.encode("latin-1")), (b"x-services-encountered", b"am")]
    message["headers"] = sent


def _policy(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    kind = next((value for name, value in headers if name == b"content-type"), b"")
    return OWN_CONTENT_RUNS if kind.startswith(b"text/html") else NO_CONTENT_RUNS


def refusal(error: IngestError, scope: Scope) -> JSONResponse:
    """An error as its status, a sentence, and the headers that its status asks for."""
    return JSONResponse(
        {
            "status": "error",
            "detail": str(error),
            "trace_id": scope.get("state", {}).get("trace_id"),
        },
        status_code=error.status,
        headers=_headers(error),
    )


def _headers(error: IngestError) -> dict[str, str]:
    if isinstance(error, TooManyRequestsError):
        return {"Retry-After": str(max(1, math.ceil(error.retry_after_s)))}
    if isinstance(error, UnavailableError):
        return {"Retry-After": str(RETRY_AFTER_S)}
    if isinstance(error, UnauthorizedError):
        return {"WWW-Authenticate": "Bearer"}
    return {}


async def refuse(request: Request, error: Exception) -> JSONResponse:
    """The answer to a request that raised an IngestError."""
    assert isinstance(error, IngestError)
    return refusal(error, request.scope)


async def fail(request: Request, error: Exception) -> JSONResponse:
    """A bug: logged whole, told to the client as no more than that."""
    log.error("unexpected error at %s", endpoint_of(request.scope), exc_info=error)
    return JSONResponse(
        {
            "status": "error",
            "detail": "AM has a bug here; nothing of this request was acknowledged",
            "trace_id": request.scope.get("state", {}).get("trace_id"),
        },
        status_code=500,
        # This answer is made outside of `Trace`.
        headers={name.decode(): value.decode() for name, value in PROTECTION},
    )
