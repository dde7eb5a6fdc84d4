"""`GET /collect/`: the page by which a phone's browser collects. It holds no data and no secret."""

from fastapi import APIRouter, Request, Response, status
from fastapi.responses import RedirectResponse

from ingest_api.collector import collector_assets
from ingest_api.errors import NotFoundError

router = APIRouter(prefix="/collect", include_in_schema=False)
READ = ["GET", "HEAD"]

# Nothing but these very files runs, and nothing but this very server is spoken to.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "worker-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
ABLE = (
    "accelerometer=(self), camera=(self), geolocation=(self), gyroscope=(self), "
    "microphone=(self), screen-wake-lock=(self), payment=(), usb=(), serial=()"
)
HEADERS = {
    "content-security-policy": POLICY,
    "permissions-policy": ABLE,
    "cross-origin-opener-policy": "same-origin",
    # A browser may keep a file but has to ask each time whether it is still the same.
    "cache-control": "no-cache",
}


@router.api_route("", methods=READ)
async def collect() -> RedirectResponse:
    """Below the slash lies all that the service worker may serve; a fragment is kept."""
    return RedirectResponse("collect/", status.HTTP_308_PERMANENT_REDIRECT, HEADERS)


@router.api_route("/", methods=READ)
async def page(request: Request) -> Response:
    """The page."""
    return serve(request, "")


@router.api_route("/{name}", methods=READ)
async def asset(request: Request, name: str) -> Response:
    """One of the page's files."""
    return serve(request, name)


def serve(request: Request, name: str) -> Response:
    """A file, or 304 for who has it already.

    Raises: NotFoundError.
    """
    found = collector_assets().get(name)
    if found is None:
        raise NotFoundError(f"the collector has no file {name!r}")
    headers = {**HEADERS, "etag": found.etag}
    if found.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=status.HTTP_304_NOT_MODIFIED, headers=headers)
    return Response(found.content, media_type=found.media_type, headers=headers)
