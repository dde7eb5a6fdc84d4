"""The asking routes over the real stores; who asks is told by a fake authenticator."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from typing import Any
from uuid import NAMESPACE_OID, UUID, uuid4, uuid5

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from am_assets.schemas.moments import moment_id
from am_assets.streams.audio import AUDIO, SPEECH
from am_assets.streams.digital import NOTE
from am_assets.streams.health import HEART_RATE
from am_assets.streams.registry import REGISTRY
from am_assets.streams.text import TRANSCRIPT
from ingest_api import middleware
from ingest_api.errors import IngestError
from ingest_api.limits import RateLimits
from ingest_api.routers import blobs, ledger, moments, search, timeline
from ingest_api.routers.asking import Asking
from ingest_api.routers.blobs import Part, UnsatisfiableRangeError, is_own, part_of
from ingest_api.settings import Settings
from ingest_api.tokens import Principal, Scope
from resources.blobs import BlobStore
from resources.connections import Connections
from resources.vectors import VectorStore
from tests.resources import moments_data
from tests.resources.rows import insert, landing, lineage
from tests.resources.test_search import EmptyCompute, LettersCompute

NOON = datetime(2031, 8, 4, 12, tzinfo=UTC)
DAY = date(2031, 8, 4)
ANN, AMY = "ann-asks", "amy-asks"
CHUNK, SPEAKING, TEXT = UUID(int=11), UUID(int=12), UUID(int=13)
KEY = f"blobs/{ANN}/device.audio.raw/2031-08-04/abc"
SOUND = bytes(range(256)) * 5
MODEL = f"letters {uuid4().hex}"
MOMENT = moment_id(TRANSCRIPT.name, TEXT, 0)
ClientFor = Callable[..., TestClient]


class NameIsToken:
    """Takes the token for the user's name; `writer` may only write."""

    async def principal(self, token: str) -> Principal:
        scope = Scope.WRITE if token == "writer" else Scope.READ
        return Principal(uuid5(NAMESPACE_OID, token), token, None, frozenset({scope}))

    async def trusted(self, _request: object, _token: str | None) -> None:
        """Nobody is let in without one."""


@pytest.fixture(scope="module")
def filled(connections: Connections) -> Connections:
    """A recording with its transcript and moment, a note, heart beats; a note of somebody else."""
    url = connections.database_url
    BlobStore(connections).put_all([(KEY, SOUND, "audio/wav")])
    own = {"user_id": ANN, "ts": NOON}
    insert(url, AUDIO, [{**own, "event_id": CHUNK, "blob_key": KEY}])
    made = lineage(AUDIO, CHUNK, blob_key=KEY)
    insert(url, SPEECH, [{**own, "event_id": SPEAKING, **made}])
    made = lineage(SPEECH, SPEAKING, blob_key=KEY)
    insert(url, TRANSCRIPT, [{**own, "event_id": TEXT, "text": "bread rises", **made}])
    note = {**own, "ts": NOON + timedelta(minutes=4), "title": "Bread", "content": "Feed it."}
    insert(url, NOTE, [note, {**note, "user_id": AMY, "content": "amy's"}])
    beats = [{**own, "ts": NOON + timedelta(minutes=n), "bpm": 60 + n} for n in range(8)]
    insert(url, HEART_RATE, beats)
    landing(url, ANN, NOTE, DAY, 2, 1, 1, 0)
    landing(url, AMY, NOTE, DAY, 2, 2, 0, 0)
    moment = moments_data.moment(
        "bread rises",
        user_id=ANN,
        ts=NOON,
        source_stream=TRANSCRIPT.name,
        source_event_id=str(TEXT),
        blob_key=KEY,
    )
    store = VectorStore(connections, model_id=MODEL, dimension=moments_data.DIMENSION)
    table = moments_data.table([moment])
    store.replace([str(TEXT)], table, user_id=ANN, source_stream=TRANSCRIPT.name)
    return connections


@pytest.fixture(scope="module")
def client_for(filled: Connections) -> ClientFor:
    def make(
        user: str | None, *, has_model: bool = True, stores: Connections = filled
    ) -> TestClient:
        app = FastAPI()
        compute = LettersCompute(MODEL) if has_model else EmptyCompute()
        asking = Asking.build(stores, REGISTRY, compute, model_id=MODEL)
        rates = RateLimits(Settings())
        app.state.services = SimpleNamespace(
            asking=asking, authenticator=NameIsToken(), rates=rates
        )
        app.add_exception_handler(IngestError, middleware.refuse)
        for routes in (timeline, search, moments, ledger, blobs):
            app.include_router(routes.router)
        return TestClient(app, headers={"X-API-Key": user} if user else {})

    return make


@pytest.fixture(scope="module")
def ann(client_for: ClientFor) -> TestClient:
    return client_for(ANN)


@pytest.fixture(scope="module")
def amy(client_for: ClientFor) -> TestClient:
    return client_for(AMY)


