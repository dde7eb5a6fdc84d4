"""The vector store: moments in LanceDB on the object store, found by meaning and by words.

One table a model, made when the first moment is stored; before that there is nothing to find, which
is no error. Conditions are built from typed expressions, so that no value is ever part of SQL text.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from functools import reduce
from operator import and_
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from am_assets.schemas.moments import FACTS, moment_schema
from resources.connections import Connections

if TYPE_CHECKING:
    from lancedb import DBConnection
    from lancedb.expr import Expr
    from lancedb.table import Table

MAX_LIMIT = 200
CANDIDATES = 50  # each of the two rankings gives at least so many before they are fused
REFINE = 10  # an index is coarse: compare so many times the limit by the whole vectors
LOST_RACE = ("commit conflict", "Incompatible transaction")  # how Lance words it
INDEX_ATTEMPTS = 20
MOST_TOLD = 200  # letters of what Lance says, which goes on to its own source lines
HORIZON = timedelta(days=7)  # longer than any search of an older version takes
VECTOR_INDEX_ROWS = 100_000  # below this, looking at every vector is faster and exact
KEY = ["user_id", "moment_id"]
SCALAR_INDEXES: Mapping[str, str] = {"user_id": "bitmap", "source_event_id": "btree", "ts": "btree"}


class VectorStoreError(Exception):
    """Moments that cannot be stored as they are; says what is wrong with them."""


class MomentsUnreadableError(VectorStoreError):
    """The moments do not answer: the object store is down, or a file of theirs is gone."""


@dataclass(frozen=True, kw_only=True)
class SearchRequest:
    """What is looked for, always among one user's moments. None = any.

    `begin` is included, `end` is not; both aware. `place` and `app` are found within the name, in
    upper or lower case.
    """

    user_id: str
    text: str
    kind: str | None = None
    begin: datetime | None = None
    end: datetime | None = None
    device_id: str | None = None
    app: str | None = None
    place: str | None = None
    limit: int = 20


@dataclass(frozen=True, kw_only=True)
class Hit:
    """One moment that was found. `score` ranks within one answer; None where nothing was ranked."""

    moment_id: str
    user_id: str
    device_id: str
    ts: datetime
    end_ts: datetime | None
    kind: str
    text: str
    source_stream: str
    source_event_id: str
    chunk_index: int
    blob_key: str | None
    latitude: float | None
    longitude: float | None
    place: str | None
    app: str | None
    model_id: str
    model_version: str
    enrichment_version: int
    run_id: str
    score: float | None = None


class VectorStore:
    """The moments of one model."""

    def __init__(
        self,
        connections: Connections,
        *,
        model_id: str,
        dimension: int | None = None,
        vector_index_rows: int = VECTOR_INDEX_ROWS,
    ) -> None:
        """Connects to nothing yet. Without a `dimension` the store can be read, not filled."""
        self._connections = connections
        self._dimension = dimension
        self._vector_index_rows = vector_index_rows
        self._database: DBConnection | None = None
        self._is_indexed = False
        self.table_name = f"moments_{slug(model_id)}"

    def replace(
        self,
        source_event_ids: Sequence[str],
        moments: pa.Table,
        *,
        user_id: str,
        source_stream: str,
    ) -> None:
        """Make `moments` all that is stored of these rows of one user's stream, in one commit.

        `moments` has `moment_schema(dimension)`; none = these rows have no moments (any more).
        Doing it again changes nothing.
        Raises: VectorStoreError for a moment of another user, stream or row, or a key twice.
        """
        sources = sorted(set(source_event_ids))
        if not sources and not moments.num_rows:
            return
        _require_own(moments, set(sources), user_id=user_id, source_stream=source_stream)
        table = self._ensured() if moments.num_rows else self._opened()
        if table is None:
            return
        ours = _all(_equals(user_id=user_id, source_stream=source_stream))
        merge = table.merge_insert(KEY).when_matched_update_all().when_not_matched_insert_all()
        merge = merge.when_not_matched_by_source_delete(
            ours & _column("source_event_id").isin(sources)
        )
        merge.execute(moments.cast(table.schema))

    def search(self, request: SearchRequest, vector: Sequence[float] | None) -> list[Hit]:
        """The best moments first: by meaning and by words, the two rankings fused (RRF).

        Without a vector by words alone. Moments stored a moment ago are found too.
        Raises: MomentsUnreadableError.
        """
        with self._reading():
            table = self._opened()
            if table is None or request.limit <= 0:
                return []
            if not self._is_indexed:  # also after a maker that died between table and index
                self._index(table)
            limit = min(request.limit, MAX_LIMIT)
            found = _query(table, request, vector).limit(max(limit, CANDIDATES)).to_arrow()
            return _hits(found)[:limit]

    def get(self, moment_id: str, user_id: str) -> Hit | None:
        """One moment of this user; None when there is none by that id.

        Raises: MomentsUnreadableError.
        """
        with self._reading():
            table = self._opened()
            if table is None:
                return None
            where = _all(_equals(user_id=user_id, moment_id=moment_id))
            found = _hits(table.search().where(where).limit(1).to_arrow())
            return found[0] if found else None

    @contextmanager
    def _reading(self) -> Iterator[None]:
        try:
            yield
        except (RuntimeError, ValueError, OSError) as error:  # LanceDB has no classes of its own
            told = " ".join(str(error).split())[:MOST_TOLD]
            raise MomentsUnreadableError(
                f"{self.table_name} can't be read: {told} … `am doctor` says whether the object "
                "store answers, `am doctor --deep --repair` makes indexes whole again."
            ) from error

    def delete(
        self, user_id: str, *, begin: datetime | None = None, end: datetime | None = None
    ) -> int:
        """Remove a user's moments, all or from `begin` until before `end`. Returns how many."""
        table = self._opened()
        if table is None:
            return 0
        where = _all([*_equals(user_id=user_id), *_within(begin, end)])
        found = table.search().where(where).select(["moment_id"]).to_arrow().num_rows
        table.delete(where)
        return found

    def count(self, user_id: str | None = None) -> int:
        """How many moments there are, of one user or of all."""
        table = self._opened()
        if table is None:
            return 0
        if user_id is None:
            return table.count_rows()
        mine = table.search().where(_all(_equals(user_id=user_id)))
        return mine.select(["moment_id"]).to_arrow().num_rows

    def refresh_indexes(self, *, horizon: timedelta = HORIZON) -> None:
        """Bring all indexes up to date and merge small files: searches get faster, not different.

        A vector index is made once there are enough moments for it to pay. Versions older than the
        horizon are removed, with what was deleted since.
        """
        table = self._opened()
        if table is None:
            return
        self._index(table)
        table.optimize(cleanup_older_than=horizon)

    def _index(self, table: "Table") -> None:
        """Make the indexes that are missing, whoever else is at it too."""
        for attempt in range(INDEX_ATTEMPTS):
            table.checkout_latest()  # type: ignore[no-untyped-call]  # LanceDB left it out
            try:
                _make_missing_indexes(table, vector_index_rows=self._vector_index_rows)
            except RuntimeError as error:
                # LanceDB retries lost races of rows by itself, but not those of indexes.
                if not _is_lost_race(error) or attempt == INDEX_ATTEMPTS - 1:
                    raise
            else:
                self._is_indexed = True
                return

    def _ensured(self) -> "Table":
        table = self._opened()
        if table is not None:
            return table
        if self._dimension is None:
            raise VectorStoreError(f"{self.table_name} can't be made without a dimension")
        made = self._made(moment_schema(self._dimension))
        self._index(made)
        return made

    def _made(self, schema: pa.Schema) -> "Table":
        try:
            return self._connected().create_table(self.table_name, schema=schema, exist_ok=True)
        except RuntimeError as error:
            made = self._opened()  # by whoever was at it in the same moment
            if made is None or not _is_lost_race(error):
                raise
            return made

    def _opened(self) -> "Table | None":
        database = self._connected()
        try:
            return database.open_table(self.table_name)
        except ValueError as error:
            if "not found" in str(error):  # LanceDB has no class of its own for this
                return None
            raise

    def _connected(self) -> "DBConnection":
        import lancedb  # noqa: PLC0415 (heavy)

        if self._database is None:
            self._database = lancedb.connect(
                self._connections.vectors_uri, storage_options=self._connections.lance_options()
            )
        return self._database


