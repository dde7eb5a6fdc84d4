"""Text of pictures as somebody would copy it, and the addresses and times in it. Rules only."""

import re
from collections.abc import Iterable, Mapping, Sequence
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
from am_assets.streams.text import OCR_CLEANED, OCR_EXTRACTED, CleanText
from resources.compute import Compute
from resources.work_items import Unit

VERSION = 1
MAKER = Maker("rule:ocr-cleaned", str(VERSION))
KEY = "text"
MIN_CONFIDENCE = 0.6
MIN_PHONE_DIGITS, MAX_PHONE_DIGITS = 7, 15  # E.164 allows 15

PATTERNS: Mapping[str, re.Pattern[str]] = {
    "url": re.compile(r"\b(?:https?://|www\.)[^\s<>\"'«»]+[^\s<>\"'«».,;:!?)\]}]", re.IGNORECASE),
    "email": re.compile(r"\b[\w.+-]+@[a-z0-9-]+(?:\.[a-z0-9-]+)*\.[a-z]{2,}\b", re.IGNORECASE),
    "time": re.compile(
        r"(?<![\d:.])(?:[01]?\d|2[0-3]):[0-5]\d(?::[0-5]\d)?(?![\d:])(?:\s?[ap]\.?m\b\.?)?",
        re.IGNORECASE,
    ),
    "phone": re.compile(r"(?<![\w.:/+-])(?:\+\d|\(\d|0\d|\d{3}[ -])[\d ()/-]{5,18}\d(?![\w:.-])"),
}


def clean_lines(lines: Iterable[Mapping[str, Any]]) -> tuple[list[str], int]:
    """The sure lines in order, blanks collapsed, repeats dropped; and how many were dropped."""
    kept: dict[str, str] = {}
    dropped = 0
    for line in lines:
        text = " ".join(str(line["text"]).split())
        if not text or line["confidence"] < MIN_CONFIDENCE or text.casefold() in kept:
            dropped += 1
            continue
        kept[text.casefold()] = text
    return list(kept.values()), dropped


def join_paragraphs(lines: Sequence[str]) -> list[str]:
    """Join a line to the one before that clearly goes on in it.

    It does where the earlier line ends in a letter, a comma or a hyphen and the later one begins
    with a small letter; a hyphen at the break goes.
    """
    paragraphs: list[str] = []
    for line in lines:
        if paragraphs and line[:1].islower() and _goes_on(paragraphs[-1]):
            paragraphs[-1] = _continue(paragraphs[-1], line)
        else:
            paragraphs.append(line)
    return paragraphs


def find_entities(text: str) -> list[dict[str, str]]:
    """Addresses, times and phone numbers, each once, in the order of the text."""
    found: dict[tuple[str, str], int] = {}
    taken = [False] * len(text)
    for kind, pattern in PATTERNS.items():
        for match in pattern.finditer(text):
            start, end = match.span()
            if any(taken[start:end]) or not _is_real(kind, match[0]):
                continue
            taken[start:end] = [True] * (end - start)
            found.setdefault((kind, match[0]), start)
    return [{"kind": kind, "text": hit} for kind, hit in sorted(found, key=lambda k: found[k])]


def clean(lines: Iterable[Mapping[str, Any]]) -> CleanText | None:
    """What is worth keeping of the lines of one picture; None where nothing is."""
    kept, dropped = clean_lines(lines)
    text = "\n".join(join_paragraphs(kept))
    if not text:
        return None
    return CleanText(text=text, entities=find_entities(text), dropped_line_count=dropped)


def run(items: Sequence[Item], compute: Compute) -> list[Outcome]:  # noqa: ARG001 - rules only
    """Clean the text of pictures."""
    return [_outcome(item) for item in items]


def _outcome(item: Item) -> Outcome:
    values = clean(item.row["lines"])
    if values is None:
        return NothingFound()
    return Found([Derived(item.ts, values, KEY, item.row["confidence"])], MAKER)


def _goes_on(line: str) -> bool:
    return line[-1].isalpha() or line[-1] in ",-"


def _continue(line: str, rest: str) -> str:
    is_broken_word = line.endswith("-") and line[-2:-1].isalpha()
    return line[:-1] + rest if is_broken_word else f"{line} {rest}"


def _is_real(kind: str, hit: str) -> bool:
    if kind != "phone":
        return True
    return MIN_PHONE_DIGITS <= sum(map(str.isdigit, hit)) <= MAX_PHONE_DIGITS


ENRICHMENT = Enrichment(
    name=OCR_CLEANED.table,
    output=OCR_CLEANED,
    sources=(OCR_EXTRACTED,),
    version=VERSION,
    unit=Unit.ROW,
    summary="Cleans the text read off pictures and finds addresses and times in it.",
    run=run,
    batch=64,
)
