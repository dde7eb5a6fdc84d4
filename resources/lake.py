"""The lake: one Delta table a stream, partitioned by UTC day, replaced a day at a time.

A receipt in `am.publication` says what of a day is in the lake. An empty checksum marks a day whose
rows have changed since (the work queue writes it in the transaction that changes them).
"""

import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Self

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, DeltaTable, write_deltalake
from psycopg.rows import class_row

from am_assets.schemas.arrow import delta_schema
from am_assets.streams.stream import Stream
from resources.advisory_locks import locked, number_of
from resources.connections import Connections
from resources.hot import Fingerprint, HotStore, Snapshot, Span, connect, names_of
from resources.lake_ids import batches_with_ids, with_ids, without_ids
from resources.lake_writing import writer_properties
from resources.staged import Staged

STALE = ""  # the checksum of a receipt that is no longer true
PARALLEL_CREATES = 16
RUNLESS = "am"  # the run of what no run asked for
_THREAD = threading.local()  # the tables that it has locked


@dataclass(frozen=True)
class Receipt:
    """What was in the lake when it was written, and when that was noted (None = not yet).

    `columns` are those that the checksum is over, in their order; None = it is over nothing.
    `left_hot_at` None = the day is in the hot store.
    """

    row_count: int
    checksum: str
    delta_version: int
    published_at: datetime | None = None
    columns: Sequence[str] | None = None
    left_hot_at: datetime | None = None

    @property
    def has_left(self) -> bool:
        """Whether the day is in the lake alone, but for rows that came late."""
        return self.left_hot_at is not None

    @property
    def fingerprint(self) -> Fingerprint:
        """What the day's rows have to give."""
        return Fingerprint(self.row_count, self.checksum)


class ReceiptError(Exception):
    """The lake does not hold a day as its receipt says: it names the stream, the day and both."""

    @classmethod
    def of(cls, stream: Stream, day: date, found: Fingerprint, signed: "Receipt") -> Self:
        """What is there and what should be."""
        return cls(
            f"{stream.name} of {day}: the lake has {found.row_count} rows with the checksum "
            f"{found.checksum}, its receipt says {signed.row_count} with {signed.checksum}"
        )


class DayLeftError(Exception):
    """Rows are to be changed that are in the lake alone: their day has to be reopened before."""

    def __init__(self, stream: Stream, days: Sequence[date]) -> None:
        """Names the stream and the days."""
        told = ", ".join(map(str, days))
        super().__init__(f"{stream.name} of {told} has left the hot store: reopen it first")
        self.stream = stream
        self.days = tuple(days)


@dataclass(frozen=True)
class Published:
    """What publishing a day did. `byte_count` is the size of the day's files.

    `has_left`: the day is in the lake alone, so that there was nothing to do.
    """

    stream: str
    day: date
    row_count: int
    byte_count: int
    delta_version: int
    is_changed: bool
    has_left: bool = False


@dataclass(frozen=True)
class BehindDay:
    """A day of a stream that the lake does not hold as the hot store does, and since when."""

    stream: str
    day: date
    since: datetime


_BEHIND = """
SELECT ledger.stream, ledger.day, ledger.since FROM (
    SELECT stream, day, sum(stored) AS stored, max(received_at) AS since FROM am.landing
    WHERE stream = ANY(%(names)s) AND (%(recent)s::bigint IS NULL OR day IN (
        SELECT day FROM (SELECT day FROM am.landing ORDER BY seq DESC LIMIT %(recent)s) AS newest
    )) GROUP BY stream, day
) AS ledger LEFT JOIN am.publication AS p ON p.stream = ledger.stream AND p.day = ledger.day
WHERE ledger.stored <> coalesce(p.row_count, 0) OR p.checksum = %(stale)s
UNION ALL
SELECT p.stream, p.day, p.published_at FROM am.publication AS p
WHERE p.stream = ANY(%(names)s) AND p.checksum = %(stale)s AND NOT EXISTS (
    SELECT FROM am.landing AS l WHERE l.stream = p.stream AND l.day = p.day
)
ORDER BY day, stream
"""


