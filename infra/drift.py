"""Where a database's catalog differs from what the registry asks for.

Found are things that were changed by hand, left half done by a tool, or kept from an older version:
each with its table and what is different. Nothing is changed here; `am up` applies the registry's
statements again where something differs.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg

from am_assets.schemas import postgres, roles, rollups
from am_assets.schemas.columns import KEY, columns
from am_assets.schemas.rollups import Level
from am_assets.streams.stream import Sensitivity, Stream
from resources.partitions import Part, read_parts, spans

ORDER = "ts DESC,event_id"
WRITES = ("DELETE", "TRUNCATE", "UPDATE")

RELATIONS = """
SELECT n.nspname || '.' || c.relname, c.relkind::text, c.relrowsecurity,
    ARRAY(SELECT CASE WHEN a.grantee = 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee)::text END
        || ' ' || a.privilege_type FROM aclexplode(c.relacl) AS a WHERE a.grantee <> c.relowner),
    CASE WHEN c.relkind = 'v' THEN pg_get_viewdef(c.oid) END, c.reloptions
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = ANY(%(schemas)s) AND c.relkind IN ('r', 'p', 'v')"""
COLUMNS = """
SELECT n.nspname || '.' || c.relname, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull
FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname = ANY(%(schemas)s) AND c.relkind IN ('r', 'p', 'v') AND a.attnum > 0
    AND NOT a.attisdropped"""
INDEXES = """
SELECT n.nspname || '.' || t.relname, i.relname, x.indisprimary, x.indisvalid, am.amname,
    ARRAY(SELECT a.attname::text FROM unnest(x.indkey) WITH ORDINALITY AS k (attnum, place)
        JOIN pg_attribute AS a ON a.attrelid = x.indrelid AND a.attnum = k.attnum ORDER BY place)
FROM pg_index AS x JOIN pg_class AS i ON i.oid = x.indexrelid JOIN pg_class AS t
    ON t.oid = x.indrelid JOIN pg_am AS am ON am.oid = i.relam
JOIN pg_namespace AS n ON n.oid = t.relnamespace WHERE n.nspname = ANY(%(schemas)s)"""
POLICIES = """
SELECT schemaname || '.' || tablename, policyname::text, permissive, cmd, roles::text[], qual,
    with_check FROM pg_policies WHERE schemaname = ANY(%(schemas)s)"""
MAY_REACH = """SELECT n, has_schema_privilege(r::name, n, 'USAGE')
FROM unnest(%s::text[]) AS n, unnest(%s::text[]) AS r"""
HYPERTABLES = """
SELECT d.hypertable_schema || '.' || d.hypertable_name, d.time_interval,
    replace(s.segmentby, ' ', ''), s.orderby
FROM timescaledb_information.dimensions AS d
LEFT JOIN timescaledb_information.hypertable_compression_settings AS s
    ON s.hypertable = format('%%I.%%I', d.hypertable_schema, d.hypertable_name)::regclass
