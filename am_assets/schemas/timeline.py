"""The timeline: everything, one row an event, as a view in each SQL dialect."""

import re
from collections.abc import Iterable, Mapping
from enum import StrEnum

from am_assets.schemas.postgres import SCHEMA
from am_assets.streams.stream import Stream

PLACEHOLDER = re.compile(r"\{(\w+)\}")


class Dialect(StrEnum):
    """Who runs the SQL."""

    POSTGRES = "postgres"
    DUCKDB = "duckdb"  # Trino takes the same text


_TEXT_TYPE: Mapping[Dialect, str] = {Dialect.POSTGRES: "text", Dialect.DUCKDB: "varchar"}

COLUMNS = (
    "ts",
    "kind",
    "user_id",
    "device_id",
    "title",
    "body",
    "source_table",
    "source_id",
    "blob_key",
    "is_detail",
)


def timeline_select(stream: Stream, *, source: str, dialect: Dialect) -> str:
    """One stream's part of the timeline, read from the table called `source`."""
    blob = "blob_key" if stream.blob or stream.is_derived else _null(dialect)
    body = template_sql(stream.body, dialect) if stream.body else _null(dialect)
    kind = _literal(stream.kind)
    return (
        f"SELECT ts, {kind} AS kind, user_id, device_id, "
        f"coalesce({template_sql(stream.title, dialect)}, {body}, {kind}) AS title, "
        f"{body} AS body, "
        f"{_literal(stream.table)} AS source_table, "
        f"CAST(event_id AS {_TEXT_TYPE[dialect]}) AS source_id, {blob} AS blob_key, "
        f"{str(stream.is_detail).lower()} AS is_detail FROM {source}"
    )


def timeline_view(streams: Iterable[Stream], *, schema: str, dialect: Dialect) -> str:
    """The UNION ALL of all streams whose tables are in `schema`."""
    return "\nUNION ALL ".join(
        timeline_select(stream, source=f"{schema}.{stream.table}", dialect=dialect)
        for stream in streams
    )


def hot_timeline(streams: Iterable[Stream]) -> tuple[str, ...]:
    """Statements that make `am.timeline` in Postgres; it shows a reader that reader's rows only."""
    body = timeline_view(streams, schema=SCHEMA, dialect=Dialect.POSTGRES)
    return (
        f"DROP VIEW IF EXISTS {SCHEMA}.timeline",
        f"CREATE VIEW {SCHEMA}.timeline WITH (security_invoker = true) AS {body}",
        f"GRANT SELECT ON {SCHEMA}.timeline TO am_reader",
    )


def template_sql(template: str, dialect: Dialect) -> str:
    """A template as an SQL expression: null where every column in it is null.

    `"{bpm} bpm"` becomes `CAST(bpm AS …) || ' bpm'`.
    """
    parts = PLACEHOLDER.split(template)
    kind = _TEXT_TYPE[dialect]
    terms = [
        f"CAST({part} AS {kind})" if index % 2 else _literal(part)
        for index, part in enumerate(parts)
        if part
    ]
    return " || ".join(terms)


def _null(dialect: Dialect) -> str:
    return f"CAST(NULL AS {_TEXT_TYPE[dialect]})"


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
