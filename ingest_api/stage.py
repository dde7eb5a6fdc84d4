"""A landing stage outside of the API: for what brings data without a request of its own."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from psycopg_pool import AsyncConnectionPool

from am_assets.streams.registry import REGISTRY, Registry
from ingest_api.landing import LandingStage, Zones
from ingest_api.limits import blob_limit
from ingest_api.own_blobs import OwnBlobs
from ingest_api.settings import Settings
from ingest_api.writer import Writer
from resources.blobs import BlobStore
from resources.connections import Connections

POOL_TIMEOUT_S = 3.0


@asynccontextmanager
async def landing_stage(
    settings: Settings, connections: Connections, *, registry: Registry = REGISTRY
) -> AsyncIterator[LandingStage]:
    """The same stage that the API has, with a writer and connections of its own.

    Neither the database nor the object store has to be there yet.
    """
    blobs, writer = BlobStore(connections), Writer(connections.database_url)
    pool = AsyncConnectionPool(
        connections.database_url,
        min_size=1,
        max_size=4,
        timeout=POOL_TIMEOUT_S,
        open=False,
        kwargs={"autocommit": True},
        check=AsyncConnectionPool.check_connection,
    )
    await pool.open()
    await writer.start()
    try:
        yield LandingStage(
            zones=Zones(pool),
            blobs=blobs,
            own_blobs=OwnBlobs(
                pool=pool, blobs=blobs, registry=registry, limit=blob_limit(settings)
            ),
            writer=writer,
            max_future=timedelta(seconds=settings.max_future_skew_s),
        )
    finally:
        await writer.stop()
        await pool.close()
