"""ActivityWatch's API: events that grow, buckets, queries; and its own Python client against AM."""

import json
import os
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from am_assets.streams.registry import REGISTRY
from ingest_api.adapters.activitywatch import Bucket, Seen, bucket_of, prolonged, read
from ingest_api.adapters.activitywatch_query import (
    FUNCTIONS,
    Asked,
    QueryError,
    answer,
    clipped,
    period_of,
)
from ingest_api.adapters.adapter import AppRequest, Event
from ingest_api.tokens import Scope
from ingest_api.trust import add_rule, read_network, remove_rule
from resources.connections import Connections
from resources.retention import Retention
from tests.ingest_api.adapters.conftest import RowsOf
from tests.ingest_api.conftest import ClientFor
from tests.ingest_api.founding.test_database_down import allow

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
WINDOW = "aw-watcher-window_mbp"
AFK, WEB, VIM = "aw-watcher-afk_mbp", "aw-watcher-web-firefox_mbp", "aw-watcher-vim_mbp"
FIREFOX = {"app": "Firefox", "title": "Sourdough"}
WINDOWS = "os.events.app_lifecycle.raw"
Letters = Callable[[], list[tuple[Any, ...]]]


def beat(seconds: float, data: dict[str, Any], duration: float = 0) -> dict[str, Any]:
    """A heartbeat so long after noon."""
    when = NOON + timedelta(seconds=seconds)
    return {"timestamp": when.isoformat(), "duration": duration, "data": data}


def send(client: httpx.Client, bucket: str, *beats: dict[str, Any], pulsetime: float = 5) -> Any:
    """Heartbeats one after the other; the last answer."""
    for one in beats:
        path = f"/api/0/buckets/{bucket}/heartbeat"
        answered = client.post(path, params={"pulsetime": pulsetime}, json=one)
        assert answered.status_code == 200
    return answered.json()


def make(client: httpx.Client, bucket: str, kind: str) -> httpx.Response:
    """Make a bucket."""
    told = {"client": bucket.partition("_")[0], "type": kind, "hostname": "mbp"}
    return client.post(f"/api/0/buckets/{bucket}", json=told)


def test_heartbeats_within_the_pulsetime_are_one_row_that_grows(
    client: httpx.Client, rows_of: RowsOf
) -> None:
    make(client, WINDOW, "currentwindow")
    told = send(client, WINDOW, *(beat(second, FIREFOX) for second in (0, 3, 6, 9)))
    assert (told["duration"], told["data"]) == (9, FIREFOX)
    other = {"app": "Code", "title": "oven.py"}
    send(client, WINDOW, beat(10, other), beat(20, FIREFOX))
    columns = "device_id, app_identifier, event_type, window_title, duration_s"
    assert rows_of(WINDOWS, columns) == [
        ("mbp", "Firefox", "foreground", "Sourdough", 9),
        ("mbp", "Code", "foreground", "oven.py", 0),
        ("mbp", "Firefox", "foreground", "Sourdough", 0),
    ]


def test_a_heartbeat_that_comes_twice_or_late_changes_nothing_that_was_said(
    client: httpx.Client, rows_of: RowsOf
) -> None:
    beats = [beat(second, FIREFOX) for second in (0, 3, 6)]
    send(client, WINDOW, *beats, beat(7, {"app": "Code"}), *reversed(beats), beats[1])
    assert rows_of(WINDOWS, "app_identifier, duration_s") == [("Firefox", 6), ("Code", 0)]


def test_every_beat_is_in_the_ledger_and_what_grew_makes_its_day_news(
    client: httpx.Client, database: psycopg.Connection, user: str
) -> None:
    send(client, WINDOW, *(beat(second, FIREFOX) for second in (0, 3, 3, 6)))
    sums = database.execute(
        "SELECT sum(received)::int, sum(stored)::int, sum(duplicate)::int, sum(grown)::int "
        "FROM am.landing WHERE user_id = %s",
        (user,),
    ).fetchone()
    assert sums == (4, 1, 3, 2)


