"""The assets that keep lake and vectors, materialised on real stores: twice is once."""

from datetime import UTC, date, datetime

import pytest
from dagster import AssetsDefinition, ExecuteInProcessResult, materialize

from am_assets.process import Tools
from am_assets.streams.digital import NOTE
from am_assets.streams.registry import Registry
from am_assets.upkeep.lake_check import lake_check_asset
from am_assets.upkeep.lake_files import lake_files_asset
from am_assets.upkeep.vectors import vectors_asset
from resources.compute import LocalCompute, ModelChoice
from resources.connections import Connections
from resources.vectors import VectorStore
from tests.models.media import tiny_weights
from tests.planting import Garden, days_from
from tests.resources.moments_data import DIMENSION, SPEECH, moment, table
from tests.resources.objects import table_objects

DAYS = days_from(date(2022, 3, 1))


@pytest.fixture
def tools(connections: Connections) -> Tools:
    return Tools.at(
        connections, LocalCompute(ModelChoice("tiny", tiny_weights())), registry=Registry([NOTE])
    )


def published(tools: Tools) -> date:
    day = next(DAYS)
    at = datetime(day.year, day.month, day.day, 8, tzinfo=UTC)
    Garden(tools.lake.connections).plant(NOTE, [(at, {"content": "n", "note_type": "text"})])
    tools.lake.publish(NOTE, day)
    return day


def made(asset: AssetsDefinition, tools: Tools) -> ExecuteInProcessResult:
    return materialize([asset], resources={"tools": tools}, raise_on_error=False)


def told(result: ExecuteInProcessResult, name: str) -> object:
    (event,) = result.get_asset_materialization_events()
    return event.materialization.metadata[name].value


@pytest.mark.slow
def test_the_lake_is_put_in_order_once_and_left_alone_after_that(tools: Tools) -> None:
    published(tools)
    assert told(made(lake_files_asset(), tools), "tables") == 1
    assert told(made(lake_files_asset(), tools), "tables") == 0


def test_a_lake_that_is_short_fails_both_and_says_of_which_day(tools: Tools) -> None:
    assert told(made(lake_check_asset(), tools), "faults") == 0
    day = published(tools)
    folder = table_objects(tools.lake, NOTE)
    lost = next(name for name in folder.names() if name.startswith(f"day={day}"))
    content = folder.get(lost)
    folder.remove(lost)
    for asset in (lake_check_asset(), lake_files_asset()):
        result = made(asset, tools)
        assert not result.success
        failure = result.get_step_failure_events()[0].step_failure_data.user_failure_data
        assert failure is not None
        assert f"{NOTE.name}" in (failure.description or "")
        assert str(day) in (failure.description or "")
    folder.put(lost, content)


def test_moments_are_put_in_order(tools: Tools) -> None:
    connections = tools.lake.connections
    store = VectorStore(connections, model_id="letters", dimension=DIMENSION)
    store.replace(["e1"], table([moment("bread")]), user_id="ann", source_stream=SPEECH)
    assert told(made(vectors_asset(), tools), "moments") == 1
    assert told(made(vectors_asset(), tools), "moments") == 1
