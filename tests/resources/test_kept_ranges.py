"""Parts of files that are kept in memory: the same bytes, read once, and never too many of them."""

from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import dataset as pads
from pyarrow import fs, parquet

from resources.kept_ranges import LARGEST, KeptFile, KeptFiles, KeptRanges

DATA = bytes(range(256)) * 4


def kept(ranges: KeptRanges) -> fs.PyFileSystem:
    return fs.PyFileSystem(KeptFiles(fs.LocalFileSystem(), ranges))


@given(reads=st.lists(st.tuples(st.integers(0, len(DATA)), st.integers(0, 300)), max_size=30))
def test_every_read_gives_the_files_own_bytes_and_no_more_is_kept_than_may_be(
    tmp_path_factory: pytest.TempPathFactory, reads: list[tuple[int, int]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "kept-ranges"
    path.write_bytes(DATA)
    ranges = KeptRanges(max_bytes=500)
    with kept(ranges).open_input_file(str(path)) as file:
        for at, count in reads:
            assert file.read_at(count, at) == DATA[at : at + count]
            assert ranges.byte_count <= 500


def test_what_was_read_once_is_not_asked_of_the_store_again(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    table = pa.table({"a": list(range(1000)), "b": ["text"] * 1000})
    parquet.write_table(table, path)
    files = kept(KeptRanges(max_bytes=10**6))
    form = pads.ParquetFileFormat()
    size = path.stat().st_size

    def read() -> pa.Table:
        fragment = form.make_fragment(str(path), filesystem=files, file_size=size)
        return fragment.to_table(columns=["a"])

    first = read()
    path.unlink()
    assert read() == first == table.select(["a"])


def test_a_large_part_is_not_kept() -> None:
    ranges = KeptRanges(max_bytes=10 * LARGEST)
    ranges.keep(("x", 0, 1), bytes(LARGEST + 1))
    assert (ranges.byte_count, ranges.get(("x", 0, 1))) == (0, None)


def test_what_was_used_last_stays_longest() -> None:
    ranges = KeptRanges(max_bytes=2)
    for name in ("a", "b"):
        ranges.keep((name, 0, 1), b"x")
    ranges.get(("a", 0, 1))
    ranges.keep(("c", 0, 1), b"x")
    assert [ranges.get((name, 0, 1)) for name in "abc"] == [b"x", None, b"x"]


def test_nothing_can_be_written_through_it(tmp_path: Path) -> None:
    files = kept(KeptRanges(max_bytes=1))
    with pytest.raises(PermissionError):
        files.open_output_stream(str(tmp_path / "x"))
    with pytest.raises(PermissionError):
        files.delete_file(str(tmp_path / "x"))
    assert not KeptFile(fs.LocalFileSystem(), "x", KeptRanges(max_bytes=1)).writable()