WHERE d.hypertable_schema = %(store)s AND d.column_name = 'ts'"""
JOBS = """
SELECT hypertable_schema || '.' || hypertable_name, proc_name, config, schedule_interval, scheduled
FROM timescaledb_information.jobs WHERE hypertable_schema = %(store)s"""
AGGREGATES = """
SELECT view_schema || '.' || view_name, materialized_only
FROM timescaledb_information.continuous_aggregates WHERE view_schema = %(store)s"""
SETTINGS = """
SELECT unnest(setconfig) FROM pg_db_role_setting JOIN pg_database d ON d.oid = setdatabase
WHERE d.datname = current_database() AND setrole = 0"""
OWN_ROWS = "own_rows"
UNLIMITED = f"{postgres.DECOMPRESSED}=0"
COMPRESS, RETAIN, REFRESH = (
    "policy_compression",
    "policy_retention",
    "policy_refresh_continuous_aggregate",
)


@dataclass(frozen=True)
class Difference:
    """One thing that is not as declared: of which table, and what."""

    table: str
    what: str

    def __str__(self) -> str:
        """One line."""
        return f"{self.table}: {self.what}"


@dataclass(frozen=True)
class Relation:
    """A table or view as the catalog has it."""

    kind: str
    has_row_security: bool
    grants: frozenset[str]
    view: str | None
    options: Sequence[str] | None


@dataclass(frozen=True)
class Index:
    """An index as the catalog has it."""

    is_primary: bool
    is_valid: bool
    method: str
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Job:
    """A policy of TimescaleDB."""

    policy: str
    config: Mapping[str, Any]
    every: timedelta
    is_scheduled: bool


@dataclass
class Catalog:
    """All that is compared, read at once."""

    relations: dict[str, Relation] = field(default_factory=dict)
    columns: dict[str, dict[str, tuple[str, bool]]] = field(default_factory=dict)
    indexes: dict[str, dict[str, Index]] = field(default_factory=dict)
    policies: dict[str, dict[str, tuple[Any, ...]]] = field(default_factory=dict)
    parts: list[Part] = field(default_factory=list)
    hypertables: dict[str, tuple[timedelta, str | None, str | None]] = field(default_factory=dict)
    jobs: dict[str, list[Job]] = field(default_factory=dict)
    aggregates: dict[str, bool] = field(default_factory=dict)
    settings: list[str] = field(default_factory=list)
    own_rows: tuple[Any, ...] = ()
    open_schemas: list[str] = field(default_factory=list)


def find_drift(
    connection: psycopg.Connection,
    streams: Iterable[Stream],
    *,
    is_timescale: bool,
    today: date | None = None,
) -> list[Difference]:
    """All differences, stream by stream. Nothing is changed.

    `today` is the UTC day for which partitions have to be there; None = they are not looked at.
    Raises: psycopg.Error.
    """
    catalog = read_catalog(connection, is_timescale=is_timescale)
    found = [
        Difference(schema, "limited roles may look into this schema")
        for schema in catalog.open_schemas
    ]
    if is_timescale and UNLIMITED not in catalog.settings:  # no dump has a database's settings
        found.append(Difference("database", f"has not the setting {UNLIMITED}"))
    for stream in streams:
        if is_timescale:
            found += _timescale(catalog, stream)
        else:
            found += _plain(catalog, stream, today)
    return found


def read_catalog(connection: psycopg.Connection, *, is_timescale: bool) -> Catalog:
    """What is there. Raises: psycopg.Error."""
    catalog = Catalog()
    with connection.transaction(force_rollback=True):
        connection.execute("SET LOCAL TIME ZONE 'UTC'")
        schemas = [postgres.SCHEMA, postgres.STORE]
        _read_tables(connection, catalog, schemas)
        catalog.own_rows = _policy_as_written(connection)
        hidden = [postgres.STORE] if is_timescale else [postgres.PARTS]
        rows = connection.execute(MAY_REACH, (hidden, list(roles.LIMITED)))
        catalog.open_schemas = sorted({name for name, may in rows if may})
        if is_timescale:
            _read_timescale(connection, catalog)
        else:
            catalog.parts = list(read_parts(connection))
    return catalog


def _read_tables(connection: psycopg.Connection, catalog: Catalog, schemas: list[str]) -> None:
    values = {"schemas": schemas}
    for name, kind, secured, grants, view, options in connection.execute(RELATIONS, values):
        catalog.relations[name] = Relation(kind, secured, frozenset(grants), view, options)
    for name, column, kind, is_required in connection.execute(COLUMNS, values):
        catalog.columns.setdefault(name, {})[column] = (kind, is_required)
    for name, index, primary, valid, method, parts in connection.execute(INDEXES, values):
        known = catalog.indexes.setdefault(name, {})
        known[index] = Index(primary, valid, method, tuple(parts))
    for name, policy, *rest in connection.execute(POLICIES, values):
        catalog.policies.setdefault(name, {})[policy] = _hashable(rest)


def _policy_as_written(connection: psycopg.Connection) -> tuple[Any, ...]:
    """The policy of own rows as PostgreSQL writes it down, by making one."""
    connection.execute("CREATE TEMPORARY TABLE drift_probe (user_id text, device_id text)")
    for statement in roles.own_rows("pg_temp.drift_probe"):
        connection.execute(statement.encode())
    row = connection.execute(
        "SELECT permissive, cmd, roles::text[], qual, with_check FROM pg_policies "
        "WHERE tablename = 'drift_probe'"
    ).fetchone()
    return _hashable(row or ())


def _read_timescale(connection: psycopg.Connection, catalog: Catalog) -> None:
    values = {"store": postgres.STORE}
    for name, chunk, segments, order in connection.execute(HYPERTABLES, values):
        catalog.hypertables[name] = (chunk, segments, order)
    for name, policy, config, every, is_scheduled in connection.execute(JOBS, values):
        catalog.jobs.setdefault(name, []).append(Job(policy, config or {}, every, is_scheduled))
    catalog.aggregates = dict(connection.execute(AGGREGATES, values).fetchall())
    catalog.settings = [setting for (setting,) in connection.execute(SETTINGS)]


def _plain(catalog: Catalog, stream: Stream, today: date | None) -> Iterator[Difference]:
    name = postgres.qualified(stream)
    kinds = "p" if postgres.partition_span(stream) else "rp"
    yield from _relation(catalog, name, kinds)
    yield from _stream_columns(catalog, stream, name)
    yield from _indexes(catalog, stream, name)
    yield from _security(catalog, name)
    yield from _grants(catalog, name, expected_grants(stream))
    if today is not None:
        yield from _partitions(catalog, stream, today)
    for table in rollups.rollup_tables(stream):
        rolled = f"{postgres.SCHEMA}.{table}"
        yield from _relation(catalog, rolled, "r")
        yield from _columns(catalog, rolled, dict(rollups.columns_of(stream)))
        yield from _key(catalog, rolled, rollups.KEY)
        yield from _security(catalog, rolled)
        yield from _grants(catalog, rolled, readers(stream))


def _timescale(catalog: Catalog, stream: Stream) -> Iterator[Difference]:
    store, view = (
        postgres.qualified(stream, schema=schema) for schema in (postgres.STORE, postgres.SCHEMA)
    )
    yield from _relation(catalog, store, "r")
    yield from _stream_columns(catalog, stream, store)
    yield from _stream_columns(catalog, stream, view, is_view=True)
    yield from _indexes(catalog, stream, store)
    yield from _grants(catalog, store, frozenset())
    yield from _hypertable(catalog, stream, store)
    yield from _view(catalog, view, expected_grants(stream))
    for level in Level if rollups.is_numeric(stream) else ():
        table = rollups.rollup_table(stream, level)
        yield from _aggregate(catalog, stream, level, f"{postgres.STORE}.{table}")
        yield from _view(catalog, f"{postgres.SCHEMA}.{table}", readers(stream))


def expected_grants(stream: Stream) -> frozenset[str]:
    """What the roles besides AM's own may do with a stream's table."""
    if roles.is_command(stream):
        return readers(stream) | {f"{roles.AGENT} INSERT"}
    return readers(stream) | (frozenset() if stream.is_derived else {f"{roles.DEVICE} INSERT"})


def readers(stream: Stream) -> frozenset[str]:
    """Who reads a stream's rows and what is made of them."""
    is_secret = stream.sensitivity is Sensitivity.SECRET
    return frozenset(
        f"{role} SELECT" for role in (roles.READER, *(() if is_secret else (roles.ANALYST,)))
    )


