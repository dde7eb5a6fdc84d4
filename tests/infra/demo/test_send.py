import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI, Request, Response, WebSocket
from fastapi.responses import JSONResponse
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.demo.message import PHONE, Door, Message
from infra.demo.send import BATCH, SendError, SendReport, plan, send

TOKEN = "secret"
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
REST = Door(path="/sensor/gps")
MANY = Door(path="/v1/streams/device.sensor.gps.raw", kind="batch")
SOCKET = PHONE.audio_socket


@dataclass
class Server:
    """A front door that keeps what it gets; it answers 503 `busy` times before it takes any."""

    busy: int = 0
    status: int = 200
    answer: str = "success"
    rejected: int | None = None
    busy_frames: int = 0
    got: list[Any] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    tokens: set[str | None] = field(default_factory=set)

    def app(self) -> FastAPI:
        app = FastAPI()
        app.add_api_route("/{path:path}", self.post, methods=["POST"])
        app.add_api_websocket_route("/audio/stream/{device_id}", self.stream)
        return app

    async def post(self, path: str, request: Request) -> Response:
        self.tokens.add(request.headers.get("Authorization"))
        self.paths.append(path)
        if self.busy:
            self.busy -= 1
            return Response("later", 503, headers={"Retry-After": "0"})
        if self.status == 200:
            self.got.append(await request.json())
        counts = {} if self.rejected is None else {"rejected": self.rejected}
        return JSONResponse({"status": self.answer, **counts}, self.status)

    async def stream(self, websocket: WebSocket) -> None:
        self.tokens.add(websocket.headers.get("Authorization"))
        if self.busy:
            self.busy -= 1
            await websocket.send_denial_response(
                Response("later", 503, headers={"Retry-After": "0"})
            )
            return
        await websocket.accept()
        async for message in websocket.iter_json():
            if self.busy_frames:
                self.busy_frames -= 1
                await websocket.send_json({"type": "error", "status": 503, "message": "later"})
                continue
            self.got.append(message)
            kind = "ack" if self.answer == "success" else "error"
            await websocket.send_json({"type": kind, "status": self.answer})


@contextmanager
def serving(server: Server) -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(server.app(), log_level="error", lifespan="off")
        running = uvicorn.Server(config)
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:  # a refusal raises through here
            running.should_exit = True
            thread.join()


def message(number: int, door: Door) -> Message:
    return Message(
        ts=EPOCH + timedelta(seconds=number),
        stream="device.sensor.gps.raw",
        device_id=PHONE.device_id,
        door=door,
        body={"message_id": f"{number}", "latitude": 45.0},
        is_generated=True,
    )


def deliver(
    server: Server, messages: list[Message], *, seen: list[int] | None = None
) -> SendReport:
    heard = [] if seen is None else seen
    with serving(server) as url:
        return asyncio.run(
            send(
                messages,
                base_url=url,
                token=TOKEN,
                concurrency=4,
                on_progress=lambda done, _: heard.append(done),
            )
        )


def test_each_message_arrives_once_by_its_own_door_with_the_token() -> None:
    server = Server()
    doors = [REST, MANY, SOCKET] * 5
    messages = [message(number, door) for number, door in enumerate(doors)]
    seen: list[int] = []
    report = deliver(server, messages, seen=seen)
    assert report == SendReport(sent=15, accepted=15, by_status={"success": 15}, failures=())
    single = [body for body in server.got if isinstance(body, dict) and "data" not in body]
    arrays = [body for body in server.got if isinstance(body, list)]
    chunks = [body for body in server.got if isinstance(body, dict) and "data" in body]
    assert {body["message_id"] for body in single} == {"0", "3", "6", "9", "12"}
    assert [[body["message_id"] for body in array] for array in arrays] == [
        ["1", "4", "7", "10", "13"]
    ]
    assert [chunk["data"]["message_id"] for chunk in chunks] == ["2", "5", "8", "11", "14"]
    assert {chunk["message_type"] for chunk in chunks} == {"audio_chunk"}
    assert server.tokens == {f"Bearer {TOKEN}"}
    assert sorted(seen) == seen
    assert seen[-1] == 15


@pytest.mark.parametrize("door", [REST, MANY, SOCKET])
def test_a_busy_server_is_asked_again_until_it_takes_the_message(door: Door) -> None:
    server = Server(busy=3)
    report = deliver(server, [message(0, door)])
    assert report.accepted == 1
    assert len(server.got) == 1


@pytest.mark.parametrize("door", [REST, SOCKET])
def test_a_server_that_stays_busy_is_given_up_loudly(door: Door) -> None:
    with pytest.raises(SendError, match="503"):
        deliver(Server(busy=100), [message(0, door)])


@pytest.mark.parametrize("status", [400, 401, 404, 422, 500])
def test_a_refusal_raises_with_status_and_path_and_is_not_repeated(status: int) -> None:
    server = Server(status=status)
    with pytest.raises(SendError) as error:
        deliver(server, [message(0, REST)])
    assert (error.value.status, error.value.path) == (status, "/sensor/gps")
    assert len(server.paths) == 1


def test_an_error_on_the_socket_raises() -> None:
    with pytest.raises(SendError, match="error"):
        deliver(Server(answer="quarantined"), [message(0, SOCKET)])


@pytest.mark.parametrize("answer", ["partial", "quarantined"])
def test_what_was_not_taken_whole_is_reported_with_its_ids(answer: str) -> None:
    report = deliver(Server(answer=answer), [message(0, MANY), message(1, MANY)])
    assert (report.sent, report.accepted, report.by_status) == (2, 0, {answer: 2})
    assert report.failures[0].message_ids == ("0", "1")


def test_of_a_partial_request_all_but_the_rejected_are_accepted() -> None:
    server = Server(answer="partial", rejected=1)
    report = deliver(server, [message(number, MANY) for number in range(5)])
    assert (report.sent, report.accepted, len(report.failures)) == (5, 4, 1)


def test_a_chunk_refused_as_busy_on_the_socket_is_sent_again_in_its_turn() -> None:
    server = Server(busy_frames=1)
    report = deliver(server, [message(0, SOCKET), message(1, SOCKET)])
    assert report.accepted == 2
    assert [frame["data"]["message_id"] for frame in server.got] == ["0", "1"]


def test_a_server_that_is_not_there_raises() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    with pytest.raises(httpx.ConnectError):
        asyncio.run(
            send(
                [message(0, REST)],
                base_url=f"http://127.0.0.1:{port}",
                token=TOKEN,
                concurrency=1,
                on_progress=lambda _done, _total: None,
            )
        )


@settings(deadline=None)
@given(st.lists(st.sampled_from([REST, MANY, SOCKET]), max_size=40), st.integers(0, 1200))
def test_a_plan_loses_nothing_and_keeps_the_order_at_each_door(
    doors: list[Door], extra: int
) -> None:
    messages = [message(number, door) for number, door in enumerate(doors + [MANY] * extra)]
    work = [request for requests in plan(messages) for request in requests]
    for door in (REST, MANY, SOCKET):
        planned = [m for request in work if request.door == door for m in request.messages]
        assert planned == [m for m in messages if m.door == door]
    assert all(len(r.messages) <= (BATCH if r.door == MANY else 1) for r in work)


def test_a_plan_begins_with_the_earliest_message() -> None:
    late = replace(message(5, REST))
    starts = [requests[0].messages[0].ts for requests in plan([message(9, MANY), late])]
    assert starts == sorted(starts)
