"""Blobs go when they may, in steps that may break off anywhere; holds and doubts keep them."""

import io
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import psycopg
import pytest
from PIL import Image

from am_assets.streams.audio import AUDIO
from am_assets.streams.image import SCREENSHOT
from am_assets.streams.registry import REGISTRY
from resources.blob_plan import BlobRules, Ground
from resources.blob_retention import (
    BlobRetention,
    Pruned,
    add_hold,
    holds,
    release_hold,
    removed_blob,
)
from resources.blobs import BlobStore, BlobUnreachableError
from resources.connections import Connections
from resources.hot import HotStore
from resources.work import State
from tests.resources.stored_blobs import BLOB_READERS, Shelf, minutes

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
DAY = timedelta(days=1)
LATER = NOON + 30 * DAY
Retain = Callable[..., BlobRetention]


@pytest.fixture
def shelf(connections: Connections) -> Shelf:
    """A user's of the test's own; all others' blobs are out of the way."""
    with psycopg.connect(connections.database_url) as connection:
        for table in ("blob", "blob_removed", "legal_hold"):
            connection.execute(f"DELETE FROM am.{table}".encode())
    return Shelf(connections, f"user-{uuid4().hex[:8]}")


@pytest.fixture
def retain(connections: Connections) -> Retain:
    def make(
        *, budget: int | None = None, blobs: BlobStore | None = None, **keep: timedelta | None
    ) -> BlobRetention:
        return BlobRetention(
            connections.database_url,
            blobs or BlobStore(connections),
            HotStore(connections.database_url),
            registry=REGISTRY,
            readers=BLOB_READERS,
            rules=BlobRules(budget, {"device.audio.raw": keep["keep"]} if keep else {}),
        )

    return make


