"""How fast the front door is, next to what the database and a bare route do in the same run."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import pgpq
import psycopg

from infra.ports import choose_free
from resources.connections import Connections
from tests.bench import readings
from tests.bench.conftest import Served, serving
from tests.bench.load import framed

SINGLES = 40_000
ROWS = 600_000
ARRAY, PART = 500, 20_000
SECONDS = 12
JSON = "application/json"
SINGLE_LIMITS = """
What limits it: one processor core for each process of the API, which understands, answers and
sends; PostgreSQL and the client need the other. The bare route stores without asking: no token, no
check, no account.
Tried and kept, by the API's processor time an event while other programs ran: doors found by their
path instead of through FastAPI's routes and dependencies, and leaner reading of elements (1,300 to
780 µs); one statement that stores, accounts for and commits a group (to 450 µs); rows given to that
statement as one JSON text instead of an array a column (to 380 µs); then, of the part between the
server and the writer, 193 to 163 µs by FastAPI's telemetry left out, headers looked up in one step,
no clock set for a body that is there already; and an answer's head and body sent in one piece."""
BATCH_LIMITS = """
What limits it: the API's processor time. A tenth of it goes into JSON text, half into columns,
times and ids (SHA-1 and the text for it more than anything else), a fifth into the commit. Tried
and kept: rows understood column by column and copied in binary form (138 to 14 µs a row while other
programs ran); UTC times read by Arrow, ids without Arrow's fixed costs, one look at each element
for all of its values (reading 500 elements: 2.3 to 1.8 ms; 50 elements: 2.1 ms one by one, 0.7 by
columns, which are used from 16 elements on instead of 64). Tried and left: a typed JSON parser
(msgspec), 0.25 µs a row for one more package. An element that needs a closer look goes the way of
single events."""
ARROW_LIMITS = """
What limits it: SHA-1 and text for the rows' ids (UUIDv5), a good third of the API's time, then
PostgreSQL's COPY. COPY is given rows that were in its binary form before the clock started; the
Arrow door checks every value, makes ids, accounts for each row and drops copies. InfluxDB takes
points without ids and overwrites by time. Tried and kept: texts of ids put together by Arrow (3.0
to 2.1 µs a row); copying straight into the table, with a detour only for rows that are there
already. Tried and left: SHA-1 in DuckDB, several times slower than Python's."""


def bench_single_events(
    connections: Connections, api: Served, tokens: list[str], note: list[str], tmp_path: Path
) -> None:
    """Ingest: single events, 16 connections"""
    bodies = [json.dumps(one).encode() for one in readings.messages(SINGLES, device="s")]
    with bare(connections) as route:
        before = route.cpu_s
        plain = send(route, bodies, tokens, connections_=16)
        plain_us = 1e6 * (route.cpu_s - before) / plain["requests"]
    before = api.cpu_s
    single = send(api, bodies, tokens, connections_=16)
    single_us = 1e6 * (api.cpu_s - before) / single["requests"]
    double, double_us = by_two(connections, tokens, tmp_path)
    note += [
        "| what | events/s | p50 ms | p99 ms | its processor µs an event | to the bare route |",
        "| --- | --- | --- | --- | --- | --- |",
        f"| bare FastAPI route, COPY in groups | {_latencies(plain)} | {plain_us:.0f} | 1 |",
        f"| AM | {_latencies(single)} | {single_us:.0f} "
        f"| {single['per_second'] / plain['per_second']:.2f} |",
        f"| AM, two processes at one port | {_latencies(double)} | {double_us:.0f} "
        f"| {double['per_second'] / plain['per_second']:.2f} |",
        SINGLE_LIMITS,
    ]


def by_two(connections: Connections, tokens: list[str], home: Path) -> tuple[Any, float]:
    """What two processes take, and the processor µs that an event costs them."""
    bodies = [json.dumps(one).encode() for one in readings.messages(SINGLES, device="two")]
    with (
        serving(connections, home=home, replicas=2) as one,
        serving(connections, home=home, port=one.port, replicas=2) as other,
    ):
        before = one.cpu_s + other.cpu_s
        sent = send(one, bodies, tokens, connections_=16)
        return sent, 1e6 * (one.cpu_s + other.cpu_s - before) / sent["requests"]


def bench_json_arrays(
    connections: Connections, api: Served, tokens: list[str], note: list[str]
) -> None:
    """Ingest: JSON arrays of 500, 4 connections"""
    copied = copy_rate(connections, device="copied-for-json")
    before = api.cpu_s
    batch = send(api, readings.arrays(ROWS, ARRAY, device="b"), tokens, connections_=4)
    rows = batch["per_second"] * ARRAY
    cost_us = 1e6 * (api.cpu_s - before) / (batch["requests"] * ARRAY)
    note += [
        "| what | rows/s | p50 ms | p99 ms | its processor µs a row | to COPY |",
        "| --- | --- | --- | --- | --- | --- |",
        f"| raw binary COPY into the keyed table | {copied:,.0f} | | | | 1 |",
        f"| AM | {rows:,.0f} | {batch['p50_ms']:.1f} | {batch['p99_ms']:.1f} | {cost_us:.1f} "
        f"| {rows / copied:.2f} |",
        BATCH_LIMITS,
    ]


