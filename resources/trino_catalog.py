"""What Trino has to be told about AM's stores: tables of the lake, and the views over both stores.

Pure: statements in Trino's SQL. Who runs them is the asset `out/trino_tables`; what is said in
files (catalogs, access control) is in `infra/trino`.
"""

from collections.abc import Iterable, Mapping

from am_assets.schemas.columns import KEY, Column, ColumnType, columns
from am_assets.schemas.postgres import SCHEMA
from am_assets.schemas.row_ids import leaves_ids_out
from am_assets.schemas.timeline import COLUMNS, Dialect, timeline_select, timeline_view
from am_assets.streams.stream import Stream

HOT, LAKE, WHOLE = "hot", "lake", "whole"
TIMELINE = "timeline"
ATTACHED = "attached"  # the owner's own files
TYPES: Mapping[ColumnType, str] = {
    ColumnType.TEXT: "varchar",
    ColumnType.INTEGER: "bigint",
    ColumnType.REAL: "double",
    ColumnType.BOOLEAN: "boolean",
    ColumnType.UUID: "varchar",
    ColumnType.JSON: "varchar",
}


def schemas(bucket: str) -> tuple[str, ...]:
    """Statements that make the schema of each catalog that is a metastore of AM's own."""
    return tuple(
        f"CREATE SCHEMA IF NOT EXISTS {catalog}.{schema} "
        f"WITH (location = 's3://{bucket}/trino/{catalog}/{schema}')"
        for catalog, schema in ((LAKE, SCHEMA), (LAKE, ATTACHED), (WHOLE, SCHEMA))
    )


def register(table: str, location: str, *, schema: str = SCHEMA) -> str:
    """The statement that makes a Delta table known; it fails where the table is known already."""
    return (
        f"CALL {LAKE}.system.register_table(schema_name => '{schema}', "
        f"table_name => '{table}', table_location => {_literal(location)})"
    )


def views(streams: Iterable[Stream]) -> tuple[str, ...]:
    """Statements that make `whole.am.<table>`, and the timelines of the lake and of both stores.

    SECURITY INVOKER: who asks a view is held to their own rows of what is below it.
    """
    chosen = tuple(streams)
    lake = timeline_view(chosen, schema=f"{LAKE}.{SCHEMA}", dialect=Dialect.DUCKDB)
    return (
        *(_view(f"{WHOLE}.{SCHEMA}.{stream.table}", whole_view(stream)) for stream in chosen),
        _view(f"{LAKE}.{SCHEMA}.{TIMELINE}", lake),
        _view(f"{WHOLE}.{SCHEMA}.{TIMELINE}", whole_timeline(chosen)),
    )


def whole_view(stream: Stream) -> str:
    """The SELECT behind `whole.am.<table>`: see `duck_views` about the edge."""
    cast = ", ".join(_of_hot(column) for column in columns(stream))
    hot = f"{HOT}.{SCHEMA}.{stream.table}"
    return (
        f"SELECT {cast}, CAST(ts AT TIME ZONE 'UTC' AS date) AS day FROM {hot} "
        f"UNION ALL {left_select(stream)}"
    )


def left_select(stream: Stream) -> str:
    """The rows that are in the lake and no longer in the database."""
    names = ", ".join(f'lake_row."{column.name}"' for column in columns(stream))
    is_same = " AND ".join(_same(stream, name) for name in KEY)
    return (
        f"SELECT {names}, lake_row.day FROM {LAKE}.{SCHEMA}.{stream.table} AS lake_row "
        f"WHERE lake_row.day IN (SELECT day FROM {HOT}.{SCHEMA}.publication "
        f"WHERE stream = '{stream.name}' AND left_hot_at IS NOT NULL) "
        f"AND NOT EXISTS (SELECT 1 FROM {HOT}.{SCHEMA}.{stream.table} AS hot_row WHERE {is_same})"
    )


def whole_timeline(streams: Iterable[Stream]) -> str:
    """The SELECT behind `whole.am.timeline`."""
    left = [
        timeline_select(stream, source=f"({left_select(stream)})", dialect=Dialect.DUCKDB)
        for stream in streams
    ]
    names = ", ".join(COLUMNS)
    return " UNION ALL ".join([f"SELECT {names} FROM {HOT}.{SCHEMA}.{TIMELINE}", *left])


def _view(name: str, select: str) -> str:
    return f"CREATE OR REPLACE VIEW {name} SECURITY INVOKER AS {select}"


def _of_hot(column: Column) -> str:
    if column.type is ColumnType.INSTANT:  # as it is: a cast would take the microseconds away
        return f'"{column.name}"'
    return f'CAST("{column.name}" AS {TYPES[column.type]}) AS "{column.name}"'


def _same(stream: Stream, name: str) -> str:
    if name == "event_id":
        return _same_id(stream)
    if name == "ts":  # Trino reads a Delta table's times in milliseconds
        return "abs(to_unixtime(hot_row.ts) - to_unixtime(lake_row.ts)) < 0.001"
    return f"hot_row.{name} = lake_row.{name}"


def _same_id(stream: Stream) -> str:
    """The lake has no UUIDs, and leaves out those that follow from other columns."""
    is_same = "CAST(hot_row.event_id AS varchar) = lake_row.event_id"
    if not leaves_ids_out(stream):
        return is_same
    follow = "".join(
        f' AND hot_row."{name}" IS NOT DISTINCT FROM lake_row."{name}"' for name in stream.identity
    )
    return f"({is_same} OR (lake_row.event_id IS NULL{follow}))"


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
