"""The lake as Arrow datasets: which files a stream has now, what lies in each, one user's rows.

For who asks questions of the lake. What writes to it, and what checks it, is in `lake`.

A dataset knows each file's day, the times that lie in it and whose rows they are, so that files
that can't answer are never opened. One user's dataset drops other users' rows while it reads: who
scans it never holds them, and no part of a question is computed over them.
"""

import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
from deltalake import DeltaTable
from deltalake.exceptions import TableNotFoundError
from pyarrow import fs

from am_assets.schemas.arrow import delta_schema
from am_assets.schemas.row_ids import leaves_ids_out
from am_assets.streams.stream import Stream
from resources.connections import REGION, Connections
from resources.lake import Lake
from resources.lake_copies import CopiedDataset, LakeCopies
from resources.lake_ids import IdentifiedDataset
from resources.lake_index import FileIndex, within

# Writers may cut the names in a file's statistics; a name that is shorter than this is whole.
WHOLE_NAME_BYTES = 32
PARALLEL_LOOKS = 16
READER_VERSION = 1  # of the Delta protocol: later ones have rows that are deleted, but in the files


class LakeFilesError(Exception):
    """A table of the lake that can't be read as it is; says which and why."""


@dataclass(frozen=True)
class Opened:
    """A table at one version. `sizes`: the bytes of each file, by its path."""

    stream: Stream
    version: int
    index: FileIndex
    sizes: Mapping[str, int] = field(default_factory=dict)
    copies: LakeCopies | None = None

    @property
    def dataset(self) -> pads.FileSystemDataset:
        """Everybody's rows, as they are stored."""
        return self.index.whole


class LakeFiles:
    """The tables of one lake; what was opened once is only asked for what is new. Thread-safe."""

    def __init__(self, connections: Connections, *, copies: LakeCopies | None = None) -> None:
        """Connects to nothing yet. Files are read from their `copies`, where there may be any."""
        self._connections = connections
        self._copies = copies
        self._lake = Lake(connections)
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._tables: dict[str, DeltaTable] = {}
        self._opened: dict[str, Opened] = {}
        self._files: fs.FileSystem | None = None
        self._looking = ThreadPoolExecutor(PARALLEL_LOOKS)

    def open(self, stream: Stream) -> Opened:
        """The table as it is now; where there is none yet, no rows at version -1.

        Raises: LakeFilesError, deltalake.exceptions.DeltaError.
        """
        with self._locks[stream.name]:
            table = self._newest(stream)
            if table is None:
                return Opened(stream, -1, _nothing(stream))
            known = self._opened.get(stream.name)
            if known is None or known.version != table.version():
                known = self._opened_at(stream, table)
                self._opened[stream.name] = known
            return known

    def open_all(self, streams: Iterable[Stream]) -> dict[str, Opened]:
        """The tables of many streams, by the streams' names. Raises: as `open` does."""
        return {name: look.result() for name, look in self.look(streams).items()}

    def look(self, streams: Iterable[Stream]) -> dict[str, Future[Opened]]:
        """The same, while something else is done."""
        return {stream.name: self._looking.submit(self.open, stream) for stream in streams}

    def _newest(self, stream: Stream) -> DeltaTable | None:
        table = self._tables.get(stream.name)
        if table is not None:
            try:
                table.update_incremental()
            except TableNotFoundError:  # it was removed, and perhaps made again
                del self._tables[stream.name]
            else:
                return table
        found = self._lake.open(stream)
        if found is not None:
            self._tables[stream.name] = found
        return found

    def _opened_at(self, stream: Stream, table: DeltaTable) -> Opened:
        if table.protocol().min_reader_version > READER_VERSION:
            raise LakeFilesError(
                f"{stream.table} was written with features of Delta that AM does not read: "
                "publish its days again"
            )
        root, files = self._place(stream)
        added = {f"{root}/{file['path']}": file for file in _added(table)}
        form = pads.ParquetFileFormat(
            default_fragment_scan_options=pads.ParquetFragmentScanOptions(pre_buffer=True)
        )
        fragments = [
            form.make_fragment(
                path,
                filesystem=files,
                partition_expression=_contents(file),
                file_size=file["size_bytes"],
            )
            for path, file in added.items()
        ]
        dataset = pads.FileSystemDataset(fragments, delta_schema(stream), form, files)
        index = FileIndex.of(dataset, {path: file["partition.day"] for path, file in added.items()})
        sizes = {path: file["size_bytes"] for path, file in added.items()}
        return Opened(stream, table.version(), index, sizes, self._copies)

    def _place(self, stream: Stream) -> tuple[str, fs.FileSystem]:
        uri = self._lake.table_uri(stream)
        if not uri.startswith("s3://"):
            files, path = fs.FileSystem.from_uri(uri)
            return path, files
        if self._files is None:
            self._files = object_store(self._connections)
        return uri.removeprefix("s3://"), self._files


def own(opened: Opened, user_id: str | None) -> pads.Dataset:
    """One user's rows; None = everybody's. Ids that the files leave out are told."""
    stored = _stored(opened, user_id)
    is_whole = not leaves_ids_out(opened.stream)
    return stored if is_whole else IdentifiedDataset(opened.dataset, stored, opened.stream)


def _stored(opened: Opened, user_id: str | None) -> pads.Dataset:
    only = None if user_id is None else pc.field("user_id") == pc.scalar(user_id)
    if opened.copies is not None:
        return CopiedDataset(opened.index, opened.copies, opened.sizes, only=only)
    return opened.dataset if only is None else opened.dataset.filter(only)


def _added(table: DeltaTable) -> Iterator[dict[str, Any]]:
    yield from pa.table(table.get_add_actions(flatten=True)).to_pylist()


def _contents(file: dict[str, Any]) -> pc.Expression:
    """What is true of every row of a file."""
    day: date = file["partition.day"]
    truth = within(day, day)
    whose = _whose(file.get("min.user_id"), file.get("max.user_id"))
    return truth if whose is None else truth & whose


def _whose(lowest: str | None, highest: str | None) -> pc.Expression | None:
    if lowest is None or highest is None:
        return None
    if max(len(lowest.encode()), len(highest.encode())) >= WHOLE_NAME_BYTES:
        return None
    user = pc.field("user_id")
    if lowest == highest:
        return user == pc.scalar(lowest)
    return (user >= pc.scalar(lowest)) & (user <= pc.scalar(highest))


def _nothing(stream: Stream) -> FileIndex:
    nothing = pads.FileSystemDataset(
        [], delta_schema(stream), pads.ParquetFileFormat(), fs.LocalFileSystem()
    )
    return FileIndex.of(nothing, {})


def object_store(connections: Connections) -> fs.FileSystem:
    """Arrow's own. One that is written in Python would wait for the interpreter's lock, which the
    engine holds while it waits for a file.
    """
    return fs.S3FileSystem(
        access_key=connections.s3_access_key,
        secret_key=connections.s3_secret_key,
        endpoint_override=connections.s3_host,
        scheme="https" if connections.is_s3_secure else "http",
        region=REGION,
        force_virtual_addressing=False,
    )
