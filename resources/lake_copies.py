"""Copies of the lake's files on the local disk, so that what is asked again is not fetched again.

A file of the lake never changes and never gets its name back, so that a copy is either whole and
right or not there. A question that touches little is answered from copies, which it makes first;
one that touches more than fits is answered from the object store, as if there were no copies. The
folder may be removed at any time.
"""

import logging
import os
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, cast
from uuid import uuid4

import pyarrow.compute as pc
import pyarrow.dataset as pads
from pyarrow import fs

from resources.lake_index import FileIndex

PARALLEL = 8
LARGEST_SHARE = 4  # of the limit: what one question may fill of it
IN_USE_S = 60
BEING_MADE = ".part"

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class LakeCopies:
    """A folder of copies that holds at most about so many bytes. Thread- and process-safe."""

    folder: Path
    limit_bytes: int

    def make(self, sizes: Mapping[str, int], origin: fs.FileSystem) -> None:
        """Copies of these files, where that pays. `sizes`: their bytes by their path in `origin`.

        A copy that can't be made is none: the question is answered without it.
        """
        missing = [path for path, size in sizes.items() if self.copy_of(path, size) is None]
        needed = sum(sizes[path] for path in missing)
        if not missing or needed > self.limit_bytes // LARGEST_SHARE:
            return
        try:
            with ThreadPoolExecutor(PARALLEL) as pool:
                list(pool.map(lambda path: self._copy(path, origin), missing))
            self._shrink()
        except OSError as error:
            log.warning("no copies of the lake in %s: %s", self.folder, error)

    def copy_of(self, path: str, size: int) -> Path | None:
        """Where the whole copy of a file of so many bytes is, marked as used; None = nowhere."""
        copy = self.folder / path
        try:
            facts = copy.stat()
            if facts.st_size != size:
                return None
            if time.time() - facts.st_mtime > IN_USE_S / 2:
                os.utime(copy)
        except (FileNotFoundError, NotADirectoryError):
            return None
        return copy

    def _copy(self, path: str, origin: fs.FileSystem) -> None:
        copy = self.folder / path
        copy.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        made = copy.with_name(f"{uuid4()}{BEING_MADE}")
        try:
            fs.copy_files(path, str(made), origin, fs.LocalFileSystem())
            made.replace(copy)
        finally:
            made.unlink(missing_ok=True)

    def _shrink(self) -> None:
        """Remove what was not used for the longest time, until the rest is within the limit.

        What was used just now may still be read by another process.
        """
        found = sorted((entry.stat().st_mtime, entry) for entry in self._files())
        excess = sum(entry.stat().st_size for _, entry in found) - self.limit_bytes
        for used_at, entry in found:
            if excess <= 0 or time.time() - used_at < IN_USE_S:
                return
            excess -= entry.stat().st_size
            entry.unlink(missing_ok=True)

    def _files(self) -> list[Path]:
        return [entry for entry in self.folder.rglob("*") if entry.is_file()]


class CopiedDataset(pads.FileSystemDataset):
    """One user's rows (None = everybody's) of some files, read from their copies.

    Which files a question touches is known when it is scanned, and so it is then that they are
    looked for.
    """

    def __init__(
        self,
        index: FileIndex,
        copies: LakeCopies,
        sizes: Mapping[str, int],
        *,
        only: pc.Expression | None,
    ) -> None:
        """Copies nothing yet. `only` holds for each row that is ever given away."""
        whole = index.whole
        super().__init__(list(whole.get_fragments()), whole.schema, whole.format, whole.filesystem)
        self._index, self._copies, self._sizes, self._only = index, copies, sizes, only
        # What was learnt of a file, such as where its columns are, stays with its fragment.
        self._near: dict[str, pads.Fragment] = {}

    def filter(self, expression: pc.Expression) -> Self:
        """The rows that are so besides."""
        only = _both(self._only, expression)
        return type(self)(self._index, self._copies, self._sizes, only=only)

    def scanner(self, columns: Any = None, **options: Any) -> pads.Scanner:  # type: ignore[override]
        """What reads the chosen rows; the other ways to read a dataset go by this one."""
        wanted = _both(self._only, options.pop("filter", None))
        fragments: Any = list(self._index.touched(wanted))
        touched = {fragment.path: self._sizes[fragment.path] for fragment in fragments}
        self._copies.make(touched, self.filesystem)
        near = [self._nearest(fragment) for fragment in fragments]
        found = pads.FileSystemDataset(near, self.schema, self.format, fs.LocalFileSystem())
        # A filter has its columns read, even of files of which all rows are known to be so.
        is_sure = wanted is None or next(iter(found.get_fragments(~wanted)), None) is None
        return found.scanner(columns=columns, filter=None if is_sure else wanted, **options)

    def _nearest(self, fragment: Any) -> pads.Fragment:
        size = self._sizes[fragment.path]
        copy = self._copies.copy_of(fragment.path, size)
        if copy is None:
            return cast("pads.Fragment", fragment)
        if fragment.path not in self._near:
            self._near[fragment.path] = self.format.make_fragment(
                str(copy),
                filesystem=fs.LocalFileSystem(),
                partition_expression=fragment.partition_expression,
                file_size=size,
            )
        return self._near[fragment.path]


def _both(one: pc.Expression | None, other: pc.Expression | None) -> pc.Expression | None:
    if one is None or other is None:
        return other if one is None else one
    return one & other