def _relation(catalog: Catalog, name: str, kinds: str) -> Iterator[Difference]:
    known = catalog.relations.get(name)
    if known is None:
        yield Difference(name, "is missing")
    elif known.kind not in kinds:
        yield Difference(name, f"is of kind {known.kind!r}, not {' or '.join(kinds)!r}")


def _stream_columns(
    catalog: Catalog, stream: Stream, name: str, *, is_view: bool = False
) -> Iterator[Difference]:
    known = catalog.columns.get(name, {})
    wanted = {one.name: postgres.SQL_TYPES[one.type] for one in columns(stream)}
    yield from _columns(catalog, name, wanted)
    # Columns that came later may be null whatever is declared: rows of before have nothing there.
    for key in () if is_view else KEY:
        if key in known and not known[key][1]:
            yield Difference(name, f"column {key} may be null")


def _columns(catalog: Catalog, name: str, wanted: Mapping[str, str]) -> Iterator[Difference]:
    known = catalog.columns.get(name, {})
    if not known:
        return
    for column, kind in wanted.items():
        have = _TYPE_NAMES.get(known[column][0], known[column][0]) if column in known else None
        if have is None:
            yield Difference(name, f"has no column {column}")
        elif have != kind:
            yield Difference(name, f"column {column} is {have}, not {kind}")
    for column in sorted(set(known) - set(wanted)):
        yield Difference(name, f"has a column {column} that no declaration names")


_TYPE_NAMES = {"timestamp with time zone": "timestamptz"}


def _key(catalog: Catalog, name: str, key: tuple[str, ...]) -> Iterator[Difference]:
    known = catalog.indexes.get(name, {})
    if not any(one.is_primary and one.columns == key for one in known.values()):
        yield Difference(name, f"its key is not ({', '.join(key)})")


def _indexes(catalog: Catalog, stream: Stream, name: str) -> Iterator[Difference]:
    yield from _key(catalog, name, KEY)
    known = {
        label: one for label, one in catalog.indexes.get(name, {}).items() if not one.is_primary
    }
    wanted = postgres.index_names(stream)
    for label in wanted:
        if label not in known or not known[label].is_valid:
            yield Difference(name, f"the index {label} is missing or broken")
    for label in sorted(set(known) - set(wanted)):
        yield Difference(name, f"the index {label} is not declared")


