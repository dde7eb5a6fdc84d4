"""DuckDB over both stores, under the same names that Trino has: `hot.am.*` and `lake.am.*`.

`hot` is the database, attached read-only; `lake` holds one view a stream over its Delta table, and
the timeline over those. With a user, both show that user's rows only. That keeps an honest query
from mixing people up; it does not hold against a hostile one, which has the stores' keys in its
process. What may not be undone is refused all the same: see `query`.
"""

import os
import re
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import duckdb
import pyarrow as pa
from deltalake import DeltaTable
from duckdb import DuckDBPyConnection
from duckdb_extensions import import_extension  # type: ignore[import-untyped]  # ships no types
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from am_assets.schemas.columns import ColumnType, columns
from am_assets.schemas.postgres import READER, SCHEMA
from am_assets.schemas.timeline import Dialect, timeline_view
from am_assets.streams.registry import Registry
from am_assets.streams.stream import Stream
from resources.connections import REGION, Connections
from resources.lake import Lake

PARALLEL_LOOKS = 8
TIMELINE = "timeline"
HOT, LAKE = re.compile(r"\bhot\b", re.IGNORECASE), re.compile(r"\blake\b", re.IGNORECASE)
EXPLAIN = re.compile(r"^\s*explain\s+(analyze\s+)?", re.IGNORECASE)
QUESTIONS = "SELECT, FROM, WITH, PIVOT, DESCRIBE, SHOW, SUMMARIZE, EXPLAIN"
PIVOT = re.compile(r"\bpivot\b", re.IGNORECASE)

DUCK_TYPES: Mapping[ColumnType, str] = {
    ColumnType.TEXT: "VARCHAR",
    ColumnType.INTEGER: "BIGINT",
    ColumnType.REAL: "DOUBLE",
    ColumnType.BOOLEAN: "BOOLEAN",
    ColumnType.INSTANT: "TIMESTAMPTZ",
    ColumnType.UUID: "VARCHAR",
    ColumnType.JSON: "VARCHAR",
}


class DuckError(Exception):
    """A query that is not run, or did not end well.

    DuckError
    ├── NotReadOnlyError   it would change something
    ├── TimedOutError      it ran longer than allowed
    └── QueryError         DuckDB's own objection
    """


class NotReadOnlyError(DuckError):
    """It is not one question; the message says which are."""


class TimedOutError(DuckError):
    """The query was stopped, because it ran longer than it may."""


class QueryError(DuckError):
    """DuckDB cannot run the query; the message is its own."""