@dataclass(frozen=True)
class Lake:
    """Delta tables on the object store, fed from the hot store."""

    connections: Connections

    def table_uri(self, stream: Stream) -> str:
        """Where the stream's Delta table is."""
        return f"{self.connections.lake_uri.rstrip('/')}/{stream.table}"

    def open(self, stream: Stream, *, version: int | None = None) -> DeltaTable | None:
        """The table as it is now, or was; None where nothing has made it yet."""
        uri, options = self.table_uri(stream), self.connections.delta_options()
        if not DeltaTable.is_deltatable(uri, storage_options=options):
            return None
        return DeltaTable(uri, version=version, storage_options=options)

    def ensure_tables(self, streams: Iterable[Stream]) -> int:
        """Make the tables that are missing, empty, so that views over them always bind.

        Returns how many were made.
        """
        with ThreadPoolExecutor(PARALLEL_CREATES) as pool:
            return sum(pool.map(self._ensure_table, streams))

    def read_day(self, stream: Stream, day: date) -> pa.Table:
        """The day as published, in `row_schema` plus `day`; in no order that is promised.

        A column that is newer than the table is null.
        """
        schema = delta_schema(stream)
        table = self.open(stream)
        if table is None or not _has_files(table, day):
            return schema.empty_table()
        rows = table.to_pyarrow_table(filters=[("day", "=", day)])
        return _conform(with_ids(stream, rows), schema)

    def count_day(self, stream: Stream, day: date) -> int:
        """How many rows of the day are in the lake, by the files' own statistics."""
        table = self.open(stream)
        return 0 if table is None else _sum(_files_of(table, day), "num_records")

    def batches(
        self, stream: Stream, day: date, *, version: int | None = None
    ) -> Iterator[pa.RecordBatch]:
        """The day as published, in parts, with the columns that are stored. No table = none."""
        table = self.open(stream, version=version)
        if table is not None and _has_files(table, day):
            is_day = pc.field("day") == pa.scalar(day, pa.date32())
            stored = table.to_pyarrow_dataset().to_batches(filter=is_day)
            yield from batches_with_ids(stream, stored)

    def stored_schema(self, stream: Stream) -> pa.Schema | None:
        """The columns of the table as it is; None where there is no table."""
        table = self.open(stream)
        return None if table is None else pa.schema(list(table.to_pyarrow_dataset().schema))

    def publish(self, stream: Stream, day: date, *, run_id: str = RUNLESS) -> Published:
        """Make the lake's day equal the hot store's; writes nothing where it already is.

        A day that has left the hot store stays as it is. Where rows came late, it comes back first,
        so that both are merged. One writer a table over all processes. A crash between the commit
        and the receipt is healed by the next call, which replaces the day again.
        Raises: psycopg.Error, deltalake.exceptions.DeltaError, ReceiptError.
        """
        with self.write_lock(stream):
            if self._has_late(stream, day):
                self._bring_back(stream, day, run_id=run_id)
            with HotStore(self._url).snapshot() as snapshot:
                return self._publish(stream, day, snapshot, run_id=run_id)

    def reopen(self, stream: Stream, day: date, *, run_id: str = RUNLESS) -> int:
        """Bring a day that has left back into the hot store. Returns how many rows came back.

        What is there already stays; it is all one transaction. The receipt is no longer true then,
        so that the day is published again.
        Raises: psycopg.Error, deltalake.exceptions.DeltaError; ReceiptError where the lake does not
        hold what left, and then nothing is changed.
        """
        with self.write_lock(stream):
            return self._bring_back(stream, day, run_id=run_id)

    def stage(
        self, connection: psycopg.Connection, stream: Stream, day: date, *, version: int
    ) -> Staged:
        """The day at a version of the table, read back and put into the session's own table."""
        staged = Staged(connection, stream)
        staged.fill(self.batches(stream, day, version=version))
        connection.commit()
        return staged

    def version(self, stream: Stream) -> int:
        """The newest version of the table; -1 where there is none."""
        table = self.open(stream)
        return -1 if table is None else table.version()

    def days_behind(
        self, streams: Iterable[Stream], *, recent_lines: int | None = None
    ) -> list[BehindDay]:
        """Days whose published rows are not as many as the ledger says were stored; oldest first.

        Of derived streams, which the ledger does not know, days that have changed since.

        `recent_lines` looks only at days that the last so many lines of the ledger touched.
        """
        names = [stream.name for stream in streams]
        with psycopg.connect(self._url) as connection:
            cursor = connection.cursor(row_factory=class_row(BehindDay))
            cursor.execute(_BEHIND, {"names": names, "recent": recent_lines, "stale": STALE})
            return cursor.fetchall()

    def stale_days(self, stream: Stream, *, begin: date, end: date) -> list[date]:
        """Days, both ends included, whose rows have changed since they were published."""
        with psycopg.connect(self._url) as connection:
            rows = connection.execute(
                "SELECT day FROM am.publication WHERE stream = %s AND checksum = %s "
                "AND day BETWEEN %s AND %s ORDER BY day",
                (stream.name, STALE, begin, end),
            )
            return [day for (day,) in rows]

    @property
    def _url(self) -> str:
        return self.connections.database_url

    @contextmanager
    def write_lock(self, stream: Stream) -> Iterator[None]:
        """Held by whoever writes to the table, over all processes; a thread that has it gets it.

        Raises: psycopg.Error.
        """
        lock = self._url, _lock_number(stream)
        held: set[tuple[str, int]] = _THREAD.__dict__.setdefault("held", set())
        if lock in held:
            yield
            return
        with locked(*lock):
            held.add(lock)
            try:
                yield
            finally:
                held.remove(lock)

    @contextmanager
    def paused(self, streams: Iterable[Stream]) -> Iterator[None]:
        """While this lasts nobody changes these tables; whoever wants to waits."""
        with locked(self._url, *sorted(map(_lock_number, streams))):
            yield

    def _ensure_table(self, stream: Stream) -> bool:
        if self.open(stream) is not None:
            return False
        with self.write_lock(stream):
            DeltaTable.create(
                self.table_uri(stream),
                delta_schema(stream),
                mode="ignore",
                partition_by=["day"],
                name=stream.table,
                description=stream.summary,
                storage_options=self.connections.delta_options(),
            )
        return True

    def _has_late(self, stream: Stream, day: date) -> bool:
        """Whether the hot store has rows of a day that has left it."""
        with HotStore(self._url).snapshot() as snapshot:
            seen = receipt(snapshot.connection, stream, day)
            return bool(seen and seen.has_left and snapshot.count(stream, Span.of_day(day)))

    def _bring_back(self, stream: Stream, day: date, *, run_id: str) -> int:
        """While the table is locked. Nothing is read from the lake where the day has not left."""
        with connect(self._url) as connection:
            seen = receipt(connection, stream, day)
            connection.commit()
            if seen is None or not seen.has_left:
                return 0
            staged = self.stage(connection, stream, day, version=self.version(stream))
            with connection.transaction():
                found = staged.fingerprint(seen.columns or names_of(stream))
                if found != seen.fingerprint:
                    raise ReceiptError.of(stream, day, found, seen)
                merged = staged.join_hot()
                connection.execute(
                    "UPDATE am.publication SET left_hot_at = NULL, checksum = %s, run_id = %s, "
                    "published_at = clock_timestamp() WHERE stream = %s AND day = %s",
                    (STALE, run_id, stream.name, day),
                )
            return merged.row_count

    def _publish(self, stream: Stream, day: date, snapshot: Snapshot, *, run_id: str) -> Published:
        seen = receipt(snapshot.connection, stream, day)
        if seen and (seen.has_left or _is_true(seen, stream, day, snapshot)):
            return self._report(stream, day, seen, is_changed=False)
        now = snapshot.fingerprint(stream, day)
        version = self._replace(stream, day, snapshot, now)
        written = Receipt(now.row_count, now.checksum, version, columns=names_of(stream))
        self._sign(stream, day, written, seen=seen, run_id=run_id)
        return self._report(stream, day, written, is_changed=True)

    def _replace(self, stream: Stream, day: date, snapshot: Snapshot, now: Fingerprint) -> int:
        """Commit the snapshot's day. Returns the Delta version that holds it."""
        table = self.open(stream)
        if now.row_count == 0 and table is not None and not _has_files(table, day):
            return table.version()
        rows = snapshot.read_day(stream, day)
        rows = rows.append_column("day", pa.array([day] * rows.num_rows, pa.date32()))
        write_deltalake(
            self.table_uri(stream),
            mergeable(rows, stream, table),
            mode="overwrite",
            predicate=f"day = '{day}'" if table is not None else None,
            partition_by=["day"],
            schema_mode="merge",
            storage_options=self.connections.delta_options(),
            writer_properties=writer_properties(stream, rows),
            commit_properties=CommitProperties(custom_metadata={"am.checksum": now.checksum}),
        )
        written = self.open(stream)
        assert written is not None
        return written.version()

    def _sign(
        self, stream: Stream, day: date, written: Receipt, *, seen: Receipt | None, run_id: str
    ) -> None:
        """Note what was written, unless the day was marked stale after the snapshot was taken."""
        with psycopg.connect(self._url, autocommit=True) as connection:
            connection.execute(
                "INSERT INTO am.publication AS p "
                "(stream, day, row_count, checksum, columns, delta_version, run_id, published_at) "
                "VALUES (%(stream)s, %(day)s, %(rows)s, %(checksum)s, %(columns)s, %(version)s, "
                "%(run)s, clock_timestamp()) ON CONFLICT (stream, day) DO UPDATE SET "
                "row_count = excluded.row_count, checksum = excluded.checksum, "
                "columns = excluded.columns, "
                "delta_version = excluded.delta_version, run_id = excluded.run_id, "
                "published_at = excluded.published_at "
                "WHERE p.published_at = %(seen)s",
                {
                    "stream": stream.name,
                    "day": day,
                    "rows": written.row_count,
                    "checksum": written.checksum,
                    "columns": list(written.columns or ()),
                    "version": written.delta_version,
                    "run": run_id,
                    "seen": seen.published_at if seen else None,
                },
            )

    def _report(self, stream: Stream, day: date, signed: Receipt, *, is_changed: bool) -> Published:
        table = self.open(stream)
        size = 0 if table is None else _sum(_files_of(table, day), "size_bytes")
        return Published(
            stream=stream.name,
            day=day,
            row_count=signed.row_count,
            byte_count=size,
            delta_version=signed.delta_version,
            is_changed=is_changed,
            has_left=signed.has_left,
        )


