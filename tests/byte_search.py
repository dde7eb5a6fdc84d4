"""Looking for a text in every file below a folder, also within Parquet that is within other files.

For tests of erasure. Bytes as they are, in any case of letters; and whatever lies between two marks
of Parquet, unpacked, whether some table still knows of it or not.
"""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

MARK = b"PAR1"


def files_with(folder: Path, text: str) -> list[str]:
    """The files with the text in them, relative to the folder; Parquet's with its place in it."""
    found = []
    for path in sorted(one for one in folder.rglob("*") if one.is_file() and not one.is_symlink()):
        try:
            content = path.read_bytes()
        except FileNotFoundError:  # a server's own, gone meanwhile
            continue
        name = str(path.relative_to(folder))
        if text.lower().encode() in content.lower():
            found.append(name)
        found += [f"{name} at {at}" for at in parquet_with(content, text)]
    return found


def database_folder(admin_url: str, name: str) -> Path:
    """Where a server keeps the tables of a database; all that is in memory is there now."""
    query = "SELECT current_setting('data_directory'), oid FROM pg_database WHERE datname = %s"
    with psycopg.connect(admin_url, autocommit=True) as admin:
        row = admin.execute(query, (name,)).fetchone()
        admin.execute("CHECKPOINT")
    assert row is not None
    folder = Path(row[0]) / "base" / str(row[1])
    if not folder.is_dir():
        pytest.skip(f"{folder}: the server's files can't be read here")
    return folder


def parquet_with(content: bytes, text: str) -> Iterator[int]:
    """Where Parquet files begin that have the text in one of their columns, packed or not."""
    for begin, end in pairwise(_places(content)):
        rows = _rows(content[begin : end + len(MARK)])
        if rows is not None and text.lower() in str(rows.to_pylist()).lower():
            yield begin


def _places(content: bytes) -> Iterator[int]:
    at = content.find(MARK)
    while at >= 0:
        yield at
        at = content.find(MARK, at + 1)


def _rows(content: bytes) -> pa.Table | None:
    try:
        return pq.ParquetFile(pa.BufferReader(content)).read()
    except (pa.ArrowException, OSError):
        return None
