"""Rows of one device that follow each other closely: what was one utterance, cut by its chunks.

Pure: which rows belong together depends on the rows alone, so that everybody finds the same.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby, pairwise
from uuid import UUID

GAP = timedelta(seconds=2)  # a breath, not a new sentence
LONGEST = timedelta(seconds=30)  # what a speech recognizer hears at once


@dataclass(frozen=True)
class Link:
    """One row, as far as it matters here: whose it is, and from when to when it lasts."""

    user_id: str
    device_id: str
    event_id: UUID
    begin: datetime
    end: datetime
    received_at: datetime


Links = tuple[Link, ...]


def sequences(links: Iterable[Link]) -> list[Links]:
    """Links of a device less than 2 s apart, by time; 30 s at most, but for a longer link alone.

    What lasts longer is cut at its widest gap, and so on. Such a cut stays where it is when more
    comes later, so that what was said long ago is not computed again with each new chunk.
    """
    ordered = sorted(links, key=lambda one: (*_owner(one), one.begin, one.event_id))
    return [
        piece
        for _, group in groupby(ordered, key=_owner)
        for near in _near(tuple(group))
        for piece in _short(near)
    ]


def fingerprint(sequence: Links) -> str:
    """Changes with every link of it."""
    told = "\n".join(f"{one.event_id} {one.received_at.isoformat()}" for one in sequence)
    return hashlib.sha256(told.encode()).hexdigest()[:32]


def _owner(link: Link) -> tuple[str, str]:
    return link.user_id, link.device_id


def _near(links: Links) -> list[Links]:
    """Cut wherever nothing lasts for 2 s."""
    cuts, until = [0], links[0].end
    for place, link in enumerate(links):
        if link.begin - until >= GAP:
            cuts.append(place)
        until = max(until, link.end)
    return _cut(links, cuts)


def _short(links: Links) -> list[Links]:
    done: list[Links] = []
    todo = [links]
    while todo:
        piece = todo.pop()
        if len(piece) == 1 or _length(piece) <= LONGEST:
            done.append(piece)
        else:
            place = _widest(piece)
            todo += [piece[place:], piece[:place]]  # the earlier part is taken next
    return done


def _widest(links: Links) -> int:
    """Before which link. Equal gaps differ by something that does not change with what follows."""
    gaps = [
        (after.begin - before.end, after.event_id, place)
        for place, (before, after) in enumerate(pairwise(links), start=1)
    ]
    return max(gaps)[2]


def _length(links: Links) -> timedelta:
    return max(one.end for one in links) - links[0].begin


def _cut(links: Links, places: Sequence[int]) -> list[Links]:
    return [links[a:b] for a, b in pairwise([*places, len(links)])]