def receipt(connection: psycopg.Connection, stream: Stream, day: date) -> Receipt | None:
    """What the last publication of this day noted; None = never published."""
    cursor = connection.cursor(row_factory=class_row(Receipt))
    cursor.execute(
        "SELECT row_count, checksum, delta_version, published_at, columns, left_hot_at "
        "FROM am.publication WHERE stream = %s AND day = %s",
        (stream.name, day),
    )
    return cursor.fetchone()


def mark_stale(
    connection: psycopg.Connection, stream: Stream, days: Iterable[date], *, run_id: str
) -> None:
    """Note, in the caller's transaction, that these days of the lake are behind the hot store.

    Raises: DayLeftError, before anything is noted.
    """
    chosen = sorted(days)
    hold_hot(connection, stream, chosen)
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO am.publication (stream, day, row_count, checksum, delta_version, run_id, "
            "published_at) VALUES (%s, %s, 0, %s, -1, %s, clock_timestamp()) "
            "ON CONFLICT (stream, day) DO UPDATE SET checksum = excluded.checksum, "
            "published_at = excluded.published_at",
            [(stream.name, day, STALE, run_id) for day in chosen],
        )


def hold_hot(connection: psycopg.Connection, stream: Stream, days: Iterable[date]) -> None:
    """Keep these days in the hot store until the caller's transaction ends.

    Who holds them does not wait for others who do. Raises: DayLeftError where one has left.
    """
    rows = connection.execute(
        "SELECT day, left_hot_at IS NOT NULL FROM am.publication WHERE stream = %s "
        "AND day = ANY(%s) ORDER BY day FOR KEY SHARE",
        (stream.name, list(days)),
    ).fetchall()
    if left := [day for day, has_left in rows if has_left]:
        raise DayLeftError(stream, left)


