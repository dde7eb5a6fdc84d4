"""What was said: the words of each stretch of speech, with their times."""

from collections.abc import Sequence

from am_assets.derived.enrichment import (
    Derived,
    Enrichment,
    Failed,
    Found,
    Item,
    Maker,
    NothingFound,
    Outcome,
)
from am_assets.derived.media_audio_vad_filtered import decode_or_fail
from am_assets.streams.audio import SPEECH
from am_assets.streams.text import TRANSCRIPT
from am_assets.streams.text import Transcript as TranscriptRow
from models.catalog import Task
from models.speech_recognition import Transcript
from models.voice_activity import SAMPLE_RATE_HZ, Waveform
from resources.compute import Compute
from resources.work import Unit

KEY = "text"  # a stretch of speech has one transcript


def cut(sound: Waveform, *, start_ms: int, end_ms: int) -> Waveform:
    """The part of a 16 kHz recording between two times; what lies beyond its end is not there."""
    per_ms = SAMPLE_RATE_HZ // 1000
    return sound[start_ms * per_ms : end_ms * per_ms]


def transcript_row(item: Item, heard: Transcript) -> Derived | None:
    """The row of one stretch of speech; None where nothing was said.

    The confidence is the mean probability of the words.
    """
    text = heard.text.strip()
    if not text or heard.language is None or heard.language_probability is None:
        return None
    words = [
        {
            "word": word.text.strip(),
            "start_ms": round(word.start_s * 1000),
            "end_ms": round(word.end_s * 1000),
            "confidence": word.confidence,
        }
        for word in heard.words
    ]
    sure = [word.confidence for word in heard.words]
    values = TranscriptRow(
        text=text,
        words=words,
        language=heard.language,
        language_probability=min(heard.language_probability, 1.0),
        duration_ms=item.row["duration_ms"],
    )
    return Derived(item.ts, values, KEY, sum(sure) / len(sure) if sure else None)


def run(items: Sequence[Item], compute: Compute) -> list[Outcome]:
    """Transcribe stretches of speech; those of one recording share its decoding."""
    recognizer = compute.speech_recognition()
    sounds = _sounds(items)
    heard = iter(recognizer.transcribe([s for s in sounds if not isinstance(s, Failed)]))
    return [
        sound
        if isinstance(sound, Failed)
        else _outcome(transcript_row(item, next(heard)), Maker.of(recognizer))
        for item, sound in zip(items, sounds, strict=True)
    ]


def _sounds(items: Sequence[Item]) -> list[Waveform | Failed]:
    recordings = {item.blob_key: item for item in items}
    decoded = {key: decode_or_fail(item) for key, item in recordings.items()}
    return [_part(item, decoded[item.blob_key]) for item in items]


def _part(item: Item, recording: Waveform | Failed) -> Waveform | Failed:
    if isinstance(recording, Failed):
        return recording
    return cut(recording, start_ms=item.row["start_ms"], end_ms=item.row["end_ms"])


def _outcome(row: Derived | None, maker: Maker) -> Outcome:
    return NothingFound() if row is None else Found([row], maker)


ENRICHMENT = Enrichment(
    name=TRANSCRIPT.table,
    output=TRANSCRIPT,
    sources=(SPEECH,),
    version=1,
    unit=Unit.ROW,
    task=Task.SPEECH_RECOGNITION,
    summary="Writes down what was said.",
    run=run,
    batch=8,
    needs_blob=True,
)
