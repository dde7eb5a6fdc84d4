"""The owner's own SQLite files: what the notes program or the browser keeps, to be asked beside AM.

Files are read, never written. One that its program holds locked, or that can't be opened where it
is, is copied first and the copy is asked.
"""

import re
import shutil
import sqlite3
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

SUFFIXES = frozenset({".db", ".sqlite", ".sqlite3"})
MAGIC = b"SQLite format 3\x00"
RESERVED = frozenset({"am", "hot", "lake", "main", "memory", "system", "temp", "vectors", "whole"})
TO_COPY = ("", "-wal", "-journal")


@dataclass(frozen=True)
class Attached:
    """A file that may be asked: `path` is it, or the copy in `folder` that ends with this."""

    path: Path
    folder: tempfile.TemporaryDirectory[str] | None = None

    def close(self) -> None:
        """Remove the copy."""
        if self.folder is not None:
            self.folder.cleanup()


def attachable(folder: Path | None, *, user_id: str | None) -> dict[str, Path]:
    """The SQLite files in the folder, or in one user's below it, by the name of their catalog.

    A file that is damaged, or that may not be read, is none: it must not stop other questions.
    Firefox's and Chrome's files have these endings or (Chrome's `History`) none.
    """
    if folder is None:
        return {}
    place = folder if user_id is None else folder / user_id
    # A user id can't hold a slash; what it came from may change.
    if not place.is_dir() or place.resolve().parent != (
        folder.resolve() if user_id is not None else folder.resolve().parent
    ):
        return {}
    found: dict[str, Path] = {}
    for path in sorted(place.iterdir()):
        if path.is_file() and path.suffix.lower() in {"", *SUFFIXES} and _is_sqlite(path):
            found.setdefault(catalog_name(path), path)
    return found


def catalog_name(path: Path) -> str:
    """`memos_prod.db` is `memos_prod`; a name that is taken, or no name, gets `file_` before it."""
    name = re.sub(r"\W+", "_", path.stem.lower(), flags=re.ASCII).strip("_")
    return f"file_{name}" if name in RESERVED or not name[:1].isalpha() else name


def opened_copy(path: Path) -> Attached:
    """The file, ready to be read. Raises: OSError, sqlite3.Error for one that can't be."""
    path = path.resolve()  # a link's log lies beside the file
    if _is_readable(path):
        return Attached(path)
    folder = tempfile.TemporaryDirectory(prefix="am-attached-")
    for ending in TO_COPY:
        source = path.with_name(path.name + ending)
        if source.exists():
            shutil.copyfile(source, Path(folder.name) / (path.name + ending))
    copy = Path(folder.name) / path.name
    with closing(sqlite3.connect(copy)) as connection:  # brings in what its log holds
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.execute("PRAGMA journal_mode = DELETE")
        (state,) = connection.execute("PRAGMA quick_check(1)").fetchone()
    if state != "ok":
        folder.cleanup()
        raise OSError(f"{path} was being written while it was copied: ask again")
    return Attached(copy, folder)


def _is_sqlite(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(MAGIC)) == MAGIC and not _is_damaged(path)
    except OSError:
        return False


def _is_damaged(path: Path) -> bool:
    """Whether SQLite can't read even the list of its tables, whoever else holds it locked."""
    at = f"file:{quote(str(path.resolve()))}?mode=ro&immutable=1"
    try:
        with closing(sqlite3.connect(at, uri=True)) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError:
        return False
    except sqlite3.DatabaseError:
        return True
    return False


def _is_readable(path: Path) -> bool:
    """Whether it can be read where it is; a write-ahead log can only be by who may write."""
    if path.with_name(f"{path.name}-wal").exists():
        return False
    try:
        with closing(
            sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=0)
        ) as connection:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.Error:
        return False
    return True
