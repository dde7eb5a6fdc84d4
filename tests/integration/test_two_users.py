"""Nobody sees anything of anybody else, through any door, however alike two names are.

Three users: two whose names differ by one character, one whose name begins with another's. Each has
sent the same things at the same time, with the own name in all texts; the day is in the database
for one stream and in the lake alone for the other.
"""

import base64
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pyarrow as pa
import pytest
from fastapi.testclient import TestClient

from am_assets.streams.digital import NOTE
from am_assets.streams.registry import REGISTRY
from infra.export import Export
from infra.export_folder import ExportFolder
from ingest_api.main import build_app
from ingest_api.settings import Settings
from ingest_api.tokens import Scope, create_token
from resources import duck
from resources.connections import Connections
from resources.erasure import Erasures
from resources.erasure_rows import Scope as Erased
from resources.hot import HotStore
from resources.lake import Lake
from resources.retention import Retention
from resources.vectors import SearchRequest, VectorStore
from resources.whole import WholeStore
from tests.resources.moments_data import DIMENSION, letters, moment, table

pytestmark = pytest.mark.slow

USERS = ("ann", "anm", "ann2")
NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
DOCUMENT = REGISTRY["task.document.ingest"]
MAIL = REGISTRY["external.email.events.raw"]
SPAN = {"from": "2026-05-04T00:00:00Z", "to": "2026-05-05T00:00:00Z"}
CATALOGUES = ("hot", "lake", "whole")


def text_of(user: str) -> str:
    return f"bread of <{user}>"


@pytest.fixture(scope="module")
def clients(connections: Connections) -> Iterator[dict[str, TestClient]]:
    """A client of each user, all of whose things are there."""
    with psycopg.connect(connections.database_url) as database:
        tokens = {
            user: create_token(
                database, user_id=user, device_id="*", scopes=frozenset({Scope.ADMIN})
            )
            for user in USERS
        }
    app = build_app(Settings(models_profile="tiny"), connections)
    with TestClient(app) as opened:
        made = {}
        for user, token in tokens.items():
            client = TestClient(app, headers={"Authorization": f"Bearer {token}"})
            client.portal = opened.portal  # one loop for all of them
            made[user] = client
            send(client, user)
            remember(connections, user)
        for stream in (NOTE, MAIL):
            Lake(connections).publish(stream, NOON.date())
        Retention(connections, REGISTRY).leave(MAIL, NOON.date())
        yield made


def send(client: TestClient, user: str) -> None:
    text = text_of(user)
    content = base64.b64encode(text.encode()).decode()
    for stream, own in (
        (NOTE, {"title": text, "content": text}),
        (MAIL, {**MAIL.example, "email_id": "same", "subject": text, "body": text}),
        (DOCUMENT, {**DOCUMENT.example, "filename": text, "file_data": content}),
    ):
        body = {**own, "device_id": "phone", "recorded_at": NOON.isoformat()}
        answer = client.post(f"/v1/streams/{stream.name}", json=body)
        assert answer.json()["status"] == "success", answer.text
    client.post(f"/v1/streams/{NOTE.name}", json={"recorded_at": "never", "content": text})


def remember(connections: Connections, user: str) -> None:
    made = moment(text_of(user), user_id=user, ts=NOON, source_event_id="same")
    vectors(connections).replace(
        ["same"], table([made]), user_id=user, source_stream=made["source_stream"]
    )


def vectors(connections: Connections) -> VectorStore:
    return VectorStore(connections, model_id="letters", dimension=DIMENSION)


def strangers_in(answer: object, user: str) -> set[str]:
    """Whose texts are in an answer besides the user's own."""
    told = str(answer)
    return {other for other in USERS if other != user and text_of(other) in told}


@pytest.mark.parametrize("user", USERS)
def test_each_door_of_the_api_shows_ones_own(user: str, clients: dict[str, TestClient]) -> None:
    client = clients[user]
    doors = {
        "timeline": client.get("/v1/timeline", params=SPAN),
        "search": client.get("/v1/search", params={"q": "bread"}),
        "ledger": client.get("/v1/ledger", params={"day": "2026-05-04"}),
        "dead letters": client.get("/v1/dead-letters"),
        "sql": client.post(
            "/v1/sql", json={"query": "SELECT user_id, content FROM am.digital_notes_raw"}
        ),
        "sql of a day that left": client.post(
            "/v1/sql",
            json={"query": "SELECT user_id, subject FROM am.external_email_events_raw"},
        ),
        "sql timeline": client.post(
            "/v1/sql", json={"query": "SELECT user_id, title FROM am.timeline"}
        ),
    }
    for name, answer in doors.items():
        assert answer.status_code == 200, (name, answer.text)
        assert strangers_in(answer.text, user) == set(), name
    for name in ("timeline", "sql", "sql of a day that left", "sql timeline"):
        assert text_of(user) in doors[name].text, name
    assert len(doors["dead letters"].json()) == 1
    assert {line["user_id"] for line in doors["ledger"].json()["lines"]} == {user}


