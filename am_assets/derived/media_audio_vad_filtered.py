"""Stretches of a recording in which somebody speaks."""

from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise

from am_assets.derived.enrichment import Derived, Enrichment, Failed, Item, Maker, Outcome
from am_assets.derived.enrichment import found_or_nothing as found
from am_assets.streams.audio import AUDIO, SPEECH, SpeechSegment
from models.catalog import Task
from models.errors import UnreadableInputError
from models.voice_activity import SAMPLE_RATE_HZ, SpeechSpan, Waveform
from resources.compute import Compute
from resources.media import decode_sound
from resources.work_items import Unit

JOIN_BELOW_S = 2.0  # a breath, not a new sentence
MAX_JOINED_S = 30.0  # what a recognizer hears at once
PADDING_S = 0.2  # the model's ends are tight, and recognizers miss the first sound


def join_spans(spans: Sequence[SpeechSpan]) -> list[SpeechSpan]:
    """Join spans less than 2 s apart as long as the whole stays within 30 s.

    Ordered by start, as given. The confidence is the mean over the time that was speech.
    """
    joined: list[list[SpeechSpan]] = []
    for span in spans:
        last = joined[-1] if joined else []
        is_near = bool(last) and span.start_s - last[-1].end_s < JOIN_BELOW_S
        if is_near and span.end_s - last[0].start_s <= MAX_JOINED_S:
            last.append(span)
        else:
            joined.append([span])
    return [_joined(parts) for parts in joined]


def pad_spans(spans: Sequence[SpeechSpan], *, duration_s: float) -> list[SpeechSpan]:
    """Add 200 ms on both sides, but never beyond the recording nor half the way to a neighbour."""
    middles = [(before.end_s + after.start_s) / 2 for before, after in pairwise(spans)]
    lower, upper = [0.0, *middles][: len(spans)], [*middles, duration_s][: len(spans)]
    return [
        SpeechSpan(max(s.start_s - PADDING_S, low), min(s.end_s + PADDING_S, high), s.confidence)
        for s, low, high in zip(spans, lower, upper, strict=True)
    ]


def segments(item: Item, spans: Sequence[SpeechSpan], *, duration_s: float) -> list[Derived]:
    """One row a span, at the time its sound begins."""
    return [_segment(item, span) for span in pad_spans(join_spans(spans), duration_s=duration_s)]


def run(items: Sequence[Item], compute: Compute) -> list[Outcome]:
    """Listen to recordings; a recording that cannot be decoded fails alone."""
    detector = compute.voice_activity()
    sounds = [decode_or_fail(item) for item in items]
    heard = iter(detector.detect([sound for sound in sounds if not isinstance(sound, Failed)]))
    return [
        sound
        if isinstance(sound, Failed)
        else found(
            segments(item, next(heard), duration_s=sound.size / SAMPLE_RATE_HZ),
            Maker.of(detector),
        )
        for item, sound in zip(items, sounds, strict=True)
    ]


def decode_or_fail(item: Item) -> Waveform | Failed:
    """The item's sound, or why there is none."""
    assert item.blob is not None
    try:
        return decode_sound(item.blob, item.media_type)
    except UnreadableInputError as error:
        return Failed(error.reason)


def _joined(parts: Sequence[SpeechSpan]) -> SpeechSpan:
    spoken_s = sum(part.end_s - part.start_s for part in parts)
    weighted = sum(part.confidence * (part.end_s - part.start_s) for part in parts)
    confidence = weighted / spoken_s if spoken_s else parts[0].confidence
    return SpeechSpan(parts[0].start_s, parts[-1].end_s, min(confidence, 1.0))


def _segment(item: Item, span: SpeechSpan) -> Derived:
    start_ms, end_ms = round(span.start_s * 1000), round(span.end_s * 1000)
    return Derived(
        ts=item.ts + timedelta(milliseconds=start_ms),
        values=SpeechSegment(start_ms=start_ms, end_ms=end_ms, duration_ms=end_ms - start_ms),
        key=str(start_ms),
        confidence=span.confidence,
    )


ENRICHMENT = Enrichment(
    name=SPEECH.table,
    output=SPEECH,
    sources=(AUDIO,),
    version=1,
    unit=Unit.ROW,
    task=Task.VOICE_ACTIVITY,
    summary="Finds speech in recordings.",
    run=run,
    batch=16,
    needs_blob=True,
)
