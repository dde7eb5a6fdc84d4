"""What questions cost over a generated year, and how that grows from one month to twelve.

`AM_BENCH_SQL_SCALE` is the share of 10^8 accelerations in the year; of 3 x 10^6 heart beats and
2 x 10^5 sentences there is ten times that share, at most all. The days are whole at every scale,
only thinner.
"""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa
import pytest
from deltalake import WriterProperties, write_deltalake
from psycopg import sql
from pyarrow import csv

from am_assets.schemas.arrow import delta_schema
from am_assets.streams.registry import REGISTRY
from am_assets.streams.stream import Stream
from resources.connections import Connections
from resources.duck import Duck, DuckOptions, Limits, connect, query
from resources.lake import Lake
from resources.lake_copies import LakeCopies

SCALE = float(os.environ.get("AM_BENCH_SQL_SCALE", "0.02"))
YEAR, MONTH = 365, 31
FIRST = date(2025, 1, 1)
BEGIN = datetime(2025, 1, 1, tzinfo=UTC)
USER = "bench"
ROUNDS = 20
BEATS = REGISTRY["device.health.heartrate.raw"]
MOTION, SPEECH = (
    REGISTRY["device.sensor.accelerometer.raw"],
    REGISTRY["media.text.transcribed.words"],
)
ACTIVITY = REGISTRY["motion.classification.activity"]
FULL = {MOTION: 1e8, BEATS: 3e6, SPEECH: 2e5, ACTIVITY: 3e4}
PLAIN = "plain_motion"
SETTINGS = WriterProperties(compression="ZSTD")
REQUIRED = {
    "words": "[]",
    "language": "en",
    "model_id": "m",
    "model_version": "1",
    "run_id": "r",
    "source_stream": "s",
    "source_event_id": "0" * 32,
}


def per_day(stream: Stream) -> int:
    share = {MOTION: SCALE, ACTIVITY: 1.0}.get(stream, min(1.0, 10 * SCALE))
    return max(1, round(FULL[stream] * share / YEAR))


