"""What happens to every request: a trace id, counters, and errors as answers."""

import logging
import time
from collections.abc import Awaitable, Callable
from uuid import uuid4

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from prometheus_client import Counter, Histogram

from ingest_api.errors import IngestError, UnauthorizedError, UnavailableError

log = logging.getLogger(__name__)

RETRY_AFTER_S = "2"
REQUESTS = Counter("http_requests", "Requests answered.", ["method", "endpoint", "status"])
SECONDS = Histogram("http_request_duration_seconds", "Time to answer.", ["method", "endpoint"])

Next = Callable[[Request], Awaitable[Response]]


async def trace(request: Request, call_next: Next) -> Response:
    """Carry the client's trace id, or a new one, through and back; count and time the request."""
    request.state.trace_id = request.headers.get("x-trace-id") or str(uuid4())
    begin = time.perf_counter()
    response = await call_next(request)
    endpoint = getattr(request.scope.get("route"), "path", "unknown")
    SECONDS.labels(request.method, endpoint).observe(time.perf_counter() - begin)
    REQUESTS.labels(request.method, endpoint, response.status_code).inc()
    response.headers["X-Trace-ID"] = request.state.trace_id
    response.headers["X-Services-Encountered"] = "am"
    return response


async def refuse(request: Request, error: Exception) -> JSONResponse:
    """An IngestError as its status, a sentence, and the headers that its status asks for."""
    assert isinstance(error, IngestError)
    headers = {}
    if isinstance(error, UnavailableError):
        headers["Retry-After"] = RETRY_AFTER_S
    if isinstance(error, UnauthorizedError):
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(
        {"status": "error", "detail": str(error), "trace_id": trace_id_of(request)},
        status_code=error.status,
        headers=headers,
    )


async def fail(request: Request, error: Exception) -> JSONResponse:
    """A bug: logged whole, told to the client as no more than that."""
    log.error("unexpected error at %s", request.url.path, exc_info=error)
    return JSONResponse(
        {
            "status": "error",
            "detail": "AM has a bug here; nothing of this request was acknowledged",
            "trace_id": trace_id_of(request),
        },
        status_code=500,
    )


def trace_id_of(request: Request) -> str | None:
    """The request's trace id, where it got as far as having one."""
    return getattr(request.state, "trace_id", None)
