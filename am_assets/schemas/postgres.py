"""SQL for the hot store: tables, keys, row-level security, and TimescaleDB's policies.

On plain PostgreSQL `am.<table>` is the table, with row security. TimescaleDB can't compress a table
that has row security, so there the hypertable is `am_store.<table>`, which readers can't reach, and
`am.<table>` a view of it that shows a reader the same rows and lets the owner write.
"""

from collections.abc import Mapping
from datetime import timedelta

from am_assets.schemas.columns import KEY, Column, ColumnType, columns
from am_assets.streams.stream import Stream

SCHEMA = "am"
STORE = "am_store"  # of the hypertables
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


def qualified(stream: Stream, *, schema: str = SCHEMA) -> str:
    """`am.<table>`, safe to put into SQL: names are checked when they are declared."""
    return f"{schema}.{stream.table}"


def stream_statements(stream: Stream, *, is_timescale: bool) -> tuple[str, ...]:
    """All that one stream asks of a database."""
    if is_timescale:
        return (*table(stream, schema=STORE), *hypertable(stream), *own_rows_view(stream))
    return (*table(stream), *row_security(qualified(stream)))


def table(stream: Stream, *, schema: str = SCHEMA) -> tuple[str, ...]:
    """Statements that make the table, or add the columns that an older one lacks."""
    name = qualified(stream, schema=schema)
    body = ", ".join(_definition(column) for column in columns(stream))
    return (
        f"CREATE TABLE IF NOT EXISTS {name} ({body}, PRIMARY KEY ({', '.join(KEY)}))",
        f"ALTER TABLE {name} {_added(stream)}",
        f"CREATE INDEX IF NOT EXISTS {stream.table}_by_time ON {name} (user_id, ts DESC)",
        *_source_index(stream, name),
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
    table_name = qualified(stream, schema=STORE)
    name = _literal(table_name)
    segments = ", ".join(stream.segment_by)
    return (
        f"SELECT create_hypertable({name}, by_range('ts', {_interval(stream.chunk_interval)}), "
        "if_not_exists => true, migrate_data => true)",
        f"SELECT set_chunk_time_interval({name}, {_interval(stream.chunk_interval)})",
        f"ALTER TABLE {table_name} SET (timescaledb.compress, "
        f"timescaledb.compress_segmentby = {_literal(segments)}, "
        "timescaledb.compress_orderby = 'ts DESC, event_id')",
        f"SELECT remove_compression_policy({name}, if_exists => true)",
        f"SELECT add_compression_policy({name}, {_interval(stream.compress_after)})",
    )


def own_rows_view(stream: Stream) -> tuple[str, ...]:
    """Statements for TimescaleDB: the view that stands where the table would be."""
    name = qualified(stream)
    return (
        f"CREATE OR REPLACE VIEW {name} WITH (security_barrier = true) AS "
        f"SELECT * FROM {qualified(stream, schema=STORE)} "
        f"WHERE current_user <> '{READER}' OR user_id = current_setting('app.user_id', true)",
        f"GRANT SELECT ON {name} TO {READER}",
        f"COMMENT ON VIEW {name} IS {_literal(stream.summary)}",
    )


def _added(stream: Stream) -> str:
    """All columns in one statement: each statement that alters a table costs a look at it."""
    return ", ".join(
        f"ADD COLUMN IF NOT EXISTS {column.name} {SQL_TYPES[column.type]}"
        for column in columns(stream)
    )


def _definition(column: Column) -> str:
    null = "" if column.is_nullable else " NOT NULL"
    return f"{column.name} {SQL_TYPES[column.type]}{null}"


def _source_index(stream: Stream, name: str) -> tuple[str, ...]:
    if not stream.is_derived:
        return ()
    return (f"CREATE INDEX IF NOT EXISTS {stream.table}_by_source ON {name} (source_event_id)",)


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _interval(span: timedelta) -> str:
    return f"INTERVAL '{int(span.total_seconds())} seconds'"
