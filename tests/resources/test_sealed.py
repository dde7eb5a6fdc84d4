"""What was sealed is opened again, whole or in part; whatever was changed is told, never given."""

import io
import tracemalloc
from typing import BinaryIO, cast
from uuid import UUID

import pytest
from cryptography.cobblestone import Cobblestone256Decryptor
from hypothesis import given
from hypothesis import strategies as st

from resources.sealed import (
    BEGINNING,
    CHUNK,
    HEADER,
    SEALED_CHUNK,
    TAG,
    SealBrokenError,
    Sealing,
    Stretch,
    check_head,
    opened,
    opened_stretch,
    read_head,
)

KEY_ID = UUID(int=7)
SECRET, OTHER = bytes(range(32)), bytes(32)
NAME = "blobs/ada/device.audio.raw/2026-03-01/abc"
EDGES = [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK - 1, 2 * CHUNK, 3 * CHUNK + 5]
SIZES = st.sampled_from(EDGES) | st.integers(0, 5 * CHUNK)


def content_of(size: int) -> bytes:
    """Bytes of which no two chunks are alike."""
    return b"".join(n.to_bytes(4, "big") for n in range(size // 4 + 1))[:size]


def sealed(content: bytes, *, name: str = NAME, read_size: int = 1 << 20) -> bytes:
    """As it is stored."""
    file = Sealing(
        io.BytesIO(content), byte_count=len(content), key_id=KEY_ID, secret=SECRET, name=name
    )
    pieces = []
    while piece := file.read(read_size):
        pieces.append(piece)
    stored = b"".join(pieces)
    assert len(stored) == file.size
    return stored


def open_whole(stored: bytes, *, secret: bytes = SECRET, name: str = NAME) -> bytes:
    """The content."""
    head = read_head(stored[:BEGINNING])
    assert head is not None
    if head.sealed_size != len(stored):  # as the store does before it reads on
        raise SealBrokenError
    return b"".join(opened(head, iter([stored[BEGINNING:]]), secret=secret, name=name))


def open_stretch(stored: bytes, stretch: Stretch, *, piece: int = 1 << 20) -> bytes:
    """A part of it, from no more bytes than that needs."""
    head = read_head(stored[:BEGINNING])
    assert head is not None
    part = stored[stretch.offset : stretch.offset + stretch.length]
    pieces = (part[n : n + piece] for n in range(0, len(part), piece))
    return b"".join(opened_stretch(head, pieces, stretch, secret=SECRET, name=NAME))


@given(SIZES, st.integers(1, 70_000))
def test_content_of_any_size_comes_back_and_is_not_in_what_is_stored(
    size: int, read_size: int
) -> None:
    content = content_of(size)
    stored = sealed(content, read_size=read_size)
    assert open_whole(stored) == content
    assert size < 64 or content[:64] not in stored


@given(SIZES.filter(bool), st.data(), st.integers(1, 70_000))
def test_any_stretch_is_the_slice_of_the_content(
    size: int, data: st.DataObject, piece: int
) -> None:
    content = content_of(size)
    near = st.sampled_from([n for n in EDGES if n < size])
    start = data.draw(near | st.integers(0, size - 1))
    stop = data.draw(st.integers(start + 1, size))
    assert open_stretch(sealed(content), Stretch(start, stop), piece=piece) == content[start:stop]


def test_what_follows_the_header_is_cobblestone_256_and_any_other_program_can_open_it() -> None:
    content = content_of(3 * CHUNK)
    stored = sealed(content)
    context = b"AM blob\0" + stored[: HEADER.size] + NAME.encode()
    decryptor = Cobblestone256Decryptor(SECRET, context)
    assert decryptor.update(stored[HEADER.size :]) + decryptor.finalize() == content


def test_the_same_content_is_never_sealed_alike() -> None:
    first, second = sealed(b"x" * 100), sealed(b"x" * 100)
    assert first[: HEADER.size] == second[: HEADER.size]
    assert first[HEADER.size : HEADER.size + 24] != second[HEADER.size : HEADER.size + 24]
    assert first[BEGINNING:] != second[BEGINNING:]


@given(SIZES, st.data())
def test_no_flipped_bit_goes_unnoticed(size: int, data: st.DataObject) -> None:
    stored = bytearray(sealed(content_of(size)))
    at = data.draw(st.integers(8, len(stored) - 1))  # before that it is not a sealed blob at all
    stored[at] ^= 1 << data.draw(st.integers(0, 7))
    head = read_head(bytes(stored[:BEGINNING]))
    assert head is not None
    if head.key_id != KEY_ID:
        return  # another key: the key ring has none by that id
    with pytest.raises(SealBrokenError):
        open_whole(bytes(stored))


@given(SIZES.filter(bool), st.data())
def test_a_stretch_tells_of_damage_within_it_and_of_a_changed_head(
    size: int, data: st.DataObject
) -> None:
    stored = bytearray(sealed(content_of(size)))
    stretch = Stretch(size // 2, size)
    first = max(stretch.offset, BEGINNING)
    at = data.draw(st.integers(24, BEGINNING - 1) | st.integers(first, len(stored) - 1))
    in_the_last_empty_chunk = size % CHUNK == 0 and at >= len(stored) - TAG
    stored[at] ^= 1
    if in_the_last_empty_chunk:
        return
    with pytest.raises(SealBrokenError):
        open_stretch(bytes(stored), stretch)


@given(SIZES, st.data())
def test_a_blob_cut_short_or_made_longer_is_refused(size: int, data: st.DataObject) -> None:
    stored = sealed(content_of(size))
    cut = data.draw(st.integers(BEGINNING, len(stored) - 1))
    for changed in (stored[:cut], stored + b"\0", stored + stored[-SEALED_CHUNK:]):
        with pytest.raises(SealBrokenError):
            open_whole(changed)
        head = read_head(changed[:BEGINNING])
        assert head is not None
        with pytest.raises(SealBrokenError):  # also where the store told the wrong size
            list(opened(head, iter([changed[BEGINNING:]]), secret=SECRET, name=NAME))


def test_a_blob_cut_within_its_head_is_refused() -> None:
    stored = sealed(b"x")
    for cut in range(8, BEGINNING):
        with pytest.raises(SealBrokenError):
            read_head(stored[:cut])
    assert read_head(b"RIFF") is None
    assert read_head(b"") is None


def test_chunks_in_another_order_are_refused() -> None:
    stored = sealed(content_of(3 * CHUNK + 9))
    first, second, rest = (
        stored[BEGINNING : BEGINNING + SEALED_CHUNK],
        stored[BEGINNING + SEALED_CHUNK : BEGINNING + 2 * SEALED_CHUNK],
        stored[BEGINNING + 2 * SEALED_CHUNK :],
    )
    swapped = stored[:BEGINNING] + second + first + rest
    with pytest.raises(SealBrokenError):
        open_whole(swapped)
    with pytest.raises(SealBrokenError):
        open_stretch(swapped, Stretch(0, CHUNK))


def test_a_blob_under_another_name_or_key_is_refused() -> None:
    stored = sealed(content_of(100))
    for told in ({"name": f"{NAME}d"}, {"secret": OTHER}):
        with pytest.raises(SealBrokenError):
            open_whole(stored, **told)  # type: ignore[arg-type] # one of each kind
    head = read_head(stored[:BEGINNING])
    assert head is not None
    check_head(head, secret=SECRET, name=NAME)
    with pytest.raises(SealBrokenError):
        check_head(head, secret=SECRET, name="blobs/adb/device.audio.raw/2026-03-01/abc")


def test_nothing_unverified_is_given_before_the_damage_is_told() -> None:
    content = content_of(40 * CHUNK)
    stored = bytearray(sealed(content))
    stored[BEGINNING + 20 * SEALED_CHUNK] ^= 1
    head = read_head(bytes(stored[:BEGINNING]))
    assert head is not None
    given_pieces: list[bytes] = []
    pieces = (bytes(stored[n : n + 9_999]) for n in range(BEGINNING, len(stored), 9_999))
    with pytest.raises(SealBrokenError):
        given_pieces.extend(opened(head, pieces, secret=SECRET, name=NAME))
    assert content.startswith(b"".join(given_pieces))
    assert 0 < sum(map(len, given_pieces)) <= 20 * CHUNK


class Zeros(io.RawIOBase):
    """A file of any size that is nowhere."""

    def read(self, size: int = -1) -> bytes:
        """As many as are asked for."""
        return bytes(size)


def test_a_large_file_is_sealed_and_opened_without_ever_being_in_memory() -> None:
    size, piece = 100_000_000, 1 << 20
    zeros = cast("BinaryIO", Zeros())
    file = Sealing(zeros, byte_count=size, key_id=KEY_ID, secret=SECRET, name=NAME)
    tracemalloc.start()
    head = read_head(file.read(BEGINNING))
    assert head is not None
    opening = opened(head, iter(lambda: file.read(piece), b""), secret=SECRET, name=NAME)
    assert sum(map(len, opening)) == size
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 8 * piece


def test_a_file_that_ends_early_is_not_sealed() -> None:
    file = Sealing(io.BytesIO(b"short"), byte_count=6, key_id=KEY_ID, secret=SECRET, name=NAME)
    with pytest.raises(EOFError, match="1 bytes early"):
        file.read(1_000)
