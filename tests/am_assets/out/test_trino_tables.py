"""The assets that tell Trino what there is; the coordinator is the facade, the lake is real."""

import sqlite3
from contextlib import closing
from pathlib import Path

from dagster import materialize
from deltalake import DeltaTable

from am_assets.out.trino_tables import trino_assets
from am_assets.process import Tools
from am_assets.streams.digital import NOTE
from am_assets.streams.health import HEART_RATE
from am_assets.streams.registry import Registry
from resources.attached_tables import snapshot_files
from resources.connections import Connections
from tests.resources.test_search import EmptyCompute
from tests.resources.trino_facade import facade


def memos(path: Path, *contents: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE IF NOT EXISTS memo (id INTEGER, content TEXT, odd)")
        for content in contents:
            connection.execute("INSERT INTO memo VALUES (1, ?, ?)", (content, len(content) * 1.5))


def rows(connections: Connections, uri: str) -> list[dict[str, object]]:
    table = DeltaTable(uri, storage_options=connections.delta_options())
    return table.to_pyarrow_table().to_pylist()


def test_a_files_tables_become_delta_tables_and_change_only_with_it(
    connections: Connections, tmp_path: Path
) -> None:
    memos(tmp_path / "memos_prod.db", "bread")
    memos(tmp_path / "ann" / "memos_prod.db", "of Ann")
    first = snapshot_files(connections, tmp_path)
    assert [(one.table, one.is_changed) for one in first] == [
        ("memos_prod_memo", True),
        ("ann_memos_prod_memo", True),
    ]
    assert rows(connections, first[0].uri) == [
        {"user_id": "", "id": 1, "content": "bread", "odd": 7.5}
    ]
    assert rows(connections, first[1].uri)[0]["user_id"] == "ann"
    memos(tmp_path / "memos_prod.db", "butter")
    again = snapshot_files(connections, tmp_path)
    assert [one.is_changed for one in again] == [True, False]
    assert len(rows(connections, again[0].uri)) == 2


def test_without_a_coordinator_there_are_no_assets(tmp_path: Path) -> None:
    assert trino_assets(None, user="am", attach=tmp_path) == []


def test_trino_learns_the_tables_once_and_the_views_each_time(
    connections: Connections, tmp_path: Path
) -> None:
    memos(tmp_path / "memos_prod.db", "bread")
    registry = Registry((NOTE, HEART_RATE))
    tools = Tools.at(connections, EmptyCompute(), registry=registry)
    with facade() as server:
        assets = trino_assets(server.url, user="am", attach=tmp_path)
        for _ in range(2):
            assert materialize(assets, resources={"tools": tools}).success
        told = server.statements
    calls = [text for text in told if text.startswith("CALL")]
    assert len(calls) == 6  # two streams and a file, asked for twice
    assert any("digital_notes_raw" in text and connections.lake_uri in text for text in calls)
    assert any("'attached'" in text and "memos_prod_memo" in text for text in calls)
    made = [text for text in told if text.startswith("CREATE OR REPLACE VIEW")]
    assert len(made) == 2 * 4
