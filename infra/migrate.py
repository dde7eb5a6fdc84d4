"""Bring a database to the schema of this version: numbered migrations, then the registry's tables.

Both are transactional and may be run again at any time. The same statements serve plain PostgreSQL
and TimescaleDB; the latter gets hypertables and policies on top.
"""

from collections.abc import Iterable
from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine
from sqlalchemy.engine import Engine

from am_assets.schemas import postgres, timeline
from am_assets.streams.registry import REGISTRY, Registry
from am_assets.streams.stream import Stream

MIGRATIONS = Path(__file__).parent / "migrations"
VERSION_TABLE = "am_schema_version"
LOCK = 4_122_023  # any number; two starts at once must not both migrate


def upgrade(database_url: str, *, registry: Registry = REGISTRY) -> None:
    """Run what is missing.

    Raises: psycopg.Error or sqlalchemy.exc.SQLAlchemyError; nothing is then half done.
    """
    with psycopg.connect(database_url, autocommit=True) as guard:
        guard.execute("SELECT pg_advisory_lock(%s)", (LOCK,))
        _run_migrations(database_url)
        with psycopg.connect(database_url) as connection:
            apply_registry(connection, registry)


def apply_registry(connection: psycopg.Connection, registry: Registry) -> None:
    """Make each stream's table, policies and the timeline over them, in one transaction."""
    is_timescale = has_timescale(connection)
    connection.execute("SET LOCAL client_min_messages = warning")
    connection.execute(f"DROP VIEW IF EXISTS {postgres.SCHEMA}.timeline")
    for statement in registry_statements(registry.values(), is_timescale=is_timescale):
        connection.execute(statement.encode())
    connection.commit()


def registry_statements(streams: Iterable[Stream], *, is_timescale: bool) -> list[str]:
    """All that the registry asks of the database, in order."""
    chosen = list(streams)
    statements = [
        statement
        for stream in chosen
        for statement in (
            *postgres.table(stream),
            *postgres.row_security(postgres.qualified(stream)),
            *(postgres.hypertable(stream) if is_timescale else ()),
        )
    ]
    return [*statements, *timeline.hot_timeline(chosen)]


def has_timescale(connection: psycopg.Connection) -> bool:
    """Whether the extension is made in this database."""
    row = connection.execute("SELECT 1 FROM pg_extension WHERE extname = 'timescaledb'").fetchone()
    return row is not None


def current_revision(database_url: str) -> str | None:
    """The newest migration that this database has; None = none."""
    with _engine(database_url).connect() as connection:
        options = {"version_table": VERSION_TABLE}
        return MigrationContext.configure(connection, opts=options).get_current_revision()


def newest_revision() -> str:
    """The newest migration of this version of AM."""
    head = ScriptDirectory(str(MIGRATIONS)).get_current_head()
    assert head is not None
    return head


def _run_migrations(database_url: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with _engine(database_url).begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")


def _engine(database_url: str) -> Engine:
    return create_engine(database_url.replace("postgresql://", "postgresql+psycopg://", 1))
