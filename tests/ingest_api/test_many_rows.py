"""Many rows at once through the doors, into the real database: stored once, counted right."""

import io
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import psycopg
import pyarrow as pa
import pytest

from am_assets.streams.registry import REGISTRY
from ingest_api.batch import ENOUGH_FOR_COLUMNS
from ingest_api.bodies import ARROW
from tests.ingest_api.conftest import ClientFor

STREAM = REGISTRY["device.sensor.accelerometer.raw"]
MANY = ENOUGH_FOR_COLUMNS + 64
PATH = f"/v1/streams/{STREAM.name}"
BEGIN = datetime(2026, 2, 1, 23, 59, 30, tzinfo=UTC)  # the rows lie on two days
LEDGER = """SELECT day::text, sum(received)::int, sum(stored)::int, sum(duplicate)::int,
sum(rejected)::int FROM am.landing WHERE user_id = %s GROUP BY 1 ORDER BY 1"""
ROWS = """SELECT device_id, ts, tz_offset_min, event_id, x_m_s2, y_m_s2, z_m_s2, extra
FROM am.device_sensor_accelerometer_raw WHERE user_id = %s ORDER BY device_id, ts, event_id"""


def readings(number: int, *, first: int = 0) -> list[dict[str, Any]]:
    """One a second."""
    return [
        {
            "device_id": "phone",
            "recorded_at": (BEGIN + timedelta(seconds=place)).isoformat(),
            "x": place / 8,
            "y": -0.25,
            "z": 9.75,
            "note": f"reading {place}",
        }
        for place in range(first, first + number)
    ]


def as_json(rows: list[dict[str, Any]]) -> tuple[bytes, str]:
    """An array."""
    return json.dumps(rows).encode(), "application/json"


def as_arrow(rows: list[dict[str, Any]]) -> tuple[bytes, str]:
    """A stream."""
    table = pa.Table.from_pylist(rows)
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return sink.getvalue(), ARROW


def send(client: httpx.Client, sending: tuple[bytes, str]) -> dict[str, Any]:
    """What is answered."""
    content, kind = sending
    answer = client.post(PATH, content=content, headers={"Content-Type": kind})
    answer.raise_for_status()
    told: dict[str, Any] = answer.json()
    return told


def counts(told: dict[str, Any]) -> tuple[int, int, int, int]:
    """Received, stored, duplicate, rejected."""
    return told["received"], told["stored"], told["duplicate"], told["rejected"]


Form = Callable[[list[dict[str, Any]]], tuple[bytes, str]]
FORMS = pytest.mark.parametrize("form", [as_json, as_arrow])


@FORMS
def test_many_rows_are_the_same_rows_that_they_are_alone(
    client_for: ClientFor, user: str, database: psycopg.Connection, form: Form
) -> None:
    rows = readings(MANY)
    send(client_for(f"{user}-many"), form(rows))
    alone = client_for(f"{user}-alone")
    for row in rows:
        send(alone, as_json([row]))
    stored = database.execute(ROWS, [f"{user}-many"]).fetchall()
    assert len(stored) == MANY
    assert stored == database.execute(ROWS, [f"{user}-alone"]).fetchall()


@FORMS
def test_rows_sent_again_are_duplicates_and_new_ones_among_them_are_stored(
    client: httpx.Client, user: str, database: psycopg.Connection, form: Form
) -> None:
    assert counts(send(client, form(readings(100)))) == (100, 100, 0, 0)
    assert counts(send(client, form(readings(100)))) == (100, 0, 100, 0)
    assert counts(send(client, form(readings(120, first=40)))) == (120, 60, 60, 0)
    assert len(database.execute(ROWS, [user]).fetchall()) == 160
    assert database.execute(LEDGER, [user]).fetchall() == [
        ("2026-02-01", 60, 30, 30, 0),
        ("2026-02-02", 260, 130, 130, 0),
    ]


@FORMS
def test_a_row_twice_in_one_body_is_stored_once(client: httpx.Client, form: Form) -> None:
    rows = readings(MANY)
    assert counts(send(client, form([*rows, *rows[:3]]))) == (MANY + 3, MANY, 3, 0)


@FORMS
def test_wrong_rows_among_many_are_dead_letters_with_their_places(
    client: httpx.Client, user: str, database: psycopg.Connection, form: Form
) -> None:
    rows = readings(MANY)
    rows[5] = {**rows[5], "x": None}
    rows[70] = {**rows[70], "recorded_at": "yesterday"}
    told = send(client, form(rows))
    assert counts(told) == (MANY, MANY - 2, 0, 2)
    assert [letter["index"] for letter in told["dead_letters"]] == [5, 70]
    sums = database.execute(
        "SELECT sum(received)::int, sum(stored)::int, sum(rejected)::int FROM am.landing "
        "WHERE user_id = %s",
        [user],
    ).fetchone()
    assert sums == (MANY, MANY - 2, 2)


def test_many_clients_that_send_the_same_at_once_store_it_once(
    client_for: ClientFor, user: str, database: psycopg.Connection
) -> None:
    clients = [client_for(user) for _ in range(6)]
    sendings = [as_json(readings(MANY)), as_arrow(readings(MANY)), as_json(readings(10))] * 2
    with ThreadPoolExecutor(len(clients)) as pool:
        told = list(pool.map(send, clients, sendings))
    assert sum(one["stored"] for one in told) == MANY
    assert sum(one["received"] for one in told) == 4 * MANY + 20
    assert len(database.execute(ROWS, [user]).fetchall()) == MANY
    ledger = database.execute(LEDGER, [user]).fetchall()
    sums = [sum(column) for column in zip(*(line[1:] for line in ledger), strict=True)]
    assert sums == [4 * MANY + 20, MANY, 3 * MANY + 20, 0]


def test_single_events_that_come_at_once_are_each_answered_with_their_own_fate(
    client_for: ClientFor, user: str, database: psycopg.Connection
) -> None:
    clients = [client_for(user) for _ in range(8)]
    send(clients[0], as_json(readings(1, first=100)))  # from here on the device is known
    rows = [row for row in readings(30) for _ in range(2)]
    with ThreadPoolExecutor(len(clients)) as pool:
        sent = [
            pool.submit(send, clients[place % len(clients)], as_json([row]))
            for place, row in enumerate(rows)
        ]
        told = [one.result() for one in sent]
    pairs = [told[place]["stored"] + told[place + 1]["stored"] for place in range(0, 60, 2)]
    assert pairs == [1] * 30
    assert len(database.execute(ROWS, [user]).fetchall()) == 31


def test_a_row_that_only_the_database_refuses_does_not_take_its_neighbours_with_it(
    client: httpx.Client, user: str, database: psycopg.Connection
) -> None:
    name = "device_sensor_accelerometer_raw"
    where = "SELECT coalesce(to_regclass(%s), to_regclass(%s))::text"  # a hypertable, or a table
    (table,) = database.execute(where, (f"am_store.{name}", f"am.{name}")).fetchone() or ("",)
    check = f"CHECK (user_id <> '{user}' OR x_m_s2 <> 0.875)"
    database.execute(f"ALTER TABLE {table} ADD CONSTRAINT no_seven {check}".encode())
    told = send(client, as_arrow(readings(MANY)))
    database.execute(f"ALTER TABLE {table} DROP CONSTRAINT no_seven".encode())
    assert counts(told) == (MANY, MANY - 1, 0, 1)
    assert [letter["index"] for letter in told["dead_letters"]] == [7]
