"""Moments: texts as search finds them, in chunks, each with its vector.

Text out of sound and pictures, notes, and what was copied. The vector store keeps them.
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any

from am_assets.derived.enrichment import (
    Derived,
    Enrichment,
    Found,
    Item,
    Maker,
    NothingFound,
    Outcome,
)
from am_assets.streams.digital import CLIPBOARD, NOTE
from am_assets.streams.stream import Row
from am_assets.streams.text import OCR_CLEANED, TRANSCRIPT
from models.catalog import Task
from models.text_embedding import Vectors
from resources.compute import Compute
from resources.work_items import Unit

NAME = "moments"
# About what a small embedder sees of a text (256 tokens); the rest of a longer one would be lost.
MAX_WORDS = 200

TEXTS: Mapping[str, Callable[[Mapping[str, Any]], str]] = {
    TRANSCRIPT.name: lambda row: row["text"],
    OCR_CLEANED.name: lambda row: row["text"],
    NOTE.name: lambda row: "\n".join(part for part in (row["title"], row["content"]) if part),
    CLIPBOARD.name: lambda row: row["content_text"] or "",
}


class MomentText(Row):
    """One chunk of a text and where it lies in meaning."""

    text: str
    chunk_index: int
    vector: list[float]


def chunks(text: str, *, max_words: int = MAX_WORDS) -> list[str]:
    """The text in as few parts of at most `max_words` words as it takes, of about equal length.

    A text that fits stays as it is, blanks and all; no word is lost or cut. No words = no parts.
    """
    words = text.split()
    if len(words) <= max_words:
        return [text.strip()] if words else []
    count = -(-len(words) // max_words)
    rest = iter(words)
    sizes = [(len(words) + place) // count for place in range(count)]
    return [" ".join(islice(rest, size)) for size in sizes]


def run(items: Sequence[Item], compute: Compute) -> list[Outcome]:
    """Embed the texts of rows, all chunks of the batch at once."""
    parts = [chunks(TEXTS[item.stream](item.row)) for item in items]
    embedder = compute.text_embedding()
    vectors = embedder.embed([part for texts in parts for part in texts])
    maker = Maker.of(embedder)
    outcomes: list[Outcome] = []
    first = 0
    for item, texts in zip(items, parts, strict=True):
        rows = _rows(item, texts, vectors[first : first + len(texts)])
        outcomes.append(Found(rows, maker) if rows else NothingFound())
        first += len(texts)
    return outcomes


def _rows(item: Item, texts: Sequence[str], vectors: Vectors) -> list[Derived]:
    return [
        Derived(
            ts=item.ts,
            values=MomentText(text=text, chunk_index=place, vector=vector.tolist()),
            key=str(place),
        )
        for place, (text, vector) in enumerate(zip(texts, vectors, strict=True))
    ]


ENRICHMENT = Enrichment(
    name=NAME,
    output=None,
    sources=(TRANSCRIPT, OCR_CLEANED, NOTE, CLIPBOARD),
    version=1,
    unit=Unit.ROW,
    task=Task.TEXT_EMBEDDING,
    summary="Makes texts findable by meaning and by words.",
    run=run,
    batch=32,
)