def bench_arrow(
    connections: Connections, api: Served, tokens: list[str], note: list[str], tmp_path: Path
) -> None:
    """Ingest: Arrow, in parts of 20 000 rows, 4 connections"""
    parts = readings.streams(ROWS, PART, device="a")
    copied = copy_rate(connections, device="copied")
    before = api.cpu_s
    arrow = send(api, parts, tokens, connections_=4, content_type=readings.ARROW)
    cost_us = 1e6 * (api.cpu_s - before) / (arrow["requests"] * PART)
    rates = {
        "raw binary COPY into the keyed table": copied,
        f"AM, Arrow ({cost_us:.1f} µs of its processor a row)": arrow["per_second"] * PART,
        "ADBC into the same table": adbc_rate(connections, device="adbc"),
        "InfluxDB 1.x, line protocol, parts of 5 000": influx_rate(tmp_path),
    }
    note += ["| what | rows/s | to COPY |", "| --- | --- | --- |"]
    note += [f"| {name} | {_rate(rate, copied)} |" for name, rate in rates.items()]
    note.append(ARROW_LIMITS)


def send(
    server: Served,
    bodies: list[bytes],
    tokens: list[str],
    *,
    connections_: int,
    content_type: str = JSON,
    path: str = readings.PATH,
) -> Any:
    """Send the bodies by a client process of its own."""
    command = [sys.executable, "-m", "tests.bench.load", "127.0.0.1", str(server.port)]
    command += [str(connections_), str(SECONDS), path, ",".join(tokens), content_type]
    done = subprocess.run(command, input=framed(bodies), capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.decode())
    return json.loads(done.stdout)


@contextmanager
def bare(connections: Connections) -> Iterator[Served]:
    """The bare route as a process of its own."""
    port = choose_free(["bare"])["bare"]
    command = [sys.executable, "-m", "tests.bench.bare", str(port), connections.database_url]
    with subprocess.Popen(command) as process:
        _await(f"http://127.0.0.1:{port}/docs")
        yield Served(port, process.pid)
        process.terminate()


def copy_rate(connections: Connections, *, device: str, number: int = 200_000) -> float:
    """Rows a second of a COPY of rows that are in its binary form already, its commit counted."""
    rows = readings.stored(number, device=device)
    encoder = pgpq.ArrowToPostgresBinaryEncoder(rows.schema)
    content = encoder.write_header()
    for batch in rows.to_batches():
        content += encoder.write_batch(batch)
    content += encoder.finish()
    statement = f"COPY {readings.TABLE} ({', '.join(rows.column_names)}) FROM STDIN (FORMAT binary)"
    with psycopg.connect(connections.database_url) as connection:
        begin = time.perf_counter()
        with connection.cursor().copy(statement.encode()) as copy:
            copy.write(content)
        connection.commit()
        return number / (time.perf_counter() - begin)


def adbc_rate(connections: Connections, *, device: str, number: int = 200_000) -> float | str:
    """Rows a second of ADBC's own ingest, its commit counted; why not, where it is not there."""
    if find_spec("adbc_driver_postgresql") is None:
        return "left out: the package adbc-driver-postgresql is not installed"
    dbapi: Any = import_module("adbc_driver_postgresql.dbapi")

    rows = readings.stored(number, device=device)
    schema, _, table = readings.TABLE.partition(".")
    with dbapi.connect(connections.database_url) as connection, connection.cursor() as cursor:
        begin = time.perf_counter()
        cursor.adbc_ingest(table, rows, mode="append", db_schema_name=schema)
        connection.commit()
        return number / (time.perf_counter() - begin)


def influx_rate(folder: Path, *, number: int = 400_000, size: int = 5_000) -> float | str:
    """Points a second of line protocol; why not, where there is no InfluxDB."""
    program = shutil.which("influxd")
    if program is None:
        return "left out: Debian's package influxdb is not installed"
    ports = choose_free(["http", "rpc"])
    config = folder / "influxdb.conf"
    config.write_text(
        f'reporting-enabled = false\nbind-address = "127.0.0.1:{ports["rpc"]}"\n'
        f'[meta]\ndir = "{folder}/meta"\n[data]\ndir = "{folder}/data"\nwal-dir = "{folder}/wal"\n'
        f'[http]\nbind-address = "127.0.0.1:{ports["http"]}"\nlog-enabled = false\n'
    )
    command = [program, "-config", str(config)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        url = f"http://127.0.0.1:{ports['http']}"
        _await(f"{url}/ping")
        httpx.post(f"{url}/query", params={"q": "CREATE DATABASE bench"}).raise_for_status()
        bodies = readings.lines(number, size, device="i")
        server = Served(ports["http"], process.pid)
        path = "/write?db=bench&precision=u"
        sent = send(server, bodies, ["-"], connections_=4, content_type="text/plain", path=path)
        process.terminate()
    return float(sent["per_second"] * size)


def _await(url: str) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            if httpx.get(url).is_success:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise RuntimeError(f"{url} does not answer")


def _latencies(sent: Any) -> str:
    return f"{sent['per_second']:,.0f} | {sent['p50_ms']:.1f} | {sent['p99_ms']:.1f}"


def _rate(rate: float | str, copied: float) -> str:
    return f"{rate} | " if isinstance(rate, str) else f"{rate:,.0f} | {rate / copied:.2f}"
