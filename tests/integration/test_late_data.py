"""Dagster's side: what lands is published, and what follows is asked for, on exactly its days."""

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

import pytest
from dagster import (
    AssetKey,
    AssetObservation,
    DagsterInstance,
    Definitions,
    RunRequest,
    build_sensor_context,
    evaluate_automation_conditions,
)

from am_assets.definitions import build_defs
from am_assets.process import Tools
from am_assets.streams.digital import NOTE
from am_assets.streams.image import SCREENSHOT
from am_assets.streams.position import GPS_FIX
from am_assets.streams.registry import REGISTRY, Registry
from infra.demo import media
from resources.compute import LocalCompute, ModelChoice
from resources.connections import Connections
from sensors.landing import Cursor, read_ledger
from tests.models.media import tiny_weights
from tests.planting import Garden, days_from, rows_of

DAYS = days_from(date(2025, 1, 1))
SPOT = {"latitude": 45.2, "longitude": 13.6}
LOAD_LIMIT_S = 3.0


@pytest.fixture
def tools(connections: Connections) -> Tools:
    return Tools.at(connections, LocalCompute(ModelChoice("tiny", tiny_weights())))


@pytest.fixture
def defs(tools: Tools) -> Definitions:
    return build_defs(resources={"tools": tools})


@pytest.fixture
def instance() -> Iterator[DagsterInstance]:
    with DagsterInstance.ephemeral() as instance:
        # As that of a stack, it is not without any event when the first day is materialized.
        instance.report_runless_asset_event(AssetObservation("the_beginning"))
        yield instance


def _at(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, 8, tzinfo=UTC)


def _tick(
    name: str, defs: Definitions, tools: Tools, instance: DagsterInstance, cursor: str | None
) -> tuple[list[RunRequest], str | None]:
    repository = defs.get_repository_def()
    with build_sensor_context(
        instance=instance, cursor=cursor, resources={"tools": tools}, repository_def=repository
    ) as context:
        told: Any = repository.get_sensor_def(name).evaluate_tick(context)
    return list(told.run_requests), told.cursor


def _run(defs: Definitions, instance: DagsterInstance, request: RunRequest) -> Any:
    return defs.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=instance,
        partition_key=request.partition_key,
        asset_selection=request.asset_selection,
    )


def _end_of_ledger(tools: Tools) -> str:
    lines = read_ledger(tools.database_url, Cursor(), limit=1_000_000)
    return (Cursor(lines[-1].xid, lines[-1].seq) if lines else Cursor()).to_text()


@pytest.mark.slow
def test_a_phone_that_syncs_nine_days_late_gets_its_nine_days_and_no_others(
    tools: Tools, defs: Definitions, instance: DagsterInstance
) -> None:
    days = [next(DAYS) for _ in range(9)]
    first = evaluate_automation_conditions(defs=defs, instance=instance)
    assert first.total_requested == 0  # a fresh instance does not ask for the past
    cursor: str | None = _end_of_ledger(tools)
    garden = Garden(tools.lake.connections)
    # Screenshots alone: that there is no photo must not hold back what reads both.
    picture = media.screen("terminal")
    facts = {"width_px": picture.width_px, "height_px": picture.height_px}
    for day in days:
        garden.plant_blobs(SCREENSHOT, [(_at(day), picture.data, facts)])
    requests, cursor = _tick("landing", defs, tools, instance, cursor)
    assert {(r.partition_key, tuple(map(str, r.asset_selection or ()))) for r in requests} == {
        (str(day), (str(AssetKey(["raw", SCREENSHOT.table])),)) for day in days
    }
    for request in requests:
        assert _run(defs, instance, request).success
    second = evaluate_automation_conditions(defs=defs, instance=instance, cursor=first.cursor)
    wanted = {day.isoformat() for day in days}
    follows = {"media_text_ocr_extracted", "media_text_ocr_cleaned", "moments"}
    for key in defs.resolve_asset_graph().get_all_asset_keys():
        if key.path[0] == "out":  # local days, which reach into the UTC days beside them
            continue
        expected = wanted if key.path[-1] in follows else set()
        assert second.get_requested_partitions(key) == expected, key
    third = evaluate_automation_conditions(defs=defs, instance=instance, cursor=second.cursor)
    assert third.total_requested == 0
    assert _tick("landing", defs, tools, instance, cursor)[0] == []


