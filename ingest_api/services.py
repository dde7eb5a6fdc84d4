"""What the routes work with, made once when the application starts."""

from dataclasses import dataclass

from psycopg_pool import AsyncConnectionPool

from am_assets.streams.registry import Registry
from ingest_api.audit import Auditor
from ingest_api.auth import Authenticator
from ingest_api.landing import LandingStage
from ingest_api.limits import RateLimits
from ingest_api.live import LiveSockets
from ingest_api.own_blobs import OwnBlobs
from ingest_api.routers.asking import Asking
from ingest_api.settings import Settings
from ingest_api.uploads import Uploads
from resources.blobs import BlobStore
from resources.connections import Connections
from resources.duck_workers import DuckWorkers


@dataclass(frozen=True)
class Services:
    """The parts behind the front door."""

    settings: Settings
    connections: Connections
    registry: Registry
    pool: AsyncConnectionPool
    authenticator: Authenticator
    rates: RateLimits
    blobs: BlobStore
    own_blobs: OwnBlobs
    uploads: Uploads
    auditor: Auditor
    landing: LandingStage
    asking: Asking
    sql: DuckWorkers
    live: LiveSockets
