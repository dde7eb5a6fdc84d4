"""What is derived from days that have left the hot store is what it would be had they stayed."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from am_assets.derived.enrichment import (
    Derived,
    Enrichment,
    Found,
    Item,
    Maker,
    Outcome,
)
from am_assets.process import Tools, process, process_pending
from am_assets.streams.audio import AUDIO, SPEECH
from am_assets.streams.digital import NOTE
from am_assets.streams.registry import REGISTRY
from am_assets.streams.stream import Stream
from am_assets.streams.text import TRANSCRIPT, Transcript
from resources.compute import Compute, LocalCompute, ModelChoice
from resources.connections import Connections
from resources.hot import HotStore, Span
from resources.lake import DayLeftError, mark_stale
from resources.retention import Retention
from resources.work_items import Recent, Unit
from tests.planting import Garden, Values, days_from
from tests.resources.rows import lineage

pytestmark = pytest.mark.slow

DAYS = days_from(date(2023, 2, 1))
STEP = timedelta(days=3)  # what begins at midnight's edges lies within a day


def told(item: Item) -> str:
    """Everything that the item holds."""
    if item.rows is not None:
        return f"{item.rows.num_rows} rows"
    if item.parts:
        return f"{len(item.parts)} parts"
    return str(item.row["content"])


def said(text: str) -> Transcript:
    return Transcript(text=text, words=[], language="en", language_probability=1, duration_ms=0)


def run(items: Sequence[Item], compute: Compute) -> list[Outcome]:
    del compute
    return [
        Found(
            [
                Derived(
                    ts=item.ts - timedelta(hours=1) * far,  # may lie in the day before
                    values=said(told(item)),
                    key=str(far),
                )
                for far in range(2)
            ],
            Maker("rule", "1"),
        )
        for item in items
    ]


def enrichment(unit: Unit) -> Enrichment:
    return Enrichment(
        name=f"{TRANSCRIPT.table}_{unit}",
        output=TRANSCRIPT,
        sources=(SPEECH if unit is Unit.SEQUENCE else NOTE,),
        version=1,
        unit=unit,
        summary="A rule for tests.",
        run=run,
    )


@pytest.fixture
def tools(connections: Connections, tmp_path: Path) -> Tools:
    return Tools.at(connections, LocalCompute(ModelChoice("tiny", tmp_path)))


def values(made: Enrichment, number: int) -> Values:
    if made.unit is not Unit.SEQUENCE:
        return {"content": f"note {number}", "note_type": "text"}
    stretch = {"start_ms": 0, "end_ms": 900, "duration_ms": 900}
    return {**stretch, **lineage(AUDIO, uuid4())}


def plant(tools: Tools, made: Enrichment, day: date, seconds: Sequence[int]) -> None:
    (source,) = made.sources
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    rows = [(midnight + timedelta(seconds=at), values(made, at)) for at in seconds]
    Garden(tools.lake.connections).plant(source, rows)
    if source.is_derived:  # as the work queue notes them
        with psycopg.connect(tools.database_url) as connection:
            mark_stale(connection, source, [day], run_id="test")


def leave(tools: Tools, made: Enrichment, day: date) -> None:
    """All that was sent and made of it; what is not published is published first."""
    retention = Retention(tools.lake.connections, REGISTRY)
    for stream in (*made.sources, TRANSCRIPT):
        for near in (day - timedelta(days=1), day):
            retention.leave(stream, near)


def reopen_derived_sources(tools: Tools, made: Enrichment, day: date) -> None:
    """As whoever writes derived rows has to."""
    for source in made.sources:
        if source.is_derived:
            tools.lake.reopen(source, day)


def work_off(tools: Tools, made: Enrichment, *days: date) -> None:
    for source in made.sources:
        for day in days:
            tools.lake.publish(source, day)  # derived sources are counted when they are published
    process_pending(tools, enrichments=[made])


def found(tools: Tools, day: date) -> list[tuple[timedelta, str]]:
    """The derived rows by their distance from the day's begin."""
    begin = datetime(day.year, day.month, day.day, tzinfo=UTC)
    span = Span(begin - timedelta(days=1), begin + timedelta(days=1))
    rows = tools.whole.read(TRANSCRIPT, span).to_pylist()
    return sorted((row["ts"] - begin, row["text"]) for row in rows)


