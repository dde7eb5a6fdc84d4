"""What an assistant is told at first: the newest and the number of each stream, of one user."""

from datetime import UTC, datetime, timedelta

import httpx
import psycopg
import pytest

from am_assets.streams.registry import REGISTRY
from ingest_api.tokens import Scope
from tests.ingest_api.conftest import ClientFor

HEART = "device_health_heartrate_raw"


@pytest.fixture
def beating(client: httpx.Client) -> httpx.Client:
    """A user with three heart beats of today, one of them now, and an old note."""
    now = datetime.now(UTC)
    for minutes, bpm in ((300, 61), (200, 62), (1, 63)):
        when = (now - timedelta(minutes=minutes)).isoformat()
        told = {"device_id": "watch", "recorded_at": when, "bpm": bpm}
        assert client.post("/sensor/heartrate", json=told).status_code == 200
    note = {"device_id": "laptop", "recorded_at": "2026-03-01T08:00:00Z", "content": "Flour."}
    assert client.post("/notes/upload", json=note).status_code == 200
    return client


def test_the_figures_are_those_of_the_users_own_rows(beating: httpx.Client) -> None:
    told = beating.get("/ai/context").json()
    assert set(told) == {"timestamp", "device_count", "summary", "tables", "context_prompt"}
    assert told["device_count"] == 2
    summary = told["summary"]
    assert (summary["total_tables"], summary["populated_tables"]) == (len(REGISTRY), 2)
    counts = [summary[f"{name}"] for name in ("error_tables", "active_sensors")]
    assert (counts, summary["active_processors"]) == ([0, 1], 0)
    heart = told["tables"][HEART]
    assert (heart["row_count"], heart["data"]["bpm"], heart["error"]) == (3, 63.0, None)
    assert heart["latest_timestamp"] == heart["data"]["ts"] == summary["latest_activity"]
    empty = told["tables"]["device_audio_raw"]
    assert empty == {"data": None, "row_count": 0, "latest_timestamp": None, "error": None}


def test_the_same_is_said_in_words_the_newest_first(beating: httpx.Client) -> None:
    head, *lines = beating.get("/ai/context").json()["context_prompt"].splitlines()
    assert "2 devices" in head
    assert ["heart rate: 63" in lines[0], "digital.notes.raw, 1 rows" in lines[1]] == [True, True]


def test_nobody_else_is_told_and_who_may_only_write_is_refused(
    beating: httpx.Client,
    client_for: ClientFor,
    user: str,
    database: psycopg.Connection,
) -> None:
    stranger = client_for(f"{user}-x").get("/ai/context").json()
    assert (stranger["device_count"], stranger["summary"]["populated_tables"]) == (0, 0)
    assert client_for(user, scope=Scope.WRITE).get("/ai/context").status_code == 403
    beating.get("/ai/context")
    lines = database.execute(
        "SELECT route, item_count FROM am.audit WHERE user_id = %s AND status = 200 "
        "AND route = '/ai/context'",
        (user,),
    ).fetchall()
    assert lines == [("/ai/context", 2)]
