"""A database in a backup: PostgreSQL's own dump, and what was in each table when it was taken.

The counts and checksums are read in the very snapshot that `pg_dump` reads, so that they can be
compared after it was restored.
"""

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from infra.errors import BackupError
from infra.postgres import ENVIRONMENT, program

TABLES = """
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND n.nspname <> 'information_schema'
    AND n.nspname !~ '^(pg_|_?timescaledb)' ORDER BY 1, 2
"""
COUNT = "SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)), 0)::text FROM {} AS t"
# Roles belong to the whole server, and so to no dump. Passwords are not read.
ROLES = """
SELECT rolname, rolcanlogin, rolbypassrls, rolinherit FROM pg_roles
WHERE rolname !~ '^pg_' AND NOT rolsuper ORDER BY 1
"""
MEMBERS = """
SELECT r.rolname, m.rolname, a.inherit_option, a.set_option FROM pg_auth_members a
JOIN pg_roles r ON r.oid = a.roleid JOIN pg_roles m ON m.oid = a.member
WHERE r.rolname !~ '^pg_' AND NOT m.rolsuper ORDER BY 1, 2
"""
SETTINGS = {
    "PGHOST": "host",
    "PGPORT": "port",
    "PGUSER": "user",
    "PGPASSWORD": "password",
    "PGDATABASE": "dbname",
    "PGOPTIONS": "options",
    "PGSSLMODE": "sslmode",
}
LOCK_WAIT_MS = 60_000

Tables = dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Dumping:
    """A database as of one moment; `connection` holds the snapshot."""

    database_url: str
    connection: psycopg.Connection
    snapshot: str

    def dump(self, path: Path) -> None:
        """Write PostgreSQL's own archive. Raises: BackupError."""
        options = [
            "--format=custom",
            f"--file={path}",
            f"--snapshot={self.snapshot}",
            f"--lock-wait-timeout={LOCK_WAIT_MS}",
        ]
        run_program("pg_dump", options, self.database_url)

    def tables(self) -> Tables:
        """Rows and checksum of each table."""
        return read_tables(self.connection)

    def revision(self) -> str | None:
        """The newest migration it has; None = none."""
        found = "SELECT to_regclass('public.am_schema_version')::text"
        if self.connection.execute(found).fetchone() == (None,):
            return None
        row = self.connection.execute("SELECT version_num FROM am_schema_version").fetchone()
        return row[0] if row else None

    def roles(self) -> dict[str, Any]:
        """The server's roles and who is in them."""
        members = self.connection.execute(MEMBERS).fetchall()
        return {"roles": self.connection.execute(ROLES).fetchall(), "members": members}


@contextmanager
def as_of_now(database_url: str) -> Iterator[Dumping]:
    """A database as it is at this moment, for as long as it takes. Raises: psycopg.Error."""
    with psycopg.connect(database_url) as connection:
        connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        connection.read_only = True
        connection.execute("SET TIME ZONE 'UTC'")
        row = connection.execute("SELECT pg_export_snapshot()").fetchone()
        assert row is not None
        yield Dumping(database_url, connection, row[0])


def read_tables(connection: psycopg.Connection) -> Tables:
    """Rows and an order-independent checksum of each table, as the connection sees them now."""
    found: Tables = {}
    for schema, table in connection.execute(TABLES).fetchall():
        query = sql.SQL(COUNT).format(sql.Identifier(schema, table))
        row = connection.execute(query).fetchone()
        assert row is not None
        found[f"{schema}.{table}"] = {"row_count": row[0], "checksum": row[1]}
    return found


def tables_of(database_url: str) -> Tables:
    """The same of a database that nobody changes. Raises: psycopg.Error."""
    with as_of_now(database_url) as now:
        return now.tables()


def is_of_timescale(archive: Path) -> bool:
    """Whether only a server with TimescaleDB can take it. Raises: BackupError."""
    listed = run_program("pg_restore", ["--list", str(archive)], "")
    return any("EXTENSION - timescaledb" in line for line in listed.splitlines())


def require_empty(database_url: str) -> None:
    """Raises: BackupError unless nothing is in the database yet; psycopg.Error."""
    with psycopg.connect(database_url) as connection:
        found = connection.execute("SELECT to_regnamespace('am') IS NOT NULL").fetchone()
        name = connection.info.dbname
    if found != (False,):
        raise BackupError(f"the database {name} is not empty: make a new one for the restore.")


def restore_outside(archive: Path, database_url: str, manifest: Mapping[str, Any]) -> None:
    """Put an archive into an empty database of another server, as its owner, with the roles.

    Raises: BackupError, psycopg.Error. What is half there then is no use: drop that database.
    """
    is_timescale = is_of_timescale(archive)
    with psycopg.connect(database_url, autocommit=True) as connection:
        owner = connection.info.user
        make_roles(connection, manifest)
        if is_timescale:
            connection.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
    if is_timescale:  # in sessions of their own: both end the extension's workers and caches
        _call(database_url, "timescaledb_pre_restore")
    restore(archive, database_url, owner=owner)
    if is_timescale:
        _call(database_url, "timescaledb_post_restore")


def _call(database_url: str, function: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(sql.SQL("SELECT {}()").format(sql.Identifier(function)))


def restore(archive: Path, admin_url: str, *, owner: str) -> None:
    """Put an archive into an empty database; everything is `owner`'s then. Raises: BackupError."""
    name = conninfo_to_dict(admin_url)["dbname"]
    options = ["--exit-on-error", "--no-owner", f"--role={owner}", f"--dbname={name}"]
    run_program("pg_restore", [*options, str(archive)], admin_url)


def make_roles(admin: psycopg.Connection, found: Mapping[str, Sequence[Sequence[Any]]]) -> None:
    """Make the roles that the server lacks, without passwords, and put them together again."""
    known = {name for (name,) in admin.execute("SELECT rolname FROM pg_roles").fetchall()}
    for name, can_login, bypasses, inherits in found["roles"]:
        if name not in known:
            words = [
                "LOGIN" if can_login else "NOLOGIN",
                "BYPASSRLS" if bypasses else "NOBYPASSRLS",
                "INHERIT" if inherits else "NOINHERIT",
            ]
            made = sql.SQL("CREATE ROLE {} ").format(sql.Identifier(name))
            admin.execute(made + sql.SQL(" ".join(words)))
    for role, member, inherits, sets in found["members"]:
        options = sql.SQL(f"INHERIT {bool(inherits)}, SET {bool(sets)}".upper())
        admin.execute(
            sql.SQL("GRANT {} TO {} WITH {}").format(
                sql.Identifier(role), sql.Identifier(member), options
            )
        )


def run_program(name: str, options: Sequence[str], database_url: str) -> str:
    """One of PostgreSQL's programs, without a password in its command line. Its output.

    Raises: BackupError with what it said.
    """
    given = conninfo_to_dict(database_url)
    place = {variable: str(given[key]) for variable, key in SETTINGS.items() if given.get(key)}
    command = [str(program(name)), "--no-password", *options]
    done = subprocess.run(
        command, env={**ENVIRONMENT, **place}, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise BackupError(f"{name} failed: {done.stderr.strip()[-1000:]}")
    return done.stdout
