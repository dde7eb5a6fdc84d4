"""Roll-ups: what a numeric stream measured by minute, hour and day, as SQL for both databases.

On TimescaleDB each is a continuous aggregate, `am_store.<table>_per_<level>`, which readers can't
reach, behind a view of `am`; on plain PostgreSQL a table with row security. Names, columns and the
arithmetic are the same. A roll-up stays when its rows have left the database, so nothing here may
compute one again from rows that are no longer there: the policies look back three days only,
everything older is refreshed day by day (`resources.rollups`).
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from functools import cache

from am_assets.schemas.columns import Column, ColumnType, own_columns
from am_assets.schemas.postgres import (
    SCHEMA,
    SQL_TYPES,
    STORE,
    interval,
    literal,
    own_rows_view,
    qualified,
    row_security,
)
from am_assets.schemas.roles import ANALYST
from am_assets.streams.stream import Sensitivity, Stream

KEY = ("user_id", "device_id", "bucket")
NUMBERS = (ColumnType.REAL, ColumnType.INTEGER)
NAME_OF_THING = "_id"  # such a number is a name
# No stream leaves the database that soon, whatever its declaration becomes later.
LOOK_BACK = timedelta(days=3)
SETTLED = timedelta(minutes=1)


class Level(StrEnum):
    """How long a bucket is; buckets begin at full UTC minutes, hours and days."""

    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"


@dataclass(frozen=True)
class Cell:
    """One column of a roll-up: its name, its SQL type, and the aggregate that makes it."""

    name: str
    type: str
    made_by: str


def measures(stream: Stream) -> tuple[Column, ...]:
    """The columns that are rolled up; none where the stream is not numeric.

    A stream is numeric where what makes a row what it is (its identity) begins with a number and
    has a measured one (a REAL) in it: positions, motion, light, heart rate, weight, the battery,
    the pointer; not messages, names, files, blocks of samples.
    """
    numbers = {one.name: one for one in own_columns(stream.row) if one.type in NUMBERS}
    identity = [numbers.get(name) for name in stream.identity]
    is_measured = any(one and one.type is ColumnType.REAL for one in identity)
    if not (is_measured and identity[0]):
        return ()
    return tuple(one for name, one in numbers.items() if not name.endswith(NAME_OF_THING))


def is_numeric(stream: Stream) -> bool:
    """Whether the stream has roll-ups."""
    return bool(measures(stream))


def rollup_table(stream: Stream, level: Level) -> str:
    """The name, without its schema."""
    return f"{stream.table}_per_{level}"


def rollup_tables(stream: Stream) -> tuple[str, ...]:
    """The names of all levels; none where the stream is not numeric."""
    return tuple(rollup_table(stream, level) for level in Level) if is_numeric(stream) else ()


@cache
def cells(stream: Stream) -> tuple[Cell, ...]:
    """The columns after the key."""
    measured = (cell for column in measures(stream) for cell in _cells_of(column))
    return (Cell("row_count", "bigint", "count(*)"), *measured)


def columns_of(stream: Stream) -> tuple[tuple[str, str], ...]:
    """Name and SQL type of every column."""
    key = (("user_id", "text"), ("device_id", "text"), ("bucket", "timestamptz"))
    return (*key, *((cell.name, cell.type) for cell in cells(stream)))


def definition(stream: Stream) -> str:
    """A fingerprint of how the roll-ups are made: another one asks for all of them again."""
    text = "\0".join(f"{cell.name} {cell.type} {cell.made_by}" for cell in cells(stream))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def rollup_statements(stream: Stream, *, is_timescale: bool) -> tuple[str, ...]:
    """All that one stream's roll-ups ask of a database; nothing where it is not numeric."""
    if not is_numeric(stream):
        return ()
    make = _aggregate if is_timescale else _table
    return tuple(statement for level in Level for statement in make(stream, level))


def replace_day(stream: Stream, level: Level) -> tuple[str, str]:
    """Plain PostgreSQL: forget a day's buckets, then make them from its rows (`begin`, `end`)."""
    name = f"{SCHEMA}.{rollup_table(stream, level)}"
    names = ", ".join((*KEY, *(cell.name for cell in cells(stream))))
    return (
        f"DELETE FROM {name} WHERE bucket >= %(begin)s AND bucket < %(end)s",
        f"INSERT INTO {name} ({names}) {_select(stream, level, schema=SCHEMA)}",
    )


def refresh_day(stream: Stream, level: Level) -> str:
    """TimescaleDB: the same (`begin`, `end`), outside of any transaction."""
    return (
        f"CALL refresh_continuous_aggregate({literal(_stored(stream, level))}, "
        "%(begin)s::timestamptz, %(end)s::timestamptz, force => true)"
    )


