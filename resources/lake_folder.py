"""A table of the lake as what it is on disk: objects in a folder, and a log of commits.

For who checks and repairs. The library reads a commit that is empty, or that was cut off at the end
of a line, as if nothing had been done in it: rows are missing then, and nothing says so. So the log
is read here as text, too.
"""

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake.fs import DeltaStorageHandler
from pyarrow import fs

from am_assets.streams.stream import Stream
from resources.connections import Connections
from resources.lake import Lake
from resources.lake_files import object_store

LOG = "_delta_log"
DAMAGED = "_damaged"  # what was taken out of a log; folders of such names are no data to Delta
_COMMIT = re.compile(r"(\d{20})\.json")
_CHECKPOINT = re.compile(r"(\d{20})\.checkpoint(\.\d{10}\.\d{10})?\.parquet")
_HINT = f"{LOG}/_last_checkpoint"
# What is counted in a commit that writes rows, and under which name the commit itself says so.
_COUNTED = {"add": "num_added_files", "remove": "num_removed_files"}


@dataclass(frozen=True)
class Damage:
    """What is wrong with a log. From `version` on it can't be trusted."""

    version: int
    what: str


@dataclass(frozen=True)
class LogState:
    """Which commits and checkpoints there are; `version` -1 = there is no table."""

    commits: tuple[int, ...]
    checkpoints: tuple[int, ...]

    @property
    def version(self) -> int:
        """The newest."""
        return max((*self.commits, *self.checkpoints), default=-1)

    @property
    def checkpoint(self) -> int:
        """The newest that has a checkpoint; -1 = none."""
        return max(self.checkpoints, default=-1)

    @property
    def unfolded(self) -> Sequence[int]:
        """The commits that a reader reads one by one."""
        return [version for version in self.commits if version > self.checkpoint]


class LakeFolder:
    """One table's folder. Connects to nothing before something is asked."""

    def __init__(self, connections: Connections, uri: str) -> None:
        """`uri` is the table's; what it is relative to are its objects' paths."""
        handler = DeltaStorageHandler(uri, connections.delta_options())
        self._connections, self._uri = connections, uri
        self._files = fs.PyFileSystem(handler)

    def sizes(self) -> Mapping[str, int]:
        """Every object and how many bytes it has. Raises: OSError."""
        return dict(self._sizes(""))

    def log(self) -> LogState:
        """What is in the log, by the names alone. Raises: OSError."""
        names = [path.rsplit("/", 1)[-1] for path, _ in self._sizes(LOG)]
        return LogState(_versions(names, _COMMIT), _versions(names, _CHECKPOINT))

    def damage(self) -> Damage | None:
        """The first thing in the log that can't be right; None = all of it can be read and adds up.

        What a checkpoint has replaced is not looked at: no reader does. Raises: OSError.
        """
        state = self.log()
        if state.version < 0:
            return None
        begin = state.checkpoint
        if begin >= 0 and (wrong := self._checkpoint_fault(begin)):
            return Damage(begin, wrong)
        for expected, version in enumerate(state.unfolded, start=begin + 1):
            if version != expected:
                return Damage(expected, f"commit {expected} is gone")
            if wrong := commit_fault(self.read(_commit(version))):
                return Damage(version, f"commit {version} {wrong}")
        return None

    def mend(self) -> list[Damage]:
        """Make the log readable again; what was wrong with it.

        A commit that can't be read becomes one that does nothing, so that later ones stay what they
        are and no version is ever given twice. What it held is missing from the table then: days
        have to be compared with their receipts. A log without its beginning is begun anew.
        Whatever was wrong is kept aside. Raises: OSError.
        """
        mended = []
        while damage := self.damage():
            mended.append(damage)
            self._mend(damage)
        return mended

    def _mend(self, damage: Damage) -> None:
        state = self.log()
        if damage.version <= state.checkpoint:
            self._set_aside(lambda version: version == damage.version, "checkpoint")
        elif damage.version == 0:
            self._set_aside(lambda _: True)
        else:
            path = _commit(damage.version)
            if damage.version in state.commits:
                self._files.move(path, _aside(path))
            self._write(path, nothing_done(damage))

    def _set_aside(self, is_wrong: Callable[[int], bool], kind: str = "") -> None:
        for path in [path for path, _ in self._sizes(LOG)]:
            number = re.match(r"\d{20}", path.rsplit("/", 1)[-1])
            if path == _HINT or (number and kind in path and is_wrong(int(number[0]))):
                self._files.move(path, _aside(path))

    def _write(self, path: str, content: bytes) -> None:
        # Not by Delta's file system: what it gives to write to takes no buffers of Arrow's.
        if self._uri.startswith("s3://"):
            files, root = object_store(self._connections), self._uri.removeprefix("s3://")
        else:
            files, root = fs.FileSystem.from_uri(self._uri)
        with files.open_output_stream(f"{root}/{path}") as stream:
            stream.write(content)

    def read(self, path: str) -> bytes:
        """The bytes of one object. Raises: OSError."""
        with self._files.open_input_file(path) as file:
            return bytes(file.read())

    def read_rows(self, path: str) -> pa.Table:
        """The rows of one Parquet file. Raises: OSError, pa.ArrowException."""
        with self._files.open_input_file(path) as file:
            return pq.ParquetFile(file).read()

    def remove(self, paths: Iterable[str]) -> None:
        """Make objects gone. Raises: OSError."""
        for path in paths:
            self._files.delete_file(path)

    def is_older(self, path: str, than: datetime) -> bool:
        """Whether an object was written before."""
        written = self._files.get_file_info(path).mtime
        return written is not None and written <= than

    def _sizes(self, folder: str) -> Iterator[tuple[str, int]]:
        selector = fs.FileSelector(folder, recursive=True, allow_not_found=True)
        for found in self._files.get_file_info(selector):
            # Some object stores list a folder that all was removed from, as if it were an object.
            is_folder = not found.size and not found.extension
            if found.type == fs.FileType.File and not is_folder:
                yield found.path, found.size

    def _checkpoint_fault(self, version: int) -> str | None:
        paths = [path for path, _ in self._sizes(LOG) if f"{version:020}.checkpoint" in path]
        for path in paths:
            try:
                self.read_rows(path)
            except (OSError, pa.ArrowException):
                return f"the checkpoint of version {version} can't be read"
        return None


