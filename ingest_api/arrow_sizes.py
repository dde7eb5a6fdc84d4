"""How large an Arrow IPC stream becomes when it is read: its buffers may be compressed far.

Only its headers are looked at, before anything is unpacked. Pure. The layout is that of Arrow's
`Message.fbs`: a message's header is a record batch, or a dictionary with one in it.
"""

import struct
from collections.abc import Iterator

import pyarrow as pa

ROW_BYTES = 16  # the least that a row costs, also where all of its columns are null
# Where the fields are in their flatbuffer tables.
HEADER, DATA, LENGTH, BUFFERS, COMPRESSION = 2, 1, 0, 2, 3
BUFFER = struct.Struct("<qq")  # where one begins in the body, and its bytes there
UNCOMPRESSED = -1


def unpacked_bytes(stream: bytes) -> int:
    """Bytes of all rows in memory, a dictionary's included.

    Raises: pyarrow.ArrowInvalid, OSError, struct.error for what is no such stream.
    """
    total = 0
    for message in pa.MessageReader.open_stream(stream):
        if message.type in ("record batch", "dictionary"):
            body = memoryview(message.body) if message.body is not None else memoryview(b"")
            is_dictionary = message.type == "dictionary"
            total += _batch_bytes(memoryview(message.metadata), body, is_dictionary=is_dictionary)
    return total


def _batch_bytes(header: memoryview, body: memoryview, *, is_dictionary: bool) -> int:
    batch = _table_in(header, _offset(header, 0), HEADER)
    if is_dictionary:
        batch = _table_in(header, batch, DATA)
    length = _field(header, batch, LENGTH)
    rows = struct.unpack_from("<q", header, length)[0] if length else 0
    is_compressed = _field(header, batch, COMPRESSION) != 0
    sizes = (
        _unpacked(body, start, size) if is_compressed else size
        for start, size in _buffers(header, batch)
    )
    return sum(sizes) + ROW_BYTES * _natural(rows)


def _unpacked(body: memoryview, start: int, size: int) -> int:
    """A compressed buffer begins with the number of bytes that it becomes."""
    if size == 0:
        return 0
    (told,) = struct.unpack_from("<q", body, start)
    return size if told == UNCOMPRESSED else _natural(told)


def _buffers(header: memoryview, batch: int) -> Iterator[tuple[int, int]]:
    field = _field(header, batch, BUFFERS)
    if not field:
        return
    vector = field + _offset(header, field)
    (count,) = struct.unpack_from("<I", header, vector)
    for index in range(count):
        start, size = BUFFER.unpack_from(header, vector + 4 + BUFFER.size * index)
        yield _natural(start), _natural(size)


def _natural(number: int) -> int:
    """Nothing negative may make up for something large."""
    if number < 0:
        raise struct.error("a size below zero")
    return number


def _table_in(header: memoryview, table: int, slot: int) -> int:
    field = _field(header, table, slot)
    return field + _offset(header, field)


def _field(header: memoryview, table: int, slot: int) -> int:
    """Where a table's field is; 0 = it has none."""
    (back,) = struct.unpack_from("<i", header, table)
    (size,) = struct.unpack_from("<H", header, table - back)
    at = 4 + 2 * slot
    if at >= size:
        return 0
    (offset,) = struct.unpack_from("<H", header, table - back + at)
    return table + int(offset) if offset else 0


def _offset(header: memoryview, at: int) -> int:
    return int(struct.unpack_from("<I", header, at)[0])