def _is_lost_race(error: Exception) -> bool:
    return any(words in str(error) for words in LOST_RACE)


def slug(model_id: str) -> str:
    """A model's name as part of a table's name."""
    return re.sub(r"[^a-z0-9]+", "_", model_id.lower()).strip("_")


def _make_missing_indexes(table: "Table", *, vector_index_rows: int) -> None:
    from lancedb.index import FTS, Bitmap, BTree, IvfPq  # noqa: PLC0415 (heavy)

    present = {column for index in table.list_indices() for column in index.columns}
    if "text" not in present:
        # Stop words stay: "to be or not to be" has to be found.
        table.create_index("text", config=FTS(with_position=True, remove_stop_words=False))
    rows = table.count_rows()
    for column, kind in SCALAR_INDEXES.items():
        if column not in present and rows:
            table.create_index(column, config=Bitmap() if kind == "bitmap" else BTree())
    if "vector" not in present and rows >= vector_index_rows:
        table.create_index("vector", config=IvfPq(distance_type="cosine"))


def condition(request: SearchRequest) -> "Expr":
    """What a moment must be, whatever it says: the request's user, and each filter that is set."""
    from lancedb.expr import lit  # noqa: PLC0415 (heavy)

    exact = {"kind": request.kind, "device_id": request.device_id}
    partial = {"app": request.app, "place": request.place}
    terms = _equals(user_id=request.user_id)
    terms += _equals(**{name: value for name, value in exact.items() if value is not None})
    terms += _within(request.begin, request.end)
    terms += [
        _column(name).lower().contains(lit(value.lower()))
        for name, value in partial.items()
        if value is not None
    ]
    return _all(terms)


