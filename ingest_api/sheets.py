"""Many elements of one stream, understood column by column instead of one by one.

What comes out is the same: a sheet holds the rows that `read_element` would make, and every element
that needs a closer look (a wrong value, an unusual type, a time without a zone) is left to it.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cache
from typing import Any
from uuid import UUID

import numpy as np
import pgpq
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from am_assets.schemas.columns import Column, ColumnType, columns
from am_assets.schemas.row_ids import event_ids
from am_assets.streams.stream import Stream
from ingest_api.elements import check_content, plain
from ingest_api.envelope import ID_FIELDS, MAX_DEVICE_ID, TIME_FIELDS, Sender
from ingest_api.errors import RejectedError
from ingest_api.instant_columns import Mask, plausible, read_instants
from ingest_api.instants import MAX_OFFSET_MIN
from ingest_api.rules import rules_of, without_nul
from ingest_api.sources import NotColumnsError, Source

DAY_US = 86_400_000_000
HEADER_BYTES, TRAILER_BYTES = 19, 2  # of COPY's binary format; one pair serves many sheets
JSONB_VERSION = "\x01"  # PostgreSQL's binary jsonb is this and the text
DAY_ZERO = date(1970, 1, 1)

Account = tuple[str, date]  # device and UTC day


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """Rows of one stream and user, ready to be copied into its table.

    `rows` are in the table's column order; `content` is their binary form without header and
    trailer. `offsets_min` are the last offsets from UTC that the rows tell of, by device.
    """

    stream: Stream
    user_id: str
    rows: pa.RecordBatch = field(repr=False)
    content: bytes = field(repr=False)
    counts: Mapping[Account, int]
    offsets_min: Mapping[str, int | None]

    def __len__(self) -> int:
        """How many rows."""
        return int(self.rows.num_rows)


def read_sheet(
    source: Source, *, stream: Stream, sender: Sender
) -> tuple[Sheet | None, Sequence[int]]:
    """The rows that are surely right, and the positions of the other elements."""
    everything = range(len(source))
    try:
        draft = _Draft(source, stream=stream, sender=sender)
    except NotColumnsError:
        return None, everything
    sure = draft.is_sure
    positions = np.flatnonzero(sure)
    if len(positions) == 0:
        return None, everything
    return draft.sheet(positions), np.flatnonzero(~sure).tolist()


class _Draft:
    """One source on its way to a sheet: each part reads some columns and strikes out rows."""

    def __init__(self, source: Source, *, stream: Stream, sender: Sender) -> None:
        """Raises: NotColumnsError where the elements have to be read one by one."""
        self._source = source
        self._stream = stream
        self._sender = sender
        self._length = len(source)
        self._taken: set[str] = set()
        self.is_sure = np.ones(self._length, dtype=bool)
        self._devices = self._read_devices()
        self._offsets = self._read_times()
        self._traces = self._read_traces()
        self._hashes = self._texts("content_hash") if "content_hash" in source.names else None
        self._values = self._read_values()
        self._extras = self._read_extras()

    def sheet(self, positions: NDArray[np.int64]) -> Sheet:
        """What the rows at these positions are."""
        batch = pa.record_batch(self._columns(), schema=_copied(self._stream))
        devices, offsets, micros = self._devices, self._offsets, self._micros
        if len(positions) < self._length:
            batch = batch.take(pa.array(positions, pa.int64()))
            devices = [devices[position] for position in positions]
            offsets = [offsets[position] for position in positions]
            micros = micros[positions]
        return Sheet(
            stream=self._stream,
            user_id=self._sender.user_id,
            rows=batch,
            content=_encoded(self._stream, batch),
            counts=_counts(devices, micros // DAY_US),
            offsets_min=_last(devices, offsets),
        )

    def _read_devices(self) -> list[str]:
        sender = self._sender
        default = sender.default_device_id or sender.bound_device_id or ""
        if "device_id" not in self._source.names:
            self.is_sure &= _is_device(default, sender)
            return [default] * self._length
        self._taken.add("device_id")
        told = self._texts("device_id")
        fine = {device: _is_device(device, sender) for device in set(told)}
        fine[None] = _is_device(default, sender)
        if not all(fine[device] for device in set(told)):
            self.is_sure &= _each(fine[device] for device in told)
        return [default if device is None else device for device in told]

    def _read_times(self) -> list[int | None]:
        """Sets `_micros`; gives the offsets from UTC."""
        name = next((name for name in TIME_FIELDS if name in self._source.names), None)
        if name is None:
            raise NotColumnsError
        self._taken.add(name)
        instants = read_instants(self._source.column(name))
        self.is_sure &= instants.is_sure & plausible(
            instants.micros,
            received_at=self._sender.received_at,
            max_future=self._sender.max_future,
        )
        self._micros = np.where(self.is_sure, instants.micros, 0)  # all are times that can be told
        known = self._known_offsets()
        if instants.offsets_min is None:
            return known
        return [own or old for own, old in zip(instants.offsets_min.tolist(), known, strict=True)]

    def _known_offsets(self) -> list[int | None]:
        """What each element tells of its zone, else what is known of its device's."""
        offsets = self._sender.offsets_min
        known = [offsets.get(device) if offsets else None for device in self._devices]
        if "tz_offset_min" not in self._source.names:
            return known
        self._taken.add("tz_offset_min")
        sent = self._source.column("tz_offset_min")
        if not pa.types.is_integer(sent.type):
            raise NotColumnsError
        told: list[Any] = sent.to_pylist()
        self.is_sure &= _each(value is None or abs(value) <= MAX_OFFSET_MIN for value in told)
        return [old if new is None else new for new, old in zip(told, known, strict=True)]

    def _read_traces(self) -> list[str | None]:
        default = self._sender.trace_id or None
        if "trace_id" not in self._source.names:
            return [default] * self._length
        self._taken.add("trace_id")
        return [told or default for told in self._texts("trace_id")]

    def _read_values(self) -> dict[str, Any]:
        """The stream's own columns, each from the one name that it was sent under."""
        rules = rules_of(self._stream)
        if rules is None:
            raise NotColumnsError
        self._placed: set[str] = set()
        values: dict[str, Any] = {}
        for rule in rules:
            names = _names(self._stream)[rule.name] & self._source.names
            if len(names) > 1:
                raise NotColumnsError
            if names:
                self._placed |= names
                values[rule.name], fine = rule.apply(self._source.column(*names))
            else:
                values[rule.name], fine = rule.absent(self._length)
            self.is_sure &= fine
        if self._placed & set(ID_FIELDS):
            raise NotColumnsError
        return values

    def _read_extras(self) -> list[dict[str, Any]] | None:
        """What has no column; None = nothing."""
        names = sorted(self._source.names - self._placed - self._taken)
        if not names:
            return None
        extras = self._source.fields(names)
        self.is_sure &= _each(map(_is_readable, extras))
        return extras

    def _own_ids(self) -> list[UUID | None] | None:
        """The clients' ids, which leave the extras; None = there are none."""
        if self._extras is None or not self._source.names & set(ID_FIELDS):
            return None
        return [_take_own_id(extra) for extra in self._extras]

    def _ids(self) -> Any:
        """Sixteen bytes a row."""
        ids = event_ids(
            self._stream,
            self._values,
            devices=self._devices,
            micros=self._micros,
            hashes=self._hashes,
        )
        for position, own in enumerate(self._own_ids() or ()):
            if own is not None:
                ids[position] = np.frombuffer(own.bytes, dtype=np.uint8)
        return pa.FixedSizeBinaryArray.from_buffers(
            pa.binary(16), self._length, [None, pa.py_buffer(ids.tobytes())]
        )

    def _columns(self) -> list[Any]:
        """In the order of `_copied`."""
        own = {
            "user_id": self._same(self._sender.user_id),
            "device_id": pa.array(self._devices, pa.string()),
            "ts": pa.array(self._micros).view(INSTANT),
            "tz_offset_min": pa.array(self._offsets, pa.int64()),
            "event_id": self._ids(),  # before `extra`, which it takes the ids from
            "received_at": self._same(self._sender.received_at, INSTANT),
            "trace_id": pa.array(self._traces, pa.string()),
            "schema_version": self._same(self._stream.schema_version, pa.int64()),
            **self._values,
            "extra": self._extra_texts(),
        }
        return [own[column.name] for column in _layout(self._stream)]

    def _extra_texts(self) -> Any:
        if self._extras is None:
            return pa.nulls(self._length, pa.string())
        texts = [json.dumps(extra, default=plain) if extra else None for extra in self._extras]
        return pa.array(texts, pa.string())

    def _same(self, value: Any, kind: Any = None) -> Any:
        return pa.repeat(pa.scalar(value, kind or pa.string()), self._length)

    def _texts(self, name: str) -> list[Any]:
        """A column of texts that a database can hold. Raises: NotColumnsError where it is none."""
        sent = self._source.column(name)
        if not (pa.types.is_string(sent.type) or pa.types.is_large_string(sent.type)):
            raise NotColumnsError
        self.is_sure &= without_nul(sent)
        told: list[Any] = sent.to_pylist()
        return told


