"""The ids that rows get from what they say, where no client named one: of many rows at once.

Byte for byte those that the door gives a single element (`Envelope.event_id`). The lake leaves such
ids out and computes them again (`resources.lake_ids`): what is computed here may never change.
"""

import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any
from uuid import UUID

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic_core import to_json

from am_assets.schemas.columns import ColumnType, columns
from am_assets.streams.stream import Stream

NAMESPACE = UUID("8a6f0a3c-6d0e-5f5b-9a53-0d0f6c5f3c11")
NUMBER_LETTERS = b"-.,[]0123456789"
TINY = b"0.0000"  # Python writes such with an exponent
DATE, SHORT, LONG = (
    len("2026-01-01"),
    len("2026-01-01T00:00:00"),
    len("2026-01-01T00:00:00.000000"),
)
ZONE = np.frombuffer(b"+00:00\n", dtype=np.uint8)
Ids = NDArray[np.uint8]  # one row of 16 bytes an id
_EXACT = {ColumnType.TEXT, ColumnType.INTEGER, ColumnType.REAL, ColumnType.BOOLEAN}


@cache
def leaves_ids_out(stream: Stream) -> bool:
    """Whether the lake leaves out the ids that follow from a row's other columns.

    Of readings that nothing else names one by one, and whose identity every store gives back
    exactly. Once true of a stream, this and its identity may never change: rows have no id then.
    """
    types = {column.name: column.type for column in columns(stream)}
    is_reading = stream.is_detail and not (stream.is_derived or stream.blob or stream.grows)
    has_time = not stream.is_resent_with_new_time
    return is_reading and has_time and all(types[name] in _EXACT for name in stream.identity)


def event_ids(
    stream: Stream,
    columns: Mapping[str, Any],
    *,
    devices: Sequence[str],
    micros: NDArray[np.int64],
    hashes: Sequence[str | None] | None,
) -> Ids:
    """UUIDv5 of stream, device, time and identity columns (or content hash, where there is one).

    `columns` are the stored values as Arrow arrays, `devices` and `hashes` one a row.
    """
    contents = _contents([columns[name] for name in stream.identity], len(micros))
    if hashes is not None:
        contents = [
            own.encode() if own else content for own, content in zip(hashes, contents, strict=True)
        ]
    begins = {device: _beginning(stream, device) for device in set(devices)}
    # One line a row in a plain loop: SHA-1 takes most of its time, and few rows no longer.
    sha1, lines = hashlib.sha1, zip(devices, _isoformats(micros), contents, strict=True)
    digests = [sha1(begins[device] + when + content).digest() for device, when, content in lines]
    ids = np.frombuffer(b"".join(digests), dtype=np.uint8).reshape(-1, 20)[:, :16].copy()
    ids[:, 6] = ids[:, 6] & 0x0F | 0x50
    ids[:, 8] = ids[:, 8] & 0x3F | 0x80
    return ids


def _beginning(stream: Stream, device: str) -> bytes:
    return NAMESPACE.bytes + f"{stream.name}\n{device}\n".encode()


def _contents(identity: Sequence[Any], length: int) -> list[bytes]:
    """`repr` of each row's list of values."""
    if not identity:
        return [b"[]"] * length
    rows = list(zip(*map(_values, identity), strict=True))
    if not all(_are_numbers(column) for column in identity):
        return [repr([*values]).encode() for values in rows]
    text = to_json(rows).replace(b",", b", ")
    lines = text.replace(b"], [", b"]\n[")[1:-1].split(b"\n")
    if _is_written_alike(text):
        return lines
    return [
        line if _is_written_alike(line) else repr([*values]).encode()
        for line, values in zip(lines, rows, strict=True)
    ]


def _values(column: Any) -> list[Any]:
    """As Python has them."""
    if _are_numbers(column) and not column.null_count:
        listed: list[Any] = column.to_numpy().tolist()  # the quicker way
        return listed
    told: list[Any] = column.to_pylist()
    return told


def _are_numbers(column: Any) -> bool:
    return bool(pa.types.is_int64(column.type) or pa.types.is_float64(column.type))


def _is_written_alike(text: bytes) -> bool:
    """Whether JSON's text of numbers is surely Python's: no exponent, nothing tiny, no null."""
    return not text.translate(None, NUMBER_LETTERS + b" ") and TINY not in text


def _isoformats(micros: NDArray[np.int64]) -> list[bytes]:
    """Lines as `datetime.isoformat` writes them: a fraction only where there is one."""
    long: Any = pa.array(micros).view(pa.timestamp("us")).cast(pa.string())
    letters = np.frombuffer(long.buffers()[2], dtype=np.uint8)[: LONG * len(micros)]
    letters = letters.reshape(-1, LONG)
    has_fraction = micros % 1_000_000 != 0
    if has_fraction.all():
        return _lines(letters)
    pairs = zip(has_fraction.tolist(), _lines(letters), _lines(letters[:, :SHORT]), strict=True)
    return [long if has else short for has, long, short in pairs]


def _lines(letters: NDArray[np.uint8]) -> list[bytes]:
    """Each row with a T before its time, the zone behind it, and the line's end."""
    number, width = letters.shape
    lines = np.empty((number, width + len(ZONE)), dtype=np.uint8)
    lines[:, :width], lines[:, width:] = letters, ZONE
    lines[:, DATE] = ord("T")
    texts: list[bytes] = lines.view(f"S{width + len(ZONE)}").ravel().tolist()
    return texts
