"""SQL for the hot store: tables, keys, row-level security, and TimescaleDB's policies.

On plain PostgreSQL `am.<table>` is the table, with row security. TimescaleDB can't compress a table
that has row security, so there the hypertable is `am_store.<table>`, which readers can't reach, and
`am.<table>` a view of it that shows a reader the same rows and lets the owner write.

What stays only briefly is cut by time on both: into chunks there, on plain PostgreSQL into a
partition a day or a week in the schema `am_parts`, made ahead by `resources.partitions`; rows of
other times are in the default partition.
"""

from collections.abc import Mapping
from datetime import timedelta

from am_assets.schemas import roles
from am_assets.schemas.columns import KEY, Column, ColumnType, columns
from am_assets.streams.stream import Stream

SCHEMA = roles.SCHEMA
READER = roles.READER  # the role that sees one user's rows: the one in app.user_id
STORE = roles.STORE
PARTS = "am_parts"  # of the partitions on plain PostgreSQL
SHORT = timedelta(days=30)  # what stays longer is one table on plain PostgreSQL
BLOCKS = "WITH (pages_per_range = 32, autosummarize = on)"
DECOMPRESSED = "timescaledb.max_tuples_decompressed_per_dml_transaction"  # 0 = without limit
DAY, WEEK = timedelta(days=1), timedelta(days=7)

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


def store(*, is_timescale: bool) -> tuple[str, ...]:
    """What a database needs before any table.

    Old events of compressed chunks are sent again, and whole days of them leave: there is no limit
    to the rows that a statement may have to look into for that.
    """
    if not is_timescale:
        return (f"CREATE SCHEMA IF NOT EXISTS {PARTS}",)
    return (
        f"CREATE SCHEMA IF NOT EXISTS {STORE}",
        "DO $$ BEGIN EXECUTE format("
        f"'ALTER DATABASE %I SET {DECOMPRESSED} = 0', current_database()); END $$",
    )


def stream_statements(stream: Stream, *, is_timescale: bool) -> tuple[str, ...]:
    """All that one stream asks of a database."""
    if is_timescale:
        view = own_rows_view(stream.table, comment=stream.summary)
        held = roles.own_writes(qualified(stream))
        return (*table(stream, schema=STORE), *hypertable(stream), *view, held)
    if partition_span(stream) is not None:
        return (*partitioned_table(stream), *row_security(qualified(stream)))
    return (*table(stream), *row_security(qualified(stream)))


def table(stream: Stream, *, schema: str = SCHEMA) -> tuple[str, ...]:
    """Statements that make the table, or add the columns that an older one lacks."""
    return (_creation(stream, schema), *_rest_of_table(stream, schema))


def partition_span(stream: Stream) -> timedelta | None:
    """How long one partition is on plain PostgreSQL; None = the stream's table has none."""
    if stream.keep_hot > SHORT:
        return None
    return DAY if stream.chunk_interval <= DAY else WEEK


def partitioned_table(stream: Stream) -> tuple[str, ...]:
    """Statements that make the table with its default partition, or turn an older one into that.

    An older table becomes a partition as it is: all that was before the next day or week begins.
    """
    name = qualified(stream)
    return (
        _set_aside(stream),
        f"{_creation(stream, SCHEMA)} PARTITION BY RANGE (ts)",
        f"CREATE TABLE IF NOT EXISTS {rest_of(stream)} PARTITION OF {name} DEFAULT",
        *_rest_of_table(stream, SCHEMA),
        _taken_back(stream),
    )


def rest_of(stream: Stream) -> str:
    """The default partition."""
    return f"{PARTS}.{stream.table}_rest"


def before_of(stream: Stream) -> str:
    """The partition that was the whole table before it had partitions, where there is one."""
    return f"{PARTS}.{stream.table}_before"


def row_security(table_name: str) -> tuple[str, ...]:
    """Statements that show a reader the rows of `app.user_id` and no others."""
    return (
        *roles.own_rows(table_name),
        f"GRANT SELECT ON {table_name} TO {READER}",
    )


def hypertable(stream: Stream) -> tuple[str, ...]:
    """Statements for TimescaleDB: hypertable and compression.

    There is no retention policy: it would drop days that are not yet proven to be in the lake.

    Policies are removed and added again, because `if_not_exists` keeps an old interval.
    """
    table_name = qualified(stream, schema=STORE)
    name = literal(table_name)
    segments = ", ".join(stream.segment_by)
    return (
        f"SELECT create_hypertable({name}, by_range('ts', {interval(stream.chunk_interval)}), "
        "create_default_indexes => false, if_not_exists => true, migrate_data => true)",
        f"DROP INDEX IF EXISTS {table_name}_ts_idx",  # as older versions had TimescaleDB make it
        f"SELECT set_chunk_time_interval({name}, {interval(stream.chunk_interval)})",
        f"ALTER TABLE {table_name} SET (timescaledb.compress, "
        f"timescaledb.compress_segmentby = {literal(segments)}, "
        "timescaledb.compress_orderby = 'ts DESC, event_id')",
        f"SELECT remove_retention_policy({name}, if_exists => true)",
        f"SELECT remove_compression_policy({name}, if_exists => true)",
        f"SELECT add_compression_policy({name}, {interval(stream.compress_after)})",
    )


