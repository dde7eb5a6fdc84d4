"""The views of what went wrong: every stage has one, and it shows what is there and whose it is."""

from datetime import UTC, datetime
from uuid import uuid4

import psycopg
import pytest

from am_assets.derived.catalog import ENRICHMENTS
from am_assets.schemas.errors import STAGES, view_of
from am_assets.streams.registry import REGISTRY
from resources.connections import Connections

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_every_enrichment_and_stream_that_a_stage_names_is_one_and_is_named_once() -> None:
    tables = {stream.table for stream in REGISTRY.derived} | {one.name for one in ENRICHMENTS}
    enrichments = [name for stage in STAGES.values() for name in stage.enrichments]
    streams = [name for stage in STAGES.values() for name in stage.raw_streams]
    assert set(enrichments) <= tables
    assert all(not REGISTRY[name].is_derived for name in streams)
    assert len(enrichments) + len(streams) == len({*enrichments, *streams})


@pytest.mark.parametrize("stage", STAGES)
def test_a_stages_view_shows_its_failed_items_and_open_letters_of_one_user_alone(
    stage: str, connections: Connections
) -> None:
    view = view_of(stage)
    with psycopg.connect(connections.database_url) as connection:
        for user in ("ann", "anna"):
            expected = plant(connection, stage, user)
        connection.execute("SET LOCAL ROLE am_reader")
        connection.execute("SELECT set_config('app.user_id', 'anna', true)")
        rows = connection.execute(
            f"SELECT DISTINCT user_id, original_message_id, retry_count FROM {view}"
        ).fetchall()
        connection.rollback()
    assert set(rows) == {("anna", one, 2) for one in expected}


def plant(connection: psycopg.Connection, stage: str, user: str) -> set[object]:
    """A failed item and a pending one of each enrichment, an open letter and a replayed one."""
    shown: set[object] = set()
    for name in STAGES[stage].enrichments:
        for state in ("failed", "pending"):
            item = uuid4()
            shown |= {item} if state == "failed" else set()
            connection.execute(
                "INSERT INTO am.work_item (enrichment, version, user_id, item_id, source_stream, "
                "device_id, day, ts, state, attempts, reason) "
                "VALUES (%s, 1, %s, %s, 'a.b.raw', 'phone', %s, %s, %s, 3, 'why')",
                (name, user, item, NOON.date(), NOON, state),
            )
    for name in STAGES[stage].raw_streams:
        for state in ("open", "replayed"):
            letter = uuid4()
            shown |= {letter} if state == "open" else set()
            connection.execute(
                "INSERT INTO am.dead_letter (dead_letter_id, user_id, device_id, stream, day, "
                "door, code, reason, payload, times_seen, state) "
                "VALUES (%s, %s, 'phone', %s, %s, '/test', 'bad_value', 'why', '', 3, %s)",
                (letter, user, name, NOON.date(), state),
            )
    return shown
