"""The hot store: whole days and spans of a stream as Arrow tables, read in one snapshot.

What reads rows out of Postgres belongs here; what writes them is the front door and the work queue.
"""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Protocol

import psycopg
import pyarrow as pa
from psycopg import sql
from pyarrow import csv

from am_assets.schemas.arrow import row_schema
from am_assets.schemas.columns import KEY, Column, ColumnType, columns
from am_assets.schemas.postgres import READER, SCHEMA
from am_assets.streams.stream import Stream

DAY = timedelta(days=1)
# One value must fit one block, or the parser stops; a body of 64 MB with every quote doubled does.
CSV_BLOCK_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Span:
    """A half-open stretch of time, of one user's device or (None) of everybody's."""

    begin: datetime
    end: datetime
    user_id: str | None = None
    device_id: str | None = None

    @classmethod
    def of_day(cls, day: date) -> "Span":
        """The UTC day."""
        return cls.of_days(day, day)

    @classmethod
    def of_days(cls, first: date, last: date) -> "Span":
        """UTC days, both ends included."""
        begin, end = (datetime(day.year, day.month, day.day, tzinfo=UTC) for day in (first, last))
        return cls(begin, end + DAY)


@dataclass(frozen=True)
class Fingerprint:
    """How many rows, and a checksum that does not depend on their order."""

    row_count: int
    checksum: str


class RowReader(Protocol):
    """What can read rows of a stream."""

    def read(self, stream: Stream, span: Span) -> pa.Table:
        """The span's rows in `row_schema`, sorted by the key."""
        ...


@dataclass(frozen=True)
class Snapshot:
    """One REPEATABLE READ transaction: all that is read here fits together."""

    connection: psycopg.Connection

    def fingerprint(
        self, stream: Stream, day: date, *, names: Sequence[str] | None = None
    ) -> Fingerprint:
        """Count and checksum of a day, computed by the database over its columns or these alone."""
        return fingerprint(
            self.connection, table_of(stream), names or names_of(stream), span=Span.of_day(day)
        )

    def has_any(self, stream: Stream, day: date, names: Sequence[str]) -> bool:
        """Whether any row of the day has something in one of these columns."""
        where, values = _where(Span.of_day(day))
        query = sql.SQL("SELECT EXISTS (SELECT FROM {} {} AND num_nonnulls({}) > 0)").format(
            table_of(stream), where, sql.SQL(", ").join(map(sql.Identifier, names))
        )
        row = self.connection.execute(query, values).fetchone()
        return row == (True,)

    def count(self, stream: Stream, span: Span) -> int:
        """How many rows there are."""
        where, values = _where(span)
        query = sql.SQL("SELECT count(*) FROM {} {}").format(table_of(stream), where)
        row = self.connection.execute(query, values).fetchone()
        assert row is not None
        return int(row[0])

    def read(self, stream: Stream, span: Span) -> pa.Table:
        """The span's rows in `row_schema`, sorted by the key. No row = a table of none."""
        where, values = _where(span)
        query = sql.SQL("COPY (SELECT {} FROM {} t {} ORDER BY {}) TO STDOUT (FORMAT csv)").format(
            sql.SQL(", ").join(_exported(column) for column in columns(stream)),
            table_of(stream),
            where,
            sql.SQL(", ").join(map(sql.Identifier, KEY)),
        )
        with self.connection.cursor() as cursor, cursor.copy(query, values) as rows:
            text = b"".join(bytes(chunk) for chunk in rows)
        return _parse(text, stream)

    def read_day(self, stream: Stream, day: date) -> pa.Table:
        """The UTC day's rows in `row_schema`, sorted by the key."""
        return self.read(stream, Span.of_day(day))


