from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from am_assets.derived.media_text_ocr_cleaned import (
    clean,
    clean_lines,
    find_entities,
    join_paragraphs,
)

TEXTS = st.text(alphabet="ab 1-,.:/@\t", max_size=20)
LINES = st.lists(st.fixed_dictionaries({"text": TEXTS, "confidence": st.floats(0, 1)}), max_size=15)


@given(LINES)
def test_every_line_is_kept_or_counted_as_dropped(lines: list[dict[str, Any]]) -> None:
    kept, dropped = clean_lines(lines)
    assert len(kept) + dropped == len(lines)


@given(LINES)
def test_cleaning_clean_lines_again_changes_nothing(lines: list[dict[str, Any]]) -> None:
    kept, _ = clean_lines(lines)
    assert clean_lines([{"text": text, "confidence": 1.0} for text in kept]) == (kept, 0)


@given(LINES)
def test_joining_paragraphs_loses_nothing_but_hyphens_and_line_ends(
    lines: list[dict[str, Any]],
) -> None:
    kept, _ = clean_lines(lines)
    joined = "".join(join_paragraphs(kept)).replace(" ", "").replace("-", "")
    assert joined == "".join(kept).replace(" ", "").replace("-", "")


def test_a_line_that_goes_on_is_joined_and_a_broken_word_made_whole() -> None:
    lines = ["We meet at the", "car park be-", "low the church.", "Bring water"]
    assert join_paragraphs(lines) == ["We meet at the car park below the church.", "Bring water"]


def test_unsure_lines_and_repeats_are_dropped() -> None:
    lines = [
        {"text": "Inbox  (3)", "confidence": 0.9},
        {"text": "#@!l", "confidence": 0.59},
        {"text": "INBOX (3)", "confidence": 0.99},
    ]
    found = clean(lines)
    assert found is not None
    assert (found.text, found.dropped_line_count) == ("Inbox (3)", 2)


def test_a_picture_without_a_sure_line_gives_nothing() -> None:
    assert clean([{"text": "x", "confidence": 0.1}]) is None


@pytest.mark.parametrize(
    ("text", "entities"),
    [
        ("see https://a.example/b?c=1.", [("url", "https://a.example/b?c=1")]),
        ("(www.example.org)", [("url", "www.example.org")]),
        ("to mia.k+x@mail.example.org, now", [("email", "mia.k+x@mail.example.org")]),
        ("at 17:30 and 9:05 pm", [("time", "17:30"), ("time", "9:05 pm")]),
        ("call +385 52 123 456 today", [("phone", "+385 52 123 456")]),
        ("(052) 123-4567", [("phone", "(052) 123-4567")]),
        ("at 24:61, room 12, 63.20 EUR, 2026-03-01", []),
        ("1:2:3:4 and 192.168.10.200", []),
        ("a@b", []),
    ],
)
def test_addresses_times_and_phone_numbers_are_found_and_what_looks_like_them_is_not(
    text: str, entities: list[tuple[str, str]]
) -> None:
    assert [(one["kind"], one["text"]) for one in find_entities(text)] == entities


@given(st.text(max_size=200))
def test_an_entity_is_a_part_of_the_text(text: str) -> None:
    assert all(one["text"] in text for one in find_entities(text))
