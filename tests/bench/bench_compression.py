"""What is stored of a generated 30-day person, against the JSON that arrived.

The accelerometer is read `AM_BENCH_MOTION_MIN` minutes at once on every sixth day; every other
stream is whole. With `AM_TEST_TIMESCALE_URL` the hot store is TimescaleDB, whose chunks are
compressed before they are measured; else plain PostgreSQL, which compresses nothing.
"""

import json
import os
from collections import defaultdict
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, timedelta

import httpx
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from am_assets.schemas.postgres import STORE
from am_assets.streams.registry import REGISTRY
from resources.connections import Connections
from resources.lake import Lake
from resources.lake_folder import LakeFolder, folder_of
from tests.bench.person import ACCELEROMETER, GPS, STREAMS, Person

DAYS = [date(2026, 5, 1) + timedelta(days=n) for n in range(30)]
PERSON = Person(motion_min=int(os.environ.get("AM_BENCH_MOTION_MIN", "60")))
BATCH = 500  # messages that a phone sends at once
SENDERS = 2
TARGETS = {ACCELEROMETER: 95, GPS: 95}
TARGET = 90
LIMITS = (
    "What limits it: the last digits of a position are noise. By its own making this person's hold",
    "about 7.7 bytes of it, of the 10.7 that the target leaves, and Parquet has no encoding for",
    "decimals that are kept as doubles (zstd at 19 and Brotli at 11 came to 19). Rows that others",
    "name by id, as app events and texts, keep it: 16 random bytes, 18.5 as text. In PostgreSQL",
    "every row does, in its index as well. A day's file of a dozen rows is mostly its own 5 to 7",
    "KB of description. Tried and kept: no ids that follow from the row (24.5 to 6 bytes an",
    "acceleration, 40 to 21.5 a position), times as differences, numbers that rarely come twice",
    "byte by byte, zstd at level 9 for long texts (a sixth less). Tried and left: that level for",
    "all, larger pages.",
)


@dataclass(frozen=True)
class Stored:
    """One stream: what came, and what it takes. `hot` on TimescaleDB after compression."""

    rows: int
    arrived: int
    lake: int
    columns: Mapping[str, int]
    hot: int
    plain: int

    def less(self, byte_count: int) -> float:
        """How many per cent less than what arrived."""
        return 100 * (1 - byte_count / self.arrived)


