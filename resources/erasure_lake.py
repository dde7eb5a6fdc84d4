"""Erasure in the lake and among the vectors: deleted, then nothing of it left in older versions.

Delta and Lance keep what was deleted in older versions of a table, and Delta's log keeps the least
and the greatest text of each file in the clear. So the tables lose all versions but the newest.
Who reads an older version at that moment gets an error, once.
"""

import json
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import partial, reduce
from operator import and_
from typing import TYPE_CHECKING, Any
from uuid import UUID

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable, WriterProperties, write_deltalake

from am_assets.streams.stream import Stream
from resources.connections import Connections
from resources.erasure_rows import DOOR, EDGE, Scope, note, noted
from resources.lake import Lake, left_days
from resources.lake_folder import DAMAGED, LOG, LakeFolder
from resources.retention import Retention
from resources.table_locks import table_lock
from resources.vector_tables import MOST
from resources.vectors import INDEX_ATTEMPTS, LOST_RACE, SCALAR_INDEXES, VECTOR_INDEX_ROWS

if TYPE_CHECKING:
    from lancedb.table import Table

DIGESTS = "out_day_digest"  # of `am_assets.out.day_digest`: a span of local time a row
COUNTED = ("device_id", "day")


@dataclass(frozen=True)
class Edges:
    """The columns by which a table's rows are told to be in a span; `end` None = they are short.

    What reaches into a span from days before it, or lies beside what it was made of, is no matter
    of the lake: such days are brought back into the database first.
    """

    begin: str
    end: str | None


STREAM = Edges("ts", None)


def expression(scope: Scope, edges: Edges) -> pc.Expression:
    """The rows of the span, for Arrow."""
    terms = [pc.field("user_id") == scope.user_id]
    if scope.end is not None:
        terms.append(pc.field(edges.begin) < _literal(scope.end))
    if scope.begin is not None:
        low = pc.field(edges.begin) >= _literal(scope.begin)
        if edges.end:
            low |= pc.field(edges.end) > _literal(scope.begin)
        terms.append(low)
    return reduce(and_, terms)


