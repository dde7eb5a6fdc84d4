"""What is unpacked is all that was packed, or nothing."""

import gzip
import zlib
from contextlib import suppress
from typing import Literal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest_api.arrow_sizes import ROW_BYTES, unpacked_bytes
from ingest_api.bodies import PIECE, _check_arrow, _inflated, _unpacked
from ingest_api.errors import BusyError, MalformedBodyError, TooLargeError
from ingest_api.held import Held, Memory

ROOM = 4 * PIECE
CONTENTS = st.one_of(
    st.binary(max_size=300),
    st.builds(lambda part, n: part * n, st.binary(min_size=1, max_size=9), st.integers(0, PIECE)),
)


@given(st.lists(CONTENTS, min_size=1, max_size=3), st.booleans())
def test_gzip_and_deflate_give_back_all_members(contents: list[bytes], is_gzip: bool) -> None:
    pack = gzip.compress if is_gzip else zlib.compress
    packed = b"".join(pack(content) for content in contents)
    assert _unpacked(_inflated(packed), 1 << 30, None) == b"".join(contents)


@given(CONTENTS, st.data())
def test_what_is_cut_off_or_followed_by_something_else_is_refused(
    content: bytes, data: st.DataObject
) -> None:
    packed = gzip.compress(content)
    stump = packed[: data.draw(st.integers(0, len(packed) - 1))]
    for broken in (stump, packed + b"more", packed + stump[:20] + b"?"):
        with pytest.raises(MalformedBodyError):
            _unpacked(_inflated(broken), 1 << 30, None)


def test_a_bomb_is_stopped_at_the_limit_or_when_the_room_is_full_whichever_comes_first() -> None:
    bomb = gzip.compress(bytes(64 * PIECE))
    with pytest.raises(TooLargeError):
        _unpacked(_inflated(bomb), ROOM, None)
    memory = Memory(ROOM, patience_s=0)
    other, held = Held(memory), Held(memory)
    memory.take(other, 2 * ROOM)  # overdrawn by another body already
    with pytest.raises(BusyError):
        _unpacked(_inflated(bomb), 1 << 30, held)
    assert held.byte_count == 0


def arrow(table: pa.Table, compression: Literal["lz4", "zstd"] | None) -> bytes:
    """As an IPC stream, in batches."""
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=7)
    content: bytes = sink.getvalue().to_pybytes()
    return content


@given(
    st.lists(st.tuples(st.integers(-9, 9) | st.none(), st.text(max_size=40)), max_size=30),
    st.sampled_from([None, "lz4", "zstd"]),
    st.booleans(),
)
def test_arrow_is_as_large_as_its_buffers_however_they_are_compressed(
    rows: list[tuple[int | None, str]],
    compression: Literal["lz4", "zstd"] | None,
    is_dictionary: bool,
) -> None:
    texts = pa.array([text for _, text in rows], pa.string())
    table = pa.table(
        {
            "number": pa.array([number for number, _ in rows], pa.int64()),
            "text": texts.dictionary_encode() if is_dictionary else texts,
        }
    )
    kept = {text for _, text in rows} if is_dictionary else [text for _, text in rows]
    least = sum(len(text.encode()) for text in kept)
    found = unpacked_bytes(arrow(table, compression))
    assert found >= least + ROW_BYTES * len(rows)
    assert found == unpacked_bytes(arrow(table, None))


@pytest.mark.parametrize(
    "table",
    [
        pa.table({"x": pa.array([bytes(1 << 24)])}),
        pa.table({"x": pa.nulls(1 << 20)}),
        pa.table({"x": pa.array([bytes(1 << 24)] * 3).dictionary_encode()}),
    ],
)
def test_an_arrow_bomb_is_refused_before_it_is_unpacked(table: pa.Table) -> None:
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    bomb = sink.getvalue().to_pybytes()
    assert len(bomb) < 1 << 20
    with pytest.raises(TooLargeError):
        _check_arrow(bomb, 1 << 23, None)


@given(st.data())
def test_broken_arrow_is_malformed_or_measured_and_nothing_else(data: st.DataObject) -> None:
    whole = bytearray(arrow(pa.table({"a": ["x" * 30] * 9}), "zstd"))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(whole)))
    with suppress(MalformedBodyError, TooLargeError):
        _check_arrow(bytes(whole[:cut]), 1 << 23, None)