def rows_of(stream: Stream, day: date) -> pa.Table:
    """A day's rows, evenly spread, in the schema of the lake."""
    count, seed = per_day(stream), np.random.default_rng(day.toordinal())
    begin = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1e6)
    ts = pa.array(begin + np.arange(count) * (86_400_000_000 // count), pa.timestamp("us", "UTC"))
    numbers = pa.array(np.arange(count))
    known: dict[str, Any] = {
        "user_id": pa.array([USER] * count),
        "device_id": pa.array(["watch"] * count),
        "ts": ts,
        "received_at": ts,
        "schema_version": pa.array([1] * count),
        "tz_offset_min": pa.array([60] * count),
        "event_id": pa.array(
            [f"{day:%Y%m%d}-0000-4000-8000-{n:012x}" for n in numbers.to_pylist()]
        ),
        "day": pa.array([day] * count, pa.date32()),
        "activity": pa.array((["still", "walking", "running"] * count)[:count]),
        "end_ts": pa.array(
            begin + (np.arange(count) + 1) * (86_400_000_000 // count), pa.timestamp("us", "UTC")
        ),
        "text": pa.array(["the bread is in the oven and the door is open"] * count),
    }
    return pa.table(
        [
            known[f.name] if f.name in known else _filler(f.type, count, seed)
            for f in delta_schema(stream)
        ],
        schema=delta_schema(stream),
    )


def _filler(kind: pa.DataType, count: int, seed: np.random.Generator) -> pa.Array:
    if pa.types.is_floating(kind):
        return pa.array(seed.normal(70, 9, count).round(2))
    if pa.types.is_integer(kind):
        return pa.array(seed.integers(1, 100, count))
    return pa.nulls(count, kind)


@dataclass(frozen=True)
class Year:
    """The stores, filled; and how long that took."""

    connections: Connections
    fill_s: float


@pytest.fixture(scope="module")
def year(connections: Connections) -> Year:
    """Every day of the lake, all but the last month out of the database; and a plain table."""
    begin = time.perf_counter()
    for stream in FULL:
        _fill_lake(connections, stream)
        _fill_hot(connections, stream)
    with psycopg.connect(connections.database_url) as connection:
        for stream in FULL:
            connection.execute(
                "INSERT INTO am.publication (stream, day, row_count, checksum, delta_version, "
                "run_id, left_hot_at) SELECT %s, %s + n, %s, 'x', 0, 'bench', "
                "CASE WHEN n < %s THEN now() END FROM generate_series(0, %s) AS days (n)",
                (stream.name, FIRST, per_day(stream), YEAR - MONTH, YEAR - 1),
            )
        _fill_plain(connection)
    return Year(connections, time.perf_counter() - begin)


def _fill_lake(connections: Connections, stream: Stream) -> None:
    """A month at once: each day is a file of its own all the same."""
    for first in range(0, YEAR, MONTH):
        days = [FIRST + timedelta(days=n) for n in range(first, min(first + MONTH, YEAR))]
        write_deltalake(
            Lake(connections).table_uri(stream),
            pa.concat_tables(rows_of(stream, day) for day in days),
            mode="append",
            partition_by=["day"],
            storage_options=connections.delta_options(),
            writer_properties=SETTINGS,
        )


def _fill_hot(connections: Connections, stream: Stream) -> None:
    with psycopg.connect(connections.database_url) as connection:
        for n in range(YEAR - MONTH, YEAR):
            _copy(
                connection,
                sql.Identifier("am", stream.table),
                rows_of(stream, FIRST + timedelta(n)),
            )


def _fill_plain(connection: psycopg.Connection) -> None:
    """The same accelerations in PostgreSQL alone: the whole year, with the same index."""
    table = sql.Identifier("am", MOTION.table)
    plain = sql.Identifier(PLAIN)
    connection.execute(sql.SQL("CREATE TABLE {} (LIKE {})").format(plain, table))
    for n in range(YEAR):
        _copy(connection, plain, rows_of(MOTION, FIRST + timedelta(n)))
    key = "ALTER TABLE {} ADD PRIMARY KEY (user_id, device_id, ts, event_id)"
    connection.execute(sql.SQL(key).format(plain))
    connection.execute(sql.SQL("CREATE INDEX ON {} (user_id, ts DESC)").format(plain))
    connection.execute(sql.SQL("ANALYZE {}").format(plain))


def _copy(connection: psycopg.Connection, table: sql.Identifier, rows: pa.Table) -> None:
    chosen = rows.drop_columns(["day"])
    for at, name in enumerate(chosen.column_names):
        if name in REQUIRED:
            chosen = chosen.set_column(at, name, pa.array([REQUIRED[name]] * chosen.num_rows))
    written = pa.BufferOutputStream()
    csv.write_csv(chosen, written, csv.WriteOptions(include_header=False))
    names = sql.SQL(", ").join(map(sql.Identifier, chosen.column_names))
    into = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv)").format(table, names)
    with connection.cursor() as cursor, cursor.copy(into) as copy:
        copy.write(written.getvalue().to_pybytes())


@pytest.fixture(scope="module")
def duck(year: Year, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Duck]:
    folder = tmp_path_factory.mktemp("duck")
    copies = LakeCopies(folder / "copies", 10**10)
    options = DuckOptions(extension_directory=folder / "extensions", copies=copies)
    with connect(year.connections, REGISTRY, user_id=USER, options=options) as duck:
        yield duck


def times_ms(ask: Callable[[], object], rounds: int = ROUNDS) -> list[float]:
    """How long each of some rounds took, from fast to slow; the first, cold one is left out."""
    ask()
    taken = []
    for _ in range(rounds):
        begin = time.perf_counter()
        ask()
        taken.append(1000 * (time.perf_counter() - begin))
    return sorted(taken)


def p95(taken: list[float]) -> float:
    return taken[min(len(taken) - 1, int(len(taken) * 0.95))]


def asking(duck: Duck, text: str, *, days: int, at: int = 0) -> Callable[[], pa.Table]:
    span = (BEGIN + timedelta(days=at), BEGIN + timedelta(days=at + days))
    return lambda: query(duck, text, parameters=span, limits=Limits(timeout_s=120))


DAY = "SELECT ts, bpm FROM am.device_health_heartrate_raw WHERE ts >= ? AND ts < ?"
MOTION_DAY = "SELECT ts, x_m_s2 FROM am.device_sensor_accelerometer_raw WHERE ts >= ? AND ts < ?"
PAGE = "SELECT ts, kind, title, body FROM am.timeline WHERE ts >= ? AND ts < ? AND NOT is_detail"
ROLL_UP = (
    "SELECT day, count(*), avg(bpm), min(bpm), max(bpm) FROM am.device_health_heartrate_raw "
    "WHERE ts >= ? AND ts < ? GROUP BY day ORDER BY day"
)
MOTION_ROLL_UP = (
    "SELECT day, count(*), avg(x_m_s2), min(x_m_s2), max(x_m_s2) "
    "FROM am.device_sensor_accelerometer_raw WHERE ts >= ? AND ts < ? GROUP BY day ORDER BY day"
)
AS_OF = (
    "SELECT activity, count(*), avg(bpm) FROM (SELECT * FROM am.device_health_heartrate_raw "
    "WHERE ts >= ? AND ts < ?) b ASOF JOIN am.motion_classification_activity a "
    "ON b.user_id = a.user_id AND b.ts >= a.ts GROUP BY activity"
)


def bench_questions(duck: Duck, year: Year, note: list[str]) -> None:
    """SQL: questions over a generated year of one user"""
    sizes = ", ".join(f"{per_day(s) * YEAR:,} {s.kind}" for s in FULL)
    note += [
        f"{SCALE:g} of the full year's accelerations: {sizes}. The last {MONTH} days are "
        f"in the database, the others have left it for the lake; filled in {year.fill_s:.0f} s. "
        "Warm: the engine is "
        "connected and has asked once; the lake's files that a question touches have copies near.",
        "",
        "| question | p50 ms | p95 ms | target ms |",
        "| --- | --- | --- | --- |",
    ]
    cases = (
        ("one day of heart rate, from the lake", DAY, 1, 40, 50),
        ("one day of heart rate, from the database", DAY, 1, YEAR - 3, 50),
        ("one day of accelerations, from the lake", MOTION_DAY, 1, 40, 50),
        ("a day's page, from the lake", PAGE, 1, 40, 150),
        ("a day's page, from the database", PAGE, 1, YEAR - 3, 150),
        ("a year of heart rate by day", ROLL_UP, YEAR, 0, 1000),
        ("a month's heart rate as of the activity", AS_OF, 30, 100, 2000),
    )
    for what, text, days, at, target in cases:
        taken = times_ms(asking(duck, text, days=days, at=at), ROUNDS if days < 30 else 5)
        note.append(f"| {what} | {taken[len(taken) // 2]:.1f} | {p95(taken):.1f} | {target} |")


def bench_growth(duck: Duck, note: list[str]) -> None:
    """SQL: how questions grow from one month to twelve"""
    note += ["| question | 1 month | 3 | 6 | 12 months |", "| --- | --- | --- | --- | --- |"]
    growing = [times_ms(asking(duck, ROLL_UP, days=days), 3)[1] for days in (30, 91, 182, YEAR)]
    note.append("| by day over so long, ms | " + " | ".join(f"{ms:.0f}" for ms in growing) + " |")
    constant = [
        times_ms(asking(duck, DAY, days=1, at=at), 10)[5] for at in (15, 75, 165, YEAR - MONTH - 5)
    ]
    note.append("| one day, so far on, ms | " + " | ".join(f"{ms:.1f}" for ms in constant) + " |")


def bench_plain_postgres(duck: Duck, year: Year, note: list[str]) -> None:
    """SQL: aggregates of acceleration next to a plain PostgreSQL table with the same index"""
    text = (
        "SELECT CAST(ts AT TIME ZONE 'UTC' AS date) AS day, count(*), avg(x_m_s2), min(x_m_s2), "
        "max(x_m_s2) "
        f"FROM {PLAIN} WHERE user_id = %s AND ts >= %s AND ts < %s GROUP BY 1 ORDER BY 1"
    )
    note += [f"{per_day(MOTION):,} rows a day; the ratio grows with them.", ""]
    note += ["| span | PostgreSQL ms | AM ms | times faster |", "| --- | --- | --- | --- |"]
    with psycopg.connect(year.connections.database_url) as connection:
        for days in (7, 30, 91, YEAR - MONTH):
            span = (USER, BEGIN, BEGIN + timedelta(days=days))
            plain = times_ms(
                lambda span=span: connection.execute(text.encode(), span).fetchall(), 3
            )
            ours = times_ms(asking(duck, MOTION_ROLL_UP, days=days), 3)
            ratio = plain[1] / ours[1]
            note.append(f"| {days} days | {plain[1]:.0f} | {ours[1]:.0f} | {ratio:.1f} |")
