"""From a landed recording to words, by the real models on the real stores."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from am_assets.derived import media_audio_vad_filtered as vad
from am_assets.derived import media_text_transcribed_words as words
from am_assets.derived.catalog import ENRICHMENTS, downstream_of, find_enrichment
from am_assets.derived.enrichment import Item, Outcome
from am_assets.process import Counts, Tools, process, process_pending
from am_assets.streams.audio import AUDIO
from am_assets.streams.motion import ACCELERATION
from infra.demo import media
from models.catalog import Task
from models.errors import ModelUnavailableError
from resources.compute import Compute, LocalCompute, ModelChoice
from resources.connections import Connections
from tests.models.media import tiny_weights
from tests.planting import Garden, days_from, rows_of

DAYS = days_from(date(2024, 1, 1))
SOUND = {"sample_rate_hz": 16_000, "channels": 1, "duration_ms": 1}
VAD, WORDS = vad.ENRICHMENT, words.ENRICHMENT


@pytest.fixture(scope="module")
def compute() -> Compute:
    """The tiny models, loaded once."""
    return LocalCompute(ModelChoice("tiny", tiny_weights()))


@pytest.fixture
def tools(connections: Connections, compute: Compute) -> Tools:
    return Tools.at(connections, compute)


def _at(day: date, second: float = 0) -> datetime:
    return datetime(day.year, day.month, day.day, 8, tzinfo=UTC) + timedelta(seconds=second)


def _plant_sounds(tools: Tools, day: date, *sounds: bytes) -> None:
    blobs = [(_at(day, 60 * n), sound, SOUND) for n, sound in enumerate(sounds)]
    Garden(tools.lake.connections).plant_blobs(AUDIO, blobs)


def test_a_recording_becomes_words_in_the_hot_store_and_in_the_lake(tools: Tools) -> None:
    day = next(DAYS)
    _plant_sounds(
        tools, day, media.clip("go-forward").wav, b"no sound" * 20, media.clip("near-silence").wav
    )
    told = process_pending(tools, day=day, enrichments=(VAD, WORDS))
    assert [(one.counts.done, one.counts.empty, one.counts.failed) for one in told] == [
        (1, 1, 1),
        (1, 0, 0),
    ]
    assert WORDS.output
    (row,) = tools.lake.read_day(WORDS.output, day).to_pylist()
    assert "forward" in row["text"].lower()
    assert row["source_stream"] == "media.audio.vad_filtered"
    assert row["blob_key"].startswith("blobs/ada/device_audio_raw/")
    assert 0 < row["confidence"] <= 1
    query = "SELECT reason FROM am.work_item WHERE day = %s AND state = 'failed'"
    ((reason,),) = rows_of(tools.lake.connections, query, day)
    assert reason.startswith("no sound that can be read")


def test_processing_again_changes_neither_table_nor_lake(tools: Tools) -> None:
    day = next(DAYS)
    _plant_sounds(tools, day, media.clip("go-forward").wav)
    process_pending(tools, day=day, enrichments=(VAD, WORDS))
    before = _state(tools, day)
    again = process_pending(tools, day=day, enrichments=(VAD, WORDS))
    assert [one.counts for one in again] == [Counts(), Counts()]
    assert _state(tools, day) == before


def _state(tools: Tools, day: date) -> list[object]:
    rows = rows_of(
        tools.lake.connections,
        "SELECT event_id, received_at FROM am.media_text_transcribed_words "
        "WHERE ts::date = %s ORDER BY 1",
        day,
    )
    opened = [tools.lake.open(one.output) for one in (VAD, WORDS) if one.output]
    return [rows, [table.version() for table in opened if table]]


def test_a_new_version_does_its_own_items_again_and_no_others(tools: Tools) -> None:
    day = next(DAYS)
    _plant_sounds(tools, day, media.clip("go-forward").wav)
    process_pending(tools, day=day, enrichments=(VAD, WORDS))
    newer = replace(WORDS, version=WORDS.version + 1)
    told = process_pending(tools, day=day, enrichments=(VAD, newer))
    assert [one.counts.done for one in told] == [0, 1]
    query = "SELECT enrichment_version FROM am.media_text_transcribed_words WHERE ts::date = %s"
    assert rows_of(tools.lake.connections, query, day) == [(newer.version,)]


def test_items_wait_while_weights_are_missing_and_are_done_when_they_are_there(
    tools: Tools, tmp_path: Path
) -> None:
    day = next(DAYS)
    _plant_sounds(tools, day, media.clip("go-forward").wav)
    process(VAD, day, tools, run_id="test")
    bare = replace(tools, compute=LocalCompute(ModelChoice("tiny", tmp_path)))
    counts = process(WORDS, day, bare, run_id="test")
    assert counts.blocked == 1
    assert counts.reason is not None
    assert "am models pull" in counts.reason
    assert process(WORDS, day, tools, run_id="test").done == 1


def test_an_unexpected_error_ends_the_run_and_frees_its_items(tools: Tools) -> None:
    day = next(DAYS)
    _plant_sounds(tools, day, media.clip("go-forward").wav)

    def stumble(items: Sequence[Item], compute: Compute) -> list[Outcome]:
        raise ZeroDivisionError("a mistake in the code")

    with pytest.raises(ZeroDivisionError):
        process(replace(VAD, run=stumble), day, tools, run_id="test")
    assert process(VAD, day, tools, run_id="test").done == 1


def test_a_model_that_goes_away_in_the_middle_blocks_items(tools: Tools) -> None:
    day = next(DAYS)
    _plant_sounds(tools, day, media.clip("go-forward").wav)

    def vanish(items: Sequence[Item], compute: Compute) -> list[Outcome]:
        raise ModelUnavailableError("voice_activity", "somewhere", "start it")

    assert process(replace(VAD, run=vanish), day, tools, run_id="test").blocked == 1
    assert process(VAD, day, tools, run_id="test").done == 1


def test_walking_is_found_in_readings_with_gravity(tools: Tools) -> None:
    day = next(DAYS)
    readings = [
        (_at(day, n / 10), {"x_m_s2": one.x, "y_m_s2": one.y, "z_m_s2": one.z + 9.81})
        for n, one in enumerate(media.motion("Walking"))
    ]
    assert readings
    Garden(tools.lake.connections).plant(ACCELERATION, readings)
    process_pending(tools, day=day, enrichments=downstream_of(ACCELERATION.name))
    spans = rows_of(
        tools.lake.connections,
        "SELECT activity, sum(duration_ms) FROM am.motion_classification_activity "
        "WHERE ts::date = %s GROUP BY 1 ORDER BY 2 DESC",
        day,
    )
    assert spans[0][0] == "walking"


def test_every_enrichment_stands_after_its_sources_and_is_found_by_either_name() -> None:
    known: set[str] = set()
    for one in ENRICHMENTS:
        assert all(not source.is_derived or source.name in known for source in one.sources)
        if one.output:
            known.add(one.output.name)
            assert find_enrichment(one.output.name) is one
        assert find_enrichment(one.name) is one
        assert one.task is None or one.task in Task
