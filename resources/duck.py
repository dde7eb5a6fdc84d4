"""DuckDB over both stores, under the same names that Trino has.

`hot.am.<table>` is the database and `lake.am.<table>` the lake; `whole.am.<table>`, or `am.<table>`
for short, is both: every row once, wherever it is now. `timeline` is in each of them. What else a
question may name: `vectors.am.<table>`, the owner's own SQLite files, and the macros below.

A question is checked before it is run (`duck_guard`). For one user the database answers as a role
that sees that user's rows, and the lake hands over nothing else (`lake_files`); the engine holds no
key of the object store. See the decision page 0013.
"""

import logging
import os
import re
import sqlite3
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import duckdb
import pyarrow as pa
from deltalake.exceptions import DeltaError
from duckdb import DuckDBPyConnection
from duckdb_extensions import import_extension  # type: ignore[import-untyped]  # ships no types
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from am_assets.schemas.postgres import READER, SCHEMA
from am_assets.schemas.timeline import Dialect, timeline_view
from am_assets.streams.registry import Registry
from am_assets.streams.stream import Stream
from resources import duck_guard, duck_views, vector_tables
from resources.attached import Attached, attachable, opened_copy
from resources.connections import Connections
from resources.duck_guard import Allowed, ForbiddenError
from resources.duck_names import TIMELINE, Mentions, mentions_of
from resources.lake_copies import LakeCopies
from resources.lake_files import LakeFiles, LakeFilesError, Opened, own

log = logging.getLogger(__name__)

MACROS = """
CREATE MACRO whole.am.minute_spine(begin_ts, end_ts) AS TABLE
    SELECT unnest(generate_series(date_trunc('minute', begin_ts),
        end_ts - INTERVAL 1 MICROSECOND, INTERVAL 1 MINUTE)) AS minute;
CREATE MACRO whole.am.day_spine(begin_day, end_day) AS TABLE
    SELECT CAST(unnest(generate_series(CAST(begin_day AS DATE),
        CAST(end_day AS DATE) - 1, INTERVAL 1 DAY)) AS DATE) AS day;
CREATE MACRO whole.am.local_day(ts, zone) AS CAST(timezone(zone, ts) AS DATE);
CREATE MACRO whole.am.at_timezone(ts, zone) AS timezone(zone, ts);
CREATE MACRO whole.am.sequence(first, last, step) AS generate_series(first, last, step);
CREATE MACRO whole.am.to_unixtime(ts) AS epoch(ts);
CREATE MACRO whole.am.json_extract_scalar(json, path) AS json_extract_string(json, path);
CREATE MACRO whole.am.regexp_like(text, pattern) AS regexp_matches(text, pattern);
CREATE MACRO whole.am.approx_distinct(value) AS approx_count_distinct(value);
"""
# The engine can't know how many rows an Arrow dataset has, takes it for one row, and would join it
# by a loop: a month as of another stream took minutes instead of half a second.
NO_LOOPS = """
SET asof_loop_join_threshold = 0;
SET nested_loop_join_threshold = 0;
SET merge_join_threshold = 0;
"""
SCALAR_MACROS = frozenset(re.findall(r"MACRO whole\.am\.(\w+)\([^)]*\) AS (?!TABLE)", MACROS))
TABLE_MACROS = frozenset(re.findall(r"MACRO whole\.am\.(\w+)\([^)]*\) AS TABLE", MACROS))
LOADED_AS = {"postgres": "postgres_scanner", "sqlite": "sqlite_scanner"}
Looks = Mapping[str, Future[Opened]]  # at tables of the lake, by the streams' names
CHECKED = 100  # questions that are kept in mind
EDGE_ATTEMPTS = 5  # a day would have to leave the database between each two looks


class DuckError(Exception):
    """A query that is not run, or did not end well.

    DuckError
    ├── NotReadOnlyError    it is no question, or a part of it may not be used; says which
    ├── TimedOutError       it ran longer than allowed
    ├── TooLargeError       its answer has more rows or bytes than allowed
    ├── OutOfMemoryError    it needs more memory than allowed
    └── QueryError          DuckDB's own objection
        └── UnreachableError  a store does not answer
    """


class NotReadOnlyError(DuckError):
    """It is not one question that may be asked here; the message says which are."""


class TimedOutError(DuckError):
    """The query was stopped, because it ran longer than it may."""


class TooLargeError(DuckError):
    """The answer is larger than was asked for; the message says how to ask for less."""


class OutOfMemoryError(DuckError):
    """The query was stopped, because it needs more memory than it may have."""


class QueryError(DuckError):
    """DuckDB cannot run the query; the message is its own."""


