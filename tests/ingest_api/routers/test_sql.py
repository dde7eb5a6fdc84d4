"""`POST /v1/sql` over the real API: whose rows, what is refused, and how that is said."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from am_assets.streams.digital import NOTE
from ingest_api.routers.sql import ARROW, plain
from ingest_api.tokens import Scope
from resources.connections import Connections
from resources.lake import Lake
from tests.resources.rows import insert

NOON = datetime(2031, 9, 4, 12, tzinfo=UTC)
ANN, AMY = f"sql-{uuid4().hex}", f"sql-{uuid4().hex}"
NOTES = "SELECT user_id, content, ts FROM am.digital_notes_raw ORDER BY ts"
ClientFor = Callable[..., httpx.Client]


@pytest.fixture(scope="module", autouse=True)
def filled(connections: Connections) -> None:
    for user in (ANN, AMY):
        note = {"user_id": user, "ts": NOON, "content": f"of {user}"}
        insert(connections.database_url, NOTE, [note])
    Lake(connections).publish(NOTE, NOON.date())


@pytest.fixture
def ann(client_for: ClientFor) -> httpx.Client:
    return client_for(ANN, scope=Scope.SQL)


def ask(client: httpx.Client, text: str, **more: Any) -> httpx.Response:
    return client.post("/v1/sql", json={"query": text, **more})


def test_one_users_rows_come_as_json_or_as_arrow(ann: httpx.Client) -> None:
    answer = ask(ann, NOTES).json()
    assert [column["name"] for column in answer["columns"]] == ["user_id", "content", "ts"]
    assert answer["rows"] == [[ANN, f"of {ANN}", NOON.isoformat()]]
    assert answer["row_count"] == 1
    response = ann.post("/v1/sql", json={"query": NOTES}, headers={"Accept": ARROW})
    assert response.headers["content-type"] == ARROW
    table = pa.ipc.open_stream(response.content).read_all()
    assert table.to_pylist() == [{"user_id": ANN, "content": f"of {ANN}", "ts": NOON}]


def test_parameters_fill_the_places_and_are_never_sql(ann: httpx.Client) -> None:
    text = "SELECT count(*) FROM lake.am.digital_notes_raw WHERE content = ?"
    assert ask(ann, text, parameters=[f"of {ANN}"]).json()["rows"] == [[1]]
    assert ask(ann, text, parameters=["' OR 1 = 1 --"]).json()["rows"] == [[0]]


@pytest.mark.parametrize(
    ("text", "more", "status", "told"),
    [
        ("DELETE FROM am.digital_notes_raw", {}, 403, "only questions"),
        ("SELECT * FROM read_text('/etc/passwd')", {}, 403, "read_text"),
        ("SELECT nothing FROM am.digital_notes_raw", {}, 422, "nothing"),
        ("SELECT * FROM hot.am.api_token", {}, 422, "permission denied"),
        ("FROM range(10)", {"limit": 9}, 413, "9 rows"),
        ("SELECT length(repeat('x', 4000000000))", {}, 413, "memory"),
        ("SELECT a.range FROM range(999999) a, range(999999) b", {"limit": 1}, 413, "1 rows"),
        ("SELECT sum(a.range * b.range) FROM range(9999999) a, range(9999999) b",
         {"timeout_s": 0.2}, 408, "0.2 s"),
        ("SELECT 1", {"limit": 0}, 422, "limit"),
        ("", {}, 422, "query"),
    ],
)  # fmt: skip
def test_what_is_not_answered_is_said_with_its_reason(
    ann: httpx.Client, text: str, more: dict[str, Any], status: int, told: str
) -> None:
    response = ask(ann, text, **more)
    assert response.status_code == status
    assert told in response.text


def test_a_question_needs_no_type_of_its_own_and_what_is_no_json_is_said(
    ann: httpx.Client,
) -> None:
    form = {"Content-Type": "application/x-www-form-urlencoded"}  # as `curl -d` sends it
    answer = ann.post("/v1/sql", content='{"query": "SELECT 1"}', headers=form)
    assert answer.status_code == 200, answer.text
    assert answer.json()["rows"] == [[1]]
    for text in ("SELECT 1", "[" * 100_000, '{"query": 1}', '"SELECT 1"'):
        assert ann.post("/v1/sql", content=text, headers=form).status_code == 422
    assert "JSON" in ann.post("/v1/sql", content="SELECT 1", headers=form).text


@pytest.mark.parametrize("scope", [Scope.READ, Scope.WRITE])
def test_a_token_needs_the_scope(client_for: ClientFor, scope: Scope) -> None:
    response = ask(client_for(ANN, scope=scope), "SELECT 1")
    assert response.status_code == 403
    assert "sql" in response.text


def test_every_question_leaves_a_line_without_its_words(
    ann: httpx.Client, database: psycopg.Connection
) -> None:
    ask(ann, NOTES)
    ask(ann, "DELETE FROM am.digital_notes_raw")
    lines = database.execute(
        "SELECT item_count, status FROM am.audit WHERE user_id = %s AND route = '/v1/sql' "
        "ORDER BY seq DESC LIMIT 2",
        (ANN,),
    ).fetchall()
    assert sorted(lines, key=str) == sorted([(1, 200), (None, 403)], key=str)


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.binary()
    | st.dates()
    | st.times()
    | st.datetimes()
    | st.timedeltas()
    | st.decimals(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(VALUES)
def test_any_value_can_be_told_in_json(value: Any) -> None:
    httpx.Response(200, json=[plain(value)]).json()
