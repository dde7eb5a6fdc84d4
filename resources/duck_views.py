"""The views of DuckDB's catalogs: a stream in the lake, and a stream wherever its rows are now.

**The edge.** Rows live in the database until retention takes a day out of it, which the day's
receipt says (`am.publication.left_hot_at`); the lake holds the published days for ever. So `whole`
is all that the database has, and of the lake those days that have left. A late row of such a day is
in the database until the day is merged: a row that is in both is taken from the database.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import date

from duckdb import DuckDBPyConnection

from am_assets.schemas.columns import KEY, Column, ColumnType, columns
from am_assets.schemas.postgres import SCHEMA
from am_assets.schemas.timeline import COLUMNS, Dialect, timeline_select
from am_assets.streams.registry import Registry
from am_assets.streams.stream import Stream
from resources.duck_names import TIMELINE
from resources.hot import Span

TYPES: Mapping[ColumnType, str] = {
    ColumnType.TEXT: "VARCHAR",
    ColumnType.INTEGER: "BIGINT",
    ColumnType.REAL: "DOUBLE",
    ColumnType.BOOLEAN: "BOOLEAN",
    ColumnType.INSTANT: "TIMESTAMPTZ",
    ColumnType.UUID: "VARCHAR",
    ColumnType.JSON: "VARCHAR",
}
# Days that follow each other, as far as there are receipts, are one range: there may be thousands.
# Hardly ever has a day stayed that is older than one that left: only then are they gone through in
# their order.
LEFT = """
WITH known AS (
    SELECT stream, min(day) FILTER (WHERE left_hot_at IS NOT NULL) AS first,
        max(day) FILTER (WHERE left_hot_at IS NOT NULL) AS last,
        max(delta_version) FILTER (WHERE left_hot_at IS NOT NULL) AS version,
        min(day) FILTER (WHERE left_hot_at IS NULL) AS stayed
    FROM am.publication {chosen} GROUP BY stream
), ranges AS (
    SELECT stream, first, last, version FROM known
    WHERE first IS NOT NULL AND coalesce(stayed > last, true)
    UNION ALL
    SELECT stream, min(day), max(day), max(delta_version) FROM (
        SELECT stream, day, delta_version, left_hot_at, count(*) FILTER (WHERE left_hot_at IS NULL)
            OVER (PARTITION BY stream ORDER BY day) AS island
        FROM am.publication WHERE stream IN (SELECT stream FROM known WHERE stayed < last)
    ) AS receipts WHERE left_hot_at IS NOT NULL GROUP BY stream, island
)
SELECT stream, first, last, version, {has_late} AS has_late FROM ranges
"""
FEW = 20  # streams that are named; of more, all receipts are looked at

_HOT_TIMELINE = f"hot.{SCHEMA}.{TIMELINE}"
_LEFT_OF = f"FROM {SCHEMA}.publication WHERE stream = '{{}}' AND left_hot_at IS NOT NULL"


@dataclass(frozen=True)
class Edge:
    """The days of a stream that have left the database, and the version of the lake that has them.

    Ranges of days, both ends included, from early to late. `has_late`: the database has rows of
    such days all the same.
    """

    left: tuple[tuple[date, date], ...]
    version: int
    has_late: bool = True


def read_edges(
    engine: DuckDBPyConnection, streams: Iterable[Stream], *, looked_at: Iterable[Stream]
) -> dict[str, Edge]:
    """What has left, as of the engine's transaction; nothing for streams of which nothing has.

    Whether rows came late is looked up for the streams in `looked_at`, and else taken for granted:
    to know costs a look into an index; not to know, three more columns of every row of the lake.
    """
    names = {stream.name for stream in streams}
    found: dict[str, Edge] = {}
    asked = LEFT.format(chosen=_chosen(names), has_late=_has_late(looked_at)).replace("'", "''")
    rows = engine.execute(f"FROM postgres_query('hot', '{asked}') ORDER BY ALL").fetchall()
    for name, first, last, version, has_late in rows:
        if name in names:
            known = found.get(name, Edge((), -1, has_late))
            ranges = (*known.left, (first, last))
            found[name] = Edge(ranges, max(known.version, version), has_late)
    return found


def _chosen(names: Collection[str]) -> str:
    listed = ", ".join(f"'{name}'" for name in sorted(names))
    return f"WHERE stream IN ({listed})" if 0 < len(names) <= FEW else ""


def _has_late(streams: Iterable[Stream]) -> str:
    """By the first and the last day that left: a day between them that did not counts as late."""
    looks = " ".join(
        f"WHEN '{stream.name}' THEN EXISTS (SELECT FROM {SCHEMA}.{stream.table} "
        f"WHERE ts >= (SELECT min(day)::timestamptz {_LEFT_OF.format(stream.name)}) "
        f"AND ts < (SELECT (max(day) + 1)::timestamptz {_LEFT_OF.format(stream.name)}))"
        for stream in streams
    )
    return f"CASE stream {looks} ELSE true END" if looks else "true"


def files_of(stream: Stream) -> str:
    """The name under which the lake's files of a stream are registered."""
    return f"files_{stream.table}"


