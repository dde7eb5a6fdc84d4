"""What was said: the words of each utterance, with their times.

Devices send chunks of a few seconds, and people speak across them. The stretches of speech that
follow each other closely are heard as one sound; its row is that of the first of them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np

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
from resources.work_items import Unit

KEY = "text"  # an utterance has one transcript
PER_MS = SAMPLE_RATE_HZ // 1000
# Clocks of devices waver: chunks that begin so much before or after the end of another follow it.
WAVERING_MS = 300


@dataclass(frozen=True)
class Stretch:
    """A stretch of speech and the chunk it is in. Times in ms; `chunk_ms` from the utterance's ts.

    `start_ms` and `end_ms` are from the chunk's beginning.
    """

    source_event_id: str
    chunk: str
    chunk_ms: int
    start_ms: int
    end_ms: int
    sound: Waveform

    @property
    def length_ms(self) -> int:
        """Of the chunk."""
        return self.sound.size // PER_MS


@dataclass(frozen=True)
class Piece:
    """A part of the joined sound: where it begins there and, from the utterance's ts, in time."""

    source_event_id: str
    joined_ms: int
    at_ms: int
    sound: Waveform


def cut(sound: Waveform, *, start_ms: int, end_ms: int) -> Waveform:
    """The part of a 16 kHz recording between two times; what lies beyond its end is not there."""
    return sound[start_ms * PER_MS : end_ms * PER_MS]


def join(stretches: Sequence[Stretch]) -> list[Piece]:
    """One sound of stretches in order of time, as pieces.

    Between two stretches of one chunk, or of chunks that follow each other, all is kept: speech
    that begins or ends at a chunk's edge is easily overheard. Any other gap is silent. What two
    chunks both hold is taken from the first.
    """
    pieces: list[Piece] = []
    joined_ms = 0
    for before, now, after in zip(
        [None, *stretches], stretches, [*stretches[1:], None], strict=False
    ):
        start_ms = _start(before, now)
        end_ms = now.length_ms if after and _follows(now, after) else now.end_ms
        if after and after.chunk == now.chunk:
            end_ms = after.start_ms
        silence_ms = _silence(before, now)
        sound = cut(now.sound, start_ms=start_ms, end_ms=end_ms)
        if silence_ms:
            sound = np.concatenate([np.zeros(silence_ms * PER_MS, dtype=sound.dtype), sound])
        at_ms = now.chunk_ms + start_ms - silence_ms
        pieces.append(Piece(now.source_event_id, joined_ms, at_ms, sound))
        joined_ms += sound.size // PER_MS
    return pieces


def _follows(before: Stretch, after: Stretch) -> bool:
    """Whether a chunk begins where another ends."""
    gap_ms = after.chunk_ms - (before.chunk_ms + before.length_ms)
    return before.chunk != after.chunk and abs(gap_ms) <= WAVERING_MS


def _start(before: Stretch | None, now: Stretch) -> int:
    """From where in its chunk a stretch is taken."""
    if before is None or before.chunk == now.chunk:
        return now.start_ms
    if _follows(before, now):
        return 0
    both_hold_ms = before.chunk_ms + before.end_ms - now.chunk_ms
    return min(max(now.start_ms, both_hold_ms), now.end_ms)


def _silence(before: Stretch | None, now: Stretch) -> int:
    """How long nothing is known of before a stretch."""
    if before is None or before.chunk == now.chunk or _follows(before, now):
        return 0
    return max(now.chunk_ms + now.start_ms - before.chunk_ms - before.end_ms, 0)


def words_in_time(heard: Transcript, pieces: Sequence[Piece]) -> list[dict[str, Any]]:
    """The words with their times from the utterance's ts, and the stretch each begins in."""
    told = []
    for word in heard.words:
        start_ms, end_ms = round(word.start_s * 1000), round(word.end_s * 1000)
        piece = _piece_at(pieces, start_ms)
        start_at, end_at = _in_time(piece, start_ms), _in_time(_piece_at(pieces, end_ms), end_ms)
        told.append(
            {
                "word": word.text.strip(),
                "start_ms": start_at,
                "end_ms": max(start_at, end_at),
                "confidence": word.confidence,
                "source_event_id": piece.source_event_id,
            }
        )
    return told


