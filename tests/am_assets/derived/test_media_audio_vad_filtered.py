from datetime import timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from am_assets.derived.media_audio_vad_filtered import (
    JOIN_BELOW_S,
    MAX_JOINED_S,
    join_spans,
    pad_spans,
    segments,
)
from models.voice_activity import SpeechSpan
from tests.am_assets.derived.items import NOON, item

LENGTHS = st.floats(0.1, 40)
GAPS = st.floats(0.01, 6)


def _spans(lengths_and_gaps: list[tuple[float, float]]) -> list[SpeechSpan]:
    spans, now = [], 0.0
    for gap, length in lengths_and_gaps:
        spans.append(SpeechSpan(now + gap, now + gap + length, 0.5))
        now += gap + length
    return spans


SPANS = st.lists(st.tuples(GAPS, LENGTHS), max_size=12).map(_spans)


@given(SPANS)
def test_joined_spans_keep_all_speech_and_grow_beyond_30_s_only_where_one_span_did(
    spans: list[SpeechSpan],
) -> None:
    joined = join_spans(spans)
    for span in spans:
        assert any(j.start_s <= span.start_s and span.end_s <= j.end_s for j in joined)
    longest = max((span.end_s - span.start_s for span in spans), default=0)
    assert all(j.end_s - j.start_s <= max(MAX_JOINED_S, longest) + 1e-6 for j in joined)


@given(SPANS)
def test_two_joined_spans_that_stay_apart_are_far_apart_or_too_long_together(
    spans: list[SpeechSpan],
) -> None:
    for before, after in pairwise(join_spans(spans)):
        first_part = next(span for span in spans if span.start_s == after.start_s)
        is_far = after.start_s - before.end_s >= JOIN_BELOW_S
        assert is_far or first_part.end_s - before.start_s > MAX_JOINED_S


@given(SPANS)
def test_padding_never_leaves_the_recording_nor_makes_spans_overlap(
    spans: list[SpeechSpan],
) -> None:
    duration_s = spans[-1].end_s + 0.05 if spans else 1.0
    padded = pad_spans(spans, duration_s=duration_s)
    assert len(padded) == len(spans)
    assert all(0 <= p.start_s < p.end_s <= duration_s for p in padded)
    assert all(before.end_s <= after.start_s + 1e-9 for before, after in pairwise(padded))


def test_a_segment_lies_at_the_time_its_sound_begins() -> None:
    (row,) = segments(item(), [SpeechSpan(1.5, 3.0, 0.9)], duration_s=3.1)
    assert row.ts == NOON + timedelta(milliseconds=1300)
    assert row.values.model_dump() == {"start_ms": 1300, "end_ms": 3100, "duration_ms": 1800}
    assert row.confidence == 0.9
