"""Which files of a table a question touches, found without looking at every one of them.

Arrow compares a question with what is known of each file, one after the other: at a year of days
that took longer than reading the one file that was asked for. Here the files are the leaves of a
tree by day, and what is known of a branch is known of all files on it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Self

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads

from resources.hot import Span

INSTANT = pa.timestamp("us", tz="UTC")
BRANCHES = 8  # measured: with fewer there are more steps, with more there is more to compare


@dataclass(frozen=True)
class FileIndex:
    """The files of a table, and the way to those that a question touches."""

    whole: pads.FileSystemDataset
    _root: "_Branch"

    @classmethod
    def of(cls, whole: pads.FileSystemDataset, days: Mapping[str, date]) -> Self:
        """`days`: the one whose rows a file has, by the file's path."""
        fragments: Any = whole.get_fragments()  # of files: they have paths
        files = sorted(fragments, key=lambda file: days[file.path])
        return cls(whole, _branch(whole, files, days))

    def touched(self, wanted: pc.Expression | None) -> Iterator[pads.Fragment]:
        """Those that may have rows that are so, from early to late; None = all."""
        return self._root.touched(wanted)


@dataclass(frozen=True)
class _Branch:
    """Files, or what stands for the branches below: each is called like that one's first file."""

    level: pads.FileSystemDataset
    below: Mapping[str, "_Branch"] = field(default_factory=dict)

    def touched(self, wanted: pc.Expression | None) -> Iterator[pads.Fragment]:
        fragments: Any = self.level.get_fragments(wanted)
        for found in fragments:
            if self.below:
                yield from self.below[found.path].touched(wanted)
            else:
                yield found


def within(first: date, last: date) -> pc.Expression:
    """What is true of every row of these UTC days, both included."""
    span, day, ts = Span.of_days(first, last), pc.field("day"), pc.field("ts")
    one, other = pa.scalar(first, pa.date32()), pa.scalar(last, pa.date32())
    is_then = (ts >= pa.scalar(span.begin, INSTANT)) & (ts < pa.scalar(span.end, INSTANT))
    return (day == one if first == last else (day >= one) & (day <= other)) & is_then


def _branch(
    like: pads.FileSystemDataset, files: Sequence[Any], days: Mapping[str, date]
) -> _Branch:
    if len(files) <= BRANCHES:
        return _Branch(_dataset(like, files))
    length = -(-len(files) // BRANCHES)
    parts = [files[first : first + length] for first in range(0, len(files), length)]
    level = [
        like.format.make_fragment(
            part[0].path,
            filesystem=like.filesystem,
            partition_expression=within(days[part[0].path], days[part[-1].path]),
        )
        for part in parts
    ]
    below = {part[0].path: _branch(like, part, days) for part in parts}
    return _Branch(_dataset(like, level), below)


def _dataset(
    like: pads.FileSystemDataset, files: Sequence[pads.Fragment]
) -> pads.FileSystemDataset:
    return pads.FileSystemDataset(list(files), like.schema, like.format, like.filesystem)
