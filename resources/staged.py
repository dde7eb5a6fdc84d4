"""A day of the lake, back in a database session: to be compared with the hot rows, or to join them.

The rows lie in a temporary table of the stream's columns, so that the database computes the very
same checksum over them that it computes over its own.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from io import BytesIO
from uuid import UUID, uuid4

import psycopg
import pyarrow as pa
from psycopg import sql
from pyarrow import csv

from am_assets.schemas.columns import KEY
from am_assets.streams.stream import Stream
from resources.hot import Fingerprint, fingerprint, names_of, table_of

TABLE = sql.Identifier("pg_temp", "am_staged")
REOPENING = "reopening"  # the door of the ledger's lines that correct what came twice


@dataclass(frozen=True)
class Merged:
    """What joining the hot rows did: rows that came back, and those that had come a second time."""

    row_count: int
    repeated: int


@dataclass(frozen=True)
class Staged:
    """One stream's rows in the temporary table of a session that has no other use for it."""

    connection: psycopg.Connection
    stream: Stream

    def fill(self, batches: Iterable[pa.RecordBatch]) -> None:
        """Take these rows, once. A column that they lack is null. Raises: psycopg.Error."""
        make = sql.SQL("CREATE TABLE {} (LIKE {})").format(TABLE, table_of(self.stream))
        self.connection.execute(make)
        for batch in batches:
            names = [name for name in names_of(self.stream) if name in batch.schema.names]
            copy = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv)").format(TABLE, _list(names))
            with self.connection.cursor() as cursor, cursor.copy(copy) as rows:
                rows.write(_as_csv(batch.select(names)))

    def fingerprint(self, names: Iterable[str]) -> Fingerprint:
        """Count and checksum over these columns."""
        return fingerprint(self.connection, TABLE, list(names))

    def join_hot(self) -> Merged:
        """Put the rows into the hot table, in the caller's transaction.

        A row that is there stays: it came again while its day was away. It keeps what had grown
        before. The ledger counted it as stored a second time: a line of its own corrects that.
        """
        came_back = self._insert()
        repeated = self._count()
        if repeated and self.stream.grows:
            self._grow(self.stream.grows)
        if repeated and not self.stream.is_derived:
            self._correct_ledger()
        return Merged(came_back, repeated)

    def _insert(self) -> int:
        """Insert what is not there; what is stays staged. Returns how many were inserted."""
        query = sql.SQL(
            "WITH new AS (INSERT INTO {hot} ({names}) SELECT {names} FROM {staged} ORDER BY {key} "
            "ON CONFLICT DO NOTHING RETURNING {key}) "
            "DELETE FROM {staged} AS s USING new WHERE {is_same}"
        ).format(
            hot=table_of(self.stream),
            names=_list(names_of(self.stream)),
            staged=TABLE,
            key=_list(KEY),
            is_same=_is_same("s", "new"),
        )
        return self.connection.execute(query).rowcount

    def _count(self) -> int:
        rows = self.connection.execute(sql.SQL("SELECT count(*) FROM {}").format(TABLE)).fetchall()
        return int(rows[0][0])

    def _grow(self, name: str) -> None:
        query = sql.SQL(
            "UPDATE {hot} AS hot SET {grown} = greatest(hot.{grown}, s.{grown}) FROM {staged} AS s "
            "WHERE {is_same}"
        ).format(
            hot=table_of(self.stream),
            grown=sql.Identifier(name),
            staged=TABLE,
            is_same=_is_same("s", "hot"),
        )
        self.connection.execute(query)

    def _correct_ledger(self) -> None:
        query = sql.SQL(
            "INSERT INTO am.landing (batch_id, user_id, device_id, stream, day, door, received, "
            "stored, duplicate, rejected) "
            "SELECT %s, user_id, device_id, %s, (ts AT TIME ZONE 'UTC')::date, %s, 0, -count(*), "
            "count(*), 0 FROM {} GROUP BY user_id, device_id, (ts AT TIME ZONE 'UTC')::date"
        ).format(TABLE)
        batch: UUID = uuid4()
        self.connection.execute(query, (batch, self.stream.name, REOPENING))


def _is_same(one: str, other: str) -> sql.Composed:
    return sql.SQL(" AND ").join(
        sql.SQL("{}.{} = {}.{}").format(
            sql.Identifier(one), sql.Identifier(name), sql.Identifier(other), sql.Identifier(name)
        )
        for name in KEY
    )


def _list(names: Iterable[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, names))


def _as_csv(batch: pa.RecordBatch) -> bytes:
    """Strings are quoted, so that an empty one is no null."""
    written = BytesIO()
    csv.write_csv(batch, written, csv.WriteOptions(include_header=False, quoting_style="needed"))
    return written.getvalue()