class LakeErasure:
    """What of a span is in the lake, and its removal."""

    def __init__(self, connections: Connections, retention: Retention) -> None:
        """Connects to nothing yet."""
        self._connections = connections
        self._retention = retention
        self._lake = Lake(connections)

    def count(self, stream: Stream, scope: Scope) -> int:
        """The rows of the span in the newest version of a stream's table."""
        return sum(self._found(stream, scope).values())

    def count_digests(self, scope: Scope) -> int:
        """The local days of which a part is in the span."""
        table = self._digests()
        if table is None:
            return 0
        return sum(rows.num_rows for rows in _rows(table, scope, Edges("begin", "end"), ("day",)))

    def note_left(self, stream: Stream, scope: Scope, erasure_id: UUID) -> int:
        """Note what goes of days that are in the lake alone, before it goes: lines and keys.

        Returns how many rows there are, of all days.
        """
        found = self._found(stream, scope)
        with psycopg.connect(self._connections.database_url) as connection:
            left = {day for _, day in left_days(connection, [stream], begin=date.min, end=date.max)}
            for (device_id, day), count in found.items():
                detail = json.dumps([device_id, day.isoformat()])
                if day in left:
                    name = stream.name
                    note(connection, erasure_id, "left", name, detail=detail, row_count=count)
            for key in self._keys(stream, scope, left & {day for _, day in found}):
                note(connection, erasure_id, "blob", key)
        return found.total()

    def remove(self, stream: Stream, scope: Scope, erasure_id: UUID) -> None:
        """Delete the span's rows of a stream from its table, from its past too, and sign again.

        To be called after `note_left`, as often as it takes.
        """
        table = self._lake.open(stream)
        if table is None:
            return
        with self._lake.write_lock(stream):
            _delete(table, scope, STREAM)
            self._sign(stream, erasure_id)
            forget_past(self._connections, self._lake.table_uri(stream))

    def remove_digests(self, scope: Scope) -> int:
        """Delete the digests of local days with a part in the span. Returns how many."""
        with table_lock(self._connections.database_url, DIGESTS):
            found, table = self.count_digests(scope), self._digests()
            if table is not None:
                _delete(table, scope, Edges("begin", "end"))
                forget_past(self._connections, self._digests_uri)
        return found

    def _sign(self, stream: Stream, erasure_id: UUID) -> None:
        """Make receipts true again, and with each the ledger of a day that had left."""
        with psycopg.connect(self._connections.database_url) as connection:
            left = [one for one in noted(connection, erasure_id, "left") if one[0] == stream.name]
            days = [one[1] for one in noted(connection, erasure_id, "day") if one[0] == stream.name]
        gone: dict[date, Counter[str]] = {}
        for _, detail, count in left:
            device_id, day = json.loads(detail)
            gone.setdefault(date.fromisoformat(day), Counter())[device_id] = count
        for day, devices in gone.items():
            self._retention.resign(stream, day)
            self._correct_ledger(stream, day, devices, erasure_id)
        for text in days:
            self._lake.publish(stream, date.fromisoformat(text), run_id=DOOR)

    def _correct_ledger(
        self, stream: Stream, day: date, devices: Mapping[str, int], erasure_id: UUID
    ) -> None:
        with psycopg.connect(self._connections.database_url) as connection:
            for device_id, count in devices.items():
                if not stream.is_derived:
                    connection.execute(
                        "INSERT INTO am.landing (batch_id, user_id, device_id, stream, day, door, "
                        "received, stored, duplicate, rejected) SELECT erasure_id, user_id, %s, "
                        "%s, %s, %s, %s, %s, 0, 0 FROM am.erasure WHERE erasure_id = %s",
                        (device_id, stream.name, day, DOOR, -count, -count, erasure_id),
                    )
                connection.execute(
                    "DELETE FROM am.erasure_todo WHERE erasure_id = %s AND kind = 'left' "
                    "AND name = %s AND detail = %s",
                    (erasure_id, stream.name, json.dumps([device_id, day.isoformat()])),
                )

    def _found(self, stream: Stream, scope: Scope) -> Counter[tuple[str, date]]:
        """How many rows of the span the table has by device and day."""
        table = self._lake.open(stream)
        if table is None:
            return Counter()
        found: Counter[tuple[str, date]] = Counter()
        for rows in _rows(table, scope, STREAM, COUNTED):
            columns = (rows[name].to_pylist() for name in COUNTED)
            found.update(zip(*columns, strict=True))
        return found

    def _keys(self, stream: Stream, scope: Scope, days: Iterable[date]) -> set[str]:
        table, wanted = self._lake.open(stream), sorted(days)
        if table is None or not wanted or not (stream.blob or stream.is_derived):
            return set()
        is_wanted = pc.field("day").isin(pa.array(wanted, pa.date32()))
        return {
            key
            for rows in _rows(table, scope, STREAM, ("blob_key", "day"))
            for key in rows.filter(is_wanted)["blob_key"].to_pylist()
            if key is not None
        }

    def keys_still_named(self, stream: Stream, user_id: str, keys: Sequence[str]) -> set[str]:
        """Those of the keys of blobs that a row in the lake still names."""
        table = self._lake.open(stream)
        if table is None or not keys:
            return set()
        named = _rows(table, Scope(user_id), STREAM, ("blob_key",))
        return {key for rows in named for key in rows["blob_key"].to_pylist() if key} & set(keys)

    @property
    def _digests_uri(self) -> str:
        return f"{self._connections.lake_uri.rstrip('/')}/{DIGESTS}"

    def _digests(self) -> DeltaTable | None:
        options = self._connections.delta_options()
        if not DeltaTable.is_deltatable(self._digests_uri, storage_options=options):
            return None
        return DeltaTable(self._digests_uri, storage_options=options)


def _rows(
    table: DeltaTable, scope: Scope, edges: Edges, names: Iterable[str]
) -> Iterator[pa.Table]:
    """Some columns of the span's rows, in parts.

    Days alone choose among the files.
    """
    wanted = {*names, "user_id", "day", edges.begin, *({edges.end} if edges.end else ())}
    where = expression(scope, edges)
    batches = table.to_pyarrow_dataset().to_batches(columns=sorted(wanted), filter=_days(scope))
    for batch in batches:
        yield pa.Table.from_batches([batch]).filter(where)


def _days(scope: Scope) -> pc.Expression | None:
    terms = []
    if scope.end is not None:
        terms.append(pc.field("day") <= pa.scalar(_day(scope.end + EDGE), pa.date32()))
    if scope.begin is not None:
        terms.append(pc.field("day") >= pa.scalar(_day(scope.begin - EDGE), pa.date32()))
    return reduce(and_, terms) if terms else None


def forget_past(connections: Connections, uri: str) -> None:
    """Remove every version of a table but the newest, and all that only the others need.

    The caller holds the table's lock: files that a writer has yet to commit would go as well.
    """
    table = DeltaTable(uri, storage_options=connections.delta_options())
    table.vacuum(retention_hours=0, dry_run=False, enforce_retention_duration=False, full=True)
    table = DeltaTable(uri, storage_options=connections.delta_options())
    table.create_checkpoint()
    folder, newest = LakeFolder(connections, uri), table.version()
    folder.remove(path for path in list(folder.sizes()) if _is_past(path, newest))


def _is_past(path: str, newest: int) -> bool:
    """Whether an object belongs to an older version's log, or was set aside as damaged."""
    if path.startswith(f"{DAMAGED}/"):
        return True
    number = path.removeprefix(f"{LOG}/").split(".", 1)[0]
    return path.startswith(f"{LOG}/") and number.isdigit() and int(number) < newest