def _query(table: "Table", request: SearchRequest, vector: Sequence[float] | None) -> Any:
    """A query builder of LanceDB, which has no common type for the two that this may be."""
    from lancedb.query import MatchQuery  # noqa: PLC0415 (heavy)

    # Never parsed: any text is a legal question.
    words = MatchQuery(request.text, "text")  # type: ignore[call-arg]  # pydantic's own defaults
    where = condition(request)
    if vector is None:
        return table.search(words, query_type="fts").where(where, prefilter=True)
    both: Any = table.search(query_type="hybrid", vector_column_name="vector")
    both = both.vector(list(vector)).text(words).distance_type("cosine")
    both = both.refine_factor(REFINE)
    return both.where(where, prefilter=True)


def _column(name: str) -> "Expr":
    from lancedb.expr import col  # noqa: PLC0415 (heavy)

    return col(name)


def _equals(**values: str) -> "list[Expr]":
    from lancedb.expr import lit  # noqa: PLC0415 (heavy)

    return [_column(name) == lit(value) for name, value in values.items()]


def _within(begin: datetime | None, end: datetime | None) -> "list[Expr]":
    from lancedb.expr import lit  # noqa: PLC0415 (heavy)

    terms = []
    if begin is not None:
        terms.append(_column("ts") >= lit(begin.astimezone(UTC)))
    if end is not None:
        terms.append(_column("ts") < lit(end.astimezone(UTC)))
    return terms


def _all(terms: "Sequence[Expr]") -> "Expr":
    return reduce(and_, terms)


def _hits(found: pa.Table) -> list[Hit]:
    score = next(
        (name for name in ("_relevance_score", "_score") if name in found.column_names), ""
    )
    names = [field.name for field in fields(Hit) if field.name != "score"]
    return [
        Hit(**{name: row[name] for name in names}, score=row.get(score))
        for row in found.select([*names, *([score] if score else [])]).to_pylist()
    ]


def _require_own(moments: pa.Table, sources: set[str], *, user_id: str, source_stream: str) -> None:
    """Raises VectorStoreError unless each moment is of these rows, and has a key of its own."""
    missing = [name for name in (*FACTS.names, "vector") if name not in moments.column_names]
    if missing:
        raise VectorStoreError(f"moments lack the columns {', '.join(missing)}")
    kept = {"user_id": {user_id}, "source_stream": {source_stream}, "source_event_id": sources}
    for name, allowed in kept.items():
        if foreign := set(moments[name].to_pylist()) - allowed:
            raise VectorStoreError(f"moments of {name} {sorted(map(str, foreign))} do not belong")
    ids = moments["moment_id"].to_pylist()
    if len(set(ids)) != len(ids):
        raise VectorStoreError("two moments of one call have the same moment_id")
