"""Whole columns of times, understood as `ingest_api.instants` understands each.

What it does not understand for sure (text without a zone, zones other than UTC in Arrow) is left to
that module, with its element.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from ingest_api.instants import EARLIEST, SCALES

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)
IN_UTC = ("+00:00", "Z")  # how most clients end their times
SHORTEST_IN_UTC = len("2026-01-01T00:00:00Z")
UTC_NAMES = frozenset({"UTC", "utc", "Z", "+00:00", "Etc/UTC"})
Micros = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Instants:
    """Microseconds since 1970, which of them are sure, and the offsets that the times name.

    `offsets_min` None: no time names one; a 0 in it: this time names none.
    """

    micros: Micros
    is_sure: Mask
    offsets_min: NDArray[np.int64] | None = None


def read_instants(sent: Any) -> Instants:
    """Understand a column (an Arrow array)."""
    kind = sent.type
    if pa.types.is_timestamp(kind) and kind.tz in UTC_NAMES and kind.unit != "ns":
        return _from_timestamps(sent)
    if pa.types.is_integer(kind) or pa.types.is_float64(kind):
        return _from_numbers(sent)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _in_utc(sent) or _from_texts(sent.to_pylist())
    nothing = np.zeros(len(sent), dtype=np.int64)
    return Instants(nothing, nothing.astype(bool))


def plausible(micros: Micros, *, received_at: datetime, max_future: timedelta) -> Mask:
    """Which times no wrong clock made, as `check_plausible` has it."""
    latest = (received_at + max_future - EPOCH) // MICROSECOND
    return (micros >= (EARLIEST - EPOCH) // MICROSECOND) & (micros <= latest)


def _from_timestamps(sent: Any) -> Instants:
    is_there = _is_there(sent)
    try:
        finer = sent.cast(pa.timestamp("us", "UTC"))
    except pa.ArrowInvalid:  # beyond the year 292 000
        nothing = np.zeros(len(sent), dtype=np.int64)
        return Instants(nothing, nothing.astype(bool))
    return Instants(_filled(finer.cast(pa.int64())), is_there)


def _from_numbers(sent: Any) -> Instants:
    """As `timedelta(seconds=number / scale)` rounds: to the nearest microsecond, halves to even."""
    numbers = np.asarray(_filled(sent), dtype=np.float64)
    is_there = _is_there(sent) & np.isfinite(numbers)
    size = np.abs(np.where(is_there, numbers, 0.0))
    limits, divisors = zip(*SCALES, strict=True)
    place = np.searchsorted(np.array(limits), size, side="right")
    seconds = np.where(is_there, numbers, 0.0) / np.array(divisors)[place]
    is_near = np.abs(seconds) < 1e11  # the year 5138: what lies behind is refused in any case
    whole = np.trunc(np.where(is_near, seconds, 0.0))
    part = np.rint((np.where(is_near, seconds, 0.0) - whole) * 1e6)
    micros = whole.astype(np.int64) * 1_000_000 + part.astype(np.int64)
    return Instants(micros, is_there & is_near)


def _in_utc(sent: Any) -> Instants | None:
    """Texts that are all whole times in UTC, the quick way; None = they have to be looked at.

    Of such texts Arrow takes those alone that Python takes, but for the year 0.
    """
    if sent.null_count or pc.min(pc.utf8_length(sent)).as_py() < SHORTEST_IN_UTC:
        return None
    if not any(pc.all(pc.ends_with(sent, ending)).as_py() for ending in IN_UTC):
        return None
    try:
        moments = sent.cast(pa.timestamp("us", "UTC"))
    except pa.ArrowInvalid:
        return None
    return Instants(_filled(moments.view(pa.int64())), np.ones(len(sent), dtype=bool))


def _from_texts(texts: Sequence[str | None]) -> Instants:
    moments = _moments(texts)
    is_sure = np.array([moment is not None for moment in moments], dtype=bool)
    there = moments if is_sure.all() else [moment or EPOCH for moment in moments]
    micros = _filled(pa.array(there, pa.timestamp("us", "UTC")).cast(pa.int64()))
    zones = {zone: _offset_min(zone) for zone in {moment.tzinfo for moment in there if moment}}
    if not any(zones.values()):
        return Instants(micros, is_sure)
    offsets = np.array([zones[moment.tzinfo] for moment in there if moment], dtype=np.int64)
    return Instants(micros, is_sure, offsets)


def _moments(texts: Sequence[str | None]) -> Sequence[datetime | None]:
    """Aware times; None = leave it to `read_instant`."""
    try:
        moments = list(map(datetime.fromisoformat, texts))  # type: ignore[arg-type]  # None raises
    except (TypeError, ValueError):
        return [_moment(text) for text in texts]
    are_plain = None not in {moment.tzinfo for moment in moments}
    return moments if are_plain else [_moment(text) for text in texts]


def _moment(text: str | None) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text) if text is not None else None
    except ValueError:
        return None
    return moment if moment is not None and moment.tzinfo is not None else None


def _offset_min(zone: tzinfo | None) -> int:
    """Of a zone with one offset, as text names it."""
    offset = zone.utcoffset(None) if zone is not None else None
    return round(offset.total_seconds() / 60) if offset is not None else 0


def _is_there(sent: Any) -> Mask:
    if not sent.null_count:
        return np.ones(len(sent), dtype=bool)
    return np.asarray(sent.is_valid().to_numpy(zero_copy_only=False), dtype=bool)


def _filled(array: Any) -> Any:
    """As numpy has it, 0 for null."""
    filled = array.fill_null(0) if array.null_count else array
    return filled.to_numpy(zero_copy_only=False)