@pytest.fixture(scope="module")
def stored(connections: Connections, api_port: int, token: str) -> Iterator[Mapping[str, Stored]]:
    """Sent through the front door, published, compressed, measured."""
    arrived = {stream: _send(stream, api_port, token) for stream in STREAMS}
    lake = Lake(connections)
    with ThreadPoolExecutor(len(STREAMS)) as pool:
        list(pool.map(lambda stream: _publish(lake, stream), STREAMS))
    with psycopg.connect(connections.database_url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
        yield {
            stream: _measured(connection, lake, stream, *told) for stream, told in arrived.items()
        }


def bench_compression(stored: Mapping[str, Stored], note: list[str]) -> None:
    """Compression: a generated 30-day person, against the JSON that arrived"""
    note += [
        f"Through the front door in arrays of {BATCH}; the JSON holds what a client has to send "
        f"and no more (no ids). Accelerations: {PERSON.motion_min} minutes at 50 Hz on every "
        f"{PERSON.motion_every}th day, all else whole. Per cent less than the JSON; targets: "
        "95 for motion and GPS, 90 for the rest.",
        "",
        f"| stream | rows | JSON B a row | Delta B a row | less % | {_hot_name()} B a row | less % "
        "| without ids: Delta less % |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for stream, found in stored.items():
        without = found.lake - found.columns.get("event_id", 0)
        note.append(
            f"| {stream} | {found.rows:,} | {found.arrived / found.rows:.0f} "
            f"| {found.lake / found.rows:.1f} | {found.less(found.lake):.1f} "
            f"| {found.hot / found.rows:.1f} | {found.less(found.hot):.1f} "
            f"| {found.less(without):.1f} |"
        )
    note += ["", "What Delta's bytes are, by column, a row:", ""]
    for stream, found in stored.items():
        costs = sorted(found.columns.items(), key=lambda pair: -pair[1])
        told = ", ".join(
            f"{name} {n / found.rows:.1f}" for name, n in costs if n > 0.05 * found.rows
        )
        note.append(f"- {stream}: {told}")
    missed = [s for s, f in stored.items() if f.less(f.lake) < TARGETS.get(s, TARGET)]
    note += ["", f"Missed in Delta: {', '.join(missed) or 'none'}.", "", *LIMITS]


def _send(stream: str, port: int, token: str) -> tuple[int, int]:
    """Every day of a stream; how many rows, and the bytes of their bodies."""
    rows = byte_count = 0
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    with (
        httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=120) as client,
        ThreadPoolExecutor(SENDERS) as pool,
    ):
        for day in DAYS:
            told = PERSON.messages(stream, day)
            bodies = [
                json.dumps(told[at : at + BATCH], separators=(",", ":")).encode()
                for at in range(0, len(told), BATCH)
            ]
            for answer in pool.map(
                lambda body: client.post(f"/v1/streams/{stream}", content=body), bodies
            ):
                answer.raise_for_status()
            rows += len(told)
            byte_count += sum(map(len, bodies))
    return rows, byte_count


def _publish(lake: Lake, stream: str) -> None:
    for day in DAYS:
        lake.publish(REGISTRY[stream], day)


def _measured(
    connection: psycopg.Connection, lake: Lake, stream: str, rows: int, arrived: int
) -> Stored:
    table = lake.open(REGISTRY[stream])
    assert table is not None
    files = pa.table(table.get_add_actions(flatten=True)).to_pylist()
    assert sum(file["num_records"] for file in files) == rows
    folder = folder_of(lake, REGISTRY[stream])
    hot, plain = _hot_bytes(connection, stream)
    return Stored(
        rows=rows,
        arrived=arrived,
        lake=sum(file["size_bytes"] for file in files),
        columns=_columns(folder, [file["path"] for file in files]),
        hot=hot,
        plain=plain,
    )


def _columns(folder: LakeFolder, paths: list[str]) -> Mapping[str, int]:
    found: dict[str, int] = defaultdict(int)
    for path in paths:
        told = pq.ParquetFile(pa.BufferReader(folder.read(path))).metadata
        for group in range(told.num_row_groups):
            for at in range(told.num_columns):
                column = told.row_group(group).column(at)
                found[column.path_in_schema] += column.total_compressed_size
    return found


def _hot_name() -> str:
    return "TimescaleDB" if os.environ.get("AM_TEST_TIMESCALE_URL") else "PostgreSQL"


def _hot_bytes(connection: psycopg.Connection, stream: str) -> tuple[int, int]:
    """Now (compressed, on TimescaleDB), and before; with indexes."""
    table = REGISTRY[stream].table
    if _hot_name() == "PostgreSQL":
        query = (
            "SELECT coalesce(sum(pg_total_relation_size(c.oid)), 0)::bigint FROM pg_class c "
            "WHERE coalesce(pg_partition_root(c.oid), c.oid) = %s::regclass AND c.relkind = 'r'"
        )
        row = connection.execute(query, (f"am.{table}",)).fetchone()
        assert row is not None
        return int(row[0]), int(row[0])
    name = f"{STORE}.{table}"
    size = "SELECT hypertable_size(%s::regclass)"
    before = connection.execute(size, (name,)).fetchone()
    connection.execute(
        "SELECT compress_chunk(c, if_not_compressed => true) FROM show_chunks(%s::regclass) c",
        (name,),
    )
    after = connection.execute(size, (name,)).fetchone()
    assert before is not None
    assert after is not None
    return int(after[0]), int(before[0])