class VectorErasure:
    """What of a span is among the vectors, and its removal. All tables: one a model."""

    def __init__(self, connections: Connections) -> None:
        """Connects to nothing yet."""
        self._connections = connections

    def count(self, scope: Scope) -> dict[str, int]:
        """Moments of the span by table; none = not named."""
        found = {table.name: table.count_rows(vector_predicate(scope)) for table in self._tables()}
        return {name: count for name, count in found.items() if count}

    def remove(self, scope: Scope, sources: Sequence[str]) -> dict[str, int]:
        """Delete the span's moments and those of the sources, from the tables' past too."""
        found = self.count(scope)
        for table in self._tables():
            table.delete(vector_predicate(scope, sources))
            _rewrite(table)
        return found

    def _tables(self) -> "list[Table]":
        import lancedb  # noqa: PLC0415 (heavy)

        uri, options = self._connections.vectors_uri, self._connections.lance_options()
        database = lancedb.connect(uri, storage_options=options)
        return [database.open_table(name) for name in database.list_tables(limit=MOST).tables]


def vector_predicate(scope: Scope, sources: Sequence[str] = ()) -> str:
    """The span's moments as Lance's SQL, and those that were made of certain rows."""
    user = f"user_id = {_quoted(scope.user_id)}"
    terms = []
    if scope.end is not None:
        terms.append(f"ts < {_timestamp(scope.end)}")
    if scope.begin is not None:
        begin = _timestamp(scope.begin)
        terms.append(f"(ts >= {begin} OR end_ts > {begin})")
    within = " AND ".join(terms) or "true"
    if sources:
        listed = ", ".join(map(_quoted, sources))
        within = f"({within}) OR source_event_id IN ({listed})"
    return f"{user} AND ({within})"


def _rewrite(table: "Table") -> None:
    """Write all rows and indexes anew, and remove whatever an older version had.

    An update touches every row, so that no file with deleted rows stays; rows that somebody else
    adds meanwhile stay as well. Indexes are made anew because they hold words.
    """
    if table.count_rows():
        _insisting(table, lambda: table.update(where="true", values_sql={"user_id": "user_id"}))
    for index in table.list_indices():
        _insisting(table, partial(_renew, table, index.name, index.columns[0]))
    with warnings.catch_warnings():  # that readers of older versions will fail is known
        warnings.simplefilter("ignore", UserWarning)
        _insisting(table, lambda: table.optimize(cleanup_older_than=timedelta(0)))


def _renew(table: "Table", name: str, column: str) -> None:
    from lancedb.index import FTS, Bitmap, BTree, IvfPq  # noqa: PLC0415 (heavy)

    rows = table.count_rows()
    if column == "vector" and rows >= VECTOR_INDEX_ROWS:
        table.create_index(column, config=IvfPq(distance_type="cosine"), replace=True)
    elif column == "text":
        words = FTS(with_position=True, remove_stop_words=False)
        table.create_index(column, config=words, replace=True)
    elif column in SCALAR_INDEXES and rows:
        is_bitmap = SCALAR_INDEXES[column] == "bitmap"
        table.create_index(column, config=Bitmap() if is_bitmap else BTree(), replace=True)
    else:
        table.drop_index(name)


def _insisting(table: "Table", act: Callable[[], object]) -> None:
    """Try again where somebody else was faster; LanceDB does so by itself for rows alone."""
    for attempt in range(INDEX_ATTEMPTS):
        table.checkout_latest()  # type: ignore[no-untyped-call]  # LanceDB left it out
        try:
            act()
        except RuntimeError as error:
            is_lost_race = any(words in str(error) for words in LOST_RACE)
            if not is_lost_race or attempt == INDEX_ATTEMPTS - 1:
                raise
        else:
            return


def _delete(table: DeltaTable, scope: Scope, edges: Edges) -> None:
    """Write each day anew without the span's rows. Doing it again changes nothing.

    Not by the library's own DELETE: what it writes holds texts in a type (`string_view`) that Arrow
    can't compare with others, so that one user's rows of such a file could not be read any more.
    """
    found = _rows(table, scope, edges, ("day",))
    days = {day for rows in found for day in rows["day"].to_pylist() if day}
    for day in sorted(days):
        rows = table.to_pyarrow_table(filters=[("day", "=", day)])
        kept = rows.filter(~expression(scope, edges))
        if kept.num_rows:
            write_deltalake(
                table,
                kept,
                mode="overwrite",
                predicate=f"day = '{day}'",
                writer_properties=WriterProperties(compression="ZSTD"),
            )
        else:
            table.delete(f"day = '{day}'")  # whole files: nothing is written


def _day(moment: datetime) -> date:
    return moment.astimezone(UTC).date()


def _literal(moment: datetime) -> "pa.Scalar[Any]":
    return pa.scalar(moment.astimezone(UTC), pa.timestamp("us", "UTC"))


def _timestamp(moment: datetime) -> str:
    return f"TIMESTAMP '{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}'"


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
