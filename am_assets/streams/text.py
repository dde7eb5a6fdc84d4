"""Text that was found in sound and pictures."""

from datetime import timedelta
from typing import Any

from pydantic import Field

from am_assets.streams.stream import Row, Sensitivity, Stream


class Transcript(Row):
    """What was said in one go: in stretches of speech that follow each other closely."""

    text: str = Field(min_length=1, description="The words in order, with punctuation.")
    words: list[dict[str, Any]] = Field(
        description="word, start_ms and end_ms from this row's ts, confidence 0 to 1, "
        "source_event_id of the stretch of speech that it begins in."
    )
    language: str = Field(description="ISO 639-1, as the model detected it.")
    language_probability: float = Field(ge=0, le=1, description="Of that detection.")
    duration_ms: int = Field(ge=0, description="From its first stretch to the end of its last.")


class ScreenText(Row):
    """All text found in one picture, in reading order."""

    text: str = Field(min_length=1, description="One line of the picture a line.")
    lines: list[dict[str, Any]] = Field(
        description="text, confidence 0 to 1, left_px, top_px, right_px, bottom_px."
    )
    width_px: int = Field(gt=0, description="Of the picture that was read.")
    height_px: int = Field(gt=0, description="Of the picture that was read.")


class CleanText(Row):
    """A picture's text as somebody would copy it: sure lines, joined, without repeats."""

    text: str = Field(min_length=1, description="Paragraphs, one a line.")
    entities: list[dict[str, str]] = Field(description="kind (url, email, time, …) and text.")
    dropped_line_count: int = Field(ge=0, description="Lines left out as unsure or repeated.")


TRANSCRIPT = Stream(
    name="media.text.transcribed.words",
    row=Transcript,
    summary="What was said, with the time and confidence of each word.",
    identity=("text",),
    is_derived=True,
    kind="speech",
    title="{text}",
    body="{text}",
    keep_hot=timedelta(days=90),
    sensitivity=Sensitivity.SECRET,
)

OCR_EXTRACTED = Stream(
    name="media.text.ocr_extracted",
    row=ScreenText,
    summary="Text read off screenshots and photos, with its boxes.",
    identity=("text",),
    is_derived=True,
    is_detail=True,
    kind="picture text",
    title="{text}",
    keep_hot=timedelta(days=90),
    sensitivity=Sensitivity.SECRET,
)

OCR_CLEANED = Stream(
    name="media.text.ocr_cleaned",
    row=CleanText,
    summary="The same text without noise, with the addresses and times in it.",
    identity=("text",),
    is_derived=True,
    kind="screen text",
    title="{text}",
    body="{text}",
    keep_hot=timedelta(days=90),
    sensitivity=Sensitivity.SECRET,
)

STREAMS = (TRANSCRIPT, OCR_EXTRACTED, OCR_CLEANED)