@dataclass(frozen=True)
class HotStore:
    """The database that holds the rows. Nothing is connected before something is read."""

    database_url: str

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """Read several things as of one moment. Raises: psycopg.Error."""
        with self._connect() as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            yield Snapshot(connection)

    def read(self, stream: Stream, span: Span) -> pa.Table:
        """The span's rows in `row_schema`, sorted by the key. Raises: psycopg.Error."""
        with self.snapshot() as snapshot:
            return snapshot.read(stream, span)

    def read_day(self, stream: Stream, day: date) -> pa.Table:
        """The UTC day's rows in `row_schema`, sorted by the key. Raises: psycopg.Error."""
        return self.read(stream, Span.of_day(day))

    @contextmanager
    def reader(self, user_id: str) -> Iterator[psycopg.Connection]:
        """A read-only transaction that sees this user's rows and nobody else's, as of one moment.

        Raises: psycopg.Error.
        """
        with self._connect() as connection:
            connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
            connection.read_only = True
            with connection.transaction():
                connection.execute(f"SET LOCAL ROLE {READER}".encode())
                connection.execute("SELECT set_config('app.user_id', %s, true)", (user_id,))
                yield connection

    @contextmanager
    def _connect(self) -> Iterator[psycopg.Connection]:
        with connect(self.database_url) as connection:
            yield connection


@contextmanager
def connect(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection that renders every time in UTC, so that checksums agree between machines."""
    with psycopg.connect(database_url) as connection:
        connection.execute("SET TIME ZONE 'UTC'")
        connection.commit()
        yield connection


def table_of(stream: Stream) -> sql.Identifier:
    """The stream's table, quoted."""
    return sql.Identifier(SCHEMA, stream.table)


def names_of(stream: Stream) -> list[str]:
    """The names of the stream's columns, in the order that every store uses."""
    return [column.name for column in columns(stream)]


def fingerprint(
    connection: psycopg.Connection,
    table: sql.Composable,
    names: Sequence[str],
    *,
    span: Span | None = None,
) -> Fingerprint:
    """Count and checksum of a table's rows, or of a span's, over these columns.

    The connection has to render times in UTC, as `connect` gives it. Raises: psycopg.Error.
    """
    where, values = _where(span) if span else (sql.SQL(""), {})
    query = sql.SQL(
        "SELECT count(*), coalesce(sum(hashtextextended(ROW({})::text, 0)), 0)::text FROM {} {}"
    ).format(sql.SQL(", ").join(map(sql.Identifier, names)), table, where)
    row = connection.execute(query, values).fetchone()
    assert row is not None
    return Fingerprint(row_count=row[0], checksum=row[1])


def _where(span: Span) -> tuple[sql.Composable, dict[str, Any]]:
    terms = [sql.SQL("ts >= %(begin)s AND ts < %(end)s")]
    values: dict[str, Any] = {"begin": span.begin, "end": span.end}
    for name, value in (("user_id", span.user_id), ("device_id", span.device_id)):
        if value is not None:
            terms.append(sql.SQL(f"{name} = %({name})s"))
            values[name] = value
    return sql.SQL("WHERE ") + sql.SQL(" AND ").join(terms), values


def _exported(column: Column) -> sql.Composable:
    name = sql.Identifier(column.name)
    if column.type is ColumnType.INSTANT:
        # As exact microseconds: text would have to be parsed, and drops trailing zeros.
        return sql.SQL("(extract(epoch FROM {}) * 1000000)::bigint").format(name)
    return name


def _parse(text: bytes, stream: Stream) -> pa.Table:
    schema = row_schema(stream)
    if not text:
        return schema.empty_table()
    raw = pa.schema(
        pa.field(field.name, pa.int64() if pa.types.is_timestamp(field.type) else field.type)
        for field in schema
    )
    parsed = csv.read_csv(
        io.BytesIO(text),
        read_options=csv.ReadOptions(column_names=raw.names, block_size=CSV_BLOCK_BYTES),
        parse_options=csv.ParseOptions(newlines_in_values=True),
        convert_options=csv.ConvertOptions(
            column_types=raw,
            null_values=[""],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
            true_values=["t"],
            false_values=["f"],
        ),
    )
    return parsed.cast(schema)