def test_each_kind_of_bucket_reaches_its_stream_and_what_no_stream_takes_is_an_activity(
    client: httpx.Client, rows_of: RowsOf
) -> None:
    page = {"url": "https://a.example/", "title": "A", "incognito": False, "tabCount": 3}
    edit = {"file": "/b/oven.py", "project": "bread", "language": "python", "branch": "main"}
    for bucket, kind, data in (
        (AFK, "afkstatus", {"status": "not-afk"}),
        (WEB, "web.tab.current", page),
        (VIM, "app.editor.activity", edit),
        (WINDOW, "currentwindow", {"title": "no app"}),
    ):
        make(client, bucket, kind)
        send(client, bucket, beat(0, data, duration=2))
    assert rows_of("os.events.system.raw", "event_type, event_category, duration_s") == [
        ("not-afk", "presence", 2)
    ]
    columns = "url, title, visit_duration_s, browser, tab_count, is_incognito"
    assert rows_of("external.web.visits.raw", columns) == [
        ("https://a.example/", "A", 2, "firefox", 3, False)
    ]
    columns = "activity_type, project, language, duration_s, data"
    assert sorted(rows_of("digital.activity.raw", columns), key=str) == [
        ("app.editor.activity", "bread", "python", 2, edit),
        ("currentwindow", None, None, 2, {"title": "no app"}),
    ]
    for bucket, data in ((WEB, page), (VIM, edit), (WINDOW, {"title": "no app"})):
        (event,) = client.get(f"/api/0/buckets/{bucket}/events").json()
        assert (event["data"], event["duration"]) == (data, 2)


def test_a_bucket_is_new_once_and_is_listed_as_its_watcher_described_it(
    client: httpx.Client,
) -> None:
    assert [make(client, WINDOW, "currentwindow").status_code for _ in range(2)] == [200, 304]
    assert make(client, WINDOW, "other").status_code == 304
    listed = client.get("/api/0/buckets/").json()
    assert {name: listed[WINDOW][name] for name in ("type", "client", "hostname", "id")} == {
        "type": "currentwindow",
        "client": "aw-watcher-window",
        "hostname": "mbp",
        "id": WINDOW,
    }
    assert client.get(f"/api/0/buckets/{WINDOW}").json() == listed[WINDOW]
    assert client.get("/api/0/buckets/none").status_code == 404


def test_beats_for_a_bucket_that_nobody_made_are_kept_as_its_id_tells(
    client: httpx.Client, rows_of: RowsOf
) -> None:
    send(client, AFK, beat(0, {"status": "afk"}, duration=60))
    assert rows_of("os.events.system.raw", "device_id, event_type") == [("mbp", "afk")]
    assert client.get("/api/0/buckets/").json()[AFK]["type"] == "afkstatus"


def test_events_are_inserted_counted_found_by_number_and_cut_at_the_span(
    client: httpx.Client,
) -> None:
    events = [beat(minute * 60, {"app": str(minute)}, duration=60) for minute in range(3)]
    path = f"/api/0/buckets/{WINDOW}/events"
    for _ in range(2):
        assert client.post(path, json=events).status_code == 200
    assert client.get(f"{path}/count").json() == 3
    found = client.get(path).json()
    assert [event["data"]["app"] for event in found] == ["2", "1", "0"]
    assert client.get(path, params={"limit": 1}).json() == found[:1]
    assert client.get(f"{path}/{found[1]['id']}").json() == found[1]
    assert client.get(f"{path}/12").status_code == 404
    span = {"start": beat(90, {})["timestamp"], "end": beat(150, {})["timestamp"]}
    cut = client.get(path, params=span).json()
    assert [(event["data"]["app"], event["duration"]) for event in cut] == [("2", 30), ("1", 30)]
    one = client.post(path, json=beat(900, {"app": "x"})).json()
    assert (one["data"], isinstance(one["id"], int)) == ({"app": "x"}, True)


def test_events_of_a_day_that_has_left_the_database_are_told_as_before(
    client: httpx.Client, connections: Connections
) -> None:
    path, day = f"/api/0/buckets/{WINDOW}/events", NOON - timedelta(days=40)
    old = [
        {**beat(0, {"app": str(n)}, 60), "timestamp": (day + timedelta(minutes=n)).isoformat()}
        for n in range(3)
    ]
    client.post(path, json=[*old, beat(0, FIREFOX, 60)]).raise_for_status()
    span = {"start": (day + timedelta(seconds=90)).isoformat(), "end": NOON.isoformat()}

    def seen() -> list[Any]:
        found = client.get(path).json()
        asked = [client.get(path, params=params) for params in (span, {"limit": 1}, {"limit": 3})]
        count = client.get(f"{path}/count", params=span)
        one = client.get(f"{path}/{found[-1]['id']}")
        return [found, *(answer.json() for answer in (*asked, count, one))]

    before = seen()
    assert [len(one) for one in before[:4]] == [4, 3, 1, 3]
    retention = Retention(connections, REGISTRY)
    assert retention.leave(REGISTRY[WINDOWS], day.date()).row_count >= 3
    assert seen() == before


