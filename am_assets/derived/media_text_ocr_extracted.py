"""The text in pictures, as an OCR engine reads it, with its boxes."""

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
from am_assets.streams.image import PHOTO, SCREENSHOT
from am_assets.streams.text import OCR_EXTRACTED, ScreenText
from models.catalog import Task
from models.errors import UnreadableInputError
from models.text_reading import Reading, TextLine
from resources.compute import Compute
from resources.work_items import Unit

KEY = "text"  # a picture has one text


def outcome(item: Item, reading: Reading | UnreadableInputError, maker: Maker) -> Outcome:
    """What one picture gave. The confidence is the mean of its lines."""
    if isinstance(reading, UnreadableInputError):
        return Failed(reading.reason)
    if not reading.text.strip():
        return NothingFound()
    values = ScreenText(
        text=reading.text,
        lines=[_line(line) for line in reading.lines],
        width_px=reading.width_px,
        height_px=reading.height_px,
    )
    sure = [line.confidence for line in reading.lines]
    confidence = sum(sure) / len(sure) if sure else None
    return Found([Derived(item.ts, values, KEY, confidence)], maker)


def run(items: Sequence[Item], compute: Compute) -> list[Outcome]:
    """Read pictures; one that cannot be decoded fails alone."""
    reader = compute.text_reading()
    readings = reader.read([item.blob or b"" for item in items])
    maker = Maker.of(reader)
    return [outcome(item, found, maker) for item, found in zip(items, readings, strict=True)]


def _line(line: TextLine) -> dict[str, str | float]:
    return {
        "text": line.text,
        "confidence": line.confidence,
        "left_px": line.left_px,
        "top_px": line.top_px,
        "right_px": line.right_px,
        "bottom_px": line.bottom_px,
    }


ENRICHMENT = Enrichment(
    name=OCR_EXTRACTED.table,
    output=OCR_EXTRACTED,
    sources=(SCREENSHOT, PHOTO),
    version=1,
    unit=Unit.ROW,
    task=Task.TEXT_READING,
    summary="Reads the text off screenshots and photos.",
    run=run,
    batch=4,
    needs_blob=True,
)
