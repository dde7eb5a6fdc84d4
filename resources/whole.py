"""The rows wherever they are: the hot store's, and from the lake those of the days that have left.

For whoever asks for rows of days that may be old. A row that is in both, because it came again, is
taken from the hot store, as the views of DuckDB do.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from psycopg import sql

from am_assets.schemas.arrow import row_schema
from am_assets.schemas.columns import KEY, columns
from am_assets.schemas.postgres import SQL_TYPES
from am_assets.streams.stream import Stream
from resources.connections import Connections
from resources.hot import HotStore, Snapshot, Span, names_of, table_of
from resources.lake_files import LakeFiles, LakeFilesError, own

_AWAY = """
SELECT stream, array_agg(day ORDER BY day), max(delta_version) FROM am.publication
WHERE left_hot_at IS NOT NULL AND stream = ANY(%s) AND day BETWEEN %s AND %s GROUP BY stream
"""


@dataclass(frozen=True)
class Away:
    """Days of a stream that are in the lake alone, from early to late; in which version at least.

    Rows that came late for such a day are in the hot store all the same.
    """

    stream: Stream
    days: tuple[date, ...]
    version: int


@dataclass(frozen=True)
class Rows:
    """Rows as a part of an SQL statement: `text` stands where a table could, with its `values`."""

    text: sql.Composed
    values: dict[str, Any]


@dataclass(frozen=True)
class WholeSnapshot:
    """All rows as of one moment of the database, of one user or (None) of everybody.

    What left it by then is read from the lake as that is now: it holds such days for ever.
    """

    connection: psycopg.Connection
    files: LakeFiles
    user_id: str | None = None

    def read(self, stream: Stream, span: Span) -> pa.Table:
        """The span's rows in `row_schema`, sorted by the key. No row = a table of none."""
        hot = Snapshot(self.connection).read(stream, span)
        left = [self.left(away, span) for away in self.away([stream], span)]
        if not any(rows.num_rows for rows in left):
            return hot
        return pa.concat_tables([hot, *left]).sort_by([(name, "ascending") for name in KEY])

    def read_day(self, stream: Stream, day: date) -> pa.Table:
        """The UTC day's rows in `row_schema`, sorted by the key."""
        return self.read(stream, Span.of_day(day))

    def count(self, stream: Stream, span: Span) -> int:
        """How many rows there are."""
        left = [self.left(away, span, names=["ts"]) for away in self.away([stream], span)]
        return Snapshot(self.connection).count(stream, span) + sum(rows.num_rows for rows in left)

    def away(self, streams: Iterable[Stream], span: Span) -> list[Away]:
        """What of these streams is in the lake alone, of the days that the span touches."""
        by_name = {stream.name: stream for stream in streams}
        first, last = _utc_day(span.begin), _utc_day(span.end - timedelta(microseconds=1))
        rows = self.connection.execute(_AWAY, (list(by_name), first, last))
        return [Away(by_name[name], tuple(days), version) for name, days, version in rows]

    def left(
        self,
        away: Away,
        span: Span,
        *,
        names: Sequence[str] | None = None,
        only: pc.Expression | None = None,
    ) -> pa.Table:
        """The span's rows that are in the lake alone; all columns or these, in no order.

        Raises: resources.lake_files.LakeFilesError where the lake is older than what left.
        """
        chosen, again = names or names_of(away.stream), self._hot_keys(away, span)
        if not again.num_rows:
            return self.lake(away, span, names=chosen, only=only)
        needed = list(dict.fromkeys((*chosen, *KEY)))
        rows = self.lake(away, span, names=needed, only=only)
        left = rows.join(again, keys=list(KEY), join_type="left anti")
        return _conform(left, away.stream, chosen)

    def lake(
        self,
        away: Away,
        span: Span,
        *,
        names: Sequence[str],
        only: pc.Expression | None = None,
    ) -> pa.Table:
        """The span's rows of these days in the lake, wherever else they are. Raises: as `left`."""
        opened = self.files.open(away.stream)
        if opened.version < away.version:
            raise LakeFilesError(
                f"the lake lacks days of {away.stream.name} that have left the hot store: it is at "
                f"version {opened.version} and should be at {away.version}"
            )
        condition = _condition(away, span) if only is None else _condition(away, span) & only
        rows = own(opened, self.user_id).to_table(list(names), filter=condition)
        return _conform(rows, away.stream, names)

    def source(self, stream: Stream, span: Span, *, names: Sequence[str]) -> Rows:
        """What stands for the stream's table in a question about the span; at least that.

        For rows that are few: those of the lake travel with the statement.
        """
        hot = sql.SQL("SELECT {} FROM {}").format(_list(names), table_of(stream))
        parts = [Rows(hot, {})]
        for away in self.away([stream], span):
            left = as_rows(stream, self.left(away, span, names=names))
            parts.append(Rows(sql.SQL("SELECT * FROM {}").format(left.text), left.values))
        text = sql.SQL("({})").format(sql.SQL(" UNION ALL ").join(part.text for part in parts))
        return Rows(text, {name: value for part in parts for name, value in part.values.items()})

    def _hot_keys(self, away: Away, span: Span) -> pa.Table:
        """Of rows that came for days that have left: there are none, or few."""
        schema = pa.schema([row_schema(away.stream).field(name) for name in KEY])
        whose = [
            sql.SQL(f"AND {name} = %({name})s")
            for name, value in (("user_id", span.user_id), ("device_id", span.device_id))
            if value is not None
        ]
        query = sql.SQL(
            "SELECT user_id, device_id, ts, event_id::text FROM {} WHERE ts >= %(begin)s "
            "AND ts < %(end)s AND (ts AT TIME ZONE 'UTC')::date = ANY(%(days)s) {}"
        ).format(table_of(away.stream), sql.SQL(" ").join(whose))
        begin, end = _within(away, span)
        values = {"begin": begin, "end": end, "days": list(away.days)}
        owner = {"user_id": span.user_id, "device_id": span.device_id}
        found = self.connection.execute(query, values | owner).fetchall()
        return pa.Table.from_pylist([dict(zip(KEY, row, strict=True)) for row in found], schema)


