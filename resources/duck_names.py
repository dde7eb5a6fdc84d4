"""What a question is about, told from the words in it: which tables of which catalog.

Rather too much than too little: a word that looks like a table's name is taken for one, so that no
table is ever asked that was not opened.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from am_assets.streams.registry import Registry
from am_assets.streams.stream import Stream

TIMELINE = "timeline"
LISTING = {"show", "describe", "desc"}


@dataclass(frozen=True, kw_only=True)
class Mentions:
    """Streams by where they are asked for, and what goes over all of them.

    `is_by_detail`: it says which of the timeline's rows are details, and may want no others.
    """

    lake: frozenset[Stream] = frozenset()
    whole: frozenset[Stream] = frozenset()
    is_lake_timeline: bool = False
    is_whole_timeline: bool = False
    is_by_detail: bool = False
    is_listing: bool = False
    hot: bool = False
    vectors: bool = False

    @property
    def needs_hot(self) -> bool:
        """Whether the database is asked."""
        return self.hot or self.is_listing or self.is_whole_timeline or bool(self.whole)


def mentions_of(text: str, registry: Registry) -> Mentions:
    """What the question names."""
    tables = {stream.table: stream for stream in registry.values()}
    lake, whole, timelines, words = set(), set(), set(), set[str]()
    for place, name in _names(text):
        words |= {*place, name}
        if name == TIMELINE:
            timelines.add(place[:1])
        elif name in tables and place[-2:-1] == ("lake",):
            lake.add(tables[name])
        elif name in tables and place[-2:-1] != ("hot",):
            whole.add(tables[name])
    is_listing = bool(words & LISTING) and not (lake or whole or timelines or "hot" in words)
    return Mentions(
        lake=frozenset(lake),
        whole=frozenset(tables.values()) if is_listing else frozenset(whole),
        is_lake_timeline=("lake",) in timelines,
        is_whole_timeline=is_listing or bool(timelines - {("lake",), ("hot",)}),
        is_by_detail="is_detail" in words,
        is_listing=is_listing,
        hot="hot" in words,
        vectors="vectors" in words,
    )


def _names(text: str) -> Iterator[tuple[tuple[str, ...], str]]:
    """Every word, and the words before it that it is joined to by dots."""
    bare = re.sub(r"\s*\.\s*", ".", text.lower().replace('"', ""))
    for chain in re.findall(r"[\w.]+", bare):
        parts = tuple(chain.split("."))
        for index, part in enumerate(parts):
            yield parts[:index], part