def own_rows_view(table_name: str, *, comment: str) -> tuple[str, ...]:
    """Statements for TimescaleDB: the view that stands where the table would be."""
    name = f"{SCHEMA}.{table_name}"
    return (
        f"CREATE OR REPLACE VIEW {name} WITH (security_barrier = true) AS "
        f"SELECT * FROM {STORE}.{table_name} WHERE {roles.shown_rows()}",
        f"GRANT SELECT ON {name} TO {READER}",
        f"COMMENT ON VIEW {name} IS {literal(comment)}",
    )


def literal(text: str) -> str:
    """Text as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


def interval(span: timedelta) -> str:
    """A stretch of time as SQL writes it."""
    return f"INTERVAL '{int(span.total_seconds())} seconds'"


def index_names(stream: Stream) -> tuple[str, ...]:
    """The indexes of a stream's table besides its key."""
    time = "block" if stream.is_detail else "time"
    source = (f"{stream.table}_by_source",) if stream.is_derived else ()
    return (f"{stream.table}_by_{time}", *source)


def _creation(stream: Stream, schema: str) -> str:
    body = ", ".join(_definition(column) for column in columns(stream))
    key = ", ".join(KEY)
    name = qualified(stream, schema=schema)
    return f"CREATE TABLE IF NOT EXISTS {name} ({body}, PRIMARY KEY ({key}))"


def _rest_of_table(stream: Stream, schema: str) -> tuple[str, ...]:
    name = qualified(stream, schema=schema)
    return (
        f"ALTER TABLE {name} {_added(stream)}",
        *_time_index(stream, schema),
        *_source_index(stream, name),
        *(
            f"COMMENT ON COLUMN {name}.{column.name} IS {literal(column.description)}"
            for column in columns(stream)
        ),
        f"COMMENT ON TABLE {name} IS {literal(stream.summary)}",
    )


def _set_aside(stream: Stream) -> str:
    """An older, undivided table moves out of the way, with its indexes, and gets all columns."""
    name = qualified(stream)
    retired = "".join(f"{statement}; " for statement in _retired_index(stream, SCHEMA))
    return (
        "DO $$ BEGIN IF EXISTS (SELECT FROM pg_class "
        f"WHERE oid = to_regclass({literal(name)}) AND relkind = 'r') THEN "
        f"ALTER TABLE {name} {_added(stream)}; {retired}"
        f"ALTER TABLE {name} SET SCHEMA {PARTS}; "
        f"ALTER TABLE {PARTS}.{stream.table} RENAME TO {stream.table}_before; "
        "END IF; END $$"
    )


def _taken_back(stream: Stream) -> str:
    """The table that was set aside becomes a partition; its rows of the future, the default's."""
    before, names = before_of(stream), ", ".join(column.name for column in columns(stream))
    unit = "day" if partition_span(stream) == DAY else "week"
    return (
        "DO $$ DECLARE edge timestamptz := "
        f"date_trunc('{unit}', now(), 'UTC') + INTERVAL '1 {unit}'; "
        f"BEGIN IF EXISTS (SELECT FROM pg_class WHERE oid = to_regclass({literal(before)}) "
        "AND NOT relispartition) THEN "
        f"WITH gone AS (DELETE FROM {before} WHERE ts >= edge RETURNING {names}) "
        f"INSERT INTO {qualified(stream)} ({names}) SELECT {names} FROM gone; "
        f"EXECUTE format('ALTER TABLE {qualified(stream)} ATTACH PARTITION {before} "
        "FOR VALUES FROM (MINVALUE) TO (%L)', edge); END IF; END $$"
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


def _time_index(stream: Stream, schema: str) -> tuple[str, ...]:
    """By time for events; for details, which come in masses, only which blocks hold what times.

    That costs an insert nothing, and the key itself serves the rest: its users and devices are few.
    """
    name, by_time, blocks = qualified(stream, schema=schema), f"{stream.table}_by_time", BLOCKS
    if not stream.is_detail:
        return (f"CREATE INDEX IF NOT EXISTS {by_time} ON {name} (user_id, ts DESC)",)
    return (
        *_retired_index(stream, schema),
        f"CREATE INDEX IF NOT EXISTS {stream.table}_by_block ON {name} USING brin (ts) {blocks}",
    )


def _retired_index(stream: Stream, schema: str) -> tuple[str, ...]:
    """What older versions had of details too."""
    if not stream.is_detail:
        return ()
    return (f"DROP INDEX IF EXISTS {schema}.{stream.table}_by_time",)


def _source_index(stream: Stream, name: str) -> tuple[str, ...]:
    if not stream.is_derived:
        return ()
    return (f"CREATE INDEX IF NOT EXISTS {stream.table}_by_source ON {name} (source_event_id)",)