class UnreachableError(QueryError):
    """The database or the object store does not answer, so nothing can be told."""


@dataclass(frozen=True, kw_only=True)
class DuckOptions:
    """Limits and places. Without an extension directory one in the temporary folder is shared.

    `threads` None: one less than there are cores, which is left to the stores that are waited for;
    an engine with several threads waits by asking again and again.
    `attach` is the folder of SQLite files that everybody's questions may name; one user's may name
    those in the folder below it that is called like the user. `copies`: of the lake's files.
    """

    extension_directory: Path | None = None
    attach: Path | None = None
    copies: LakeCopies | None = None
    memory_limit: str = "2GB"
    threads: int | None = None
    timeout_s: float = 60.0


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Of one answer; None = as much as there is."""

    timeout_s: float = DuckOptions.timeout_s
    rows: int | None = None
    byte_count: int | None = None


@dataclass
class Duck:
    """An engine that answers questions, one at a time; close it, or use it in a `with`."""

    engine: DuckDBPyConnection
    connections: Connections
    registry: Registry
    files: LakeFiles
    user_id: str | None
    attached: Mapping[str, Attached] = field(default_factory=dict)
    _versions: dict[str, int] = field(default_factory=dict)
    _views: dict[str, str] = field(default_factory=dict)
    _left: set[str] = field(default_factory=set)  # streams of which days have left, as last seen
    _checked: set[str] = field(default_factory=set)  # questions that may be asked

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give everything back."""
        self.engine.close()
        for file in self.attached.values():
            file.close()

    @property
    def allowed(self) -> Allowed:
        """What a question may name besides what it always may."""
        return Allowed(frozenset(self.attached), SCALAR_MACROS, TABLE_MACROS)

    def check(self, text: str) -> None:
        """Raises: ForbiddenError. What was asked before need not be gone through again."""
        if text in self._checked:
            return
        duck_guard.check(self.engine, text, self.allowed)
        if len(self._checked) >= CHECKED:
            self._checked.clear()
        self._checked.add(text)

    def look(self, mentions: Mentions) -> Looks:
        """Begin to look at the tables of the lake that a question needs."""
        is_all = mentions.is_lake_timeline or mentions.is_listing
        if is_all:
            return self.files.look(self.registry.values())
        left = self._left if mentions.is_whole_timeline else ()
        named = {stream.name for stream in (*mentions.lake, *mentions.whole)}
        return self.files.look(self.registry[name] for name in sorted(named.union(left)))

    @contextmanager
    def bound(self, mentions: Mentions, looks: Looks) -> Iterator[None]:
        """The tables that are named, as they were looked at; those of `am` as of one moment."""
        if mentions.vectors:
            self._bind_vectors()
        if mentions.whole or mentions.is_whole_timeline:
            with self._as_of_one_moment(mentions, looks):
                yield
        else:
            self._bind_lake(mentions, _found(looks))
            yield

    def _bind_lake(self, mentions: Mentions, found: Mapping[str, Opened]) -> None:
        for name, opened in found.items():
            self._bind_files(self.registry[name], opened)
        if mentions.is_lake_timeline or mentions.is_listing:
            self._bind_lake_timeline(found)

    def _bind_files(self, stream: Stream, opened: Opened) -> None:
        if self._versions.get(stream.name) == opened.version:
            return
        self.engine.register(duck_views.files_of(stream), own(opened, self.user_id))
        self._versions[stream.name] = opened.version
        self._bind_view(f"lake.{SCHEMA}.{stream.table}", duck_views.lake_select(stream))

    def _bind_lake_timeline(self, found: Mapping[str, Opened]) -> None:
        filled = [s for s in self.registry.values() if found[s.name].dataset.files]
        streams = filled or list(self.registry.values())[:1]
        everything = timeline_view(streams, schema=f"lake.{SCHEMA}", dialect=Dialect.DUCKDB)
        self._bind_view(f"lake.{SCHEMA}.{TIMELINE}", everything)

    def _bind_view(self, name: str, select: str) -> None:
        if self._views.get(name) != select:
            self.engine.execute(f"CREATE OR REPLACE VIEW {name} AS {select}")
            self._views[name] = select

    @contextmanager
    def _as_of_one_moment(self, mentions: Mentions, looks: Looks) -> Iterator[None]:
        """In a transaction, which is one of the database's too: what has left it by then is asked
        of the lake, where it was published before.
        """
        try:
            self._bind_whole(mentions, self._begin(mentions, looks))
            yield
        except BaseException:
            self._roll_back()
            raise
        self.engine.execute("COMMIT")

    def _roll_back(self) -> None:
        self._views.clear()  # those that were made since are gone
        with suppress(duckdb.TransactionException):  # it failed between two, and there is none
            self.engine.execute("ROLLBACK")

    def _begin(self, mentions: Mentions, looks: Looks) -> Mapping[str, duck_views.Edge]:
        """Begin the transaction, with the lake bound as it was looked at, or later.

        The database is asked while the lake is looked at. What is new there has to be bound outside
        of the transaction, and what left the database meanwhile to be looked for again.
        """
        found: Mapping[str, Opened] = {}
        for _ in range(EDGE_ATTEMPTS):
            edges = self._edges(mentions, looks)
            found = found or _found(looks)
            late = [
                name
                for name, edge in edges.items()
                if name not in found or found[name].version < edge.version
            ]
            if not late and self._is_bound(mentions, found):
                return edges
            self.engine.execute("ROLLBACK")
            if late:
                self._left.update(edges)
                looks = self.look(mentions)
                found = _found(looks)
            self._bind_lake(mentions, found)
        raise QueryError(f"the lake lacks days that left the database, of {', '.join(late)}")

    def _edges(self, mentions: Mentions, looks: Looks) -> dict[str, duck_views.Edge]:
        streams = self.registry.values() if mentions.is_whole_timeline else mentions.whole
        looked_at = {self.registry[name] for name in looks} & set(streams)
        self.engine.execute("BEGIN")
        return duck_views.read_edges(self.engine, streams, looked_at=looked_at)

    def _is_bound(self, mentions: Mentions, found: Mapping[str, Opened]) -> bool:
        bound = all(self._versions.get(name) == opened.version for name, opened in found.items())
        is_listed = f"lake.{SCHEMA}.{TIMELINE}" in self._views
        return bound and (is_listed or not (mentions.is_lake_timeline or mentions.is_listing))

    def _bind_whole(self, mentions: Mentions, edges: Mapping[str, duck_views.Edge]) -> None:
        for stream in mentions.whole:
            select = duck_views.whole_select(stream, edges.get(stream.name))
            self._bind_view(f"whole.{SCHEMA}.{stream.table}", select)
        if mentions.is_whole_timeline:
            select = duck_views.whole_timeline(
                self.registry, edges, is_by_detail=mentions.is_by_detail
            )
            self._bind_view(f"whole.{SCHEMA}.{TIMELINE}", select)

    def _bind_vectors(self) -> None:
        for name, table in vector_tables.own_tables(self.connections, self.user_id).items():
            self.engine.register(f"vectors_{name}", table)
            self._bind_view(f"vectors.{SCHEMA}.{name}", f'SELECT * FROM temp.main."vectors_{name}"')


