"""One user's day out of the real stores, and kept in the lake."""

import json
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from dagster import DagsterInstance, materialize
from deltalake import DeltaTable
from syrupy.assertion import SnapshotAssertion

from am_assets.derived.asset import key_of
from am_assets.out.asset import day_digest_asset
from am_assets.out.day_digest import (
    SOURCES,
    TABLE,
    as_json,
    day_digest,
    keep_digests,
    users_of,
)
from am_assets.process import Tools
from am_assets.streams.audio import AUDIO
from am_assets.streams.digital import CLIPBOARD, NOTE
from am_assets.streams.health import HEART_RATE
from am_assets.streams.motion import ACTIVITY, WINDOWS
from am_assets.streams.os_events import APP_LIFECYCLE
from am_assets.streams.position import GPS_FIX
from am_assets.streams.registry import REGISTRY
from am_assets.streams.text import OCR_CLEANED, TRANSCRIPT
from resources.connections import Connections
from resources.hot import HotStore
from resources.whole import WholeStore
from tests.resources.rows import insert, landing, lineage
from tests.resources.test_search import EmptyCompute

DAY = date(2023, 9, 4)
NOON = datetime(2023, 9, 4, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
ANN = "digest-ann"


@pytest.fixture(scope="module")
def filled(connections: Connections) -> Connections:
    """A day of somebody in Poreč (UTC+2), and a word at 23:30 UTC, which is tomorrow there."""
    url, own = connections.database_url, {"user_id": ANN, "ts": NOON}
    made = lineage(AUDIO, uuid4())
    late = {**own, "ts": NOON + timedelta(hours=11, minutes=30)}
    insert(
        url, TRANSCRIPT, [{**own, "text": "Good morning.", **made}, {**late, "text": "no", **made}]
    )
    insert(url, OCR_CLEANED, [{**own, "text": "Bread recipe", **made}])
    walk = {"activity": "walking", "end_ts": NOON + 10 * MINUTE, **lineage(WINDOWS, uuid4())}
    insert(url, ACTIVITY, [{**own, **walk}])
    place = {"latitude": 45.2269, "longitude": 13.5966, "accuracy_m": 5.0}
    insert(url, GPS_FIX, [{**own, **place, "ts": NOON + n * MINUTE} for n in range(10)])
    mail = {**own, "app_identifier": "mail", "app_name": "Mail"}
    front = {**mail, "event_type": "foreground", "tz_offset_min": 120}
    back = {**mail, "event_type": "background", "ts": NOON + 3 * MINUTE}
    insert(url, APP_LIFECYCLE, [front, back])
    insert(url, HEART_RATE, [{**own, "bpm": 60.0}, {**own, "bpm": 80.0, "ts": NOON + MINUTE}])
    insert(url, NOTE, [{**own, "title": "Bread", "content": "Feed it.", "tz_offset_min": 120}])
    insert(url, CLIPBOARD, [{**own, "content_text": "220 °C", "source_app": "firefox"}])
    landing(url, ANN, NOTE, DAY, 1, 1, 0, 0)
    return connections


def read(connections: Connections, user: str = ANN, day: date = DAY) -> Any:
    return day_digest(WholeStore(connections), REGISTRY, user, day, now=NOON + timedelta(days=9))


def test_a_day_reads_as_it_was(filled: Connections, snapshot: SnapshotAssertion) -> None:
    made = read(filled)
    assert [text.text for text in made.said] == ["Good morning."]
    assert made.stays[0].place == "Poreč, Croatia"
    assert as_json(made) == snapshot


def test_what_is_after_local_midnight_is_of_the_next_day(filled: Connections) -> None:
    assert [text.text for text in read(filled, day=DAY + timedelta(days=1)).said] == ["no"]


def test_a_day_is_its_owners_only(filled: Connections) -> None:
    assert read(filled, user="digest-amy").is_empty
    assert ANN in users_of(HotStore(filled.database_url), DAY)
    assert ANN not in users_of(HotStore(filled.database_url), DAY + timedelta(days=30))


def test_the_registered_offset_of_a_device_cuts_the_day_where_no_row_has_one(
    connections: Connections,
) -> None:
    user = f"digest-{uuid4()}"
    with psycopg.connect(connections.database_url) as connection:
        connection.execute(
            "INSERT INTO am.device (user_id, device_id, tz_offset_min) VALUES (%s, 'tv', -300)",
            (user,),
        )
    made = read(connections, user=user)
    assert made.local.begin == datetime(2023, 9, 4, 5, tzinfo=UTC)
    assert made.local.note is None
    assert read(connections, user="digest-nobody").local.note is not None


def test_a_day_kept_twice_is_kept_once_beside_the_others(filled: Connections) -> None:
    made = read(filled)
    tomorrow = DAY + timedelta(days=1)
    keep_digests(filled, tomorrow, [(ANN, read(filled, day=tomorrow))])
    keep_digests(filled, DAY, [(ANN, made)])
    keep_digests(filled, DAY, [(ANN, made)])
    uri = f"{filled.lake_uri}/{TABLE}"
    kept = DeltaTable(uri, storage_options=filled.delta_options()).to_pyarrow_table().to_pylist()
    assert sorted(row["day"] for row in kept if row["user_id"] == ANN) == [DAY, tomorrow]
    row = next(row for row in kept if row["day"] == DAY)
    assert json.loads(row["digest"]) == as_json(made)
    assert row["row_count"] == made.row_count


def test_the_asset_keeps_the_day_and_tells_nothing_of_its_content(filled: Connections) -> None:
    tools = Tools.at(filled, EmptyCompute())  # type: ignore[arg-type]  # asks for no model
    with DagsterInstance.ephemeral() as instance:
        for _ in range(2):
            result = materialize(
                [day_digest_asset()],
                partition_key=DAY.isoformat(),
                resources={"tools": tools},
                instance=instance,
            )
            (event,) = result.get_asset_materialization_events()
    told = event.materialization.metadata
    assert told["users"].value == len(users_of(tools.hot, DAY))
    assert told["rows_seen"].value == read(filled).row_count
    assert "morning" not in str(told)


def test_the_asset_follows_all_that_a_digest_is_made_of() -> None:
    made = day_digest_asset()
    assert set(made.dependency_keys) == {key_of(source) for source in SOURCES}