def left_days(
    connection: psycopg.Connection, streams: Iterable[Stream], *, begin: date, end: date
) -> list[tuple[str, date]]:
    """Names and days, both ends included, of what has left the hot store; oldest first."""
    return connection.execute(
        "SELECT stream, day FROM am.publication WHERE left_hot_at IS NOT NULL "
        "AND stream = ANY(%s) AND day BETWEEN %s AND %s ORDER BY day, stream",
        ([stream.name for stream in streams], begin, end),
    ).fetchall()


def _is_true(seen: Receipt, stream: Stream, day: date, snapshot: Snapshot) -> bool:
    """Whether the lake's day is the hot one. Columns that are newer have to be null, as they read
    in the lake.
    """
    if seen.checksum == STALE or seen.columns is None:
        return False
    if snapshot.fingerprint(stream, day, names=seen.columns) != seen.fingerprint:
        return False
    newer = [name for name in names_of(stream) if name not in seen.columns]
    return not (newer and snapshot.has_any(stream, day, newer))


def mergeable(rows: pa.Table, stream: Stream, table: DeltaTable | None) -> pa.Table:
    """The rows as the table takes them, without ids that follow from the rows.

    Delta refuses a column whose description has changed; and what a table requires it goes on to
    require, as older ones do ids.
    """
    known = {field.name: field for field in table.schema().fields} if table else {}
    fields = [
        field.remove_metadata().with_nullable(known[field.name].nullable)
        if field.name in known
        else field
        for field in delta_schema(stream)
    ]
    return without_ids(stream, rows.cast(pa.schema(fields)))


def _lock_number(stream: Stream) -> int:
    return number_of(f"am.lake/{stream.name}")


def _files_of(table: DeltaTable, day: date) -> pa.Table:
    files = pa.table(table.get_add_actions(flatten=True))
    if not files.num_rows:
        return files
    return files.filter(pc.equal(files["partition.day"], pa.scalar(day, pa.date32())))


def _has_files(table: DeltaTable, day: date) -> bool:
    return _files_of(table, day).num_rows > 0


def _sum(files: pa.Table, column: str) -> int:
    return int(pc.sum(files[column]).as_py() or 0) if files.num_rows else 0


def _conform(rows: pa.Table, schema: pa.Schema) -> pa.Table:
    present = [
        rows[field.name].cast(field.type)
        if field.name in rows.column_names
        else pa.chunked_array([pa.nulls(rows.num_rows, field.type)])
        for field in schema
    ]
    return pa.Table.from_arrays(present, schema=schema)
