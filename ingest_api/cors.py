"""Which other web pages may ask the front door from a browser: none, unless AM_CORS_ORIGINS names
them.
"""

from collections.abc import Sequence

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware

METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE")
ASKED = ("Authorization", "X-API-Key", "Content-Type", "Content-Encoding", "X-Trace-ID", "Range")
SHOWN = ("X-Trace-ID", "Retry-After", "ETag", "Content-Range", "Accept-Ranges")


def allow_origins(app: FastAPI, origins: Sequence[str]) -> None:
    """Let pages of these origins (`https://host[:port]`, or `*`) ask with a token.

    Cookies are never part of it: AM knows tokens only. Without origins nothing is added, and a
    browser keeps every page of others away.
    """
    if origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(origins),
            allow_methods=METHODS,
            allow_headers=ASKED,
            expose_headers=SHOWN,
            allow_credentials=False,
        )