INSTANT = pa.timestamp("us", tz="UTC")
COPIED_TYPES: Mapping[ColumnType, Any] = {
    ColumnType.TEXT: pa.string(),
    ColumnType.INTEGER: pa.int64(),
    ColumnType.REAL: pa.float64(),
    ColumnType.BOOLEAN: pa.bool_(),
    ColumnType.INSTANT: INSTANT,
    ColumnType.UUID: pa.binary(16),
    ColumnType.JSON: pa.string(),
}


@cache
def _layout(stream: Stream) -> tuple[Column, ...]:
    """The table's columns; finding them out takes longer than reading some rows."""
    return columns(stream)


@cache
def _copied(stream: Stream) -> pa.Schema:
    """The table's columns as they are encoded."""
    return pa.schema(pa.field(column.name, COPIED_TYPES[column.type]) for column in _layout(stream))


@cache
def _names(stream: Stream) -> dict[str, frozenset[str]]:
    """All names under which each column is sent."""
    return {
        column: frozenset({column, *(key for key, to in stream.aliases.items() if to == column)})
        for column in stream.columns
    }


def _encoded(stream: Stream, batch: pa.RecordBatch) -> bytes:
    for place, column in enumerate(_layout(stream)):
        if column.type is ColumnType.JSON and batch.column(place).null_count < len(batch):
            texts: Any = batch.column(place)
            versioned: Any = pc.binary_join_element_wise(JSONB_VERSION, texts, "")
            batch = batch.set_column(place, batch.schema.field(place), versioned)
    encoder = pgpq.ArrowToPostgresBinaryEncoder(batch.schema)
    content = encoder.write_header() + encoder.write_batch(batch) + encoder.finish()
    return bytes(content[HEADER_BYTES:-TRAILER_BYTES])