def sound(shelf: Shelf, at: datetime = NOON, *, size: int = 1_000) -> str:
    content = uuid4().bytes * (size // 16)
    return shelf.put(AUDIO, at, content, sample_rate_hz=16_000, channels=1, duration_ms=3_000)


def screen(shelf: Shelf, at: datetime, *, shade: int, is_wide: bool = False) -> str:
    """A screenshot; two of one width look the same, whatever the shade of their spot."""
    picture = Image.new("L", (320, 180), 250)
    picture.paste(20, (0, 0, 160 if is_wide else 80, 180))
    picture.paste(shade, (300, 2, 303, 4))
    written = io.BytesIO()
    picture.save(written, "PNG")
    return shelf.put(SCREENSHOT, at, written.getvalue(), width_px=320, height_px=180)


def prune(retention: BlobRetention, now: datetime = LATER) -> Pruned:
    return retention.prune(now=now)


def test_silence_goes_seven_days_after_it_was_heard_and_speech_never(
    shelf: Shelf, retain: Retain
) -> None:
    silent, spoken, unheard, gone = (sound(shelf, NOON + minutes(n)) for n in range(4))
    shelf.end(silent, State.EMPTY, NOON + DAY)
    shelf.end(spoken, State.DONE, NOON + DAY)
    shelf.end(gone, State.EMPTY, NOON + DAY, reason="its source row is gone")
    assert prune(retain(), NOON + 8 * DAY - minutes(1)).removed_count == 0
    assert prune(retain(), NOON + 8 * DAY).removed_count == 1
    assert shelf.present(silent, spoken, unheard, gone) == {spoken, unheard, gone}
    assert set(shelf.lines()) == {spoken, unheard, gone}


def test_the_owner_may_keep_silence_longer_or_for_ever(shelf: Shelf, retain: Retain) -> None:
    silent = sound(shelf)
    shelf.end(silent, State.EMPTY, NOON)
    assert prune(retain(keep=40 * DAY)).removed_count == 0
    assert prune(retain(keep=None, budget=1), NOON + 3_000 * DAY).removed_count == 0
    assert prune(retain(keep=2 * DAY), NOON + 2 * DAY).removed_count == 1


def test_a_rule_about_a_stream_without_findings_is_refused(connections: Connections) -> None:
    with pytest.raises(ValueError, match=r"camera\.raw stay for ever"):
        BlobRetention(
            connections.database_url,
            BlobStore(connections),
            HotStore(connections.database_url),
            registry=REGISTRY,
            readers=(),
            rules=BlobRules(None, {"device.image.camera.raw": DAY}),
        )


def test_what_was_removed_is_told_with_its_day_and_reason_and_its_row_stays(
    shelf: Shelf, retain: Retain, connections: Connections
) -> None:
    silent = sound(shelf)
    shelf.end(silent, State.EMPTY, NOON)
    size = shelf.lines()[silent]
    assert prune(retain()).removed_bytes == size
    with psycopg.connect(connections.database_url) as connection:
        removed = removed_blob(connection, shelf.user_id, silent)
        query = "SELECT count(*) FROM am.device_audio_raw WHERE blob_key = %s"
        assert connection.execute(query, (silent,)).fetchone() == (1,)
        assert removed_blob(connection, "somebody", silent) is None
    assert removed is not None
    assert removed.removed_at is not None
    assert (removed.byte_count, removed.sha256) == (size, silent.rsplit("/", 1)[-1])
    assert "found nothing in it on 2026-05-04" in removed.told


def test_bytes_that_two_rows_name_stay_until_nothing_was_found_for_both(
    shelf: Shelf, retain: Retain, connections: Connections
) -> None:
    facts = {"sample_rate_hz": 16_000, "channels": 1, "duration_ms": 3_000}
    key = shelf.put(AUDIO, NOON, b"nothing" * 100, **facts)
    shelf.end(key, State.EMPTY, NOON)
    assert shelf.put(AUDIO, NOON + minutes(5), b"nothing" * 100, device="watch", **facts) == key
    assert prune(retain()).removed_count == 0
    shelf.end(key, State.EMPTY, NOON)
    assert prune(retain()).removed_count == 1


def test_a_hold_keeps_its_users_blobs_of_its_time_and_stream(
    shelf: Shelf, retain: Retain, connections: Connections
) -> None:
    held, before, other = sound(shelf), sound(shelf, NOON - DAY), sound(shelf, NOON + DAY)
    for key in (held, before, other):
        shelf.end(key, State.EMPTY, NOON)
    span = {"begin": NOON - minutes(1), "end": NOON + minutes(1)}
    with psycopg.connect(connections.database_url) as connection:
        add_hold(connection, user_id=f"{shelf.user_id}x", reason="another's")
        add_hold(connection, user_id=shelf.user_id, reason="photos", stream=SCREENSHOT.name)
        hold = add_hold(connection, user_id=shelf.user_id, reason="a court", **span)
    pruned = prune(retain(budget=1))
    assert shelf.present(held, before, other) == {held}
    assert [one.blob_key for one in pruned.plan.held] == [held]
    assert pruned.plan.over_bytes == shelf.lines()[held] - 1
    with psycopg.connect(connections.database_url) as connection:
        found = holds(connection, shelf.user_id, NOON, LATER)
        assert {one.reason for one in found} == {"photos", "a court"}
        assert release_hold(connection, hold)
        assert not release_hold(connection, hold)
    assert prune(retain()).removed_count == 1


def test_above_the_budget_the_oldest_repeats_go_first_then_young_silence_then_nothing(
    shelf: Shelf, retain: Retain
) -> None:
    shots = [screen(shelf, NOON + minutes(n), shade=n) for n in range(5)]
    other = screen(shelf, NOON + minutes(9), shade=1, is_wide=True)
    silent, spoken = sound(shelf), sound(shelf, NOON + minutes(1))
    for key in (*shots, other):
        shelf.end(key, State.DONE, LATER)
    shelf.end(silent, State.EMPTY, LATER)
    shelf.end(spoken, State.DONE, LATER)
    used = sum(shelf.lines().values())
    assert prune(retain()).removed_count == prune(retain(budget=used)).removed_count == 0
    assert prune(retain(budget=used - 1)).removed_count == 1
    assert shelf.present(*shots) == {shots[0], *shots[2:]}
    last = prune(retain(budget=1))
    assert [one.ground for one in last.plan.removals] == [
        Ground.NEAR_DUPLICATE,
        Ground.NEAR_DUPLICATE,
        Ground.WITHOUT_FINDING,
    ]
    left = {shots[0], shots[4], other, spoken}
    assert set(shelf.lines()) == left
    assert last.plan.over_bytes == sum(shelf.lines().values()) - 1
    assert prune(retain(budget=1)).removed_count == 0


def test_a_screenshot_that_nobody_has_read_stays(shelf: Shelf, retain: Retain) -> None:
    shots = [screen(shelf, NOON + minutes(n), shade=n) for n in range(3)]
    for state in (State.BLOCKED, State.FAILED):
        shelf.end(shots[1], state, NOON)
        assert prune(retain(budget=1)).removed_count == 0
    shelf.end(shots[1], State.DONE, NOON)
    assert prune(retain(budget=1)).removed_count == 1


def test_a_plan_changes_nothing_and_is_what_pruning_then_does(shelf: Shelf, retain: Retain) -> None:
    shots = [screen(shelf, NOON + minutes(n), shade=n) for n in range(4)]
    silent = sound(shelf)
    for key in (*shots, silent):
        shelf.end(key, State.EMPTY, NOON)
    before = shelf.lines()
    plan = retain(budget=1).plan(now=LATER)
    assert shelf.lines() == before
    assert shelf.present(*before) == set(before)
    pruned = prune(retain(budget=1))
    assert pruned.plan == plan
    assert pruned.removed_bytes == plan.freed_bytes


def test_a_store_that_fails_in_between_is_made_up_for_by_the_next_call(
    shelf: Shelf, retain: Retain, connections: Connections
) -> None:
    silent = sound(shelf)
    shelf.end(silent, State.EMPTY, NOON)
    nobody = BlobStore(replace(connections, s3_endpoint="http://127.0.0.1:1"))
    with pytest.raises(BlobUnreachableError):
        prune(retain(blobs=nobody))
    assert shelf.lines() == {}  # decided on
    assert shelf.present(silent) == {silent}  # but still there
    assert prune(retain()).removed_count == 1
    assert shelf.present(silent) == set()
    assert prune(retain()).removed_count == 0


@pytest.mark.parametrize("is_gone", [False, True], ids=["before its bytes", "after its bytes"])
def test_what_a_broken_off_run_had_decided_on_stays_if_it_is_held_now_and_still_there(
    shelf: Shelf, retain: Retain, connections: Connections, is_gone: bool
) -> None:
    silent = sound(shelf)
    shelf.end(silent, State.EMPTY, NOON)
    before = shelf.lines()
    nobody = BlobStore(replace(connections, s3_endpoint="http://127.0.0.1:1"))
    with pytest.raises(BlobUnreachableError):
        prune(retain(blobs=nobody))
    if is_gone:
        BlobStore(connections).remove_all([silent])
    with psycopg.connect(connections.database_url) as connection:
        add_hold(connection, user_id=shelf.user_id, reason="a court")
    prune(retain())
    with psycopg.connect(connections.database_url) as connection:
        removed = removed_blob(connection, shelf.user_id, silent)
    assert (removed is not None) == is_gone
    assert shelf.lines() == ({} if is_gone else before)


def test_what_is_sent_again_is_there_again_and_may_go_again(shelf: Shelf, retain: Retain) -> None:
    facts = {"sample_rate_hz": 16_000, "channels": 1, "duration_ms": 3_000}
    key = shelf.put(AUDIO, NOON, b"nothing" * 100, **facts)
    shelf.end(key, State.EMPTY, NOON)
    assert prune(retain()).removed_count == 1
    shelf.put(AUDIO, NOON, b"nothing" * 100, **facts)
    assert prune(retain()).removed_count == 0
    assert shelf.present(key) == {key}
    shelf.end(key, State.EMPTY, NOON)
    assert prune(retain()).removed_count == 1