def _security(catalog: Catalog, name: str) -> Iterator[Difference]:
    known = catalog.relations.get(name)
    if known is None:
        return
    if not known.has_row_security:
        yield Difference(name, "has no row-level security")
    policies = catalog.policies.get(name, {})
    if policies.get(OWN_ROWS) != catalog.own_rows:
        yield Difference(name, "its policy own_rows does not hold readers to their own rows")
    for policy in sorted(set(policies) - {OWN_ROWS}):
        yield Difference(name, f"has a policy {policy} that nobody declared")


def _grants(catalog: Catalog, name: str, wanted: frozenset[str]) -> Iterator[Difference]:
    known = catalog.relations.get(name)
    if known is None:
        return
    for grant in sorted(wanted - known.grants):
        yield Difference(name, f"lacks the right {grant}")
    for grant in sorted(known.grants - wanted):
        yield Difference(name, f"gives the right {grant}")


def _partitions(catalog: Catalog, stream: Stream, today: date) -> Iterator[Difference]:
    if postgres.partition_span(stream) is None:
        return
    midnight = datetime(today.year, today.month, today.day, tzinfo=UTC)
    for begin, end in spans(stream, today):
        is_there = any(
            part.table == stream.table
            and (part.begin is None or part.begin < end)
            and begin < part.end
            for part in catalog.parts
        )
        if end > midnight and not is_there:
            yield Difference(postgres.qualified(stream), f"has no partition for {begin:%Y-%m-%d}")


def _hypertable(catalog: Catalog, stream: Stream, name: str) -> Iterator[Difference]:
    known = catalog.hypertables.get(name)
    if known is None:
        yield Difference(name, "is no hypertable")
        return
    wanted = (stream.chunk_interval, ",".join(stream.segment_by), ORDER)
    for label, have, want in zip(
        ("chunk interval", "compression's segments", "compression's order"),
        known,
        wanted,
        strict=True,
    ):
        if have != want:
            yield Difference(name, f"{label}: {have}, not {want}")
    jobs = catalog.jobs.get(name, [])
    compressed = [_span(job.config.get("compress_after")) for job in jobs if job.policy == COMPRESS]
    if compressed != [stream.compress_after]:
        yield Difference(name, f"compresses after {compressed}, not {stream.compress_after}")
    if any(job.policy == RETAIN for job in jobs):
        yield Difference(name, "has a retention policy, which drops days that are in no lake")
    yield from _paused(name, jobs)


def _paused(name: str, jobs: Sequence[Job]) -> Iterator[Difference]:
    for job in jobs:
        if not job.is_scheduled:
            yield Difference(name, f"its {job.policy} is not scheduled")


def _aggregate(catalog: Catalog, stream: Stream, level: Level, name: str) -> Iterator[Difference]:
    is_stored_only = catalog.aggregates.get(name)
    if is_stored_only is None:
        yield Difference(name, "is no continuous aggregate")
        return
    if is_stored_only:
        yield Difference(name, "does not show what is not yet stored")
    yield from _columns(catalog, name, dict(rollups.columns_of(stream)))
    yield from _grants(catalog, name, frozenset())
    jobs = catalog.jobs.get(name, [])
    have = [
        (_span(job.config.get("start_offset")), _span(job.config.get("end_offset")), job.every)
        for job in jobs
        if job.policy == REFRESH
    ]
    want = (rollups.LOOK_BACK, rollups.SETTLED, rollups.every(level))
    if have != [want]:
        yield Difference(name, f"refreshes {_told(have)}, not {_told([want])}")
    yield from _paused(name, jobs)


def _view(catalog: Catalog, name: str, grants: frozenset[str]) -> Iterator[Difference]:
    known = catalog.relations.get(name)
    if known is None or known.kind != "v":
        yield Difference(name, "is missing, or no view")
        return
    if "security_barrier=true" not in (known.options or ()):
        yield Difference(name, "is no security barrier")
    if "app.user_id" not in (known.view or ""):
        yield Difference(name, "shows everybody's rows")
    yield from _grants(catalog, name, grants)


def _told(found: Sequence[tuple[timedelta | None, ...]]) -> str:
    return json.dumps([[str(one) for one in offsets] for offsets in found])


def _span(text: str | None) -> timedelta | None:
    """An interval as policies write it: hours, minutes, seconds, with days or without."""
    if text is None:
        return None
    *days, clock = text.replace(" days", " day").split(" day")
    parts = [float(part) for part in clock.strip().split(":")] if clock.strip() else [0.0, 0.0, 0.0]
    hours, minutes, seconds = parts
    return timedelta(
        days=int(days[0]) if days else 0, hours=hours, minutes=minutes, seconds=seconds
    )


def _hashable(row: Sequence[Any]) -> tuple[Any, ...]:
    return tuple(tuple(part) if isinstance(part, list) else part for part in row)