def _counts(devices: Sequence[str], days: NDArray[np.int64]) -> dict[Account, int]:
    """Rows by device and day."""
    counts = Counter(zip(devices, days.tolist(), strict=True))
    return {_account(key): number for key, number in counts.items()}


def _account(key: tuple[str, int]) -> Account:
    return key[0], DAY_ZERO + timedelta(days=key[1])


def _last(devices: Sequence[str], offsets: Sequence[int | None]) -> dict[str, int | None]:
    """Each device's last offset that is known."""
    if len({offset is None for offset in set(offsets)}) == 1:
        return dict(zip(devices, offsets, strict=True))
    last: dict[str, int | None] = {}
    for device, offset in zip(devices, offsets, strict=True):
        if offset is not None or device not in last:
            last[device] = offset
    return last


def _is_device(device: str | None, sender: Sender) -> bool:
    is_name = isinstance(device, str) and 0 < len(device) <= MAX_DEVICE_ID
    return is_name and sender.bound_device_id in (None, device)


def _is_readable(extra: Mapping[str, Any]) -> bool:
    try:
        check_content(extra)
    except RejectedError:
        return False
    return True


def _take_own_id(extra: dict[str, Any]) -> UUID | None:
    """The first of the id fields that is a UUID; fields that tell no more than that go."""
    for name in ID_FIELDS:
        try:
            own = UUID(str(extra[name]))
        except (KeyError, ValueError):
            continue
        for same in [key for key in ID_FIELDS if str(extra.get(key)).lower() == str(own)]:
            del extra[same]
        return own
    return None


def _each(flags: Iterable[bool]) -> Mask:
    return np.fromiter(flags, dtype=bool)
