"""The page that tells of all doors, for people; programs read `/openapi.json`."""

from functools import lru_cache

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import HTMLResponse

from ingest_api.doors_page import doors_page

router = APIRouter()


@router.get("/docs", include_in_schema=False)
def docs(request: Request) -> HTMLResponse:
    """Every door with its schema."""
    return HTMLResponse(_page(request.app))


@lru_cache(maxsize=1)
def _page(app: FastAPI) -> str:
    """Made once: the document does not change while the application runs."""
    return doors_page(app.openapi())