def test_nothing_is_deleted_and_nothing_unreadable_is_refused(
    client: httpx.Client, rows_of: RowsOf, letters_of: Letters
) -> None:
    event = send(client, WINDOW, beat(0, FIREFOX))
    for path in (f"buckets/{WINDOW}?force=1", f"buckets/{WINDOW}/events/{event['id']}"):
        refused = client.delete(f"/api/0/{path}")
        assert (refused.status_code, "am erase" in refused.json()["detail"]) == (403, True)
    assert len(rows_of(WINDOWS, "ts")) == 1
    bad = [beat(1, FIREFOX, duration=-1), {"data": FIREFOX}, [], {**beat(2, {}), "data": 1}]
    for one in bad:
        assert client.post(f"/api/0/buckets/{WINDOW}/heartbeat", json=one).status_code == 200
    answered = client.post(f"/api/0/buckets/{WINDOW}/heartbeat", content=b"{broken")
    assert answered.status_code == 200
    assert (
        client.post(f"/api/0/buckets/{WINDOW}/events", json=[bad[0], beat(50, FIREFOX)]).json()
        is None
    )
    codes = sorted(code for _, code, _ in letters_of())
    assert codes == [*["bad_value"] * 3, "no_time", "not_an_object", "not_json"]
    assert len(rows_of(WINDOWS, "ts")) == 2


def test_an_export_is_imported_elsewhere_as_it_was(
    client: httpx.Client, client_for: ClientFor, user: str
) -> None:
    make(client, WINDOW, "currentwindow")
    send(client, WINDOW, beat(0, FIREFOX, duration=3), beat(60, {"app": "Code"}, duration=4))
    exported = client.get("/api/0/export").json()
    assert exported == client.get(f"/api/0/buckets/{WINDOW}/export").json()
    other = client_for(f"{user}-2")
    assert other.post("/api/0/import", json=exported).status_code == 200
    files = {"buckets.json": ("buckets.json", json.dumps(exported).encode(), "application/json")}
    assert other.post("/api/0/import", files=files).status_code == 200
    copy = other.get("/api/0/export").json()
    assert copy["buckets"][WINDOW]["events"] == exported["buckets"][WINDOW]["events"]
    assert copy["buckets"][WINDOW]["hostname"] == "mbp"


def test_a_query_answers_each_period_and_an_unknown_function_says_so(client: httpx.Client) -> None:
    send(client, AFK, beat(0, {"status": "not-afk"}, duration=100))
    send(client, WINDOW, beat(50, FIREFOX, duration=100), beat(200, FIREFOX, duration=5))
    lines = [
        'afk = query_bucket(find_bucket("aw-watcher-afk_"));',
        'here = filter_keyvals(afk, "status", ["not-afk"]);',
        'windows = query_bucket("aw-watcher-window_mbp");',
        "windows = filter_period_intersect(windows, here);",
        'RETURN = merge_events_by_keys(windows, ["app"]);',
    ]
    period = f"{NOON.isoformat()}/{(NOON + timedelta(hours=1)).isoformat()}"
    asked = {"timeperiods": [period, period], "query": lines}
    answered = client.post("/api/0/query/", json=asked).json()
    assert [[(e["data"], e["duration"]) for e in part] for part in answered] == [
        [({"app": "Firefox"}, 50)]
    ] * 2
    bad = client.post("/api/0/query/", json={**asked, "query": ["RETURN = open(1);"]})
    assert bad.status_code == 400
    assert "no function 'open'; there are find_bucket" in bad.json()["detail"]


