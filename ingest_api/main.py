"""The front door: the application, and how it is put together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from fastapi import FastAPI
from psycopg_pool import AsyncConnectionPool

from am_assets.streams.registry import REGISTRY, Registry
from ingest_api import middleware
from ingest_api.audit import Audited, Auditor
from ingest_api.auth import Authenticator
from ingest_api.cors import allow_origins
from ingest_api.errors import IngestError
from ingest_api.landing import LandingStage, Zones
from ingest_api.limits import Admission, RateLimits, blob_limit
from ingest_api.live import LiveSockets
from ingest_api.own_blobs import OwnBlobs
from ingest_api.routers import (
    activitywatch,
    audio_socket,
    blobs,
    collector,
    context,
    dead_letters,
    devices,
    doors,
    health,
    heartbeat_socket,
    ledger,
    moments,
    notification_socket,
    pairing,
    realtime_socket,
    search,
    sql,
    streams,
    timeline,
    unified,
    uploads,
)
from ingest_api.routers.adapters import adapter_router
from ingest_api.routers.asking import Asking
from ingest_api.routers.messages import message_router
from ingest_api.services import Services
from ingest_api.settings import Settings
from ingest_api.straight import Straight, straight_doors
from ingest_api.uploads import Uploads
from ingest_api.writer import Writer
from models.catalog import Task
from resources.blobs import BlobStore
from resources.connections import Connections

POOL_SIZE = 8
POOL_TIMEOUT_S = 3.0
DESCRIPTION = """\
A 2xx from AM means that the request's content is committed and fsynced before the reply. From then
on every element is a row or a dead letter with a reason, and the counts add up per user, device,
stream and day, in SQL: received = stored + duplicate + rejected. Sending anything again is safe. If
AM cannot write, it answers 503 with Retry-After and stores nothing."""


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
    rates = RateLimits(settings)

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
        app.state.services = _services(settings, connections, registry, pool, writer, rates)
        await app.state.services.auditor.start()
        yield
        app.state.services.sql.close()
        await app.state.services.auditor.stop()
        await writer.stop()
        await pool.close()

    app = FastAPI(
        title="AM",
        version="0.1.0",
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,  # AM's own: FastAPI's take their scripts from another server
        redoc_url=None,
        # AM has counters of its own; asking for others costs every request some microseconds.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    messages = message_router(registry)
    app.add_middleware(Audited)
    app.add_middleware(Straight, doors=straight_doors(messages.routes))
    app.add_middleware(Admission, settings=settings, rates=rates)
    app.add_middleware(middleware.Trace, has_access_log=settings.api_access_log)
    allow_origins(app, settings.cors_origins)
    app.add_exception_handler(IngestError, middleware.refuse)
    app.add_exception_handler(Exception, middleware.fail)
    for router in (
        health.router,
        doors.router,
        streams.router,
        dead_letters.router,
        unified.router,
        devices.router,
        audio_socket.router,
        realtime_socket.router,
        notification_socket.router,
        heartbeat_socket.router,
        timeline.router,
        search.router,
        sql.router,
        moments.router,
        uploads.router,  # before `blobs`, whose path takes all that is below it
        blobs.router,
        pairing.router,
        collector.router,
        activitywatch.router,
        context.router,
        ledger.router,
        messages,
        adapter_router(registry, secrets=settings.owntracks_secrets),
    ):
        app.include_router(router)
    return app


def _services(
    settings: Settings,
    connections: Connections,
    registry: Registry,
    pool: AsyncConnectionPool,
    writer: Writer,
    rates: RateLimits,
) -> Services:
    store = BlobStore(connections)
    own = OwnBlobs(pool=pool, blobs=store, registry=registry, limit=blob_limit(settings))
    endpoint = settings.s3_public_endpoint
    return Services(
        settings=settings,
        connections=connections,
        registry=registry,
        pool=pool,
        authenticator=Authenticator(pool),
        rates=rates,
        blobs=store,
        own_blobs=own,
        uploads=Uploads(pool=pool, blobs=store, own=own, public_endpoint=endpoint),
        auditor=Auditor(pool),
        landing=LandingStage(
            zones=Zones(pool),
            blobs=store,
            own_blobs=own,
            writer=writer,
            max_future=timedelta(seconds=settings.max_future_skew_s),
        ),
        asking=_asking(settings, connections, registry),
        sql=sql.workers(settings, connections),
        live=LiveSockets(),
    )


def _asking(settings: Settings, connections: Connections, registry: Registry) -> Asking:
    model_id = settings.model_choice().spec(Task.TEXT_EMBEDDING).model_id
    return Asking.build(connections, registry, settings.late_compute(), model_id=model_id)
