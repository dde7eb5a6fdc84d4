"""How well something found agrees with the truth: words, characters, activities. Pure."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.int64]

# Speech models write numbers and titles their own way; both sides are brought to one form.
_UNITS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen"
)
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety"
SAME_WORD = {word: str(number) for number, word in enumerate(_UNITS.split())}
SAME_WORD |= {word: str(10 * number) for number, word in enumerate(_TENS.split(), start=2)}
SAME_WORD |= {"mr": "mister", "mrs": "missis", "dr": "doctor"}


class Interval(Protocol):
    """A labelled stretch of time, its end left out."""

    @property
    def start(self) -> datetime:
        """Its first instant."""

    @property
    def end(self) -> datetime:
        """The first instant after it."""

    @property
    def label(self) -> str:
        """What was done."""


def words(text: str) -> list[str]:
    """Lower-case words without punctuation; small numbers as digits, hyphens as blanks."""
    plain = unicodedata.normalize("NFKC", text).casefold().replace("’", "'")
    found = (word.replace("'", "") for word in re.findall(r"[\w']+", plain))
    return [SAME_WORD.get(word, word) for word in found if word]


def edit_distance(a: Sequence[str], b: Sequence[str]) -> int:
    """Fewest insertions, deletions and substitutions that turn one into the other."""
    left, right = _codes(a, b)
    steps = np.arange(len(right) + 1)
    row = steps.copy()
    for item in left:
        changed = np.minimum(row[1:] + 1, row[:-1] + (right != item))
        best = np.concatenate(([row[0] + 1], changed))
        # Insertions run along the row: the cheapest start to the left plus its distance.
        row = np.minimum.accumulate(best - steps) + steps
    return int(row[-1])


def _codes(a: Sequence[str], b: Sequence[str]) -> tuple[Codes, Codes]:
    code: dict[str, int] = {}
    left, right = ([code.setdefault(item, len(code)) for item in side] for side in (a, b))
    return np.array(left, dtype=np.int64), np.array(right, dtype=np.int64)


def word_error_rate(reference: str, hypothesis: str) -> float:
    """Edits a word of the reference, 0 is perfect; above 1 where much was made up.

    Raises ValueError if the reference has no words: then nothing can be said.
    """
    expected = words(reference)
    if not expected:
        raise ValueError("the reference has no words")
    return edit_distance(expected, words(hypothesis)) / len(expected)


def character_accuracy(reference: str, found: str) -> float:
    """1 minus the edits a character of the reference, blanks aside; never below 0.

    Raises ValueError if the reference is blank.
    """
    expected = "".join(reference.split())
    if not expected:
        raise ValueError("the reference has no characters")
    return max(0.0, 1 - edit_distance(expected, "".join(found.split())) / len(expected))


def screen_accuracy(lines: Sequence[str], found: Iterable[str]) -> float:
    """Character accuracy whatever the order of the lines: readers disagree about columns.

    Every line found is laid where it fits best on truth that no longer line has taken; what is
    missed and what is made up both count, a wrong letter once. Raises ValueError without truth.
    """
    # A break that no character equals keeps a line found from lying over two lines of truth.
    truth = _points("\n".join("".join(line.split()) for line in lines))
    length = int((truth != ord("\n")).sum())
    if not length:
        raise ValueError("the reference has no characters")
    texts = sorted(("".join(line.split()) for line in found), key=lambda text: (-len(text), text))
    matched = sum(_lay(_points(text), truth) for text in texts)
    invented = sum(map(len, texts)) - matched
    return max(0.0, 1 - max(length - matched, invented) / length)


def _points(text: str) -> Codes:
    return np.array([ord(character) for character in text], dtype=np.int64)


def _lay(text: Codes, truth: Codes) -> int:
    """Lay a text on the truth where it costs least, blot out what it matched, count that."""
    rows = _fit(text, truth)
    taken = _trace(rows, text=text, truth=truth)
    truth[taken] = -1
    return len(taken)


def _fit(text: Codes, truth: Codes) -> Codes:
    """Costs of laying the text's beginnings anywhere: row i, column j ends before truth[j]."""
    steps = np.arange(len(truth) + 1)
    rows = np.zeros((len(text) + 1, len(truth) + 1), dtype=np.int64)
    for i, point in enumerate(text, start=1):
        above = rows[i - 1]
        changed = np.minimum(above[1:] + 1, above[:-1] + (truth != point))
        best = np.concatenate(([i], changed))
        rows[i] = np.minimum.accumulate(best - steps) + steps
    return rows


def _trace(rows: Codes, *, text: Codes, truth: Codes) -> list[int]:
    """The truth's positions that the cheapest way matches, going back from its end."""
    i, j = len(text), int(rows[-1].argmin())
    taken = []
    while i and j:
        is_same = bool(text[i - 1] == truth[j - 1])
        if rows[i, j] == rows[i - 1, j - 1] + (not is_same):
            taken += [j - 1] if is_same else []
            i, j = i - 1, j - 1
        elif rows[i, j] == rows[i - 1, j] + 1:
            i -= 1
        else:
            j -= 1
    return taken


def activity_accuracy(
    predicted: Sequence[Interval], truth: Sequence[Interval], *, window: timedelta
) -> float:
    """Share of the truth's whole windows whose middle has the right label in the prediction.

    Raises ValueError if no interval of the truth is a window long.
    """
    middles = [(at, item.label) for item in truth for at in _middles(item, window)]
    if not middles:
        raise ValueError("no interval of the truth is as long as a window")
    return sum(_label(predicted, at) == label for at, label in middles) / len(middles)


def _middles(item: Interval, window: timedelta) -> list[datetime]:
    count = (item.end - item.start) // window
    return [item.start + (number + 0.5) * window for number in range(count)]


def _label(intervals: Sequence[Interval], at: datetime) -> str | None:
    return next((item.label for item in intervals if item.start <= at < item.end), None)
