"""Every stream, by every way in: in its table, in its day of the lake, in the lake's timeline.

All is sent once, processed once, published once and read by one DuckDB connection; each way is then
a test of its own.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx
import psycopg
import pytest
from dagster import materialize

from am_assets.derived.catalog import ENRICHMENTS
from am_assets.process import Tools, process_pending
from am_assets.raw.asset import raw_asset
from am_assets.schemas.docs import catalogue, stream_kind
from am_assets.streams.registry import REGISTRY
from am_assets.streams.stream import Stream
from infra.demo.day import real_day
from infra.demo.message import AUDIO, Message
from ingest_api.adapters.catalog import ADAPTERS
from ingest_api.notifications import RESPONSES
from ingest_api.tokens import Scope, create_token
from resources.compute import LocalCompute, ModelChoice
from resources.connections import Connections
from resources.duck import connect, query
from tests.ingest_api.conftest import base_url  # noqa: F401 - a fixture
from tests.ingest_api.founding.conftest import Socket, socket_of
from tests.integration.app_requests import REQUESTS, THEN, AppCall, root_call
from tests.integration.walk_routes import FrameRoute, Request, frames, requests
from tests.models.media import tiny_weights

DAY = THEN.date()
REQUEST_ROUTES = [pytest.param(route, id=route.name) for route in requests()]
FRAME_ROUTES = [pytest.param(route, id=route.name) for route in frames()]
RESPONSE_ROUTES = ("/notifications/ws", "/realtime/ws")
APP_STREAMS = [
    pytest.param(name, REGISTRY[stream], id=f"{name} {stream}")
    for name, adapter in ADAPTERS.items()
    for stream in adapter.streams
]
ROOTS = [
    pytest.param(name, root, id=root)
    for name, adapter in ADAPTERS.items()
    for root in adapter.roots
]
MADE = [pytest.param(one.output, id=one.name) for one in ENRICHMENTS if one.output]
WALKER, IVO = "walker", "ivo"
FEW_SOUNDS, FEW_PICTURES = 2, 1
BATCH = 500

Found = frozenset[tuple[str, str, str]]
ClientOf = Callable[[str], httpx.Client]


@dataclass(frozen=True)
class Walk:
    """Where rows were found, each as table, user and device; `answers` by the name of the way."""

    answers: Mapping[str, Mapping[str, Any]]
    hot: Found
    lake: Found
    timeline: Found

    def check(self, stream: Stream, user_id: str, device_id: str | None = None) -> None:
        """A row of this user (and device) is in all three places."""
        for place, found in (("hot", self.hot), ("lake", self.lake), ("timeline", self.timeline)):
            rows = [row for row in found if row[:2] == (stream.table, user_id)]
            assert any(device_id in (None, row[2]) for row in rows), f"not in {place}: {rows}"


@pytest.fixture(scope="module")
def walk(connections: Connections, base_url: str) -> Iterator[Walk]:  # noqa: F811
    """All of it, sent, made, published and found."""
    clients: dict[str, httpx.Client] = {}

    def client_of(user_id: str) -> httpx.Client:
        if user_id not in clients:
            bearer = {"Authorization": f"Bearer {token(connections, user_id)}"}
            clients[user_id] = httpx.Client(base_url=base_url, headers=bearer, timeout=60)
        return clients[user_id]

    answers = send_requests(client_of) | send_frames(base_url, token(connections, WALKER))
    answers |= respond(client_of(WALKER), base_url, token(connections, WALKER))
    send_apps(client_of)
    send_day(client_of(IVO))
    tools = Tools.at(connections, LocalCompute(ModelChoice("tiny", tiny_weights())))
    publish_raw_assets(tools)
    process_pending(tools)
    yield look(connections, answers)
    for client in clients.values():
        client.close()


def token(connections: Connections, user_id: str) -> str:
    """A token for any device of a user."""
    with psycopg.connect(connections.database_url) as connection:
        return create_token(
            connection, user_id=user_id, device_id="*", scopes=frozenset({Scope.ADMIN})
        )


def send_requests(client_of: ClientOf) -> dict[str, Any]:
    """Every HTTP way of every stream."""
    client = client_of(WALKER)
    return {
        route.name: client.post(
            route.path, content=route.content, headers={"Content-Type": route.media_type}
        ).json()
        for route in requests()
    }


def send_frames(url: str, token: str) -> dict[str, Any]:
    """Every kind of frame, on one socket a path."""
    answers: dict[str, Any] = {}
    for path in sorted({route.path for route in frames()}):
        with socket_of(url, f"{path}?token={token}") as socket:
            for route in frames():
                if route.path == path:
                    answers[route.name] = socket.ask(dict(route.frame), route.answer)
    return answers


def respond(client: httpx.Client, url: str, token: str) -> dict[str, Any]:
    """What became of a notification, told on both sockets."""
    made = client.post("/v1/notifications", json={"title": "Water the plants", "body": "Dry."})
    told = {"notification_id": made.json()["notification_id"]}
    answers = {}
    for path, kind in zip(RESPONSE_ROUTES, ("delivered", "notification_delivered"), strict=True):
        with socket_of(url, f"{path}/{path.strip('/').replace('/', '-')}?token={token}") as socket:
            answers[path] = _ask(socket, {"type": kind, "payload": told})
    return answers


def _ask(socket: Socket, frame: dict[str, Any]) -> dict[str, Any]:
    return socket.ask(frame, "notification_ack")


def send_apps(client_of: ClientOf) -> None:
    """Every app's requests for a user of its own; at its further paths for one of theirs."""
    for name, adapter in ADAPTERS.items():
        calls = REQUESTS.get(name, ())
        for call in calls:
            _call(client_of(f"app-{name}"), call)
        for root in adapter.roots if calls else ():
            _call(client_of(_root_user(root)), root_call(root, calls[0]))