def folder_of(lake: Lake, stream: Stream) -> LakeFolder:
    """The folder of a stream's table."""
    return LakeFolder(lake.connections, lake.table_uri(stream))


def commit_fault(content: bytes) -> str | None:
    """What is wrong with one commit of the log, to follow its name; None = nothing.

    It has to be whole lines of JSON, say what it did, and hold as many files as it says.
    """
    if not content.strip():
        return "is empty"
    try:
        actions = [json.loads(line) for line in content.splitlines() if line.strip()]
    except ValueError:  # also what is no UTF-8
        return "is cut off, or is no JSON"
    if not all(isinstance(action, dict) for action in actions):
        return "is no list of actions"
    told = next((action["commitInfo"] for action in actions if "commitInfo" in action), None)
    if told is None:
        return "does not say what it did"
    return _miscount(actions, told.get("operationMetrics") or {})


def _miscount(actions: Sequence[Mapping[str, Any]], metrics: Mapping[str, Any]) -> str | None:
    for kind, name in _COUNTED.items():
        told, found = metrics.get(name), sum(kind in action for action in actions)
        if told is not None and int(told) != found:
            return f"is cut off: it says {told} files ({kind}), and has {found}"
    return None


def _versions(names: Iterable[str], form: re.Pattern[str]) -> tuple[int, ...]:
    return tuple(sorted({int(match[1]) for name in names if (match := form.fullmatch(name))}))


def nothing_done(damage: Damage) -> bytes:
    """A commit that does nothing, and says what it stands for."""
    told = {"operation": "AM REPAIR", "engineInfo": "am", "operationParameters": {}}
    return json.dumps({"commitInfo": {**told, "am.replaced": damage.what}}).encode() + b"\n"


def _aside(path: str) -> str:
    return f"{DAMAGED}/{path.rsplit('/', 1)[-1]}"


def _commit(version: int) -> str:
    return f"{LOG}/{version:020}.json"
