"""How many bytes each stream has in each store, against the JSON of its rows.

Each store is asked for itself: one that does not answer is named, and the others are told.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from psycopg import sql

from am_assets.schemas.columns import ColumnType, own_columns
from am_assets.schemas.postgres import SCHEMA, STORE
from am_assets.streams.registry import Registry
from am_assets.streams.stream import Stream
from resources.connections import Connections
from resources.hot import connect, table_of
from resources.lake import Lake
from resources.lake_folder import LakeFolder

SAMPLE_ROWS = 1_000
PARALLEL = 16
OTHER = "(other tables)"  # ledger, work, roll-ups, Dagster's own are not in this database
UNKNOWN = "(not in the registry)"


class Tier(StrEnum):
    """Where bytes are. `LAKE_OLD`: files that no current version names, until they are vacuumed."""

    HOT = "hot"
    LAKE = "lake"
    LAKE_OLD = "lake_old"
    BLOBS = "blobs"
    VECTORS = "vectors"


@dataclass(frozen=True)
class Size:
    """One stream in one store.

    `row_count` is the store's own count; of the hot store an estimate, None = not known. Of blobs
    it is how many there are. `json_bytes` are what the same rows are as JSON (`sent`), after a
    sample; None where there are no rows, or bytes are no rows.
    """

    stream: str
    tier: str
    byte_count: int
    row_count: int | None = None
    json_bytes: int | None = None

    @property
    def ratio(self) -> float | None:
        """Bytes as JSON to bytes stored; None = not known."""
        return self.json_bytes / self.byte_count if self.json_bytes and self.byte_count else None


@dataclass(frozen=True)
class Measured:
    """All sizes, and what could not be measured."""

    sizes: tuple[Size, ...]
    faults: tuple[str, ...]


_HOT = f"""
SELECT n.nspname, root.relname, sum(pg_total_relation_size(c.oid))::bigint,
    sum(CASE WHEN c.relkind = 'r' THEN c.reltuples ELSE 0 END)::bigint, min(c.reltuples)::bigint
FROM pg_class c JOIN pg_class root ON root.oid = coalesce(pg_partition_root(c.oid), c.oid)
JOIN pg_namespace n ON n.oid = root.relnamespace
WHERE c.relkind IN ('r', 'p', 'm') AND n.nspname IN ('{SCHEMA}', '{STORE}', 'public')
GROUP BY n.nspname, root.relname
"""
_HYPERTABLES = """
SELECT hypertable_name, hypertable_size(name), approximate_row_count(name)
FROM timescaledb_information.hypertables
CROSS JOIN LATERAL (SELECT format('%%I.%%I', hypertable_schema, hypertable_name)::regclass)
    AS named (name)
WHERE hypertable_schema = %s
"""
_AGGREGATES = """
SELECT coalesce(sum(hypertable_size(format('%I.%I', materialization_hypertable_schema,
    materialization_hypertable_name)::regclass)), 0)::bigint
FROM timescaledb_information.continuous_aggregates
"""
_BLOBS = """
SELECT split_part(blob_key, '/', -3), sum(byte_count)::bigint, count(*) FROM am.blob GROUP BY 1
"""
_RECORD = """
INSERT INTO am.store_size (day, stream, tier, row_count, byte_count, json_bytes)
VALUES (%s, %s, %s, %s, %s, %s) ON CONFLICT (day, stream, tier) DO UPDATE SET
    row_count = excluded.row_count, byte_count = excluded.byte_count,
    json_bytes = excluded.json_bytes, measured_at = now()