def _piece_at(pieces: Sequence[Piece], joined_ms: int) -> Piece:
    return max(
        (piece for piece in pieces if piece.joined_ms <= max(joined_ms, 0)),
        key=lambda piece: piece.joined_ms,
    )


def _in_time(piece: Piece, joined_ms: int) -> int:
    return piece.at_ms + joined_ms - piece.joined_ms


def transcript_row(item: Item, heard: Transcript, pieces: Sequence[Piece]) -> Derived | None:
    """The row of one utterance; None where nothing was said.

    The confidence is the mean probability of the words.
    """
    text = heard.text.strip()
    if not text or heard.language is None or heard.language_probability is None:
        return None
    sure = [word.confidence for word in heard.words]
    values = TranscriptRow(
        text=text,
        words=words_in_time(heard, pieces),
        language=heard.language,
        language_probability=min(heard.language_probability, 1.0),
        duration_ms=pieces[-1].at_ms + pieces[-1].sound.size // PER_MS,
    )
    return Derived(item.ts, values, KEY, sum(sure) / len(sure) if sure else None)


def run(items: Sequence[Item], compute: Compute) -> list[Outcome]:
    """Transcribe utterances; each chunk is decoded once."""
    recognizer = compute.speech_recognition()
    sounds = _decoded(part for item in items for part in item.parts)
    joined = [_join_item(item, sounds) for item in items]
    whole = [_whole(pieces) for pieces in joined if not isinstance(pieces, Failed)]
    heard = iter(recognizer.transcribe(whole))
    return [
        pieces
        if isinstance(pieces, Failed)
        else _outcome(transcript_row(item, next(heard), pieces), Maker.of(recognizer))
        for item, pieces in zip(items, joined, strict=True)
    ]


def _decoded(parts: Iterable[Item]) -> dict[str, Waveform | Failed]:
    recordings = {_chunk(part): part for part in parts}
    return {chunk: decode_or_fail(part) for chunk, part in recordings.items()}


def _chunk(part: Item) -> str:
    return str(part.row["source_event_id"])


def _join_item(item: Item, sounds: Mapping[str, Waveform | Failed]) -> list[Piece] | Failed:
    """What cannot be decoded is left out, unless it is all there is."""
    mine = [(part, sounds[_chunk(part)]) for part in item.parts]
    stretches = [
        _stretch(part, sound, begin=item.ts)
        for part, sound in mine
        if not isinstance(sound, Failed)
    ]
    if stretches:
        return join(stretches)
    return next(sound for _, sound in mine if isinstance(sound, Failed))


def _stretch(part: Item, sound: Waveform, *, begin: datetime) -> Stretch:
    start_ms, end_ms = part.row["start_ms"], part.row["end_ms"]
    return Stretch(
        source_event_id=str(part.item_id),
        chunk=_chunk(part),
        chunk_ms=(part.ts - begin) // timedelta(milliseconds=1) - start_ms,
        start_ms=start_ms,
        end_ms=end_ms,
        sound=sound,
    )


def _whole(pieces: Sequence[Piece]) -> Waveform:
    return np.concatenate([piece.sound for piece in pieces])


def _outcome(row: Derived | None, maker: Maker) -> Outcome:
    return NothingFound() if row is None else Found([row], maker)


ENRICHMENT = Enrichment(
    name=TRANSCRIPT.table,
    output=TRANSCRIPT,
    sources=(SPEECH,),
    version=2,
    unit=Unit.SEQUENCE,
    task=Task.SPEECH_RECOGNITION,
    summary="Writes down what was said.",
    run=run,
    batch=8,
    needs_blob=True,
)
