"""Keeping the tables of moments in order, and seeing whether they still give what they hold.

An index whose files are gone is still listed: only a question that needs it fails. So each one is
asked something, and the answer compared with the rows themselves.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from resources.connections import Connections
from resources.lake_folder import LakeFolder
from resources.vector_tables import MOST
from resources.vectors import HORIZON, SCALAR_INDEXES, VectorStore

if TYPE_CHECKING:
    from lancedb import DBConnection
    from lancedb.table import Table

PREFIX = "moments_"
TRIED = 100  # distinct values of a column


@dataclass(frozen=True)
class KeptMoments:
    """What was done to a table: versions, objects and bytes before and after."""

    table: str
    row_count: int
    versions: tuple[int, int]
    objects: tuple[int, int]
    byte_counts: tuple[int, int]


@dataclass(frozen=True)
class MomentsFault:
    """What is wrong with a table. `part`: the `table` can't be read, or one `index` is no use."""

    table: str
    part: Literal["table", "index"]
    what: str


@dataclass(frozen=True)
class VectorUpkeep:
    """All tables of moments of one vector store."""

    connections: Connections

    def tables(self) -> list[str]:
        """Their names; none before the first moment."""
        names = self._connected().list_tables(limit=MOST).tables
        # An object store may go on listing the folder of a table that was dropped.
        return sorted(name for name in names if name.startswith(PREFIX) and self._sizes(name))

    def store(self, table: str) -> VectorStore:
        """The moments in one table, to be read or deleted."""
        return VectorStore(self.connections, model_id=table.removeprefix(PREFIX))

    def keep(self, table: str, *, horizon: timedelta = HORIZON) -> KeptMoments:
        """Bring the indexes up to date, merge small files, remove versions before the horizon.

        Raises: RuntimeError, LanceDB's own, for a table that is damaged.
        """
        before, sizes = self._opened(table), self._sizes(table)
        version = before.version
        self.store(table).refresh_indexes(horizon=horizon)
        after, left = self._opened(table), self._sizes(table)
        return KeptMoments(
            table=table,
            row_count=after.count_rows(),
            versions=(version, after.version),
            objects=(len(sizes), len(left)),
            byte_counts=(sum(sizes.values()), sum(left.values())),
        )

    def faults(self, table: str) -> list[MomentsFault]:
        """Read all of a table, and ask each of its indexes; none = all is well."""
        try:
            opened = self._opened(table)
            rows = opened.to_arrow()
        except (RuntimeError, ValueError, OSError) as error:  # LanceDB has no classes of its own
            return [MomentsFault(table, "table", f"can't be read: {_brief(error)}")]
        return [
            MomentsFault(table, "index", f"the index of {column}: {wrong}")
            for column, wrong in _index_faults(opened, rows)
        ]

    def rebuild_indexes(self, table: str) -> None:
        """Drop every index, whatever is left of it, and make them again from the rows."""
        opened = self._opened(table)
        for index in opened.list_indices():
            opened.drop_index(index.name)
        self.store(table).refresh_indexes()

    def drop(self, table: str) -> None:
        """Remove a table that can't be read; its moments have to be made again."""
        self._connected().drop_table(table)

    def remove(
        self, table: str, source_event_ids: Sequence[str], *, user_id: str, source_stream: str
    ) -> None:
        """Remove all moments of these rows of one user's stream."""
        opened = self._opened(table)
        nothing = opened.schema.empty_table()
        self.store(table).replace(
            source_event_ids, nothing, user_id=user_id, source_stream=source_stream
        )

    def sources(self, tables: Iterable[str]) -> set[tuple[str, str, str]]:
        """User, stream and row of every moment there is in these tables."""
        found: set[tuple[str, str, str]] = set()
        for table in tables:
            names = ["user_id", "source_stream", "source_event_id"]
            opened = self._opened(table)
            rows = opened.search().select(names).limit(opened.count_rows() or 1).to_arrow()
            found.update(zip(*(rows[name].to_pylist() for name in names), strict=True))
        return found

    def _opened(self, table: str) -> "Table":
        return self._connected().open_table(table)

    def _connected(self) -> "DBConnection":
        """Anew each time: what was opened before keeps indexes in memory that are gone."""
        import lancedb  # noqa: PLC0415 (heavy)

        options = self.connections.lance_options()
        return lancedb.connect(self.connections.vectors_uri, storage_options=options)

    def _sizes(self, table: str) -> Mapping[str, int]:
        uri = f"{self.connections.vectors_uri.rstrip('/')}/{table}.lance"
        return LakeFolder(self.connections, uri).sizes()


def _index_faults(table: "Table", rows: pa.Table) -> Iterator[tuple[str, str]]:
    present = {column for index in table.list_indices() for column in index.columns}
    if "text" not in present:  # of the others, a search does without
        yield "text", "there is none"
    for column in sorted(present & {"text", "vector", *SCALAR_INDEXES}):
        try:
            wrong = _asked(table, rows, column) if rows.num_rows else None
        except (RuntimeError, ValueError, OSError) as error:
            wrong = f"does not answer: {_brief(error)}"
        if wrong:
            yield column, wrong


def _asked(table: "Table", rows: pa.Table, column: str) -> str | None:
    """What is wrong with an index's answers; None = nothing."""
    if column == "text":
        return _asked_words(table, rows)
    if column == "vector":
        first = rows["vector"].to_pylist()[0] or []
        nearest = table.search(first, vector_column_name="vector").limit(1).to_arrow()
        return None if nearest.num_rows else "finds nothing"
    for value in pc.unique(rows[column]).slice(0, TRIED):
        held = rows.filter(pc.field(column) == value).num_rows
        where = _equals(column, value.as_py())
        found = table.search().where(where).select([column]).limit(rows.num_rows).to_arrow()
        if found.num_rows != held:
            return f"finds {found.num_rows} of {held} rows"
    return None


def _asked_words(table: "Table", rows: pa.Table) -> str | None:
    from lancedb.query import MatchQuery  # noqa: PLC0415 (heavy)

    texts = [str(text) for text in rows["text"].slice(0, TRIED).to_pylist()]
    for text in texts[:1]:
        words = MatchQuery(text, "text")  # type: ignore[call-arg]  # pydantic's own defaults
        if not table.search(words, query_type="fts").limit(1).to_arrow().num_rows:
            return "finds nothing"
    return None


def _equals(column: str, value: Any) -> Any:
    from lancedb.expr import col, lit  # noqa: PLC0415 (heavy)

    return col(column) == lit(value)


def _brief(error: Exception) -> str:
    """Without the places in LanceDB's own source, which its messages end with."""
    return str(error).split(", /", 1)[0][:300]
