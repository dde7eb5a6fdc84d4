"""The test stack's stores as `AM_…` variables, for programs and commands that work on them."""

from pathlib import Path

from ingest_api.settings import Settings
from resources.connections import Connections
from resources.master_keys import FileMasterKey


def variables_of(connections: Connections) -> dict[str, str]:
    """Where the stores are, and with what they are opened; without `AM_HOME`."""
    return {
        "AM_DATABASE_URL": connections.database_url,
        "AM_S3_ENDPOINT": connections.s3_endpoint,
        "AM_S3_ACCESS_KEY": connections.s3_access_key,
        "AM_S3_SECRET_KEY": connections.s3_secret_key,
        "AM_S3_BUCKET": connections.s3_bucket,
        "AM_LAKE_URI": connections.lake_uri,
        "AM_VECTORS_URI": connections.vectors_uri,
        "AM_MASTER_KEY_FILE": master_key_file(connections),
    }


def settings_of(connections: Connections, *, home: Path) -> Settings:
    """The test's own database, lake and vectors, with the rest of a stack's home."""
    return Settings(
        home=home,
        s3_bucket=connections.s3_bucket,
        database_url=connections.database_url,
        lake_uri=connections.lake_uri,
        vectors_uri=connections.vectors_uri,
    )


def master_key_file(connections: Connections) -> str:
    """The file with the master key of these stores."""
    assert isinstance(connections.master_key, FileMasterKey)
    return str(connections.master_key.path)
