"""How fast the front door is, next to COPY into the same table in the same run."""

import json
import random
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import psycopg

from resources.connections import Connections

BATCH = 500
BATCHES = 200
SINGLES = 20_000
PATH = "/v1/streams/device.sensor.accelerometer.raw"
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
COLUMNS = "user_id, device_id, ts, event_id, received_at, schema_version, x_m_s2, y_m_s2, z_m_s2"


def bench_ingest(connections: Connections, api_port: int, token: str, note: list[str]) -> None:
    """Ingest: events durably committed a second"""
    copied = copy_rate(connections)
    single = drive(api_port, token, readings(SINGLES), connections_=16)
    batches = [json.dumps(chunk) for chunk in chunks(readings(BATCH * BATCHES, device="b"))]
    batch = drive(api_port, token, batches, connections_=4)
    rows = batch["per_second"] * BATCH
    note += [
        "| what | rows/s | p50 ms | p99 ms | to COPY |",
        "| --- | --- | --- | --- | --- |",
        f"| raw binary COPY into the keyed table | {copied:,.0f} | | | 1 |",
        f"| single events, 16 connections | {single['per_second']:,.0f} | {single['p50_ms']:.1f} "
        f"| {single['p99_ms']:.1f} | {single['per_second'] / copied:.4f} |",
        f"| arrays of {BATCH}, 4 connections | {rows:,.0f} | {batch['p50_ms']:.1f} "
        f"| {batch['p99_ms']:.1f} | {rows / copied:.3f} |",
    ]


def readings(number: int, *, device: str = "s") -> list[Any]:
    """Messages of one sensor, 50 a second."""
    rng = random.Random(7)
    return [
        {
            "device_id": device,
            "recorded_at": (BEGIN + timedelta(milliseconds=20 * index)).isoformat(),
            **{axis: round(rng.gauss(0, 3), 4) for axis in "xyz"},
        }
        for index in range(number)
    ]


def chunks(rows: list[Any]) -> list[list[Any]]:
    """Arrays of BATCH."""
    return [rows[start : start + BATCH] for start in range(0, len(rows), BATCH)]


def drive(port: int, token: str, bodies: list[Any], *, connections_: int) -> Any:
    """Send the bodies by a client process of its own."""
    lines = "\n".join(body if isinstance(body, str) else json.dumps(body) for body in bodies)
    command = [sys.executable, "-m", "tests.bench.load", "127.0.0.1", str(port)]
    command += [str(connections_), "15", PATH, token]
    done = subprocess.run(command, input=lines, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def copy_rate(connections: Connections, *, number: int = 100_000) -> float:
    """Rows a second of a binary COPY, its commit counted."""
    rows = [
        ("copy", "c", BEGIN + timedelta(milliseconds=20 * index), uuid4(), BEGIN, 1, 0.1, 0.2, 9.8)
        for index in range(number)
    ]
    types = ["text", "text", "timestamptz", "uuid", "timestamptz", "int8"] + 3 * ["float8"]
    with psycopg.connect(connections.database_url) as connection:
        begin = time.perf_counter()
        statement = (
            f"COPY am.device_sensor_accelerometer_raw ({COLUMNS}) FROM STDIN (FORMAT BINARY)"
        )
        with connection.cursor().copy(statement.encode()) as copy:
            copy.set_types(types)
            for row in rows:
                copy.write_row(row)
        connection.commit()
        return number / (time.perf_counter() - begin)
