"""All routes of the application, for tests of what holds for each of them, whoever added it."""

import re
from collections.abc import Iterator, Mapping, Sequence

from fastapi import APIRouter, FastAPI
from starlette.routing import BaseRoute, Route

# What anybody may have: nothing of it is personal. Patterns, as whole routes.
PUBLIC = re.compile(
    r"/|/docs|/openapi\.json|/healthz|/readyz|/metrics"
    r"|/v1/streams|/v1/streams/\{name\}/schema"
    r"|/ingest/message-types|/ingest/message-types/\{message_type_id\}"
    r"|/os-events/event-types|/system/apps/stats|/system/metadata/types"
    r"|/v1/pair"  # asks for a code, and tells of nothing but the new token
    r"|(/activitywatch(/\{token\})?)?/api/0/info"  # that there is a server, for its watchers
    r"|/collect|/collect/|/collect/\{.+\}"  # the page that collects; it holds no data
)
REFUSED = (403, 499)
VALUES = {
    "upload_id": "00000000-0000-0000-0000-000000000005",
    "part": "1",
    "event_id": "1",
}
NEEDED = {"q": "bread"}


def flat(routes: Sequence[BaseRoute]) -> Iterator[BaseRoute]:
    """All routes, those of included routers too, which FastAPI keeps as routers."""
    for route in routes:
        router: APIRouter | None = getattr(route, "original_router", None)
        yield from flat(router.routes) if router else (route,)


def every_route(app: FastAPI) -> list[BaseRoute]:
    """All routes of an application, sockets too."""
    return list(flat(app.routes))


def filled(pattern: str, values: Mapping[str, str] = VALUES) -> str:
    """A path that fits a pattern; what has no value is `x`."""
    return re.sub(r"\{(\w+)(?::\w+)?\}", lambda found: values.get(found[1], "x"), pattern)


def asked(routes: list[BaseRoute]) -> list[tuple[str, str]]:
    """Method and pattern of all that is asked over HTTP and is not public."""
    return [
        (method, route.path)
        for route in routes
        if isinstance(route, Route)
        for method in sorted((route.methods or set()) - {"HEAD", "OPTIONS"})
        if not PUBLIC.fullmatch(route.path)
    ]
