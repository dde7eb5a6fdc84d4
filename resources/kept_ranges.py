"""Files of the object store whose parts are kept in memory once they were read.

Only for files that never change, as Delta's: a new version of a day is a new file. What is kept is
what was read: the columns that questions ask for, not whole files.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NoReturn

import pyarrow as pa
from pyarrow import fs

MIB = 2**20
LARGEST = 8 * MIB  # what is larger would drive out much else
MOST_SIZES = 100_000

Place = tuple[str, int, int]  # path, where it begins, how long it is


class KeptRanges:
    """Bytes by their place, the latest used kept; thread-safe."""

    def __init__(self, *, max_bytes: int) -> None:
        """Holds nothing yet."""
        self._max_bytes = max_bytes
        self._bytes = 0
        self._lock = threading.Lock()
        self._kept: OrderedDict[Place, bytes] = OrderedDict()
        self._sizes: dict[str, int] = {}

    @property
    def byte_count(self) -> int:
        """How much is held."""
        return self._bytes

    def size(self, path: str, ask: Callable[[], int]) -> int:
        """Of a file: as it was told before, or as it is told now."""
        found = self._sizes.get(path)
        if found is None:
            found = ask()
            with self._lock:
                if len(self._sizes) >= MOST_SIZES:
                    self._sizes.clear()
                self._sizes[path] = found
        return found

    def get(self, place: Place) -> bytes | None:
        """What is kept of a place."""
        with self._lock:
            found = self._kept.get(place)
            if found is not None:
                self._kept.move_to_end(place)
            return found

    def keep(self, place: Place, data: bytes) -> None:
        """Keep it, and let go what was not used for longest."""
        if len(data) > LARGEST:
            return
        with self._lock:
            if place not in self._kept:
                self._bytes += len(data)
            self._kept[place] = data
            while self._bytes > self._max_bytes:
                self._bytes -= len(self._kept.popitem(last=False)[1])


class KeptFile:
    """A file that is opened only if something of it is asked for that is not kept."""

    def __init__(self, files: fs.FileSystem, path: str, ranges: KeptRanges) -> None:
        """Opens nothing."""
        self._files, self._path, self._ranges = files, path, ranges
        self._opened: pa.NativeFile | None = None
        self._at = 0
        self.closed = False

    def size(self) -> int:
        """Of the whole file, in bytes."""
        return self._ranges.size(self._path, lambda: self._file().size())

    def seek(self, offset: int, whence: int = 0) -> int:
        """As a file does."""
        begin = (0, self._at, self.size() if whence == 2 else 0)[whence]
        self._at = begin + offset
        return self._at

    def tell(self) -> int:
        """As a file does."""
        return self._at

    def read(self, count: int = -1) -> bytes:
        """As a file does."""
        wanted = count if count >= 0 else self.size() - self._at
        place = (self._path, self._at, wanted)
        data = self._ranges.get(place)
        if data is None:
            file = self._file()
            file.seek(self._at)
            data = file.read(wanted)
            self._ranges.keep(place, data)
        self._at += len(data)
        return data

    def close(self) -> None:
        """As a file does."""
        self.closed = True
        if self._opened is not None:
            self._opened.close()

    def readable(self) -> bool:
        """Always."""
        return True

    def seekable(self) -> bool:
        """Always."""
        return True

    def writable(self) -> bool:
        """Never."""
        return False

    def _file(self) -> pa.NativeFile:
        if self._opened is None:
            self._opened = self._files.open_input_file(self._path)
        return self._opened


class KeptFiles(fs.FileSystemHandler):
    """Another file system, to be read only, through what is kept of it."""

    def __init__(self, files: fs.FileSystem, ranges: KeptRanges) -> None:
        """`ranges` may be shared."""
        self._files, self._ranges = files, ranges

    def get_type_name(self) -> str:
        """What Arrow calls it."""
        return f"kept+{self._files.type_name}"

    def open_input_file(self, path: str) -> pa.NativeFile:
        """One that can be read anywhere."""
        kept: Any = KeptFile(self._files, path, self._ranges)  # Arrow asks for no more than it has
        return pa.PythonFile(kept, mode="r")

    def open_input_stream(self, path: str) -> pa.NativeFile:
        """One that is read from its begin to its end."""
        return self._files.open_input_stream(path)

    def get_file_info(self, paths: str | list[str]) -> list[fs.FileInfo]:
        """As the other tells."""
        return self._files.get_file_info([paths] if isinstance(paths, str) else paths)

    def get_file_info_selector(self, selector: fs.FileSelector) -> list[fs.FileInfo]:
        """As the other tells."""
        return self._files.get_file_info(selector)

    def normalize_path(self, path: str) -> str:
        """It is already."""
        return path

    def __eq__(self, other: object) -> bool:
        return self is other

    def __ne__(self, other: object) -> bool:
        return self is not other

    __hash__ = object.__hash__

    def _refuse(self, *_arguments: Any, **_options: Any) -> NoReturn:
        raise PermissionError("this is for reading only")

    create_dir = delete_dir = delete_dir_contents = delete_root_dir_contents = _refuse
    delete_file = move = copy_file = open_output_stream = open_append_stream = _refuse
