"""What holds for every stream, and what follows by itself when one is added."""

from datetime import timedelta

import jsonschema
import psycopg
import pytest
from fastapi.testclient import TestClient
from pydantic import Field

from am_assets.definitions import build_defs
from am_assets.schemas import arrow, docs, postgres
from am_assets.schemas.columns import KEY, columns
from am_assets.schemas.json_schema import message_schema
from am_assets.streams.registry import REGISTRY, Registry, UnknownStreamError
from am_assets.streams.stream import Door, Row, Stream
from infra.drift import find_drift
from infra.migrate import apply_registry, has_timescale
from ingest_api.main import build_app
from ingest_api.settings import Settings
from ingest_api.tokens import Scope, create_token
from resources.connections import Connections
from tests.stored import drop

STREAMS = [pytest.param(stream, id=stream.name) for stream in REGISTRY.values()]
RAW = [pytest.param(stream, id=stream.name) for stream in REGISTRY.raw]


class Mood(Row):
    """How somebody feels."""

    level: int = Field(ge=0, le=10, description="0 = worst.")


MOOD = Stream(
    name="device.mood.level.raw",
    row=Mood,
    summary="How the owner feels, by their own word.",
    identity=("level",),
    kind="mood",
    title="Mood {level} of 10",
    example={"level": 7},
    doors=(Door(path="/mood"),),
    keep_hot=timedelta(days=12),
)


@pytest.mark.parametrize("stream", STREAMS)
def test_every_column_is_described_and_every_example_names_its_units(stream: Stream) -> None:
    assert all(column.description for column in columns(stream))
    assert set(KEY) <= {column.name for column in columns(stream)}
    assert stream.summary.endswith(".")


@pytest.mark.parametrize("stream", STREAMS)
def test_hot_and_lake_have_the_same_columns_in_the_same_order(stream: Stream) -> None:
    names = [column.name for column in columns(stream)]
    assert arrow.row_schema(stream).names == names
    assert arrow.delta_schema(stream).names == [*names, "day"]


@pytest.mark.parametrize("stream", RAW)
def test_the_example_fits_the_json_schema_and_nonsense_does_not(stream: Stream) -> None:
    schema = message_schema(stream)
    validator = jsonschema.Draft202012Validator(schema)
    validator.check_schema(schema)
    message = {**stream.example, "device_id": "d", "recorded_at": "2026-03-01T08:00:00Z"}
    assert stream.example
    validator.validate(message)
    assert not validator.is_valid({**stream.example, "device_id": "d"})


def test_every_stream_has_its_table_and_whatever_holds_rows_to_their_user(
    connections: Connections,
) -> None:
    with psycopg.connect(connections.database_url) as connection:
        is_timescale = has_timescale(connection)
        assert find_drift(connection, REGISTRY.values(), is_timescale=is_timescale) == []


def test_a_reader_sees_the_rows_of_one_user_and_none_without_a_user(
    connections: Connections,
) -> None:
    users = ("ann", "anna")  # one character apart
    with psycopg.connect(connections.database_url) as connection:
        for user in users:
            connection.execute(
                "INSERT INTO am.digital_notes_raw (user_id, device_id, ts, event_id, received_at, "
                "schema_version, content, note_type) VALUES (%s, 'd', now(), gen_random_uuid(), "
                "now(), 1, %s, 'text')",
                (user, f"a note of {user}"),
            )
        connection.execute("SET LOCAL ROLE am_reader")
        seen = {}
        for user in (*users, "an%", ""):
            connection.execute("SELECT set_config('app.user_id', %s, true)", (user,))
            rows = connection.execute("SELECT DISTINCT user_id FROM am.digital_notes_raw")
            seen[user] = [row[0] for row in rows]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("DELETE FROM am.digital_notes_raw")
        connection.rollback()
    assert seen == {"ann": ["ann"], "anna": ["anna"], "an%": [], "": []}


def test_a_stream_that_is_added_gets_table_security_endpoint_schemas_asset_check_and_row(
    connections: Connections,
) -> None:
    registry = REGISTRY.with_stream(MOOD)
    with psycopg.connect(connections.database_url) as connection:
        apply_registry(connection, registry)
        assert find_drift(connection, [MOOD], is_timescale=has_timescale(connection)) == []
        token = create_token(
            connection, user_id="moody", device_id="*", scopes=frozenset({Scope.WRITE})
        )
    answer = _send(registry, connections, token)
    with psycopg.connect(connections.database_url) as connection:
        row = connection.execute(f"SELECT level FROM am.{MOOD.table}").fetchone()
        titles = connection.execute(
            "SELECT title FROM am.timeline WHERE user_id = 'moody'"
        ).fetchall()
        apply_registry(connection, REGISTRY)
        drop(connection, MOOD)
    assert (answer["status"], row, titles) == ("success", (7,), [("Mood 7 of 10",)])
    assert arrow.delta_schema(MOOD).field("level").type == "int64"
    assert docs.stream_row(MOOD).startswith("| `device.mood.level.raw`")


def test_a_stream_that_is_added_gets_a_raw_asset_and_a_contract_check() -> None:
    defs = build_defs(registry=REGISTRY.with_stream(MOOD))
    graph = defs.resolve_asset_graph()
    keys = {key.to_user_string() for key in graph.get_all_asset_keys()}
    checks = {key.asset_key.to_user_string() for key in graph.asset_check_keys}
    assert f"raw/{MOOD.table}" in keys
    assert f"raw/{MOOD.table}" in checks


def test_timescale_statements_come_from_the_declaration() -> None:
    text = "\n".join(postgres.hypertable(MOOD))
    assert "create_hypertable('am_store.device_mood_level_raw'" in text
    assert "remove_compression_policy" in text.split("add_compression_policy")[0]


def test_a_name_or_door_can_not_be_declared_twice() -> None:
    with pytest.raises(ValueError, match="two streams"):
        REGISTRY.with_stream(REGISTRY["device.sensor.gps.raw"])
    with pytest.raises(UnknownStreamError, match="GET /v1/streams"):
        REGISTRY["device.sensor.mood.raw"]


def _send(registry: Registry, connections: Connections, token: str) -> dict[str, str]:
    app = build_app(Settings(), connections, registry=registry)
    with TestClient(app, headers={"Authorization": f"Bearer {token}"}) as client:
        assert "/mood" in client.get("/openapi.json").json()["paths"]
        assert client.get(f"/v1/streams/{MOOD.name}/schema").json()["title"] == MOOD.name
        body = {"level": 7, "device_id": "d", "recorded_at": "2026-03-01T08:00:00Z"}
        answer: dict[str, str] = client.post("/mood", json=body).json()
        return answer