def test_a_watcher_gets_in_by_a_token_in_the_path_or_as_a_password_and_reads_nothing(
    base_url: str, token_for: Callable[..., str], user: str, rows_of: RowsOf
) -> None:
    token = token_for(user, device="mbp-14", scope=Scope.WRITE)
    in_path = httpx.Client(base_url=f"{base_url}/activitywatch/{token}")
    basic = httpx.Client(base_url=base_url, auth=("am", token))
    send(in_path, WINDOW, beat(0, FIREFOX))
    send(basic, WINDOW, beat(3, FIREFOX))
    assert rows_of(WINDOWS, "device_id, duration_s") == [("mbp-14", 3)]
    assert httpx.get(f"{base_url}/api/0/info").json()["testing"] is False
    assert in_path.get("/api/0/buckets/").status_code == 403
    assert httpx.post(f"{base_url}/api/0/buckets/{WINDOW}", json={}).status_code == 401


def test_a_beat_waits_for_a_database_that_is_away_because_its_watcher_would_drop_it(
    client: httpx.Client, server_url: str, connections: Connections
) -> None:
    send(client, WINDOW, beat(0, FIREFOX))
    allow(server_url, connections, is_allowed=False)
    with ThreadPoolExecutor() as pool:
        try:
            sending = pool.submit(send, client, WINDOW, beat(3, FIREFOX))
            assert not wait([sending], timeout=1).done
        finally:
            allow(server_url, connections, is_allowed=True)
        assert sending.result(30)["duration"] == 3
    (event,) = client.get(f"/api/0/buckets/{WINDOW}/events").json()
    assert event["duration"] == 3


def test_a_trust_rule_lets_in_a_watcher_that_can_send_no_token(
    base_url: str, database: psycopg.Connection, user: str, rows_of: RowsOf
) -> None:
    home = read_network("127.0.0.9")
    rule = add_rule(database, user_id=user, network=home, device_id=None, key=None)
    there = httpx.HTTPTransport(local_address="127.0.0.9")
    with httpx.Client(base_url=base_url, transport=there) as watcher:
        until_let_in = watcher.post(f"/api/0/buckets/{AFK}", json={})
        while until_let_in.status_code == 401:  # rules are remembered for some seconds
            until_let_in = watcher.post(f"/api/0/buckets/{AFK}", json={})
        send(watcher, AFK, beat(0, {"status": "afk"}))
        assert watcher.get("/api/0/buckets/").status_code == 403
    assert rows_of("os.events.system.raw", "device_id, event_type") == [("mbp", "afk")]
    assert remove_rule(database, rule)


def test_nobody_sees_the_buckets_or_events_of_another(
    client: httpx.Client, client_for: ClientFor, user: str
) -> None:
    event = send(client, WINDOW, beat(0, FIREFOX))
    stranger = client_for(f"{user}-x")
    assert stranger.get("/api/0/buckets/").json() == {}
    for path in (f"buckets/{WINDOW}", f"buckets/{WINDOW}/events/{event['id']}"):
        assert stranger.get(f"/api/0/{path}").status_code == 404
    make(stranger, WINDOW, "currentwindow")
    assert stranger.get(f"/api/0/buckets/{WINDOW}/events").json() == []


SECONDS = st.integers(0, 30)
BEATS = st.lists(st.tuples(SECONDS, st.sampled_from("ab"), st.integers(0, 5)), max_size=20)


@given(BEATS, st.integers(0, 5))
def test_beats_in_order_cover_every_moment_they_told_and_start_no_event_within_another(
    beats: list[tuple[int, str, int]], pulsetime: int
) -> None:
    events: list[Seen] = []
    told = [
        Seen(at=NOON + timedelta(seconds=at), duration_s=float(length), data={"app": name})
        for at, name, length in sorted(beats)
    ]
    for one in told:
        grown = prolonged(events[-1] if events else None, one, pulsetime_s=pulsetime)
        if events and grown.at == events[-1].at and grown.data == events[-1].data:
            events.pop()
        events.append(grown)
    for one in told:
        assert any(
            event.data == one.data and event.at <= one.at and one.end <= event.end
            for event in events
        )
    assert prolonged(events[-1], events[-1], pulsetime_s=pulsetime) == events[-1] if events else 1


@given(
    st.text(min_size=1, max_size=40), st.none() | st.dictionaries(st.text(max_size=8), st.text())
)
def test_any_bucket_id_is_a_bucket(bucket_id: str, told: Any) -> None:
    assert bucket_of(bucket_id, told).bucket_id == bucket_id


