"""Bring a database to the schema of this version: numbered migrations, then the registry's tables.

Both are transactional and may be run again at any time. The same statements serve plain PostgreSQL
and TimescaleDB; the latter gets hypertables and policies on top. The registry's statements are sent
at once, and not at all where the database has a note that it had the very same ones and its catalog
shows no difference. Partitions are of the day: they are looked at every time.
"""

import hashlib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import psycopg
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine
from sqlalchemy.engine import Engine
from sqlalchemy.pool import NullPool

from am_assets.schemas import errors, postgres, roles, rollups, timeline
from am_assets.streams.registry import REGISTRY, Registry
from am_assets.streams.stream import Stream
from infra.drift import find_drift
from resources.advisory_locks import locked
from resources.partitions import make_ahead

MIGRATIONS = Path(__file__).parent / "migrations"
VERSION_TABLE = "am_schema_version"
LOCK = 4_122_023  # any number; two starts at once must not both migrate
TIMELINE = "timeline"
NOTE_TABLE = f"""CREATE TABLE IF NOT EXISTS {postgres.SCHEMA}.registry_note (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    statements_sha256 text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)"""
NOTE = f"""INSERT INTO {postgres.SCHEMA}.registry_note (statements_sha256) VALUES (%(digest)s)
ON CONFLICT (is_only) DO UPDATE SET statements_sha256 = excluded.statements_sha256,
    applied_at = excluded.applied_at"""
IS_APPLIED = f"""SELECT
    (SELECT statements_sha256 FROM {postgres.SCHEMA}.registry_note) = %(digest)s,
    (SELECT count(*) FROM pg_class WHERE relnamespace = '{postgres.SCHEMA}'::regnamespace
        AND relname = ANY(%(names)s) AND relkind IN ('r', 'p', 'v'))"""


def upgrade(database_url: str, *, registry: Registry = REGISTRY) -> None:
    """Run what is missing.

    Raises: psycopg.Error or sqlalchemy.exc.SQLAlchemyError; nothing is then half done.
    """
    with locked(database_url, LOCK):
        _run_migrations(database_url)
        with psycopg.connect(database_url) as connection:
            apply_registry(connection, registry)
            connection.execute("SET TIME ZONE 'UTC'")
            make_ahead(connection, registry.values(), today=datetime.now(UTC).date())


def apply_registry(connection: psycopg.Connection, registry: Registry) -> bool:
    """Make each stream's table, policies and the timeline over them, in one transaction.

    Returns whether anything had to be done.
    """
    is_timescale = has_timescale(connection)
    statements = registry_statements(registry.values(), is_timescale=is_timescale)
    digest = hashlib.sha256("\0".join(statements).encode()).hexdigest()
    connection.execute(NOTE_TABLE)
    is_applied = _is_applied(connection, digest, registry)
    drift = is_applied and find_drift(connection, registry.values(), is_timescale=is_timescale)
    if is_needed := not is_applied or bool(drift):
        _execute_all(connection, statements)
        connection.execute(NOTE, {"digest": digest})
    connection.commit()
    return is_needed


def registry_statements(streams: Iterable[Stream], *, is_timescale: bool) -> list[str]:
    """All that the registry asks of the database, in order."""
    chosen = list(streams)
    statements = [
        statement
        for stream in chosen
        for statement in postgres.stream_statements(stream, is_timescale=is_timescale)
    ]
    rolled_up = [
        statement
        for stream in chosen
        for statement in rollups.rollup_statements(stream, is_timescale=is_timescale)
    ]
    store = postgres.store(is_timescale=is_timescale)
    views = (*timeline.hot_timeline(chosen), *errors.error_views())
    granted = roles.grants(chosen, further=rollups.rollup_tables)
    return [*store, *statements, *rolled_up, *views, *granted]


def _execute_all(connection: psycopg.Connection, statements: Sequence[str]) -> None:
    """One round trip; what the statements say of things that are there already is not passed on."""
    script = ";\n".join(("SET LOCAL client_min_messages = warning", *statements))
    connection.execute(script.encode(), prepare=False)


def _is_applied(connection: psycopg.Connection, digest: str, registry: Registry) -> bool:
    """Whether the newest note is of these statements, and all that they make is still there."""
    tables = [
        name
        for stream in registry.values()
        for name in (stream.table, *rollups.rollup_tables(stream))
    ]
    names = [*tables, TIMELINE]
    row = connection.execute(IS_APPLIED, {"digest": digest, "names": names}).fetchone()
    return row == (True, len(names))


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
    url = database_url.replace("postgresql://", "postgresql+psycopg://", 1)
    return create_engine(url, poolclass=NullPool)  # a pool would outlive its one use
