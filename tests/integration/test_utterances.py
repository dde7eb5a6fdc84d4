"""Sentences that a device cut into chunks of three seconds: heard whole, however they come."""

import io
import wave
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from am_assets.derived import media_audio_vad_filtered, media_text_transcribed_words, moments
from am_assets.process import Counts, Tools, process, process_pending
from am_assets.streams.audio import AUDIO
from infra.demo import media
from infra.demo.score import word_error_rate
from resources.compute import LocalCompute, ModelChoice
from resources.connections import Connections
from resources.work_items import Recent
from tests.models.media import tiny_weights
from tests.planting import Garden, days_from, rows_of

DAYS = days_from(date(2021, 1, 1))
CHAIN = (
    media_audio_vad_filtered.ENRICHMENT,
    media_text_transcribed_words.ENRICHMENT,
    moments.ENRICHMENT,
)
WORDS = media_text_transcribed_words.ENRICHMENT
CLIPS = ("austen-0870", "austen-0880", "austen-0890")
SAID = " ".join(media.WORDS[name] for name in CLIPS)
CHUNK_S = 3
TEXTS = (
    "SELECT ts, text, words, duration_ms FROM am.media_text_transcribed_words "
    "WHERE (ts AT TIME ZONE 'UTC')::date = %s ORDER BY ts"
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tools(connections: Connections) -> Tools:
    return Tools.at(connections, LocalCompute(ModelChoice("tiny", tiny_weights())))


def chunks() -> list[bytes]:
    """The clips one after the other, cut without regard to what is said."""
    samples = b""
    for name in CLIPS:
        with wave.open(io.BytesIO(media.clip(name).wav)) as clip:
            assert (clip.getframerate(), clip.getnchannels(), clip.getsampwidth()) == (16_000, 1, 2)
            samples += clip.readframes(clip.getnframes())
    size = CHUNK_S * 32_000
    return [_wav(samples[first : first + size]) for first in range(0, len(samples), size)]


def _wav(samples: bytes) -> bytes:
    made = io.BytesIO()
    with wave.open(made, "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(samples)
    return made.getvalue()


def at(day: date, number: int) -> datetime:
    return datetime(day.year, day.month, day.day, 8, tzinfo=UTC) + number * timedelta(seconds=3)


def send(tools: Tools, day: date, numbers: Sequence[int]) -> None:
    """Land these chunks, and have all that follows done."""
    sound = chunks()
    facts = {"sample_rate_hz": 16_000, "channels": 1, "duration_ms": CHUNK_S * 1_000}
    blobs = [(at(day, number), sound[number], facts) for number in numbers]
    Garden(tools.lake.connections).plant_blobs(AUDIO, blobs)
    process_pending(tools, day=day, enrichments=CHAIN)


def heard(tools: Tools, day: date) -> list[tuple[Any, ...]]:
    return rows_of(tools.lake.connections, TEXTS, day)


def wrong(tools: Tools, day: date) -> float:
    return word_error_rate(SAID, " ".join(text for _, text, *_ in heard(tools, day)))


def test_sentences_cut_into_chunks_and_sent_in_any_order_are_heard_whole(tools: Tools) -> None:
    day = next(DAYS)
    for numbers in ([4, 1], [5, 0], [3, 2]):
        send(tools, day, numbers)
    assert len(chunks()) == 6
    assert wrong(tools, day) <= 0.10
    ((ts, _, words, duration_ms),) = heard(tools, day)
    assert at(day, 0) <= ts < at(day, 1)
    assert 12_000 < duration_ms < 15_500
    starts = [word["start_ms"] for word in words]
    assert starts == sorted(starts)
    assert all(0 <= word["start_ms"] <= word["end_ms"] <= duration_ms + 500 for word in words)


def test_every_word_names_the_stretch_of_the_chunk_in_which_it_begins(tools: Tools) -> None:
    day = next(DAYS)
    send(tools, day, range(6))
    ((ts, _, words, _),) = heard(tools, day)
    query = (
        "SELECT v.event_id::text, a.ts FROM am.media_audio_vad_filtered AS v "
        "JOIN am.device_audio_raw AS a ON a.event_id = v.source_event_id WHERE v.ts::date = %s"
    )
    chunk_of = dict(rows_of(tools.lake.connections, query, day))
    for word in words:
        begins = ts + timedelta(milliseconds=word["start_ms"])
        chunk = chunk_of[word["source_event_id"]]
        assert chunk <= begins < chunk + timedelta(seconds=CHUNK_S)
    assert len({word["source_event_id"] for word in words}) >= 5


def test_a_chunk_that_comes_late_repairs_its_sentence_and_leaves_one_transcript(
    tools: Tools,
) -> None:
    day = next(DAYS)
    connections = tools.lake.connections
    send(tools, day, [0, 2, 3, 4, 5])  # "how much there might be" is missing
    assert len(heard(tools, day)) == 2
    before = wrong(tools, day)
    send(tools, day, [1])
    assert len(heard(tools, day)) == 1
    assert wrong(tools, day) <= 0.10 < before
    # Neither the work queue nor the lake remembers what was heard without it.
    query = "SELECT sum(derived_rows) FROM am.work_item WHERE enrichment = %s AND day = %s"
    assert rows_of(connections, query, WORDS.name, day) == [(1,)]
    assert WORDS.output
    (published,) = tools.lake.read_day(WORDS.output, day).to_pylist()
    assert published["text"] == heard(tools, day)[0][1]
    found = "SELECT count(*) FROM am.work_item WHERE enrichment = 'moments' AND state = 'done' "
    assert rows_of(connections, found + "AND day = %s", day) == [(1,)]


def test_hearing_again_changes_nothing_and_parts_are_no_work(tools: Tools) -> None:
    day = next(DAYS)
    send(tools, day, range(6))
    before = heard(tools, day)
    assert process(WORDS, day, tools, run_id="again") == Counts()
    assert heard(tools, day) == before
    query = (
        "SELECT state, count(*)::int FROM am.work_item WHERE enrichment = %s AND day = %s "
        "GROUP BY state ORDER BY state"
    )
    states = dict(rows_of(tools.lake.connections, query, WORDS.name, day))
    assert states["done"] == 1
    assert set(states) == {"done", "empty"}


def test_the_live_lane_hears_a_growing_utterance_as_a_whole(tools: Tools) -> None:
    day = next(DAYS)
    send(tools, day, range(5))
    begin = datetime.now(UTC)
    sound = chunks()
    facts = {"sample_rate_hz": 16_000, "channels": 1, "duration_ms": CHUNK_S * 1_000}
    garden = Garden(tools.lake.connections)
    garden.plant_blobs(AUDIO, [(at(day, 5), sound[5], facts)])
    for enrichment in CHAIN:
        recent = Recent("ada", begin)
        counts = process(enrichment, day, tools, run_id="hot", recent=recent, limit=2)
        assert counts.done == 1
    assert wrong(tools, day) <= 0.10
    assert len(heard(tools, day)) == 1


def test_a_transcript_of_a_former_version_goes_when_its_stretch_becomes_part_of_another(
    tools: Tools,
) -> None:
    day = next(DAYS)
    send(tools, day, [0, 1])
    connections = tools.lake.connections
    later = "SELECT max(ts) FROM am.media_audio_vad_filtered WHERE ts::date = %s"
    ((ts,),) = rows_of(connections, later, day)
    # As the first version left it: each stretch had a transcript of its own.
    rows_of(
        connections,
        "INSERT INTO am.media_text_transcribed_words SELECT (jsonb_populate_record(t, "
        "jsonb_build_object('event_id', gen_random_uuid(), 'ts', v.ts, 'source_event_id', "
        "v.event_id, 'text', 'of the first version'))).* FROM am.media_text_transcribed_words t, "
        "am.media_audio_vad_filtered v WHERE t.ts::date = %s AND v.ts = %s RETURNING 1",
        day,
        ts,
    )
    rows_of(
        connections,
        "DELETE FROM am.work_item WHERE enrichment = %s AND day = %s RETURNING 1",
        WORDS.name,
        day,
    )
    assert len(heard(tools, day)) == 2
    process(WORDS, day, tools, run_id="new version")
    ((_, text, *_),) = heard(tools, day)
    assert "first version" not in text