class WholeStore:
    """Both stores as one. Nothing is connected before something is read. Thread-safe."""

    def __init__(self, connections: Connections, *, files: LakeFiles | None = None) -> None:
        """`files` may be shared, so that the lake need not be looked through again."""
        self.hot = HotStore(connections.database_url)
        self.files = files or LakeFiles(connections)

    @contextmanager
    def snapshot(self) -> Iterator[WholeSnapshot]:
        """Read several things as of one moment. Raises: psycopg.Error."""
        with self.hot.snapshot() as snapshot:
            yield WholeSnapshot(snapshot.connection, self.files)

    @contextmanager
    def reader(self, user_id: str) -> Iterator[WholeSnapshot]:
        """The same of one user's rows and nobody else's. Raises: psycopg.Error."""
        with self.hot.reader(user_id) as connection:
            yield WholeSnapshot(connection, self.files, user_id)

    def read(self, stream: Stream, span: Span) -> pa.Table:
        """The span's rows in `row_schema`, sorted by the key.

        Raises: psycopg.Error, LakeFilesError, deltalake.exceptions.DeltaError.
        """
        with self.snapshot() as snapshot:
            return snapshot.read(stream, span)

    def read_day(self, stream: Stream, day: date) -> pa.Table:
        """The UTC day's rows in `row_schema`, sorted by the key. Raises: as `read`."""
        return self.read(stream, Span.of_day(day))


def as_rows(stream: Stream, rows: pa.Table) -> Rows:
    """Rows of a stream, with any of its columns, as they travel with a statement."""
    types = {column.name: SQL_TYPES[column.type] for column in columns(stream)}
    keys = {name: f"left_{stream.table}_{name}" for name in rows.column_names}
    arrays = [sql.SQL(f"%({key})s::{types[name]}[]") for name, key in keys.items()]
    text = sql.SQL("(SELECT * FROM unnest({}) AS told ({})) AS left_rows").format(
        sql.SQL(", ").join(arrays), _list(rows.column_names)
    )
    return Rows(text, {key: rows[name].to_pylist() for name, key in keys.items()})


def _condition(away: Away, span: Span) -> pc.Expression:
    begin, end = _within(away, span)
    instant = pa.timestamp("us", tz="UTC")
    condition = (
        pc.field("day").isin(pa.array(away.days, pa.date32()))
        & (pc.field("ts") >= pa.scalar(begin, instant))
        & (pc.field("ts") < pa.scalar(end, instant))
    )
    for name, value in (("user_id", span.user_id), ("device_id", span.device_id)):
        if value is not None:
            condition &= pc.field(name) == pc.scalar(value)
    return condition


def _within(away: Away, span: Span) -> tuple[datetime, datetime]:
    """The part of the span that the days can have."""
    first, last = Span.of_day(away.days[0]), Span.of_day(away.days[-1])
    return max(span.begin, first.begin), min(span.end, last.end)


def _conform(rows: pa.Table, stream: Stream, names: Sequence[str]) -> pa.Table:
    schema = pa.schema([row_schema(stream).field(name) for name in names])
    return pa.Table.from_arrays(
        [rows[field.name].cast(field.type) for field in schema], schema=schema
    )


def _utc_day(moment: datetime) -> date:
    return moment.astimezone(UTC).date()


def _list(names: Iterable[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, names))