def test_a_blob_opens_for_its_own_user_alone(
    clients: dict[str, TestClient], connections: Connections
) -> None:
    with psycopg.connect(connections.database_url) as database:
        rows = database.execute("SELECT user_id, blob_key FROM am.blob").fetchall()
    assert {user for user, _ in rows} == set(USERS)
    for owner, key in rows:
        for user, client in clients.items():
            answer = client.get(f"/v1/blobs/{key}")
            expected = (200, text_of(owner)) if user == owner else (404, None)
            got = (answer.status_code, answer.text if answer.status_code == 200 else None)
            assert got == expected, (owner, user)


def test_a_moment_is_not_found_by_its_id_by_others(
    clients: dict[str, TestClient], connections: Connections
) -> None:
    """All three have the same id: it follows from the row's."""
    store = vectors(connections)
    for user in USERS:
        found = store.search(SearchRequest(user_id=user, text="bread"), letters("bread"))
        assert [hit.user_id for hit in found] == [user]
        hit = store.get(found[0].moment_id, user)
        assert hit is not None
        assert hit.text == text_of(user)
        assert store.count(user) == 1
    assert store.get(found[0].moment_id, "an") is None
    assert store.search(SearchRequest(user_id="an", text="bread"), letters("bread")) == []


@pytest.mark.parametrize("user", [*USERS, "an", "ann' OR '1'='1", "ann%"])
def test_the_databases_reader_and_the_whole_store_show_one_user(
    user: str, clients: dict[str, TestClient], connections: Connections
) -> None:
    expected = {user} & set(USERS)
    with HotStore(connections.database_url).reader(user) as reader:
        for name in ("digital_notes_raw", "landing", "dead_letter", "blob", "timeline", "device"):
            rows = reader.execute(f"SELECT DISTINCT user_id FROM am.{name}".encode()).fetchall()
            assert {one for (one,) in rows} == expected, name
    with WholeStore(connections).reader(user) as whole:
        for stream in (NOTE, MAIL):
            rows_ = whole.read_day(stream, NOON.date())
            assert set(rows_["user_id"].to_pylist()) == expected, stream.name


@pytest.mark.parametrize("user", [*USERS, "an"])
def test_duckdb_has_one_users_rows_in_every_catalogue(
    user: str, clients: dict[str, TestClient], connections: Connections
) -> None:
    expected = {user} & set(USERS)
    with duck.connect(connections, REGISTRY, user_id=user) as engine:
        for catalogue, name in (
            *((one, "digital_notes_raw") for one in CATALOGUES),
            *((one, "external_email_events_raw") for one in ("lake", "whole")),
            ("vectors", "moments_letters"),
            ("lake", "timeline"),
        ):
            found: pa.Table = duck.query(
                engine, f"SELECT DISTINCT user_id FROM {catalogue}.am.{name}"
            )
            assert set(found["user_id"].to_pylist()) == expected, (catalogue, name)


def test_an_export_is_of_one_user(
    clients: dict[str, TestClient], connections: Connections, tmp_path: Path
) -> None:
    folder = tmp_path / "ann"
    Export(connections, REGISTRY, "ann", ExportFolder(folder)).run(now=NOON)
    told = b"".join(path.read_bytes() for path in folder.rglob("*.csv"))
    assert text_of("ann").encode() in told
    assert strangers_in(told.decode(), "ann") == set()


def test_erasing_one_touches_no_other(
    clients: dict[str, TestClient], connections: Connections
) -> None:
    """The last one: ann goes; anm and ann2 keep all they have."""
    erasures = Erasures(connections, REGISTRY)
    before = [erasures.plan(Erased(user)) for user in ("anm", "ann2")]
    erasures.run(erasures.begin(Erased("ann")), lambda _step: None)
    assert erasures.plan(Erased("ann")).is_empty
    assert [erasures.plan(Erased(user)) for user in ("anm", "ann2")] == before
    assert clients["ann2"].get("/v1/timeline", params=SPAN).json()["entries"] != []
