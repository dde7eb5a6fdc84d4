"""The short way to doors that are asked thousands of times a second.

FastAPI tries the patterns of some hundred routes in turn and prepares much that the doors of
messages don't use. They are found here by their whole path, in one step, and get what FastAPI would
have given them: the request. Everything else goes the long way.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from starlette.datastructures import Headers
from starlette.routing import BaseRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from ingest_api.errors import IngestError
from ingest_api.middleware import refusal

Door = tuple[APIRoute, Callable[[Request], Awaitable[Response]]]


def straight_doors(routes: Iterable[BaseRoute]) -> dict[str, Door]:
    """The routes that take a POST at one fixed path, by that path.

    Their endpoints must take the request alone and give a response.
    """
    return {
        route.path: (route, route.endpoint)
        for route in routes
        if isinstance(route, APIRoute) and route.methods == {"POST"} and "{" not in route.path
    }


class Quick(Headers):
    """Headers that are looked up in one step: each request is asked for six or more."""

    def __init__(self, scope: Scope) -> None:
        """Of one that comes twice, the first counts, as everywhere."""
        super().__init__(scope=scope)
        pairs = reversed(scope["headers"])
        self._by_name = {name.decode("latin-1"): value.decode("latin-1") for name, value in pairs}

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a header; its name may have capitals."""
        return self._by_name.get(key.lower(), default)


class Straightened(Request):
    """A request with such headers."""

    @property
    def headers(self) -> Headers:
        """Made when they are first asked for."""
        if not hasattr(self, "_headers"):
            self._headers: Headers = Quick(self.scope)
        return self._headers


class Straight:
    """ASGI middleware, the innermost: serves the doors it was given, and passes on all else."""

    def __init__(self, app: ASGIApp, *, doors: Mapping[str, Door]) -> None:
        """`doors`: as `straight_doors` gives them."""
        self._app = app
        self._doors = doors

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        is_post = scope["type"] == "http" and scope["method"] == "POST"
        door = self._doors.get(scope["path"]) if is_post else None
        if door is None:
            await self._app(scope, receive, send)
            return
        scope["route"], endpoint = door
        response: Response
        try:
            response = await endpoint(Straightened(scope, receive))
        except IngestError as error:
            response = refusal(error, scope)
        await response(scope, receive, send)
