"""SQL for the hot store: tables, keys, row-level security, and TimescaleDB's policies."""

from collections.abc import Mapping
from datetime import timedelta

from am_assets.schemas.columns import KEY, Column, ColumnType, columns
from am_assets.streams.stream import Stream

SCHEMA = "am"
READER = "am_reader"  # the role that sees one user's rows: the one in app.user_id

SQL_TYPES: Mapping[ColumnType, str] = {
    ColumnType.TEXT: "text",
    ColumnType.INTEGER: "bigint",
    ColumnType.REAL: "double precision",
    ColumnType.BOOLEAN: "boolean",
    ColumnType.INSTANT: "timestamptz",
    ColumnType.UUID: "uuid",
    ColumnType.JSON: "jsonb",
}


def qualified(stream: Stream) -> str:
    """`am.<table>`, safe to put into SQL: names are checked when they are declared."""
    return f"{SCHEMA}.{stream.table}"


def table(stream: Stream) -> tuple[str, ...]:
    """Statements that make the table, or add the columns that an older one lacks."""
    name = qualified(stream)
    body = ", ".join(_definition(column) for column in columns(stream))
    return (
        f"CREATE TABLE IF NOT EXISTS {name} ({body}, PRIMARY KEY ({', '.join(KEY)}))",
        *(
            f"ALTER TABLE {name} ADD COLUMN IF NOT EXISTS {column.name} {SQL_TYPES[column.type]}"
            for column in columns(stream)
        ),
        f"CREATE INDEX IF NOT EXISTS {stream.table}_by_time ON {name} (user_id, ts DESC)",
        *_source_index(stream),
        *(
            f"COMMENT ON COLUMN {name}.{column.name} IS {_literal(column.description)}"
            for column in columns(stream)
        ),
        f"COMMENT ON TABLE {name} IS {_literal(stream.summary)}",
    )


def row_security(table_name: str) -> tuple[str, ...]:
    """Statements that show a reader the rows of `app.user_id` and no others."""
    return (
        f"ALTER TABLE {table_name} ENABLE ROW LEVEL SECURITY",
        f"DROP POLICY IF EXISTS own_rows ON {table_name}",
        f"CREATE POLICY own_rows ON {table_name} FOR SELECT TO {READER} "
        "USING (user_id = current_setting('app.user_id', true))",
        f"GRANT SELECT ON {table_name} TO {READER}",
    )


def hypertable(stream: Stream) -> tuple[str, ...]:
    """Statements for TimescaleDB: hypertable, compression, retention.

    Policies are removed and added again, because `if_not_exists` keeps an old interval.
    """
    name = _literal(qualified(stream))
    segments = ", ".join(stream.segment_by)
    return (
        f"SELECT create_hypertable({name}, by_range('ts', {_interval(stream.chunk_interval)}), "
        "if_not_exists => true, migrate_data => true)",
        f"SELECT set_chunk_time_interval({name}, {_interval(stream.chunk_interval)})",
        f"ALTER TABLE {qualified(stream)} SET (timescaledb.compress, "
        f"timescaledb.compress_segmentby = {_literal(segments)}, "
        "timescaledb.compress_orderby = 'ts DESC, event_id')",
        f"SELECT remove_compression_policy({name}, if_exists => true)",
        f"SELECT add_compression_policy({name}, {_interval(stream.compress_after)})",
    )


def _definition(column: Column) -> str:
    null = "" if column.is_nullable else " NOT NULL"
    return f"{column.name} {SQL_TYPES[column.type]}{null}"


def _source_index(stream: Stream) -> tuple[str, ...]:
    if not stream.is_derived:
        return ()
    return (
        f"CREATE INDEX IF NOT EXISTS {stream.table}_by_source "
        f"ON {qualified(stream)} (source_event_id)",
    )


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _interval(span: timedelta) -> str:
    return f"INTERVAL '{int(span.total_seconds())} seconds'"