def _call(client: httpx.Client, call: AppCall) -> None:
    answer = client.request(call.method, call.path, **call.told)
    assert answer.status_code < 300, (call.path, answer.text)


def _root_user(root: str) -> str:
    return "root-" + "".join(letter for letter in root if letter.isalnum())


def send_day(client: httpx.Client) -> None:
    """The demo's day, but few of its sounds and pictures: the real input of the enrichments."""
    streams: dict[str, list[Message]] = {}
    for message in real_day(DAY, seed=1).messages:
        streams.setdefault(message.stream, []).append(message)
    for name, messages in streams.items():
        blob = REGISTRY[name].blob
        few = FEW_SOUNDS if name == AUDIO else FEW_PICTURES
        chosen = [dict(message.body) for message in (messages[:few] if blob else messages)]
        for start in range(0, len(chosen), BATCH):
            answer = client.post(f"/v1/streams/{name}", json=chosen[start : start + BATCH])
            assert answer.json()["rejected"] == 0, answer.text


def publish_raw_assets(tools: Tools) -> None:
    """The day of every raw stream, by its asset, in one run."""
    done = materialize(
        [raw_asset(stream) for stream in REGISTRY.raw],
        partition_key=DAY.isoformat(),
        resources={"tools": tools},
    )
    assert done.success


def look(connections: Connections, answers: Mapping[str, Any]) -> Walk:
    """What the database and the lake hold, by one connection of DuckDB."""
    with connect(connections, REGISTRY) as duck:
        found = {}
        for catalog in ("hot", "lake"):
            is_day = " WHERE day = CAST(ts AS DATE)" if catalog == "lake" else ""
            parts = [
                f"SELECT DISTINCT '{stream.table}', user_id, device_id "
                f"FROM {catalog}.am.{stream.table}{is_day}"
                for stream in REGISTRY.values()
            ]
            found[catalog] = _rows(query(duck, " UNION ALL ".join(parts)))
        timeline = "SELECT DISTINCT source_table, user_id, device_id FROM lake.am.timeline"
        return Walk(answers, found["hot"], found["lake"], _rows(query(duck, timeline)))


def _rows(table: Any) -> Found:
    return frozenset(tuple(row.values()) for row in table.to_pylist())


@pytest.mark.parametrize("route", REQUEST_ROUTES)
def test_what_a_door_takes_is_in_its_table_its_day_and_the_timeline(
    route: Request, walk: Walk
) -> None:
    answer = walk.answers[route.name]
    assert (answer.get("stored"), answer.get("rejected")) == (1, 0), answer
    walk.check(route.stream, WALKER, route.name)


@pytest.mark.parametrize("route", FRAME_ROUTES)
def test_what_a_socket_takes_is_in_its_table_its_day_and_the_timeline(
    route: FrameRoute, walk: Walk
) -> None:
    answer = walk.answers[route.name]
    assert answer.get("stored") == 1, answer
    walk.check(route.stream, WALKER, route.name)


@pytest.mark.parametrize("path", RESPONSE_ROUTES)
def test_what_a_device_says_of_a_notification_is_found_as_well(path: str, walk: Walk) -> None:
    assert walk.answers[path]["stored"] == 1
    walk.check(REGISTRY[RESPONSES], WALKER, path.strip("/").replace("/", "-"))


@pytest.mark.parametrize(("name", "stream"), APP_STREAMS)
def test_each_app_writes_to_every_stream_that_its_page_promises(
    name: str, stream: Stream, walk: Walk
) -> None:
    assert name in REQUESTS, "say in app_requests.py what this app sends"
    walk.check(stream, f"app-{name}")


@pytest.mark.parametrize(("name", "root"), ROOTS)
def test_each_further_path_of_an_app_brings_rows_too(name: str, root: str, walk: Walk) -> None:
    user = _root_user(root)
    assert any(row[1] == user for row in walk.timeline), name


@pytest.mark.parametrize("stream", MADE)
def test_each_enrichment_makes_rows_of_real_input(stream: Stream, walk: Walk) -> None:
    walk.check(stream, IVO)


def test_no_stream_is_an_orphan_and_the_catalogue_counts_what_is_planned() -> None:
    made = {one.output for one in ENRICHMENTS if one.output}
    walked = {route.stream for route in requests()}
    planned = [stream for stream in REGISTRY.values() if stream.planned]
    assert walked | made | set(planned) == set(REGISTRY.values())
    assert not made & set(planned)
    assert f"{len(planned)} planned." in catalogue(REGISTRY, readers={}).splitlines()[0]
    assert {stream_kind(stream) for stream in planned} <= {"planned"}
