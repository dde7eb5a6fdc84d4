"""Whether AM lives, whether it can take data, and its counters."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import psycopg
from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from psycopg_pool import PoolTimeout

from ingest_api.border import translating
from ingest_api.errors import UnavailableError
from ingest_api.services import Services

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def healthz(request: Request) -> dict[str, str]:
    """The process answers."""
    return {"status": "healthy", **_service(request)}


@router.get("/readyz")
async def readyz(request: Request) -> dict[str, Any]:
    """The database and the object store answer too; 503 where one does not."""
    services: Services = request.app.state.services
    try:
        async with services.pool.connection(timeout=3) as connection:
            await connection.execute("SELECT 1 FROM am.landing LIMIT 1")
    except (psycopg.Error, PoolTimeout) as error:
        raise UnavailableError(f"the database does not answer: {error}") from error
    with translating():
        await asyncio.to_thread(services.blobs.check)
    return {"status": "ready", "database": "ok", "object_store": "ok", **_service(request)}


def _service(request: Request) -> dict[str, str]:
    """What older clients read besides."""
    return {"timestamp": datetime.now(UTC).isoformat(), "version": request.app.version}


@router.get("/metrics", include_in_schema=False)
async def metrics() -> Response:
    """Prometheus' text format."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