def test_materializing_a_raw_day_twice_writes_once_and_both_checks_pass(
    tools: Tools, defs: Definitions, instance: DagsterInstance
) -> None:
    day = next(DAYS)
    Garden(tools.lake.connections).plant(GPS_FIX, [(_at(day), SPOT)])
    request = RunRequest(
        partition_key=day.isoformat(), asset_selection=[AssetKey(["raw", GPS_FIX.table])]
    )
    told = [_run(defs, instance, request) for _ in range(2)]
    facts = [
        {name: value.value for name, value in event.materialization.metadata.items()}
        for result in told
        for event in result.get_asset_materialization_events()
    ]
    assert [one["is_changed"] for one in facts] == [True, False]
    assert facts[0]["delta_version"] == facts[1]["delta_version"]
    assert facts[0]["dagster/row_count"] == 1
    checks = [c for result in told for c in result.get_asset_check_evaluations()]
    assert [(c.check_name, c.passed) for c in checks] == [
        ("conservation", True),
        ("contract", True),
    ] * 2


def test_a_derived_day_is_what_the_library_gives_and_a_second_run_changes_nothing(
    tools: Tools, defs: Definitions, instance: DagsterInstance
) -> None:
    day = next(DAYS)
    Garden(tools.lake.connections).plant(
        NOTE, [(_at(day), {"content": "Feed the starter", "note_type": "text"})]
    )
    request = RunRequest(
        partition_key=day.isoformat(), asset_selection=[AssetKey(["derived", "moments"])]
    )
    done = []
    for _ in range(2):
        (event,) = _run(defs, instance, request).get_asset_materialization_events()
        done.append(event.materialization.metadata["items_done"].value)
    assert done == [1, 0]
    query = "SELECT state FROM am.work_item WHERE enrichment = 'moments' AND day = %s"
    assert rows_of(tools.lake.connections, query, day) == [("done",)]


def test_what_no_run_has_done_is_asked_for_again(
    tools: Tools, defs: Definitions, instance: DagsterInstance
) -> None:
    day = next(DAYS)
    connections = tools.lake.connections
    Garden(connections).plant(NOTE, [(_at(day), {"content": "x", "note_type": "text"})])
    assert str(day) not in _asked(defs, tools, instance)  # the ordinary way has its minute
    rows_of(
        connections,
        "UPDATE am.landing SET received_at = received_at - interval '5 minutes' "
        "WHERE day = %s RETURNING 1",
        day,
    )
    asked = _asked(defs, tools, instance)
    assert {key.path[-1] for key in asked[str(day)]} == {NOTE.table, "moments"}
    _run(defs, instance, RunRequest(partition_key=str(day), asset_selection=asked[str(day)]))
    assert str(day) not in _asked(defs, tools, instance)


def _asked(defs: Definitions, tools: Tools, instance: DagsterInstance) -> dict[str, list[AssetKey]]:
    requests, _ = _tick("unfinished", defs, tools, instance, None)
    return {str(r.partition_key): list(r.asset_selection or ()) for r in requests}


def test_definitions_of_150_streams_load_fast_and_connect_to_nothing() -> None:
    more = [replace(GPS_FIX, name=f"device.made.up{n}.raw", doors=()) for n in range(140)]
    registry = Registry([*REGISTRY.values(), *more])
    assert len(registry) >= 150
    started = time.process_time()  # a busy neighbour is no fault of the definitions
    repository = build_defs(registry).get_repository_def()
    assert time.process_time() - started < LOAD_LIMIT_S
    keys = repository.asset_graph.get_all_asset_keys()
    assert {AssetKey(["raw", stream.table]) for stream in registry.raw} <= keys
    made = {stream.table for stream in registry.derived if stream.planned is None}
    assert made <= {key.path[-1] for key in keys}
