"""The front door: the application, and how it is put together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from fastapi import FastAPI
from psycopg_pool import AsyncConnectionPool

from am_assets.streams.registry import REGISTRY, Registry
from ingest_api import middleware
from ingest_api.auth import Authenticator
from ingest_api.errors import IngestError
from ingest_api.landing import LandingStage, Zones
from ingest_api.routers import (
    audio_socket,
    blobs,
    dead_letters,
    health,
    ledger,
    moments,
    search,
    streams,
    timeline,
)
from ingest_api.routers.asking import Asking
from ingest_api.routers.messages import message_router
from ingest_api.services import Services
from ingest_api.settings import Settings
from ingest_api.writer import Writer
from models.catalog import Task
from resources.blobs import BlobStore
from resources.connections import Connections

POOL_SIZE = 8
POOL_TIMEOUT_S = 3.0
DESCRIPTION = """A 2xx means that the request's content is committed and fsynced. From then on every
element is a row or a dead letter with a reason. Sending anything again is safe. If AM cannot write,
it answers 503 with Retry-After and stores nothing."""


def app_from_environment() -> FastAPI:
    """The application as `AM_…` variables describe it.

    Raises: StackNotFoundError when they don't name a database or an object store.
    """
    settings = Settings()
    return build_app(settings, settings.connections())


def build_app(
    settings: Settings, connections: Connections, *, registry: Registry = REGISTRY
) -> FastAPI:
    """The application; nothing is connected before it starts."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        pool = AsyncConnectionPool(
            connections.database_url,
            min_size=1,
            max_size=POOL_SIZE,
            timeout=POOL_TIMEOUT_S,
            open=False,
            kwargs={"autocommit": True},
            check=AsyncConnectionPool.check_connection,
        )
        await pool.open()
        writer = Writer(connections.database_url)
        await writer.start()
        app.state.services = _services(settings, connections, registry, pool, writer)
        yield
        await writer.stop()
        await pool.close()

    app = FastAPI(title="AM", version="0.1.0", description=DESCRIPTION, lifespan=lifespan)
    app.middleware("http")(middleware.trace)
    app.add_exception_handler(IngestError, middleware.refuse)
    app.add_exception_handler(Exception, middleware.fail)
    for router in (
        health.router,
        streams.router,
        dead_letters.router,
        audio_socket.router,
        timeline.router,
        search.router,
        moments.router,
        blobs.router,
        ledger.router,
        message_router(registry),
    ):
        app.include_router(router)
    return app


def _services(
    settings: Settings,
    connections: Connections,
    registry: Registry,
    pool: AsyncConnectionPool,
    writer: Writer,
) -> Services:
    store = BlobStore(connections)
    return Services(
        settings=settings,
        connections=connections,
        registry=registry,
        pool=pool,
        authenticator=Authenticator(pool),
        blobs=store,
        landing=LandingStage(
            zones=Zones(pool),
            blobs=store,
            writer=writer,
            max_future=timedelta(seconds=settings.max_future_skew_s),
        ),
        asking=_asking(settings, connections, registry),
    )


def _asking(settings: Settings, connections: Connections, registry: Registry) -> Asking:
    model_id = settings.model_choice().spec(Task.TEXT_EMBEDDING).model_id
    return Asking.build(connections, registry, settings.late_compute(), model_id=model_id)