"""


def measure(connections: Connections, registry: Registry) -> Measured:
    """Ask every store. Takes seconds: it opens every table of the lake."""
    sizes, faults = [], []
    for name, ask in _STORES.items():
        try:
            sizes += ask(connections, registry)
        except (psycopg.Error, OSError) as error:  # the lake's and the vectors' store raise OSError
            faults.append(f"{name}: {str(error).strip()}")
    return Measured(tuple(sizes), tuple(faults))


def record(connection: psycopg.Connection, sizes: Iterable[Size], *, day: date) -> None:
    """Keep what was measured on a day, for `resources.growth`; measuring again replaces it."""
    with connection.cursor() as cursor:
        cursor.executemany(
            _RECORD,
            [
                (day, one.stream, one.tier, one.row_count, one.byte_count, one.json_bytes)
                for one in sizes
            ],
        )


def sent(row: Mapping[str, Any], stream: Stream) -> Mapping[str, Any]:
    """A row as a client would have to send it: device, time, its own columns, all that it added.

    What AM itself adds (user, ids, times of receipt, lineage, facts of blobs) is left out.
    """
    kinds = {column.name: column.type for column in own_columns(stream.row)}
    own = {name: _parsed(row.get(name), kind) for name, kind in kinds.items()}
    extra = _parsed(row.get("extra"), ColumnType.JSON) or {}
    told = {"device_id": row["device_id"], "timestamp": row["ts"], **own, **extra}
    return {name: value for name, value in told.items() if value is not None}


def json_bytes(row: Mapping[str, Any], stream: Stream) -> int:
    """How long a row is as compact JSON (`sent`)."""
    text = json.dumps(sent(row, stream), separators=(",", ":"), ensure_ascii=False, default=_plain)
    return len(text.encode())


def _hot(connections: Connections, registry: Registry) -> list[Size]:
    by_table = {stream.table: stream for stream in registry.values()}
    with connect(connections.database_url) as connection:
        found: dict[str, tuple[int, int | None]] = {}
        other = 0
        for schema, table, byte_count, rows, least in connection.execute(_HOT):
            if table in by_table and schema == SCHEMA:
                found[table] = (byte_count, None if least < 0 and rows <= 0 else max(rows, 0))
            else:
                other += byte_count
        for table, byte_count, rows in _hypertables(connection):
            if table in by_table:
                found[table] = (byte_count, rows)
            else:
                other += byte_count
        return [
            *(
                _with_json(connection, by_table[table], byte_count, rows)
                for table, (byte_count, rows) in sorted(found.items())
            ),
            Size(OTHER, Tier.HOT, other),
        ]


def _hypertables(connection: psycopg.Connection) -> list[tuple[str, int, int | None]]:
    """Name, bytes, rows of each hypertable, where there are such; last, what the roll-ups take."""
    row = connection.execute("SELECT to_regclass('timescaledb_information.hypertables')").fetchone()
    if row is None or row[0] is None:
        return []
    tables = connection.execute(_HYPERTABLES, (STORE,)).fetchall()
    aggregates = connection.execute(_AGGREGATES).fetchone()
    return [*tables, (OTHER, int(aggregates[0]), None)] if aggregates else tables


def _with_json(
    connection: psycopg.Connection, stream: Stream, byte_count: int, rows: int | None
) -> Size:
    if not rows:
        return Size(stream.name, Tier.HOT, byte_count, rows)
    query = sql.SQL("SELECT to_jsonb(t) FROM {} AS t LIMIT %s").format(table_of(stream))
    sample = [row for (row,) in connection.execute(query, (SAMPLE_ROWS,))]
    return Size(stream.name, Tier.HOT, byte_count, rows, _scaled(sample, stream, rows))


def _lake(connections: Connections, registry: Registry) -> list[Size]:
    lake = Lake(connections)
    stored = _by_folder(LakeFolder(connections, connections.lake_uri).sizes())
    present = [stream for stream in registry.values() if stream.table in stored]
    with ThreadPoolExecutor(PARALLEL) as pool:
        current = list(pool.map(lambda stream: _table(lake, stream), present))
    unknown = stored.keys() - {stream.table for stream in present}
    old = [Size(UNKNOWN, Tier.LAKE_OLD, sum(stored[name] for name in unknown))] if unknown else []
    return [
        *current,
        *(
            Size(stream.name, Tier.LAKE_OLD, stored[stream.table] - one.byte_count)
            for stream, one in zip(present, current, strict=True)
        ),
        *old,
    ]


def _table(lake: Lake, stream: Stream) -> Size:
    """The files that the current version of a table names."""
    table = lake.open(stream)
    files = None if table is None else pa.table(table.get_add_actions(flatten=True))
    if table is None or files is None or not files.num_rows:
        return Size(stream.name, Tier.LAKE, 0, 0)
    rows, byte_count = (int(pc.sum(files[n]).as_py() or 0) for n in ("num_records", "size_bytes"))
    sample = table.to_pyarrow_dataset().head(SAMPLE_ROWS).to_pylist()
    return Size(stream.name, Tier.LAKE, byte_count, rows, _scaled(sample, stream, rows))


def _blobs(connections: Connections, _: Registry) -> list[Size]:
    with connect(connections.database_url) as connection:
        return [
            Size(stream, Tier.BLOBS, byte_count, count)
            for stream, byte_count, count in connection.execute(_BLOBS)
        ]


def _vectors(connections: Connections, _: Registry) -> list[Size]:
    stored = _by_folder(LakeFolder(connections, connections.vectors_uri).sizes())
    return [Size(f"({name})", Tier.VECTORS, size) for name, size in sorted(stored.items())]


_STORES: Mapping[str, Callable[[Connections, Registry], list[Size]]] = {
    "hot store": _hot,
    "lake": _lake,
    "blobs": _blobs,
    "vectors": _vectors,
}


def _by_folder(sizes: Mapping[str, int]) -> Mapping[str, int]:
    found: dict[str, int] = defaultdict(int)
    for path, size in sizes.items():
        found[path.lstrip("/").split("/", 1)[0]] += size
    return found


def _scaled(sample: Sequence[Mapping[str, Any]], stream: Stream, rows: int) -> int | None:
    if not sample:
        return None
    return round(sum(json_bytes(row, stream) for row in sample) / len(sample) * rows)


def _parsed(value: Any, kind: ColumnType) -> Any:
    return json.loads(value) if kind is ColumnType.JSON and isinstance(value, str) else value


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return str(value)
