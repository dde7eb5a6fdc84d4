"""What the routes work with, made once when the application starts."""

from dataclasses import dataclass

from psycopg_pool import AsyncConnectionPool

from am_assets.streams.registry import Registry
from ingest_api.auth import Authenticator
from ingest_api.blobs import BlobStore
from ingest_api.landing import LandingStage
from ingest_api.routers.asking import Asking
from ingest_api.settings import Settings
from resources.connections import Connections


@dataclass(frozen=True)
class Services:
    """The parts behind the front door."""

    settings: Settings
    connections: Connections
    registry: Registry
    pool: AsyncConnectionPool
    authenticator: Authenticator
    blobs: BlobStore
    landing: LandingStage
    asking: Asking