@dataclass(frozen=True)
class Needs:
    """What a query is about: whether the database, and which streams of the lake.

    None = all of them. What is not needed is not opened, which halves the time of a small query.
    """

    hot: bool = True
    streams: tuple[Stream, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class DuckOptions:
    """Limits and places. Without an extension directory one in the temporary folder is shared."""

    extension_directory: Path | None = None
    memory_limit: str = "2GB"
    timeout_s: float = 60.0


def connect(
    connections: Connections,
    registry: Registry,
    *,
    user_id: str | None = None,
    needs: Needs | None = None,
    options: DuckOptions | None = None,
) -> DuckDBPyConnection:
    """A connection with `hot` and `lake`, in UTC, its configuration locked.

    A stream whose Delta table does not exist yet is an empty view with the right columns.
    Raises: QueryError when a store does not answer.
    """
    wanted, chosen = needs or Needs(), options or DuckOptions()
    streams = tuple(registry.values()) if wanted.streams is None else wanted.streams
    connection = _opened(chosen)
    with _translated():
        _load(connection, ["icu"])
        connection.execute("SET TimeZone = 'UTC'")
        if wanted.hot:
            _attach_hot(connection, connections, user_id=user_id, options=chosen)
        _attach_lake(connection, connections, streams, user_id=user_id)
        if wanted.streams is None:
            _add_timeline(connection, streams)
        _harden(connection, connections)
    return connection


def query(
    connection: DuckDBPyConnection,
    text: str,
    *,
    parameters: Sequence[object] = (),
    timeout_s: float = DuckOptions.timeout_s,
) -> pa.Table:
    """Answer one question. `parameters` fill its `?`s.

    Raises: NotReadOnlyError, TimedOutError, QueryError.
    """
    with _translated():
        require_question(connection, text)
        with _deadline(connection, timeout_s) as is_over:
            try:
                return connection.execute(text, list(parameters)).to_arrow_table()
            except duckdb.InterruptException as error:
                if not is_over.is_set():
                    raise
                raise TimedOutError(f"stopped after {timeout_s:g} s") from error


def needs_of(text: str, registry: Registry) -> Needs:
    """What a query is about, told from the words in it; everything where it names no catalog."""
    if not HOT.search(text) and not LAKE.search(text):
        return Needs()
    words = set(re.findall(r"\w+", text.lower()))
    if not LAKE.search(text):
        return Needs(hot=True, streams=())
    named = tuple(stream for stream in registry.values() if stream.table in words)
    is_all = TIMELINE in words or not named
    return Needs(hot=bool(HOT.search(text)), streams=None if is_all else named)


def require_question(connection: DuckDBPyConnection, text: str) -> None:
    """Raises NotReadOnlyError for more or less than one statement, and for one that writes."""
    statements = connection.extract_statements(text)
    kinds = {statement.type for statement in statements}
    if kinds == {duckdb.StatementType.EXPLAIN} and len(statements) == 1:
        return require_question(connection, EXPLAIN.sub("", text, count=1))
    if PIVOT.search(text):  # which is two: the names of its columns are made first
        kinds.discard(duckdb.StatementType.CREATE)
    elif len(statements) != 1:
        raise NotReadOnlyError("give one statement")
    if kinds != {duckdb.StatementType.SELECT}:
        raise NotReadOnlyError(f"only questions are answered: {QUESTIONS}")
    return None


def lake_view(stream: Stream, source: str | None, *, user_id: str | None) -> str:
    """The SELECT behind `lake.am.<table>`; `source` = the Delta table's address, None = not yet.

    The empty first half gives names and types, also of columns that are newer than the data.
    """
    typed = ", ".join(
        f"CAST(NULL AS {DUCK_TYPES[column.type]}) AS {column.name}" for column in columns(stream)
    )
    empty = f"SELECT {typed}, CAST(NULL AS DATE) AS day WHERE false"
    if source is None:
        return empty
    own = f" WHERE user_id = {literal(user_id)}" if user_id is not None else ""
    return f"{empty} UNION ALL BY NAME SELECT * FROM delta_scan({literal(source)}){own}"


def hot_options(user_id: str | None, *, timeout_s: float) -> str:
    """What libpq tells the server at the start: read-only, for so long, and as which user."""
    settings = {
        "default_transaction_read_only": "on",
        "statement_timeout": str(int(timeout_s * 1000)),
        "timezone": "UTC",
    }
    if user_id is not None:
        settings |= {"app.user_id": user_id, "role": READER}
    return " ".join(f"-c {name}={_option(value)}" for name, value in settings.items())


def literal(text: str) -> str:
    """A string as SQL: DuckDB knows no escape but the doubled quote."""
    return "'" + text.replace("'", "''") + "'"


def _opened(options: DuckOptions) -> DuckDBPyConnection:
    folder = options.extension_directory or _shared_folder()
    folder.mkdir(parents=True, exist_ok=True)
    return duckdb.connect(
        config={
            "extension_directory": str(folder),
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "allow_persistent_secrets": "false",
            "memory_limit": options.memory_limit,
        }
    )


def _shared_folder() -> Path:
    return Path(tempfile.gettempdir()) / f"am-duckdb-{os.getuid()}"


def _load(connection: DuckDBPyConnection, names: Sequence[str]) -> None:
    for name in names:
        # Copies the wheel's file at the first time, by way of a file of its own: safe for many.
        import_extension(name, con=connection)
        connection.execute(f"LOAD {'postgres_scanner' if name == 'postgres' else name}")


def _attach_hot(
    connection: DuckDBPyConnection,
    connections: Connections,
    *,
    user_id: str | None,
    options: DuckOptions,
) -> None:
    _load(connection, ["postgres"])
    place = {
        key: str(value)
        for key, value in conninfo_to_dict(connections.database_url).items()
        if value is not None
    }
    # The password is kept in a secret, because the path of a database is shown to who asks for it.
    kept = {"host": "HOST", "port": "PORT", "dbname": "DATABASE", "user": "USER"}
    secret = {name: place.pop(key) for key, name in kept.items() if key in place}
    if password := place.pop("password", None):
        secret["PASSWORD"] = password
    given = ", ".join(f"{name} {literal(value)}" for name, value in secret.items())
    connection.execute(f"CREATE SECRET hot_place (TYPE postgres, {given})")
    place["options"] = hot_options(user_id, timeout_s=options.timeout_s)
    connection.execute(
        f"ATTACH {literal(make_conninfo('', **place))} AS hot "
        "(TYPE postgres, SECRET hot_place, READ_ONLY)"
    )


def _attach_lake(
    connection: DuckDBPyConnection,
    connections: Connections,
    streams: tuple[Stream, ...],
    *,
    user_id: str | None,
) -> None:
    connection.execute(f"ATTACH ':memory:' AS lake; CREATE SCHEMA lake.{SCHEMA}")
    if not streams:
        return
    sources = _sources(connections, streams)
    if any(sources.values()):
        _load(connection, ["httpfs", "delta"])
        connection.execute(_object_secret(connections))
    for stream in streams:
        select = lake_view(stream, sources[stream.name], user_id=user_id)
        connection.execute(f"CREATE VIEW lake.{SCHEMA}.{stream.table} AS {select}")


def _add_timeline(connection: DuckDBPyConnection, streams: tuple[Stream, ...]) -> None:
    everything = timeline_view(streams, schema=f"lake.{SCHEMA}", dialect=Dialect.DUCKDB)
    connection.execute(f"CREATE VIEW lake.{SCHEMA}.{TIMELINE} AS {everything}")


def _sources(connections: Connections, streams: Sequence[Stream]) -> dict[str, str | None]:
    """Where each stream's Delta table is; None where nothing has been published yet."""
    lake, options = Lake(connections), connections.delta_options()

    def look(stream: Stream) -> str | None:
        uri = lake.table_uri(stream)
        return uri if DeltaTable.is_deltatable(uri, storage_options=options) else None

    with ThreadPoolExecutor(PARALLEL_LOOKS) as pool:
        found = pool.map(look, streams)
        return {stream.name: uri for stream, uri in zip(streams, found, strict=True)}


def _object_secret(connections: Connections) -> str:
    return (
        f"CREATE SECRET objects (TYPE s3, KEY_ID {literal(connections.s3_access_key)}, "
        f"SECRET {literal(connections.s3_secret_key)}, ENDPOINT {literal(connections.s3_host)}, "
        f"URL_STYLE 'path', USE_SSL {str(connections.is_s3_secure).lower()}, "
        f"REGION {literal(REGION)})"
    )


def _harden(connection: DuckDBPyConnection, connections: Connections) -> None:
    """Leave no way to files, other databases, other buckets, or back."""
    folder = connections.lake_uri.rstrip("/") + "/"
    connection.execute(f"SET allowed_directories = [{literal(folder)}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


@contextmanager
def _deadline(connection: DuckDBPyConnection, timeout_s: float) -> Iterator[threading.Event]:
    is_over = threading.Event()

    def stop() -> None:
        is_over.set()
        connection.interrupt()

    timer = threading.Timer(timeout_s, stop)
    timer.start()
    try:
        yield is_over
    finally:
        timer.cancel()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except duckdb.Error as error:
        raise QueryError(str(error)) from error


def _option(value: str) -> str:
    """A value inside libpq's `options`, where blanks part and backslashes escape."""
    return re.sub(r"([\\\s])", r"\\\1", value)