def ask(client: TestClient, path: str, **query: Any) -> Any:
    answer = client.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


SPAN = {"from": "2031-08-04T11:00:00Z", "to": "2031-08-04T13:00:00Z"}


def test_the_timeline_shows_your_own_events_early_to_late(ann: TestClient, amy: TestClient) -> None:
    found = ask(ann, "/v1/timeline", **SPAN)
    assert [entry["kind"] for entry in found["entries"]] == ["audio", "speech", "note"]
    assert found["entries"][2] == {
        **found["entries"][2],
        "ts": "2031-08-04T12:04:00Z",
        "user_id": ANN,
        "device_id": "phone",
        "title": "Bread",
        "body": "Feed it.",
        "source_table": "digital_notes_raw",
        "blob_key": None,
        "is_detail": False,
    }
    assert found["next_cursor"] is None
    assert [entry["body"] for entry in ask(amy, "/v1/timeline", **SPAN)["entries"]] == ["amy's"]


def test_the_timeline_goes_on_where_its_cursor_says(ann: TestClient) -> None:
    kinds = {"kinds": "heart rate, note"}
    whole = ask(ann, "/v1/timeline", **SPAN, **kinds)["entries"]
    assert len(whole) == 9
    first = ask(ann, "/v1/timeline", **SPAN, **kinds, limit=4)
    rest = ask(ann, "/v1/timeline", **SPAN, **kinds, cursor=first["next_cursor"])
    assert first["entries"] + rest["entries"] == whole
    assert rest["next_cursor"] is None


def test_a_span_with_one_end_is_a_day(ann: TestClient) -> None:
    begin = ask(ann, "/v1/timeline", **{"from": "2031-08-04T00:00:00Z"})
    end = ask(ann, "/v1/timeline", to="2031-08-05T00:00:00+00:00")
    assert begin == end
    assert len(begin["entries"]) == 3


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ({"from": "2031-08-04T12:00:00"}, "timezone"),
        ({"from": "yesterday"}, "datetime"),
        ({"from": "2031-01-01T00:00:00Z", "to": "2031-08-04T13:00:00Z"}, "31 days"),
        ({"from": "2031-08-04T13:00:00Z", "to": "2031-08-04T13:00:00Z"}, "later"),
        ({"from": "2031-08-01T13:00:00Z", "to": "2031-08-04T13:00:00Z", "kinds": "power"}, "1 day"),
        ({"kinds": "mood"}, "there are acceleration, activity"),
        ({"limit": "0"}, "greater than or equal to 1"),
        ({"limit": "1000000"}, "less than or equal to 5000"),
        ({"cursor": "x"}, "cursor"),
        ({"form": "2031-08-04T13:00:00Z"}, "Extra inputs"),
    ],
)
def test_a_timeline_question_that_is_not_answered_says_why(
    ann: TestClient, query: dict[str, str], told: str
) -> None:
    answer = ann.get("/v1/timeline", params=query)
    assert answer.status_code == 422
    assert told in answer.text


def test_search_finds_your_own_moments_only(ann: TestClient, amy: TestClient) -> None:
    found = ask(ann, "/v1/search", q="bread", kind="speech", device="phone", **SPAN)
    assert found["mode"] == "hybrid"
    assert [(hit["moment_id"], hit["text"]) for hit in found["hits"]] == [(MOMENT, "bread rises")]
    assert ask(ann, "/v1/search", q="bread", kind="note")["hits"] == []
    assert ask(ann, "/v1/search", q="bread", to="2031-08-04T12:00:00Z")["hits"] == []
    assert ask(ann, "/v1/search", q="bread", place="Poreč")["hits"] == []
    assert ask(ann, "/v1/search", q="bread", app="firefox")["hits"] == []
    assert ask(amy, "/v1/search", q="bread")["hits"] == []
    assert ann.get("/v1/search", params={"q": ""}).status_code == 422


def test_search_without_its_model_goes_by_words_and_says_so(client_for: ClientFor) -> None:
    found = ask(client_for(ANN, has_model=False), "/v1/search", q="bread")
    assert found["mode"] == "words"
    assert "am models pull" in found["note"]
    assert len(found["hits"]) == 1


def test_search_while_the_object_store_is_down_is_asked_again_later(
    client_for: ClientFor, filled: Connections
) -> None:
    down = replace(filled, s3_endpoint="http://127.0.0.1:1")
    answer = client_for(ANN, has_model=False, stores=down).get("/v1/search", params={"q": "bread"})
    assert answer.status_code == 503, answer.text
    assert "ask again later" in answer.text


