"""What an assistant is told of a user before it is asked anything: the newest of every stream.

Figures are counted, never estimated: what can't be counted in time is null, and says so.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg
from psycopg.rows import dict_row
from pydantic import BaseModel, Field

from am_assets.schemas.columns import columns
from am_assets.schemas.postgres import qualified
from am_assets.streams.registry import Registry
from am_assets.streams.stream import Stream

ACTIVE = timedelta(hours=1)
COUNT_LIMIT_MS = 2_000  # of one table
BUDGET_S = 20.0  # of all of them
NOT_TOLD = frozenset({"user_id", "event_id", "received_at", "trace_id", "schema_version", "run_id"})


class TableContext(BaseModel):
    """One stream's table, as far as it is in the database and not yet in the lake alone."""

    data: dict[str, Any] | None = Field(description="The newest row; null = there is none.")
    row_count: int | None = Field(description="Rows; null = not counted, `error` says why.")
    latest_timestamp: datetime | None = Field(description="Of the newest row.")
    error: str | None


class Summary(BaseModel):
    """All tables in a few figures. Active: something of the last hour."""

    total_tables: int
    populated_tables: int
    error_tables: int
    latest_activity: datetime | None
    active_sensors: int
    active_processors: int


class Context(BaseModel):
    """What an assistant starts from."""

    timestamp: datetime
    device_count: int = Field(description="Devices that are not retired.")
    summary: Summary
    tables: dict[str, TableContext]
    context_prompt: str = Field(description="The same in words, for a model.")


@dataclass(frozen=True)
class _Read:
    stream: Stream
    table: TableContext


def read_context(reader: psycopg.Connection, registry: Registry, *, now: datetime) -> Context:
    """Look at every table through a connection that shows one user's rows only.

    Raises: psycopg.OperationalError where the database does not answer.
    """
    until = time.monotonic() + BUDGET_S
    found = [_Read(stream, _table(reader, stream, until)) for stream in registry.values()]
    row = reader.execute("SELECT count(*) FROM am.device WHERE is_active").fetchone()
    device_count = 0 if row is None else int(row[0])
    summary = _summary(found, now)
    return Context(
        timestamp=now,
        device_count=device_count,
        summary=summary,
        tables={read.stream.table: read.table for read in found},
        context_prompt=prompt(found, device_count, now=now),
    )


def _table(reader: psycopg.Connection, stream: Stream, until: float) -> TableContext:
    names = ", ".join(column.name for column in columns(stream) if column.name not in NOT_TOLD)
    # By device, which the key finds at once: details have no index by time alone.
    newest = (
        f"SELECT {names} FROM (SELECT newest.* FROM am.device AS d CROSS JOIN LATERAL ("
        f"SELECT * FROM {qualified(stream)} AS t WHERE t.user_id = d.user_id "
        "AND t.device_id = d.device_id ORDER BY ts DESC LIMIT 1) AS newest) AS of_devices "
        "ORDER BY ts DESC LIMIT 1"
    )
    data = reader.cursor(row_factory=dict_row).execute(newest.encode()).fetchone()
    if data is None:
        return TableContext(data=None, row_count=0, latest_timestamp=None, error=None)
    count, error = _count(reader, stream, until)
    told = {name: value for name, value in data.items() if value is not None}
    return TableContext(data=told, row_count=count, latest_timestamp=data["ts"], error=error)


def _count(
    reader: psycopg.Connection, stream: Stream, until: float
) -> tuple[int | None, str | None]:
    left_ms = min(COUNT_LIMIT_MS, int((until - time.monotonic()) * 1000))
    if left_ms <= 0:
        return None, f"not counted: all tables together took more than {BUDGET_S:.0f} s"
    try:
        with reader.transaction():
            reader.execute("SELECT set_config('statement_timeout', %s, true)", (str(left_ms),))
            query = f"SELECT count(*) FROM {qualified(stream)}"
            row = reader.execute(query.encode()).fetchone()
    except psycopg.errors.QueryCanceled:
        return None, f"not counted: that takes more than {left_ms} ms"
    return (0 if row is None else int(row[0])), None


def _summary(found: list[_Read], now: datetime) -> Summary:
    populated = [read for read in found if read.table.latest_timestamp is not None]
    moments = [read.table.latest_timestamp for read in populated if read.table.latest_timestamp]
    active = [read.stream for read in populated if _is_active(read.table, now)]
    return Summary(
        total_tables=len(found),
        populated_tables=len(populated),
        error_tables=sum(read.table.error is not None for read in found),
        latest_activity=max(moments, default=None),
        active_sensors=sum(not stream.is_derived for stream in active),
        active_processors=sum(stream.is_derived for stream in active),
    )


def _is_active(table: TableContext, now: datetime) -> bool:
    return table.latest_timestamp is not None and table.latest_timestamp > now - ACTIVE


def prompt(found: list[_Read], device_count: int, *, now: datetime) -> str:
    """The newest of each stream, a line each, the newest first."""
    populated = [read for read in found if read.table.latest_timestamp is not None]
    populated.sort(key=lambda read: str(read.table.latest_timestamp), reverse=True)
    head = (
        f"It is {now:%Y-%m-%d %H:%M} UTC. {device_count} devices; {len(populated)} of "
        f"{len(found)} streams have rows. The newest of each:"
    )
    return "\n".join([head, *(_line(read) for read in populated)])


def _line(read: _Read) -> str:
    at, count = read.table.latest_timestamp, read.table.row_count
    title = _title(read.stream, read.table.data or {})
    rows = "rows not counted" if count is None else f"{count} rows"
    return f"- {at:%Y-%m-%d %H:%M} {read.stream.kind}: {title} ({read.stream.name}, {rows})"


def _title(stream: Stream, data: Mapping[str, Any]) -> str:
    """As the timeline has it; the stream's kind where the row tells less."""
    try:
        return stream.title.format_map(data)
    except KeyError:
        return stream.kind