def _cells_of(column: Column) -> tuple[Cell, ...]:
    name, kind = column.name, SQL_TYPES[column.type]
    real = SQL_TYPES[ColumnType.REAL]
    # The newest value that is none of nothing; of two at one instant the greater. Not `last()`,
    # which plain PostgreSQL lacks and which decides nothing for equal times.
    newest = (
        f"max(ARRAY[date_part('epoch', ts AT TIME ZONE 'UTC'), {name}]) "
        f"FILTER (WHERE {name} IS NOT NULL)"
    )
    return (
        Cell(f"{name}_min", kind, f"min({name})"),
        Cell(f"{name}_avg", real, f"avg({name})::{real}"),
        Cell(f"{name}_max", kind, f"max({name})"),
        Cell(f"{name}_last", kind, f"(({newest})[2])::{kind}"),
    )


def _stored(stream: Stream, level: Level) -> str:
    return f"{STORE}.{rollup_table(stream, level)}"


def _select(stream: Stream, level: Level, *, schema: str) -> str:
    """The level's buckets: on TimescaleDB of all rows, else of those from `begin` to `end`."""
    made = ", ".join(f"{cell.made_by} AS {cell.name}" for cell in cells(stream))
    is_stored = schema == STORE
    bucket = (
        f"time_bucket(INTERVAL '1 {level}', ts)"
        if is_stored
        else f"date_trunc('{level}', ts, 'UTC')"
    )
    where = "" if is_stored else "WHERE ts >= %(begin)s AND ts < %(end)s "
    return (
        f"SELECT user_id, device_id, {bucket} AS bucket, {made} "
        f"FROM {qualified(stream, schema=schema)} {where}GROUP BY 1, 2, 3"
    )


def _table(stream: Stream, level: Level) -> tuple[str, ...]:
    name = f"{SCHEMA}.{rollup_table(stream, level)}"
    typed = [f"{column} {kind}" for column, kind in columns_of(stream)]
    added = ", ".join(f"ADD COLUMN IF NOT EXISTS {one}" for one in typed)
    return (
        f"CREATE TABLE IF NOT EXISTS {name} ({', '.join(typed)}, PRIMARY KEY ({', '.join(KEY)}))",
        f"ALTER TABLE {name} {added}",
        f"COMMENT ON TABLE {name} IS {literal(_comment(stream, level))}",
        *row_security(name),
        _analysts(stream, name),
    )


def _aggregate(stream: Stream, level: Level) -> tuple[str, ...]:
    """The newest buckets are made of the rows themselves until the policy has stored them."""
    stored, name = _stored(stream, level), rollup_table(stream, level)
    return (
        f"CREATE MATERIALIZED VIEW IF NOT EXISTS {stored} WITH (timescaledb.continuous, "
        f"timescaledb.materialized_only = false) AS {_select(stream, level, schema=STORE)} "
        "WITH NO DATA",
        _missing_columns(stored, cells(stream)),
        f"SELECT remove_continuous_aggregate_policy({literal(stored)}, if_exists => true)",
        f"SELECT add_continuous_aggregate_policy({literal(stored)}, "
        f"start_offset => {interval(LOOK_BACK)}, end_offset => {interval(SETTLED)}, "
        f"schedule_interval => {interval(every(level))})",
        *own_rows_view(name, comment=_comment(stream, level)),
        _analysts(stream, f"{SCHEMA}.{name}"),
    )


def _analysts(stream: Stream, name: str) -> str:
    """As with the rows themselves: what is secret is not for analysts."""
    is_secret = stream.sensitivity is Sensitivity.SECRET
    verb, to = ("REVOKE", "FROM") if is_secret else ("GRANT", "TO")
    return f"{verb} SELECT ON {name} {to} {ANALYST}"


def every(level: Level) -> timedelta:
    """How often the newest buckets are stored, on TimescaleDB."""
    return timedelta(hours=1) if level is Level.DAY else timedelta(minutes=30)


def _missing_columns(stored: str, wanted: Sequence[Cell]) -> str:
    """Add what an older aggregate lacks; its old buckets have nothing there until refreshed."""
    values = ", ".join(
        f"({literal(cell.name)}, {literal(cell.type)}, {literal(cell.made_by)})" for cell in wanted
    )
    return (
        "DO $$ DECLARE cell record; BEGIN FOR cell IN SELECT * FROM (VALUES "
        f"{values}) AS wanted (name, type, made_by) WHERE NOT EXISTS (SELECT FROM pg_attribute "
        f"WHERE attrelid = {literal(stored)}::regclass AND attname = wanted.name) LOOP "
        f"EXECUTE format('ALTER MATERIALIZED VIEW {stored} ADD COLUMN %I %s "
        "GENERATED ALWAYS AS (%s) STORED', cell.name, cell.type, cell.made_by); "
        "END LOOP; END $$"
    )


def _comment(stream: Stream, level: Level) -> str:
    return f"{stream.name} by {level}: rows, and of each number least, mean, greatest and last."
