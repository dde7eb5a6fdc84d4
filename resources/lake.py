"""The lake: one Delta table a stream, partitioned by UTC day, replaced a day at a time.

A receipt in `am.publication` says what of a day is in the lake. An empty checksum marks a day whose
rows have changed since (the work queue writes it in the transaction that changes them).
"""

import hashlib
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, DeltaTable, WriterProperties, write_deltalake
from psycopg.rows import class_row

from am_assets.schemas.arrow import delta_schema
from am_assets.streams.stream import Stream
from resources.connections import Connections
from resources.hot import Fingerprint, HotStore, Snapshot

STALE = ""  # the checksum of a receipt that is no longer true
PARALLEL_CREATES = 16
RUNLESS = "am"  # the run of what no run asked for


@dataclass(frozen=True)
class Receipt:
    """What was in the lake when it was written, and when that was noted (None = not yet)."""

    row_count: int
    checksum: str
    delta_version: int
    published_at: datetime | None = None


@dataclass(frozen=True)
class Published:
    """What publishing a day did. `byte_count` is the size of the day's files."""

    stream: str
    day: date
    row_count: int
    byte_count: int
    delta_version: int
    is_changed: bool


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

    def open(self, stream: Stream) -> DeltaTable | None:
        """The table as it is now; None where nothing has made it yet."""
        uri, options = self.table_uri(stream), self.connections.delta_options()
        if not DeltaTable.is_deltatable(uri, storage_options=options):
            return None
        return DeltaTable(uri, storage_options=options)

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
        return _conform(table.to_pyarrow_table(filters=[("day", "=", day)]), schema)

    def count_day(self, stream: Stream, day: date) -> int:
        """How many rows of the day are in the lake, by the files' own statistics."""
        table = self.open(stream)
        return 0 if table is None else _sum(_files_of(table, day), "num_records")

    def batches(self, stream: Stream, day: date) -> Iterator[pa.RecordBatch]:
        """The day as published, in parts, with the columns as they are stored. No table = none."""
        table = self.open(stream)
        if table is not None and _has_files(table, day):
            is_day = pc.field("day") == pa.scalar(day, pa.date32())
            yield from table.to_pyarrow_dataset().to_batches(filter=is_day)

    def stored_schema(self, stream: Stream) -> pa.Schema | None:
        """The columns of the table as it is; None where there is no table."""
        table = self.open(stream)
        return None if table is None else pa.schema(list(table.to_pyarrow_dataset().schema))

    def count_both(self, stream: Stream, day: date) -> tuple[int, Receipt | None]:
        """The rows in the lake and the receipt, while nobody writes."""
        with self._write_lock(stream), psycopg.connect(self._url) as connection:
            return self.count_day(stream, day), receipt(connection, stream, day)

    def publish(self, stream: Stream, day: date, *, run_id: str = RUNLESS) -> Published:
        """Make the lake's day equal the hot store's; writes nothing where it already is.

        One writer a table over all processes. A crash between the commit and the receipt is healed
        by the next call, which replaces the day again.
        Raises: psycopg.Error, deltalake.exceptions.DeltaError.
        """
        with self._write_lock(stream), HotStore(self._url).snapshot() as snapshot:
            now = snapshot.fingerprint(stream, day)
            seen = receipt(snapshot.connection, stream, day)
            if seen and (seen.row_count, seen.checksum) == (now.row_count, now.checksum):
                return self._report(stream, day, seen, is_changed=False)
            version = self._replace(stream, day, snapshot, now)
            written = Receipt(now.row_count, now.checksum, version)
            self._sign(stream, day, written, seen=seen, run_id=run_id)
            return self._report(stream, day, written, is_changed=True)

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
    def _write_lock(self, stream: Stream) -> Iterator[None]:
        with psycopg.connect(self._url, autocommit=True) as guard:
            guard.execute("SELECT pg_advisory_lock(%s)", (_lock_number(stream),))
            yield  # the session's end lets go, also when the process is killed

    def _ensure_table(self, stream: Stream) -> bool:
        if self.open(stream) is not None:
            return False
        with self._write_lock(stream):
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

    def _replace(self, stream: Stream, day: date, snapshot: Snapshot, now: Fingerprint) -> int:
        """Commit the snapshot's day. Returns the Delta version that holds it."""
        table = self.open(stream)
        if now.row_count == 0 and table is not None and not _has_files(table, day):
            return table.version()
        rows = snapshot.read_day(stream, day)
        rows = rows.append_column("day", pa.array([day] * rows.num_rows, pa.date32()))
        write_deltalake(
            self.table_uri(stream),
            rows.cast(delta_schema(stream)),
            mode="overwrite",
            predicate=f"day = '{day}'" if table is not None else None,
            partition_by=["day"],
            schema_mode="merge",
            storage_options=self.connections.delta_options(),
            writer_properties=WriterProperties(compression="ZSTD"),
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
                "(stream, day, row_count, checksum, delta_version, run_id, published_at) "
                "VALUES (%(stream)s, %(day)s, %(rows)s, %(checksum)s, %(version)s, %(run)s, "
                "clock_timestamp()) ON CONFLICT (stream, day) DO UPDATE SET "
                "row_count = excluded.row_count, checksum = excluded.checksum, "
                "delta_version = excluded.delta_version, run_id = excluded.run_id, "
                "published_at = excluded.published_at "
                "WHERE p.published_at = %(seen)s",
                {
                    "stream": stream.name,
                    "day": day,
                    "rows": written.row_count,
                    "checksum": written.checksum,
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
        )


def receipt(connection: psycopg.Connection, stream: Stream, day: date) -> Receipt | None:
    """What the last publication of this day noted; None = never published."""
    cursor = connection.cursor(row_factory=class_row(Receipt))
    cursor.execute(
        "SELECT row_count, checksum, delta_version, published_at FROM am.publication "
        "WHERE stream = %s AND day = %s",
        (stream.name, day),
    )
    return cursor.fetchone()


def mark_stale(
    connection: psycopg.Connection, stream: Stream, days: Iterable[date], *, run_id: str
) -> None:
    """Note, in the caller's transaction, that these days of the lake are behind the hot store."""
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO am.publication (stream, day, row_count, checksum, delta_version, run_id, "
            "published_at) VALUES (%s, %s, 0, %s, -1, %s, clock_timestamp()) "
            "ON CONFLICT (stream, day) DO UPDATE SET checksum = excluded.checksum, "
            "published_at = excluded.published_at",
            [(stream.name, day, STALE, run_id) for day in sorted(days)],
        )


def _lock_number(stream: Stream) -> int:
    digest = hashlib.sha256(f"am.lake/{stream.name}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


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
