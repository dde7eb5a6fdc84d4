"""Speech is found where it is, and nowhere else."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.voice_activity import (
    SAMPLE_RATE_HZ,
    WINDOW_S,
    SileroDetector,
    SpanRules,
    speech_spans,
)
from tests.models.media import SAID, noise, silence, sound

PROBABILITIES = st.lists(st.floats(0, 1, width=32), max_size=120).map(
    lambda numbers: np.array(numbers, dtype=np.float32)
)


@pytest.fixture(scope="module")
def detector() -> SileroDetector:
    return SileroDetector.load()


def test_speech_between_silence_and_noise_is_found_within_a_tenth_of_a_second(
    detector: SileroDetector,
) -> None:
    speech = sound("austen-0880")
    waveform = np.concatenate([silence(3), speech, silence(4), noise(3)])
    spans = detector.detect([waveform])[0]
    assert spans
    alone = detector.detect([speech])[0]
    assert spans[0].start_s == pytest.approx(3 + alone[0].start_s, abs=0.1)
    assert spans[-1].end_s == pytest.approx(3 + alone[-1].end_s, abs=0.35)


@pytest.mark.parametrize("name", ["birds", "near-silence", "alarm-clock"])
def test_sounds_without_a_voice_hold_no_speech(detector: SileroDetector, name: str) -> None:
    assert detector.detect([sound(name)]) == [[]]


def test_confidence_is_the_mean_of_the_networks_own_probabilities(detector: SileroDetector) -> None:
    waveform = sound("austen-0920")
    probabilities = detector.probabilities(waveform)
    for span in detector.detect([waveform])[0]:
        first, last = round(span.start_s / WINDOW_S), round(span.end_s / WINDOW_S)
        assert span.confidence == pytest.approx(float(probabilities[first:last].mean()), abs=0.01)
        assert 0.5 < span.confidence <= 1


def test_spans_are_those_of_the_library(detector: SileroDetector) -> None:
    from faster_whisper.vad import get_speech_timestamps

    waveform = np.concatenate([sound(name) for name in (*SAID, "go-forward", "birds")])
    theirs = get_speech_timestamps(
        waveform,
        threshold=0.3,
        min_speech_duration_ms=100,
        min_silence_duration_ms=300,
        speech_pad_ms=0,
    )
    ours = detector.detect([waveform])[0]
    ends = [round(end * SAMPLE_RATE_HZ) for span in ours for end in (span.start_s, span.end_s)]
    assert len(ours) > 2
    assert ends == [end for their in theirs for end in (their["start"], their["end"])]


def test_every_waveform_of_a_batch_gets_its_own_answer(detector: SileroDetector) -> None:
    batch = [silence(0), sound("austen-0880"), silence(1)]
    found = detector.detect(batch)
    assert [bool(spans) for spans in found] == [False, True, False]
    assert found[1] == detector.detect(batch[1:2])[0]


@given(PROBABILITIES)
def test_spans_are_apart_in_order_and_long_enough(probabilities: np.ndarray) -> None:
    rules = SpanRules()
    duration_s = len(probabilities) * WINDOW_S
    spans = speech_spans(probabilities, duration_s=duration_s, rules=rules)
    edges = [edge for span in spans for edge in (span.start_s, span.end_s)]
    assert edges == sorted(edges)
    assert all(0 <= edge <= duration_s for edge in edges)
    assert all(span.end_s - span.start_s > rules.min_speech_s for span in spans)
    for before, after in pairwise(spans):
        assert after.start_s - before.end_s >= rules.min_silence_s - 1e-9


@given(PROBABILITIES)
def test_nothing_below_the_threshold_opens_a_span(probabilities: np.ndarray) -> None:
    quiet = np.minimum(probabilities, np.float32(0.29))
    assert speech_spans(quiet, duration_s=len(quiet) * WINDOW_S, rules=SpanRules()) == []