def lake_select(stream: Stream) -> str:
    """The SELECT behind `lake.am.<table>`."""
    names = ", ".join(f'"{column.name}"' for column in columns(stream))  # `by` is one
    return f"SELECT {names}, day FROM temp.main.{files_of(stream)}"


def whole_select(stream: Stream, edge: Edge | None) -> str:
    """The SELECT behind `whole.am.<table>`, with the lake's columns and types."""
    cast = ", ".join(_of_hot(column) for column in columns(stream))
    hot = f"hot.{SCHEMA}.{stream.table}"
    rows = f"SELECT {cast}, CAST(timezone('UTC', ts) AS DATE) AS day FROM {hot}"
    return rows if edge is None else f"{rows} UNION ALL SELECT * FROM ({left_select(stream, edge)})"


def left_select(stream: Stream, edge: Edge) -> str:
    """The rows that are in the lake and no longer in the database."""
    rows = f"SELECT * FROM lake.{SCHEMA}.{stream.table} AS lake WHERE {_days(edge)}"
    if not edge.has_late:
        return rows
    is_same = " AND ".join(
        f"hot.{name} = lake.{name}" for name in KEY if name not in {"event_id", "user_id"}
    )
    return (
        f"{rows} AND NOT EXISTS (SELECT 1 FROM hot.{SCHEMA}.{stream.table} AS hot "
        f"WHERE {_times(edge)} AND hot.user_id = lake.user_id AND {is_same} "
        "AND CAST(hot.event_id AS VARCHAR) = lake.event_id)"
    )


def whole_timeline(
    registry: Registry, edges: Mapping[str, Edge], *, is_by_detail: bool = False
) -> str:
    """The SELECT behind `whole.am.timeline`: the database's own, and what has left of each.

    `is_by_detail`: so that who wants no details, or nothing else, makes the database look for no
    others. For others it would be two questions instead of one.
    """
    left = [
        timeline_select(
            registry[name],
            source=f"({left_select(registry[name], edge)})",
            dialect=Dialect.DUCKDB,
        )
        for name, edge in edges.items()
    ]
    hot = _halves() if is_by_detail else [f"SELECT {', '.join(COLUMNS)} FROM {_HOT_TIMELINE}"]
    return " UNION ALL ".join([*hot, *left])


def _halves() -> list[str]:
    """What is no detail and what is. A comparison is told to the database, a `NOT` would not be."""
    return [
        f"SELECT {', '.join(_told(name, is_detail) for name in COLUMNS)} "
        f"FROM {_HOT_TIMELINE} WHERE {is_so}"
        for is_detail, is_so in (("false", "is_detail < true"), ("true", "is_detail > false"))
    ]


def _told(name: str, is_detail: str) -> str:
    return f"{is_detail} AS is_detail" if name == "is_detail" else name


def _of_hot(column: Column) -> str:
    return f'CAST("{column.name}" AS {TYPES[column.type]}) AS "{column.name}"'


def _days(edge: Edge) -> str:
    return _any(f"lake.day BETWEEN DATE '{a}' AND DATE '{b}'" for a, b in edge.left)


def _times(edge: Edge) -> str:
    """As times, which the database has an index of."""
    return _any(
        f"hot.ts >= TIMESTAMPTZ '{span.begin.isoformat()}' AND "
        f"hot.ts < TIMESTAMPTZ '{span.end.isoformat()}'"
        for span in (Span.of_days(a, b) for a, b in edge.left)
    )


def _any(terms: Iterable[str]) -> str:
    return "(" + " OR ".join(f"({term})" for term in terms) + ")"
