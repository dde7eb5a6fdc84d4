"""What AM found in a demo day, read back from its tables, and how well it agrees with the truth."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg

from infra.demo.score import activity_accuracy, screen_accuracy, word_error_rate
from infra.demo.truth import Truth

LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
WINDOW = timedelta(seconds=4)  # as far apart as the windows of the accelerometer

SPOKEN = """
SELECT v.source_event_id::text, t.ts, t.text, t.confidence
FROM am.media_text_transcribed_words t
JOIN am.media_audio_vad_filtered v ON v.user_id = t.user_id AND v.event_id = t.source_event_id
WHERE t.user_id = %s AND v.source_event_id = ANY(%s::uuid[]) ORDER BY t.ts
"""
READ = """
SELECT source_event_id::text, ts, lines FROM am.media_text_ocr_extracted
WHERE user_id = %s AND source_event_id = ANY(%s::uuid[]) ORDER BY ts
"""
DONE = """
SELECT ts, end_ts, activity, confidence FROM am.motion_classification_activity
WHERE user_id = %s AND ts < %s AND end_ts > %s ORDER BY ts
"""


@dataclass(frozen=True)
class Heard:
    """One stretch of speech as text; `message_id` is the recording's."""

    message_id: str
    ts: datetime
    text: str
    confidence: float


@dataclass(frozen=True)
class Read:
    """The lines read off one screenshot."""

    message_id: str
    ts: datetime
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Done:
    """One stretch of one activity."""

    start: datetime
    end: datetime
    label: str
    confidence: float


@dataclass(frozen=True)
class Findings:
    """All that can be held against the truth."""

    heard: tuple[Heard, ...]
    read: tuple[Read, ...]
    done: tuple[Done, ...]


@dataclass(frozen=True)
class Scores:
    """Word error rate over all known speech, character accuracy over all screens, share of windows
    with the right activity. None where the truth holds nothing of the kind.
    """

    word_error_rate: float | None
    character_accuracy: float | None
    activity_accuracy: float | None


def find(connection: psycopg.Connection[Any], *, user_id: str, truth: Truth) -> Findings:
    """Read what was made of a day's messages. Raises: psycopg.Error."""
    spoken = [part.message_id for part in truth.spoken]
    screens = [part.message_id for part in truth.screens]
    begin = min((part.start for part in truth.activities), default=LONG_AGO)
    end = max((part.end for part in truth.activities), default=LONG_AGO)
    return Findings(
        heard=tuple(Heard(*row) for row in connection.execute(SPOKEN, (user_id, spoken))),
        read=tuple(
            Read(id_, ts, tuple(line["text"] for line in lines))
            for id_, ts, lines in connection.execute(READ, (user_id, screens))
        ),
        done=tuple(Done(*row) for row in connection.execute(DONE, (user_id, end, begin))),
    )


def score(findings: Findings, truth: Truth) -> Scores:
    """Hold what was found against what happened."""
    return Scores(
        word_error_rate=_words(findings.heard, truth) if truth.spoken else None,
        character_accuracy=_characters(findings.read, truth) if truth.screens else None,
        activity_accuracy=(
            activity_accuracy(findings.done, truth.activities, window=WINDOW)
            if truth.activities
            else None
        ),
    )


def _words(heard: Sequence[Heard], truth: Truth) -> float:
    """Over all recordings in order, so that a word missed in a short one counts as one word."""
    by_id = {
        part.message_id: " ".join(h.text for h in heard if h.message_id == part.message_id)
        for part in truth.spoken
    }
    return word_error_rate(
        " ".join(part.text for part in truth.spoken),
        " ".join(by_id[part.message_id] for part in truth.spoken),
    )


def _characters(read: Sequence[Read], truth: Truth) -> float:
    """The mean over the screens; one that was not read counts 0."""
    by_id = {part.message_id: part.lines for part in read}
    each = [screen_accuracy(part.lines, by_id.get(part.message_id, ())) for part in truth.screens]
    return sum(each) / len(each)
