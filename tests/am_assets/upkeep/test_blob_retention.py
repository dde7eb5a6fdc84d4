"""The nightly removal of blobs, and what it means to whoever reads them later."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from dagster import AssetsDefinition, materialize

from am_assets.derived import media_text_ocr_extracted as ocr
from am_assets.derived.enrichment import Derived, Found, Item, Maker, Outcome
from am_assets.process import Tools, process
from am_assets.streams.audio import AUDIO
from am_assets.streams.image import SCREENSHOT
from am_assets.streams.registry import REGISTRY
from am_assets.streams.text import ScreenText
from am_assets.upkeep.blob_retention import blob_retention, blob_retention_asset, too_much
from resources.blob_plan import BlobRules
from resources.blobs import BlobStore
from resources.compute import Compute
from resources.connections import Connections
from resources.lake import Lake
from resources.retention import Retention
from resources.work import State
from tests.resources.stored_blobs import Shelf
from tests.resources.test_search import EmptyCompute

LONG_AGO = datetime(2026, 2, 4, 12, tzinfo=UTC)
EARLIER = datetime(2025, 2, 4, 12, tzinfo=UTC)


@pytest.fixture
def tools(connections: Connections) -> Tools:
    return Tools.at(connections, EmptyCompute())


@pytest.fixture
def shelf(connections: Connections) -> Shelf:
    return Shelf(connections, f"user-{uuid4().hex[:8]}")


def test_the_asset_removes_what_is_due_and_tells_what_is_too_much(
    tools: Tools, shelf: Shelf, tmp_path: Path
) -> None:
    facts = {"sample_rate_hz": 16_000, "channels": 1, "duration_ms": 3_000}
    silent = shelf.put(AUDIO, LONG_AGO, b"silence" * 9, **facts)
    spoken = shelf.put(AUDIO, LONG_AGO + timedelta(minutes=1), b"speech" * 9, **facts)
    shelf.end(silent, State.EMPTY, LONG_AGO)
    shelf.end(spoken, State.DONE, LONG_AGO)
    prune = blob_retention_asset(BlobRules(budget_bytes=50), home=tmp_path)
    numbers = _materialized(prune, tools)
    assert numbers["removed"] == numbers["without_finding"] == 1
    assert numbers["removed_bytes"] == 63
    assert numbers["used_bytes"] == 54
    assert numbers["over_budget_bytes"] == 4
    assert "0.000 GB above the budget" in too_much(4)
    assert _materialized(prune, tools)["removed"] == 0
    assert set(shelf.lines()) == {spoken}


def test_silence_of_a_day_that_has_left_the_hot_store_goes_too(
    shelf: Shelf, connections: Connections
) -> None:
    facts = {"sample_rate_hz": 16_000, "channels": 1, "duration_ms": 3_000}
    silent = shelf.put(AUDIO, EARLIER, b"silence" * 9, **facts)
    shelf.end(silent, State.EMPTY, EARLIER)
    Lake(connections).publish(AUDIO, EARLIER.date())
    Retention(connections, REGISTRY).leave(AUDIO, EARLIER.date())
    with psycopg.connect(connections.database_url) as connection:
        query = "SELECT count(*) FROM am.device_audio_raw WHERE blob_key = %s"
        assert connection.execute(query, (silent,)).fetchone() == (0,)
    pruned = blob_retention(connections, BlobRules()).prune(now=EARLIER + timedelta(days=8))
    assert silent in [one.blob_key for one in pruned.plan.removals]
    assert shelf.present(silent) == set()


def _materialized(asset: AssetsDefinition, tools: Tools) -> dict[str, float]:
    done = materialize([asset], resources={"tools": tools})
    (event,) = done.get_asset_materialization_events()
    told = event.materialization.metadata
    return {name: value.value for name, value in told.items()}  # type: ignore[misc]  # all numbers


def _read(items: Sequence[Item], _: Compute) -> list[Outcome]:
    maker = Maker("test", "1")
    return [Found([_line(item)], maker) for item in items]


def _line(item: Item) -> Derived:
    text = ScreenText(text="bread at six", lines=[], width_px=3, height_px=2)
    return Derived(ts=item.ts, values=text, key=ocr.KEY)


def test_text_that_was_read_off_a_picture_outlives_the_picture_and_the_next_version(
    tools: Tools, shelf: Shelf, connections: Connections
) -> None:
    reader = replace(ocr.ENRICHMENT, run=_read, task=None)
    key = shelf.put(SCREENSHOT, LONG_AGO, b"a picture", width_px=3, height_px=2)
    counts = process(reader, LONG_AGO.date(), tools, run_id="test")
    assert counts.derived >= 1
    BlobStore(connections).remove_all([key])
    with psycopg.connect(connections.database_url) as connection:
        connection.execute(
            "INSERT INTO am.blob_removed (user_id, blob_key, sha256, byte_count, media_type, "
            "stored_at, stream, begin_at, end_at, reason, removed_at) VALUES "
            "(%s, %s, '', 9, '', now(), '', now(), now(), 'it looks like another', now())",
            (shelf.user_id, key),
        )
    later = replace(reader, version=reader.version + 1)
    process(later, LONG_AGO.date(), tools, run_id="test")
    with psycopg.connect(connections.database_url) as connection:
        kept = connection.execute(
            "SELECT text, enrichment_version FROM am.media_text_ocr_extracted WHERE user_id = %s",
            (shelf.user_id,),
        ).fetchall()
        ended = connection.execute(
            "SELECT state, reason FROM am.work_item WHERE user_id = %s AND version = %s",
            (shelf.user_id, later.version),
        ).fetchall()
    assert kept == [("bread at six", reader.version)]
    ((state, reason),) = ended
    assert state == "empty"
    assert "was removed on" in reason
    assert reason.endswith("it looks like another")