def count_hot(tools: Tools, stream: Stream, day: date) -> int:
    with HotStore(tools.database_url).snapshot() as snapshot:
        return snapshot.count(stream, Span.of_day(day))


FIRST = (0, 1, 2, 3600, 7200, 86399)
LATE = (3, 3601, 50_000)


@pytest.mark.parametrize("unit", Unit)
def test_late_rows_give_the_same_whether_their_day_has_left_or_not(
    tools: Tools, unit: Unit
) -> None:
    made = enrichment(unit)
    stayed = next(DAYS)
    went = stayed + STEP
    for _ in range(6):
        next(DAYS)
    for day in (stayed, went):
        plant(tools, made, day, FIRST)
    work_off(tools, made, stayed, went)
    assert found(tools, went) == found(tools, stayed)
    leave(tools, made, went)
    assert count_hot(tools, TRANSCRIPT, went) == 0
    assert found(tools, went) == found(tools, stayed)
    reopen_derived_sources(tools, made, went)
    for day in (stayed, went):
        plant(tools, made, day, LATE)
    work_off(tools, made, stayed, went)
    assert found(tools, went) == found(tools, stayed)
    assert len(found(tools, went)) > 2
    leave(tools, made, went)
    assert found(tools, went) == found(tools, stayed)


@pytest.mark.parametrize("unit", [Unit.ROW, Unit.HOUR])
def test_a_new_version_computes_what_has_left_anew_and_it_leaves_again(
    tools: Tools, unit: Unit
) -> None:
    made, day = enrichment(unit), next(DAYS)
    day += STEP
    for _ in range(6):
        next(DAYS)
    plant(tools, made, day, FIRST)
    process_pending(tools, enrichments=[made])
    before = found(tools, day)
    leave(tools, made, day)
    newer = replace(made, version=2)
    process_pending(tools, enrichments=[newer])
    assert found(tools, day) == before
    for near in (day - timedelta(days=1), day):
        rows = tools.lake.read_day(TRANSCRIPT, near).to_pylist()
        assert {row["enrichment_version"] for row in rows} == {2}
        assert count_hot(tools, TRANSCRIPT, near) == 0
    assert count_hot(tools, NOTE, day) == 0


def test_a_day_without_anything_to_do_is_not_brought_back(tools: Tools) -> None:
    made, day = enrichment(Unit.ROW), next(DAYS) + STEP
    for _ in range(6):
        next(DAYS)
    plant(tools, made, day, FIRST)
    process_pending(tools, enrichments=[made])
    leave(tools, made, day)
    version = tools.lake.version(TRANSCRIPT)
    assert process(made, day, tools, run_id="test").reopened == ()
    assert tools.lake.version(TRANSCRIPT) == version
    recent = Recent("ada", datetime(2000, 1, 1, tzinfo=UTC))
    plant(tools, made, day, LATE)
    assert process(made, day, tools, run_id="hot", recent=recent).reopened == ()
    assert count_hot(tools, NOTE, day) == len(LATE)


def test_rows_of_a_day_that_leaves_while_it_is_worked_on_are_not_taken_for_gone(
    tools: Tools,
) -> None:
    """Retention would refuse; so it is done behind its back."""
    made, day = enrichment(Unit.ROW), next(DAYS) + STEP
    for _ in range(6):
        next(DAYS)
    plant(tools, made, day, FIRST)
    process_pending(tools, enrichments=[made])
    newer = replace(made, version=2)

    def leaving(items: Sequence[Item], compute: Compute) -> list[Outcome]:
        with psycopg.connect(tools.database_url) as connection:
            connection.execute(
                "UPDATE am.publication SET left_hot_at = now() WHERE stream = %s AND day = %s",
                (TRANSCRIPT.name, day),
            )
        return run(items, compute)

    with pytest.raises(DayLeftError, match=str(day)):
        process(replace(newer, run=leaving), day, tools, run_id="test")
    with psycopg.connect(tools.database_url) as connection:
        connection.execute(
            "UPDATE am.publication SET left_hot_at = NULL WHERE stream = %s AND day = %s",
            (TRANSCRIPT.name, day),
        )
        states = connection.execute(
            "SELECT DISTINCT state FROM am.work_item WHERE enrichment = %s AND version = 2 "
            "AND day = %s",
            (made.name, day),
        ).fetchall()
    assert states == [("pending",)]
    assert process(newer, day, tools, run_id="test").done == len(FIRST)
