"""That the stores hold what the registry declares: a real database, a real door, a real reader."""

import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from fastapi.testclient import TestClient

from am_assets.schemas import postgres
from am_assets.schemas.arrow import row_schema
from am_assets.schemas.columns import ColumnType, columns
from am_assets.schemas.timeline import Dialect, timeline_select
from am_assets.streams.registry import REGISTRY
from am_assets.streams.stream import Stream
from infra.migrate import apply_registry, registry_statements
from ingest_api.main import build_app
from ingest_api.settings import Settings
from ingest_api.tokens import Scope, create_token
from resources.connections import Connections
from resources.hot import HotStore
from tests.am_assets.streams.test_registry import MOOD
from tests.stored import drop, stored_in

STREAMS = [pytest.param(stream, id=stream.name) for stream in REGISTRY.values()]
RAW = [pytest.param(stream, id=stream.name) for stream in REGISTRY.raw]
USER, DAY = "catalogue", date(2024, 2, 29)
COLUMNS = """SELECT column_name, data_type, is_nullable FROM information_schema.columns
    WHERE table_schema = %s AND table_name = %s ORDER BY ordinal_position"""
NAMES = {"timestamptz": "timestamp with time zone"}


@pytest.fixture(scope="module")
def database(connections: Connections) -> Iterator[psycopg.Connection]:
    """The database of the stack, with every raw stream's example sent to it."""
    with psycopg.connect(connections.database_url, autocommit=True) as connection:
        token = create_token(
            connection, user_id=USER, device_id="*", scopes=frozenset({Scope.WRITE})
        )
        _send_all(connections, token)
        yield connection


def _send_all(connections: Connections, token: str) -> None:
    app = build_app(Settings(), connections)
    with TestClient(app, headers={"Authorization": f"Bearer {token}"}) as client:
        for stream in REGISTRY.raw:
            body = {**stream.example, "device_id": "d", "recorded_at": f"{DAY}T08:00:00Z"}
            answer = client.post(f"/v1/streams/{stream.name}", json=body)
            assert answer.json()["status"] == "success", (stream.name, answer.text)


@pytest.mark.parametrize("stream", STREAMS)
def test_the_database_has_the_declared_columns_types_and_nulls(
    stream: Stream, database: psycopg.Connection
) -> None:
    found = database.execute(COLUMNS, (stored_in(database), stream.table)).fetchall()
    declared = [
        (
            column.name,
            NAMES.get(postgres.SQL_TYPES[column.type], postgres.SQL_TYPES[column.type]),
            "YES" if column.is_nullable else "NO",
        )
        for column in columns(stream)
    ]
    assert found == declared


@pytest.mark.parametrize("stream", STREAMS)
def test_each_streams_part_of_the_timeline_is_valid_sql(
    stream: Stream, database: psycopg.Connection
) -> None:
    part = timeline_select(stream, source=postgres.qualified(stream), dialect=Dialect.POSTGRES)
    database.execute(f"{part} LIMIT 0".encode())


@pytest.mark.parametrize("stream", RAW)
def test_an_example_comes_back_from_the_hot_store_and_has_a_title_in_the_timeline(
    stream: Stream, database: psycopg.Connection, connections: Connections
) -> None:
    rows = HotStore(connections.database_url).read_day(stream, DAY)
    mine = rows.filter(pc.equal(rows["user_id"], pa.scalar(USER)))
    assert mine.schema.equals(row_schema(stream))
    (row,) = mine.to_pylist()
    for column in columns(stream):
        if column.type is ColumnType.JSON and row[column.name] is not None:
            json.loads(row[column.name])
    titles = database.execute(
        "SELECT title, kind FROM am.timeline WHERE user_id = %s AND source_table = %s",
        (USER, stream.table),
    ).fetchall()
    assert [kind for _, kind in titles] == [stream.kind]
    assert "{" not in stream.title.format_map(_Any())
    assert titles[0][0]


class _Any(dict[str, Any]):
    """Any name has a value."""

    def __missing__(self, name: str) -> str:
        return name


@pytest.fixture
def larger(connections: Connections) -> Iterator[psycopg.Connection]:
    """A connection for trials with one more stream, of which nothing is left afterwards."""
    with psycopg.connect(connections.database_url) as connection:
        yield connection
    with psycopg.connect(connections.database_url) as connection:
        apply_registry(connection, REGISTRY)
        drop(connection, MOOD)


def test_a_registry_is_applied_once_and_again_when_it_or_the_database_changed(
    larger: psycopg.Connection,
) -> None:
    registry = REGISTRY.with_stream(MOOD)
    assert apply_registry(larger, registry)
    assert not apply_registry(larger, registry)
    drop(larger, MOOD)
    assert apply_registry(larger, registry)
    schema = stored_in(larger)
    larger.execute(f"ALTER TABLE {schema}.{MOOD.table} DROP COLUMN level CASCADE".encode())
    larger.execute("UPDATE am.registry_note SET statements_sha256 = 'of an older version'")
    assert apply_registry(larger, registry)
    assert "level" in {name for name, *_ in larger.execute(COLUMNS, (schema, MOOD.table))}
    assert apply_registry(larger, REGISTRY)
    assert not apply_registry(larger, REGISTRY)


def test_a_statement_that_fails_leaves_nothing_half_done(
    larger: psycopg.Connection,
) -> None:
    apply_registry(larger, REGISTRY)
    broken = replace(MOOD, title="{no_such_column}")
    with pytest.raises(psycopg.errors.UndefinedColumn):
        apply_registry(larger, REGISTRY.with_stream(broken))
    larger.rollback()
    assert larger.execute(f"SELECT to_regclass('am.{MOOD.table}')").fetchone() == (None,)
    assert not apply_registry(larger, REGISTRY)


def test_the_statements_are_the_same_at_every_start() -> None:
    first, second = (registry_statements(REGISTRY.values(), is_timescale=True) for _ in range(2))
    assert first == second