@given(st.lists(st.text(max_size=40), max_size=5))
def test_no_query_whatever_ends_otherwise_than_with_an_answer_or_a_reason(lines: list[str]) -> None:
    bucket = Bucket(bucket_id="b", type="", client="", hostname="")
    with pytest.raises(QueryError):
        answer([*lines, "RETURN2 = 1"], Asked({"b": bucket}, lambda _: []))


@pytest.mark.parametrize(
    "line",
    [
        "RETURN = __import__('os')",
        "RETURN = ().__class__",
        "RETURN = [x for x in (1,)]",
        "RETURN = limit_events",
        "RETURN = limit_events(1, 2)",
        "RETURN = query_bucket('none')",
        "import os",
    ],
)
def test_a_query_reaches_nothing_but_its_functions(line: str) -> None:
    with pytest.raises(QueryError):
        answer([line], Asked({}, lambda _: []))
    assert "find_bucket" in FUNCTIONS


@given(SECONDS, SECONDS, SECONDS)
def test_a_clipped_event_lies_within_the_span(at: int, length: int, span: int) -> None:
    event = {"timestamp": (NOON + timedelta(seconds=at)).isoformat(), "duration": length}
    cut = clipped(event, NOON, NOON + timedelta(seconds=30 + span))
    assert cut["duration"] <= length
    period = period_of(f"{NOON.isoformat()}/{(NOON + timedelta(seconds=61)).isoformat()}")
    assert datetime.fromisoformat(cut["timestamp"]) >= period.begin


def test_a_kept_body_is_read_once_more_without_what_came_before_it() -> None:
    body = json.dumps(beat(0, FIREFOX)).encode()
    tail = f"api/0/buckets/{WINDOW}/heartbeat"
    (item,) = read(AppRequest(received_at=NOON, tail=tail, body=body))
    assert isinstance(item, Event)
    assert (item.stream, item.columns["app_identifier"]) == (WINDOWS, "Firefox")


CLIENT = """
import json, sys
from datetime import datetime, timedelta, timezone
from aw_client import ActivityWatchClient
from aw_core.models import Event

host, port, bucket = sys.argv[1:4]
noon = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
client = ActivityWatchClient("aw-watcher-window", host=host, port=port)
client.wait_for_start()
client.create_bucket(bucket, "currentwindow", queued=True)
with client:
    for second in range(0, 40):
        data = {"app": "Firefox" if second < 30 else "Code", "title": "t"}
        event = Event(timestamp=noon + timedelta(seconds=second), data=data)
        client.heartbeat(bucket, event, pulsetime=2, queued=True, commit_interval=5)
    queue = client.request_queue
    while queue._current or queue._persistqueue.qsize():
        queue.join(0.05)
late = Event(timestamp=noon + timedelta(minutes=9), duration=3, data={"app": "x"})
client.insert_event(bucket, late)
events = client.get_events(bucket, limit=10)
period = (noon, noon + timedelta(minutes=5))
query = f'RETURN = sort_by_duration(query_bucket("{bucket}"));'
print(json.dumps({
    "buckets": list(client.get_buckets()),
    "count": client.get_eventcount(bucket),
    "events": [(e.data["app"], e.duration.total_seconds()) for e in events],
    "single": client.get_event(bucket, events[0].id).data["app"],
    "query": [e["data"]["app"] for e in client.query(query, [period])[0]],
    "export": list(client.export_bucket(bucket)["buckets"]),
}))
"""


def test_the_stock_python_client_works_unchanged(
    base_url: str, token_for: Callable[..., str], user: str, tmp_path: Path, rows_of: RowsOf
) -> None:
    python = Path(".venv-peers/bin/python")  # `make setup-dev` puts the stock client there
    assert python.exists(), "run `make setup-dev`"
    where = urlsplit(base_url)
    host = f"am:{token_for(user)}@{where.hostname}"
    done = subprocess.run(
        [str(python), "-c", CLIENT, host, str(where.port), "aw-watcher-window_host"],
        env={"HOME": str(tmp_path), "NO_PROXY": "127.0.0.1", "PATH": os.environ["PATH"]},
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["buckets"] == told["export"] == ["aw-watcher-window_host"]
    assert told["events"][0] == ["x", 3]
    assert (told["count"], told["single"], told["query"][0]) == (3, "x", "Firefox")
    # The client keeps its last event for itself until the next one differs.
    assert rows_of(WINDOWS, "app_identifier, duration_s")[0] == ("Firefox", 29)
