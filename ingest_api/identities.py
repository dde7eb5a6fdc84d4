"""The ids of many rows at once: byte for byte those of `Envelope.event_id`."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pydantic_core import to_json

from am_assets.streams.stream import Stream
from ingest_api.envelope import NAMESPACE

DATE, SHORT, LONG = (
    len("2026-01-01"),
    len("2026-01-01T00:00:00"),
    len("2026-01-01T00:00:00.000000"),
)
SMALLEST_FIXED = 1e-4  # Python writes smaller numbers with an exponent, JSON some of them without
Ids = NDArray[np.uint8]  # one row of 16 bytes an id


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
        contents = [own or content for own, content in zip(hashes, contents, strict=True)]
    own_devices = devices[:1] if len(set(devices)) == 1 else devices
    names = pa.array([f"{stream.name}\n{device}\n" for device in own_devices], pa.binary())
    texts = pc.binary_join_element_wise(
        pa.scalar(NAMESPACE.bytes),
        names[0] if len(names) == 1 else names,
        _isoformats(micros),
        pa.scalar(b"+00:00\n"),
        pa.array(contents, pa.binary()),
        b"",
    )
    sha1 = hashlib.sha1
    digests = b"".join([sha1(text).digest() for text in texts.to_pylist()])
    ids = np.frombuffer(digests, dtype=np.uint8).reshape(-1, 20)[:, :16].copy()
    ids[:, 6] = ids[:, 6] & 0x0F | 0x50
    ids[:, 8] = ids[:, 8] & 0x3F | 0x80
    return ids


def _contents(identity: Sequence[Any], length: int) -> list[str]:
    """`repr` of each row's list of values."""
    if not identity:
        return ["[]"] * length
    if length and all(_is_number(column) for column in identity):
        return _numbers(identity)
    lists = zip(*(column.to_pylist() for column in identity), strict=True)
    return [repr([*values]) for values in lists]


def _is_number(column: Any) -> bool:
    """Whether its values are written alike in Python and in JSON."""
    if column.null_count or not (
        pa.types.is_int64(column.type) or pa.types.is_float64(column.type)
    ):
        return False
    size = np.abs(column.to_numpy(zero_copy_only=False))
    return bool(np.all((size >= SMALLEST_FIXED) | (size == 0)))


def _numbers(identity: Sequence[Any]) -> list[str]:
    rows = list(zip(*(column.to_pylist() for column in identity), strict=True))
    text = to_json(rows).decode().replace(",", ", ").replace("], [", "]\n[")
    return text[1:-1].split("\n")


def _isoformats(micros: NDArray[np.int64]) -> Any:
    """As `datetime.isoformat` writes them but for the zone: a fraction only where there is one."""
    long: Any = pa.array(micros).cast(pa.timestamp("us")).cast(pa.string())
    letters = np.frombuffer(long.buffers()[2], dtype=np.uint8)[: LONG * len(micros)]
    letters = letters.reshape(-1, LONG).copy()
    letters[:, DATE] = ord("T")
    has_fraction = micros % 1_000_000 != 0
    if has_fraction.all():
        return _fixed(letters)
    return pc.if_else(pa.array(has_fraction), _fixed(letters), _fixed(letters[:, :SHORT]))


def _fixed(letters: Ids) -> Any:
    """Texts of one length as an Arrow array."""
    length, width = letters.shape
    buffers = [None, pa.py_buffer(letters.tobytes())]
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), length, buffers).cast(pa.binary())
