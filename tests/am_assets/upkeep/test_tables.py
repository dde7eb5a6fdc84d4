"""The assets that roll days up and cut tables, as Dagster runs them: twice is once."""

from datetime import UTC, datetime
from pathlib import Path

import psycopg
from dagster import AssetsDefinition, materialize

from am_assets.process import Tools
from am_assets.streams.health import HEART_RATE
from am_assets.upkeep.partitions import partitions_asset
from am_assets.upkeep.rollups import rollups_asset
from resources.compute import LocalCompute, ModelChoice
from resources.connections import Connections
from tests.planting import Garden

NOON = datetime(2029, 3, 1, 12, tzinfo=UTC)
DAYS = "SELECT row_count, bpm_avg FROM am.device_health_heartrate_raw_per_day WHERE user_id = 'up'"


def told(asset: AssetsDefinition, tools: Tools, name: str) -> object:
    """One number of what a run reports."""
    run = materialize([asset], resources={"tools": tools})
    assert run.success
    return run.asset_materializations_for_node(asset.op.name)[0].metadata[name].value


def test_published_days_that_changed_are_rolled_up_and_others_are_not(
    connections: Connections, tmp_path: Path
) -> None:
    tools = Tools.at(connections, LocalCompute(ModelChoice("tiny", tmp_path)))
    Garden(connections, user_id="up").plant(HEART_RATE, [(NOON, {"bpm": 60.0})])
    assert told(rollups_asset(), tools, "days") == 0  # not published yet
    tools.lake.publish(HEART_RATE, NOON.date())
    assert [told(rollups_asset(), tools, "days") for _ in range(2)] == [1, 0]
    with psycopg.connect(connections.database_url) as database:
        assert database.execute(DAYS).fetchall() == [(1, 60.0)]


def test_the_partitions_of_today_are_there_from_the_start(
    connections: Connections, tmp_path: Path
) -> None:
    tools = Tools.at(connections, LocalCompute(ModelChoice("tiny", tmp_path)))
    assert told(partitions_asset(), tools, "busy") == []
    assert told(partitions_asset(), tools, "made") == 0
