"""A stream that gains a column: what an older version of AM stored, asked and kept by this one."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
import psycopg
import pytest
from deltalake import write_deltalake
from pydantic import Field

from am_assets.streams.digital import NOTE
from am_assets.streams.registry import REGISTRY, Registry
from am_assets.streams.stream import Row
from infra.migrate import apply_registry
from ingest_api.tokens import Scope
from resources.connections import Connections
from resources.duck import connect, query
from resources.lake import Lake, mergeable
from resources.lake_check import LakeCheck
from resources.lake_upkeep import LakeUpkeep
from resources.retention import Retention
from tests.resources.rows import insert
from tests.stored import compress, stored_in

USER = "growing"
OLD, NEW = date(2021, 3, 4), date(2021, 3, 5)
ADDED = "language"
PLACES = ("lake.am.digital_notes_raw", "am.digital_notes_raw")
SORTED = f"SELECT content, {ADDED} FROM {{}} ORDER BY content"


class OlderNote(Row):
    """A note, when notes had no language."""

    content: str = Field(description="The text.")
    title: str | None = Field(default=None, description="The note's heading.")
    note_type: str = Field(default="text", description="text or markdown.")
    tags: list[str] | None = Field(default=None, description="Words the owner filed it under.")


OLDER = replace(NOTE, row=OlderNote)
OLDER_REGISTRY = Registry(OLDER if one is NOTE else one for one in REGISTRY.values())


@pytest.fixture(scope="module")
def lake(connections: Connections) -> Lake:
    """A day that an older version published, and one of this version."""
    lake = Lake(connections)
    with psycopg.connect(connections.database_url) as connection:
        table = f"{stored_in(connection)}.{NOTE.table}"
        connection.execute(f"ALTER TABLE {table} DROP COLUMN {ADDED} CASCADE".encode())
        assert apply_registry(connection, OLDER_REGISTRY)
    insert(connections.database_url, OLDER, [note(OLD, n) for n in range(3)])
    lake.publish(OLDER, OLD)
    compress(connections.database_url, OLDER)
    with psycopg.connect(connections.database_url) as connection:
        assert apply_registry(connection, REGISTRY)
    insert(connections.database_url, NOTE, [note(NEW, 7, language="en")])
    lake.publish(NOTE, NEW)
    return lake


@pytest.fixture
def client(lake: Lake, client_for: Callable[..., httpx.Client]) -> httpx.Client:
    return client_for(USER, scope=Scope.SQL)


def note(day: date, n: int, **values: str) -> dict[str, Any]:
    at = datetime(day.year, day.month, day.day, 8, tzinfo=UTC) + timedelta(minutes=n)
    return {"user_id": USER, "ts": at, "content": f"n{n}", "note_type": "text", **values}


def everywhere(lake: Lake, client: httpx.Client) -> list[list[list[Any]]]:
    """The same question to the engine and to the API, of the lake and of both stores."""
    with connect(lake.connections, REGISTRY, user_id=USER) as engine:
        asked = [query(engine, SORTED.format(place)) for place in PLACES]
    told = [client.post("/v1/sql", json={"query": SORTED.format(place)}) for place in PLACES]
    return [
        *([list(row.values()) for row in rows.to_pylist()] for rows in asked),
        *(answer.json()["rows"] for answer in told),
    ]


def test_older_days_read_null_and_newer_ones_what_they_hold_wherever_it_is_asked(
    lake: Lake, client: httpx.Client
) -> None:
    assert lake.read_day(NOTE, OLD)[ADDED].to_pylist() == [None] * 3
    assert lake.read_day(NOTE, NEW)[ADDED].to_pylist() == ["en"]
    expected = [["n0", None], ["n1", None], ["n2", None], ["n7", "en"]]
    assert everywhere(lake, client) == [expected] * 4
    counted = "SELECT count(*) FROM {}.am.timeline"
    answers = [client.post("/v1/sql", json={"query": counted.format(n)}) for n in ("lake", "hot")]
    assert [answer.json()["rows"] for answer in answers] == [[[4]], [[4]]]


def test_an_older_receipt_stays_true_until_the_new_column_is_filled(
    lake: Lake, client: httpx.Client
) -> None:
    assert LakeCheck(lake).deep(NOTE) == []
    assert not lake.publish(NOTE, OLD).is_changed
    insert(lake.connections.database_url, NOTE, [note(OLD, 3, language="hr")])
    assert lake.publish(NOTE, OLD).row_count == 4
    assert LakeCheck(lake).deep(NOTE) == []
    expected = [["n0", None], ["n1", None], ["n2", None], ["n3", "hr"], ["n7", "en"]]
    assert everywhere(lake, client) == [expected] * 4


def test_compaction_of_an_older_day_keeps_its_nulls_and_its_receipt(
    lake: Lake, client: httpx.Client
) -> None:
    before, expected = lake.read_day(NOTE, OLD), everywhere(lake, client)
    uri, options = lake.table_uri(NOTE), lake.connections.delta_options()
    rows = mergeable(before, NOTE, lake.open(NOTE))
    before = before.sort_by("ts")
    where = f"day = '{OLD}'"
    write_deltalake(
        uri,
        rows.slice(0, 3).drop_columns(ADDED),
        mode="overwrite",
        predicate=where,
        schema_mode="merge",
        storage_options=options,
    )
    write_deltalake(uri, rows.slice(3), mode="append", storage_options=options)
    assert LakeUpkeep(lake).keep(NOTE, now=datetime.now(UTC)).days == (OLD,)
    assert lake.read_day(NOTE, OLD).sort_by("ts").equals(before)
    assert LakeCheck(lake).deep(NOTE) == []
    assert everywhere(lake, client) == expected


def test_an_older_day_leaves_the_database_and_comes_back_with_its_nulls(
    lake: Lake, client: httpx.Client
) -> None:
    expected = everywhere(lake, client)
    Retention(lake.connections, REGISTRY).leave(NOTE, OLD)
    assert everywhere(lake, client) == expected
    assert LakeCheck(lake).deep(NOTE) == []
    assert lake.reopen(NOTE, OLD) == 4
    lake.publish(NOTE, OLD)
    assert everywhere(lake, client) == expected