def connect(
    connections: Connections,
    registry: Registry,
    *,
    user_id: str | None = None,
    has_hot: bool = True,
    options: DuckOptions | None = None,
    files: LakeFiles | None = None,
) -> Duck:
    """An engine in UTC, its configuration locked; what a question names is opened when it is asked.

    `user_id` None: everybody's rows, for the owner of the stores. Without `has_hot` the database is
    left alone. `files` may be shared, so that the lake need not be looked through again.
    Raises: UnreachableError when the database does not answer.
    """
    chosen = options or DuckOptions()
    with _translated():
        engine = _opened(chosen)
        _load(engine, "icu")
        engine.execute("SET TimeZone = 'UTC'")
        engine.execute(NO_LOOPS)
        for name in ("lake", "whole", "vectors"):
            engine.execute(f"ATTACH ':memory:' AS {name}; CREATE SCHEMA {name}.{SCHEMA}")
        engine.execute(f"USE whole.{SCHEMA}; {MACROS}")
        if has_hot:
            _attach_hot(engine, connections, user_id=user_id, options=chosen)
        attached = _attach_files(engine, chosen.attach, user_id=user_id)
        _harden(engine)
    kept = files or LakeFiles(connections, copies=chosen.copies)
    return Duck(engine, connections, registry, kept, user_id, attached)


def query(
    duck: Duck, text: str, *, parameters: Sequence[object] = (), limits: Limits | None = None
) -> pa.Table:
    """Answer one question. `parameters` fill its `?`s.

    Raises: NotReadOnlyError, TimedOutError, TooLargeError, OutOfMemoryError, QueryError.
    """
    chosen = limits or Limits()
    with _translated(), _deadline(duck.engine, chosen.timeout_s):
        mentions = mentions_of(text, duck.registry)
        looks = duck.look(mentions)
        duck.check(text)
        with duck.bound(mentions, looks):
            answer = duck.engine.execute(text, list(parameters))
            return _fetched(answer, chosen)


