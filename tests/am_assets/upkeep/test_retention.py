"""The nightly leaving of old days, as an asset and as a command."""

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from dagster import DagsterInstance, ExecuteInProcessResult, Failure, materialize
from typer.testing import CliRunner

from am_assets.checks.conservation import count_day
from am_assets.process import Tools
from am_assets.streams.digital import NOTE
from am_assets.streams.health import HEART_RATE
from am_assets.upkeep.retention import retention_asset
from infra.commands.retention import app
from resources.compute import LocalCompute, ModelChoice
from resources.connections import Connections
from tests.planting import Garden, days_from
from tests.variables import variables_of

DAYS = days_from(date(2021, 9, 1))
CONTENT = {"content": "Feed the starter", "note_type": "text"}


@pytest.fixture
def tools(connections: Connections, tmp_path: Path) -> Tools:
    return Tools.at(connections, LocalCompute(ModelChoice("tiny", tmp_path)))


@pytest.fixture
def instance() -> Iterator[DagsterInstance]:
    with DagsterInstance.ephemeral() as instance:
        yield instance


def plant(tools: Tools, *days: date) -> None:
    """Two notes and a heart beat a day, published."""
    garden = Garden(tools.lake.connections)
    for day in days:
        at = datetime(day.year, day.month, day.day, 8, tzinfo=UTC)
        garden.plant(NOTE, [(at, CONTENT), (at.replace(hour=9), CONTENT)])
        garden.plant(HEART_RATE, [(at, {"bpm": 60.0})])
        for stream in (NOTE, HEART_RATE):
            tools.lake.publish(stream, day)


def materialized(tools: Tools, instance: DagsterInstance, **options: Any) -> ExecuteInProcessResult:
    return materialize(
        [retention_asset()], resources={"tools": tools}, instance=instance, **options
    )


def told(result: ExecuteInProcessResult) -> dict[str, Any]:
    (event,) = result.get_asset_materialization_events()
    return {name: value.value for name, value in event.materialization.metadata.items()}


def test_the_asset_lets_old_days_leave_and_a_second_night_finds_nothing(
    tools: Tools, instance: DagsterInstance
) -> None:
    days = [next(DAYS) for _ in range(2)]
    plant(tools, *days, datetime.now(UTC).date())
    found = told(materialized(tools, instance))
    assert (found["days_left"], found["rows_left"]) == (4, 6)
    assert set(found["days"]) == {f"{s.name} {day}" for s in (NOTE, HEART_RATE) for day in days}
    again = told(materialized(tools, instance))
    assert (again["days_left"], again["failed"]) == (0, [])
    for day in days:
        counts = count_day(tools, NOTE, day)
        assert (counts.has_left, counts.hot, counts.lake, counts.faults()) == (True, 0, 2, [])


def test_a_day_that_can_t_leave_is_named_and_keeps_no_other(
    tools: Tools, instance: DagsterInstance
) -> None:
    damaged, whole = next(DAYS), next(DAYS)
    plant(tools, damaged, whole)
    table = tools.lake.open(NOTE)
    assert table is not None
    table.delete(f"day = '{damaged}'")
    with pytest.raises(Failure, match=f"{NOTE.name} of {damaged}: the lake has 0 rows"):
        materialized(tools, instance)
    assert count_day(tools, NOTE, whole).has_left
    assert count_day(tools, HEART_RATE, damaged).has_left
    assert count_day(tools, NOTE, damaged).hot == 2


def test_the_command_tells_what_would_leave_and_lets_it_leave(tools: Tools, tmp_path: Path) -> None:
    day = next(DAYS)
    plant(tools, day)
    place = tools.lake.connections
    env = {
        "AM_HOME": str(tmp_path / "home"),
        **variables_of(place),
    }
    asked = CliRunner().invoke(app, ["--dry-run", "--json"], env=env)
    mine = [one for one in json.loads(asked.stdout) if one["day"] == day.isoformat()]
    assert {(one["stream"], one["row_count"], one["held_by"]) for one in mine} == {
        (NOTE.name, 2, None),
        (HEART_RATE.name, 1, None),
    }
    assert count_day(tools, NOTE, day).hot == 2
    longer = CliRunner().invoke(app, ["--dry-run"], env={**env, "AM_KEEP_HOT_DAYS": "100000"})
    assert "0 days would leave" in longer.stdout
    done = CliRunner().invoke(app, [], env=env)
    assert f"{day}" in done.stdout
    assert count_day(tools, NOTE, day).has_left