def test_a_moment_comes_with_all_around_it_and_its_way_back_to_the_sound(
    ann: TestClient, amy: TestClient
) -> None:
    found = ask(ann, f"/v1/moments/{MOMENT}")
    assert found["moment"]["text"] == "bread rises"
    steps = found["lineage"]
    assert [step["stream"] for step in steps] == [TRANSCRIPT.name, SPEECH.name, AUDIO.name]
    assert steps[-1]["made"] is None
    assert ann.get(steps[-1]["blob_url"]).content == SOUND
    around = {kind: lane["total"] for kind, lane in found["around"].items()}
    assert around == {"audio": 1, "heart rate": 5, "note": 1, "speech": 2}
    narrow = ask(ann, f"/v1/moments/{MOMENT}", minutes=1)
    assert "note" not in narrow["around"]
    assert amy.get(f"/v1/moments/{MOMENT}").status_code == 404
    assert ann.get("/v1/moments/no'such").status_code == 404


def test_the_ledger_of_a_day_is_your_own_and_adds_up(ann: TestClient, amy: TestClient) -> None:
    found = ask(ann, "/v1/ledger", day="2031-08-04")
    assert found["is_adding_up"] is True
    (line,) = found["lines"]
    assert line == {
        "user_id": ANN,
        "device_id": "phone",
        "stream": NOTE.name,
        "day": "2031-08-04",
        "received": 2,
        "stored": 1,
        "duplicate": 1,
        "rejected": 0,
        "rows": 1,
        "is_adding_up": True,
    }
    assert found["totals"]["received"] == 2
    assert ask(amy, "/v1/ledger", day="2031-08-04")["is_adding_up"] is False
    assert ask(ann, "/v1/ledger")["lines"] == []


def test_a_blob_comes_with_its_type_and_in_parts_where_parts_are_asked_for(
    ann: TestClient,
) -> None:
    whole = ann.get(f"/v1/blobs/{KEY}")
    assert (whole.status_code, whole.content) == (200, SOUND)
    assert whole.headers["content-type"] == "audio/wav"
    part = ann.get(f"/v1/blobs/{KEY}", headers={"Range": "bytes=1000-1099"})
    assert (part.status_code, part.content) == (206, SOUND[1000:1100])
    assert part.headers["content-range"] == "bytes 1000-1099/1280"
    end = ann.get(f"/v1/blobs/{KEY}", headers={"Range": "bytes=-5"})
    assert (end.status_code, end.content) == (206, SOUND[-5:])
    behind = ann.get(f"/v1/blobs/{KEY}", headers={"Range": "bytes=1280-"})
    assert (behind.status_code, behind.headers["content-range"]) == (416, "bytes */1280")
    again = ann.get(f"/v1/blobs/{KEY}", headers={"If-None-Match": whole.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize(
    "key",
    [
        KEY,
        f"blobs/{AMY}/../{ANN}/device.audio.raw/2031-08-04/abc",
        f"blobs/{AMY}/%2E%2E/{ANN}/device.audio.raw/2031-08-04/abc",
        f"blobs/{AMY}/nothing",
        "lake/digital_notes_raw/_delta_log/00000000000000000000.json",
    ],
)
def test_a_blob_of_somebody_else_looks_like_none(amy: TestClient, key: str) -> None:
    assert amy.get(f"/v1/blobs/{key}").status_code == 404


@pytest.mark.parametrize(
    "path",
    ["/v1/timeline", "/v1/search?q=a", f"/v1/moments/{MOMENT}", "/v1/ledger", f"/v1/blobs/{KEY}"],
)
def test_nobody_asks_without_a_token_that_may_read(client_for: ClientFor, path: str) -> None:
    assert client_for(None).get(path).status_code == 401
    assert client_for("writer").get(path).status_code == 403


@given(st.integers(0, 50), st.integers(0, 60), st.integers(0, 60))
def test_a_range_is_the_stretch_that_it_names(size: int, first: int, last: int) -> None:
    content = bytes(range(size))
    expected = content[first : last + 1]
    if first >= size and last >= first:
        with pytest.raises(UnsatisfiableRangeError):
            part_of(f"bytes={first}-{last}", size)
    elif last < first:
        assert part_of(f"bytes={first}-{last}", size) is None
    else:
        part = part_of(f"bytes={first}-{last}", size)
        assert part is not None
        assert content[part.start : part.stop] == expected


@pytest.mark.parametrize("text", ["", "bytes=-", "bytes=1-2,4-5", "lines=1-2", "bytes=a-b"])
def test_what_is_not_one_range_of_bytes_means_everything(text: str) -> None:
    assert part_of(text, 10) is None
    assert part_of("bytes=3-", 10) == Part(3, 10)


@given(st.text(alphabet="ab/.", max_size=12))
def test_a_key_is_ones_own_only_inside_ones_folder(rest: str) -> None:
    if is_own(f"blobs/a/{rest}", "a"):
        assert ".." not in f"blobs/a/{rest}".split("/")
    assert not is_own(f"blobs/a{rest}x", "a") or rest.startswith("/")
    assert not is_own(f"blobs/ab/{rest}", "a")