def _fetched(answer: DuckDBPyConnection, limits: Limits) -> pa.Table:
    reader = answer.to_arrow_reader(100_000)
    batches, rows, size = [], 0, 0
    for batch in reader:
        rows, size = rows + batch.num_rows, size + batch.nbytes
        if limits.rows is not None and rows > limits.rows:
            raise TooLargeError(f"more than {limits.rows} rows: add a LIMIT, or aggregate")
        if limits.byte_count is not None and size > limits.byte_count:
            raise TooLargeError(
                f"more than {limits.byte_count} bytes: ask for fewer rows or columns"
            )
        batches.append(batch)
    return pa.Table.from_batches(batches, reader.schema)


def _found(looks: Looks) -> dict[str, Opened]:
    return {name: look.result() for name, look in looks.items()}


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
    engine = duckdb.connect(
        config={
            "memory_limit": options.memory_limit,
            "extension_directory": str(folder),
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "allow_persistent_secrets": "false",
            "python_enable_replacements": "false",  # a variable of ours is no table of theirs
            "temp_directory": "",
        }
    )
    engine.execute(f"SET threads = {options.threads or max(1, _cores(engine) - 1)}")
    return engine


def _cores(engine: DuckDBPyConnection) -> int:
    """Those that the process may use."""
    row = engine.execute("SELECT current_setting('threads')").fetchone()
    assert row is not None
    return int(row[0])


def _shared_folder() -> Path:
    return Path(tempfile.gettempdir()) / f"am-duckdb-{os.getuid()}"


def _load(engine: DuckDBPyConnection, name: str) -> None:
    loading = f"LOAD {LOADED_AS.get(name, name)}"
    try:
        engine.execute(loading)
    except duckdb.Error:  # not copied yet
        # Copies the wheel's file by way of a file of its own: safe for many at once.
        import_extension(name, con=engine)
        engine.execute(loading)


def _attach_hot(
    engine: DuckDBPyConnection,
    connections: Connections,
    *,
    user_id: str | None,
    options: DuckOptions,
) -> None:
    _load(engine, "postgres")
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
    engine.execute(f"CREATE SECRET hot_place (TYPE postgres, {given})")
    place["options"] = hot_options(user_id, timeout_s=options.timeout_s)
    # Reading by pages of the table would pass by its indexes.
    engine.execute("SET pg_use_ctid_scan = false")
    try:
        engine.execute(
            f"ATTACH {literal(make_conninfo('', **place))} AS hot "
            f"(TYPE postgres, SECRET hot_place, READ_ONLY, SCHEMA '{SCHEMA}')"
        )
    except duckdb.IOException as error:
        raise UnreachableError(str(error)) from error


def _attach_files(
    engine: DuckDBPyConnection, folder: Path | None, *, user_id: str | None
) -> dict[str, Attached]:
    found = attachable(folder, user_id=user_id)
    if not found:
        return {}
    _load(engine, "sqlite")
    attached = {name: file for name, path in found.items() if (file := _opened_file(path))}
    for name, file in attached.items():
        engine.execute(f"ATTACH {literal(str(file.path))} AS {name} (TYPE sqlite, READ_ONLY)")
    return attached


def _opened_file(path: Path) -> Attached | None:
    """None for a file that can't be read: it must not stop questions that do not name it."""
    try:
        return opened_copy(path)
    except (OSError, sqlite3.Error):
        log.warning("%s is left out of what can be asked", path, exc_info=True)
        return None


def _harden(engine: DuckDBPyConnection) -> None:
    """Leave no way to files, other databases, the network, or back."""
    engine.execute("SET enable_external_access = false")
    engine.execute("SET lock_configuration = true")


@contextmanager
def _deadline(engine: DuckDBPyConnection, timeout_s: float) -> Iterator[None]:
    is_over = threading.Event()

    def stop() -> None:
        is_over.set()
        engine.interrupt()

    timer = threading.Timer(timeout_s, stop)
    timer.start()
    try:
        yield
    except duckdb.Error as error:
        if is_over.is_set():
            raise TimedOutError(f"stopped after {timeout_s:g} s") from error
        raise
    finally:
        timer.cancel()


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except ForbiddenError as error:
        raise NotReadOnlyError(str(error)) from error
    except duckdb.OutOfMemoryException as error:
        raise OutOfMemoryError(f"it needs more memory than it may have: {error}") from error
    except (duckdb.Error, LakeFilesError) as error:
        raise QueryError(str(error)) from error
    except (DeltaError, OSError) as error:
        raise UnreachableError(str(error)) from error


def _option(value: str) -> str:
    """A value inside libpq's `options`, where blanks part and backslashes escape."""
    return re.sub(r"([\\\s])", r"\\\1", value)
