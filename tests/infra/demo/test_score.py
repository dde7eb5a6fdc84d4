from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.demo.score import (
    activity_accuracy,
    character_accuracy,
    edit_distance,
    screen_accuracy,
    word_error_rate,
    words,
)

TEXT = st.text(alphabet="abcde ", max_size=12)
LINES = st.lists(st.text(alphabet="abcdef", min_size=1, max_size=9), min_size=1, max_size=6)
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@dataclass(frozen=True)
class Span:
    start: datetime
    end: datetime
    label: str


def spans(*labels: str) -> list[Span]:
    return [
        Span(EPOCH + 10 * k * SECOND, EPOCH + 10 * (k + 1) * SECOND, label)
        for k, label in enumerate(labels)
    ]


def slow_distance(a: str, b: str) -> int:
    if not a or not b:
        return len(a) + len(b)
    return min(
        slow_distance(a[1:], b) + 1,
        slow_distance(a, b[1:]) + 1,
        slow_distance(a[1:], b[1:]) + (a[0] != b[0]),
    )


@settings(deadline=None)
@given(st.text(alphabet="abc", max_size=5), st.text(alphabet="abc", max_size=5))
def test_the_edit_distance_is_the_one_of_its_definition(a: str, b: str) -> None:
    assert edit_distance(a, b) == slow_distance(a, b)


@given(TEXT, TEXT, TEXT)
def test_the_edit_distance_is_a_metric(a: str, b: str, c: str) -> None:
    assert edit_distance(a, b) == edit_distance(b, a)
    assert (edit_distance(a, b) == 0) == (a == b)
    assert edit_distance(a, c) <= edit_distance(a, b) + edit_distance(b, c)


def test_numbers_titles_hyphens_case_and_punctuation_are_no_word_errors() -> None:
    spoken = "and mister john had ten ill disposed men"
    assert word_error_rate(spoken, "And Mr. John had 10 ill-disposed men.") == 0


def test_a_wrong_a_missing_and_an_extra_word_are_one_error_each() -> None:
    assert word_error_rate("a b c d", "a x c d") == 0.25
    assert word_error_rate("a b c d", "a c d") == 0.25
    assert word_error_rate("a b c d", "a b b c d") == 0.25


@given(st.lists(st.sampled_from(["one", "tree", "Mr"]), min_size=1), st.text(max_size=20))
def test_word_errors_are_none_for_the_same_and_all_for_silence(said: list[str], junk: str) -> None:
    text = " ".join(said)
    assert word_error_rate(text, text.upper()) == 0
    assert word_error_rate(text, "") == 1
    assert word_error_rate(text, junk) <= max(1, len(words(junk)) / len(said))


def test_an_empty_reference_says_nothing() -> None:
    with pytest.raises(ValueError, match="no words"):
        word_error_rate("…", "something")
    with pytest.raises(ValueError, match="no characters"):
        character_accuracy(" \n", "something")
    with pytest.raises(ValueError, match="no characters"):
        screen_accuracy([" "], ["something"])
    with pytest.raises(ValueError, match="as long as a window"):
        activity_accuracy([], spans("still"), window=60 * SECOND)


@given(TEXT.filter(str.strip), TEXT)
def test_character_accuracy_ignores_blanks_and_stays_a_share(reference: str, found: str) -> None:
    accuracy = character_accuracy(reference, found)
    assert 0 <= accuracy <= 1
    assert character_accuracy(reference, " ".join(reference)) == 1
    assert accuracy == character_accuracy(reference.replace(" ", ""), f" {found} ")


def test_one_wrong_letter_in_ten_is_nine_tenths() -> None:
    assert character_accuracy("abcdefghij", "abcdeXghij") == pytest.approx(0.9)
    assert screen_accuracy(["abcde", "fghij"], ["fghij", "abXde"]) == pytest.approx(0.9)


@settings(deadline=None)
@given(LINES, st.randoms(use_true_random=False))
def test_screen_accuracy_does_not_care_for_the_order_of_lines(
    lines: list[str], rnd: Random
) -> None:
    shuffled = list(lines)
    rnd.shuffle(shuffled)
    assert screen_accuracy(lines, shuffled) == 1


@settings(deadline=None)
@given(LINES, LINES)
def test_screen_accuracy_is_a_share_and_half_found_is_at_most_half(
    lines: list[str], found: list[str]
) -> None:
    assert 0 <= screen_accuracy(lines, found) <= 1
    assert screen_accuracy(lines + lines, lines) == pytest.approx(0.5)


def test_screen_accuracy_joins_a_paragraph_that_was_read_in_lines() -> None:
    paragraph = "the quick brown fox jumps over the lazy dog"
    assert screen_accuracy([paragraph], ["over the lazy dog", "the quick brown fox jumps"]) == 1


def test_screen_accuracy_counts_text_that_is_not_there() -> None:
    assert screen_accuracy(["abcd"], ["abcd", "xyzw"]) == 0


@given(st.lists(st.sampled_from(["still", "walking", "running"]), min_size=1, max_size=5))
def test_the_truth_predicts_itself_and_nothing_predicts_nothing(labels: list[str]) -> None:
    truth = spans(*labels)
    assert activity_accuracy(truth, truth, window=5 * SECOND) == 1
    assert activity_accuracy([], truth, window=5 * SECOND) == 0


def test_each_window_with_a_wrong_label_costs_its_share() -> None:
    truth = spans("still", "walking", "walking", "running")
    found = spans("still", "walking", "still", "running")
    assert activity_accuracy(found, truth, window=5 * SECOND) == 0.75


def test_a_boundary_that_is_late_costs_only_the_windows_it_covers() -> None:
    truth = spans("still", "walking")
    late = EPOCH + 13 * SECOND
    found = [Span(EPOCH, late, "still"), Span(late, EPOCH + 20 * SECOND, "walking")]
    assert activity_accuracy(found, truth, window=5 * SECOND) == 0.75
