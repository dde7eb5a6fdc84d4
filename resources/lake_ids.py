"""The ids that the lake leaves out: those that follow from the row, computed again by who reads.

Sixteen random bytes a row are three quarters of what a sensor's reading takes in the lake. Where
nothing else names the rows of a stream one by one (`leaves_ids_out`), an id that is what
`row_ids.event_ids` computes is null there. A client's own ids stay, and so does whatever the
computation would not give again: it is done before an id is left out. See decision 0023.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
from numpy.typing import NDArray

from am_assets.schemas.row_ids import event_ids
from am_assets.streams.stream import Stream

ID = "event_id"
TEXT_BYTES = 36  # of an id, with its four hyphens
HEXADECIMAL = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)
HYPHENS = (8, 13, 18, 23)
_PLACES = np.delete(np.arange(TEXT_BYTES), HYPHENS)  # of the digits


def sources(stream: Stream) -> tuple[str, ...]:
    """The columns that a row's id follows from."""
    return ("device_id", "ts", *stream.identity)


def with_sources(stream: Stream, names: Sequence[str]) -> list[str]:
    """The columns to read in the lake so that `with_ids` can give these."""
    needed = sources(stream) if ID in names else ()
    return list(dict.fromkeys((*names, *needed)))


def without_ids(stream: Stream, rows: pa.Table) -> pa.Table:
    """The rows with null for every id that follows from its row, where the schema allows that."""
    if not rows.num_rows or not rows.schema.field(ID).nullable:
        return rows
    known = _whole(rows[ID])
    follows = pc.equal(known, _computed(stream, _columns(stream, rows), rows.num_rows))
    kept = pc.if_else(follows, pa.scalar(None, pa.string()), known)
    return _replaced(rows, kept)


def with_ids(stream: Stream, rows: pa.Table) -> pa.Table:
    """The rows with the ids that were left out; without the column, as they are."""
    if ID not in rows.column_names or not rows[ID].null_count:
        return rows
    known = _whole(rows[ID])
    is_out = known.is_null()
    few = pa.Table.from_pydict(_columns(stream, rows)).filter(is_out)
    computed = _computed(stream, _columns(stream, few), few.num_rows)
    return _replaced(rows, pc.replace_with_mask(known, is_out, computed))


def batches_with_ids(stream: Stream, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The same of rows that come in parts."""
    for batch in batches:
        yield from with_ids(stream, pa.Table.from_batches([batch])).to_batches()


class IdentifiedDataset(pads.FileSystemDataset):
    """A dataset of the lake that tells the ids which its files leave out.

    Not by a function of DuckDB's: what such a one returns is freed before it has been read.
    """

    def __init__(self, whole: pads.FileSystemDataset, stored: pads.Dataset, stream: Stream) -> None:
        """`whole` is what `stored`, which is read, is a part of."""
        super().__init__(list(whole.get_fragments()), whole.schema, whole.format, whole.filesystem)
        self._whole, self._stored, self._stream = whole, stored, stream

    def filter(self, expression: pc.Expression) -> Self:
        """The rows that are so besides. Not by their ids."""
        return type(self)(self._whole, self._stored.filter(expression), self._stream)

    def scanner(self, columns: Any = None, **options: Any) -> pads.Scanner:  # type: ignore[override]
        """What reads the chosen rows; the other ways to read a dataset go by this one."""
        chosen: list[str] = self.schema.names if columns is None else list(columns)
        wanted = options.pop("filter", None)
        # The text of a filter names its columns; by ids can only be chosen once they are there.
        is_by_id = wanted is not None and ID in str(wanted)
        if ID not in chosen and not is_by_id:
            return self._stored.scanner(columns=columns, filter=wanted, **options)
        read = self.schema.names if is_by_id else with_sources(self._stream, chosen)
        known = self._days(wanted) if is_by_id else wanted
        stored = self._stored.scanner(columns=read, filter=known, **options)
        return pads.Scanner.from_batches(
            batches_with_ids(self._stream, stored.to_reader()),
            schema=stored.projected_schema,
            columns=chosen,
            filter=wanted if is_by_id else None,
        )

    def _days(self, wanted: pc.Expression) -> pc.Expression:
        """What is true of the days of which there may be such rows."""
        files = self._whole.get_fragments(wanted)
        days = {pads.get_partition_keys(file.partition_expression)["day"] for file in files}
        return pc.field("day").isin(pa.array(sorted(days), pa.date32()))


def _columns(stream: Stream, rows: pa.Table) -> dict[str, Any]:
    return {name: _whole(rows[name]) for name in sources(stream)}


def _computed(stream: Stream, columns: Mapping[str, Any], length: int) -> Any:
    ids = event_ids(
        stream,
        columns,
        devices=columns["device_id"].to_pylist(),
        micros=columns["ts"].cast(pa.int64()).to_numpy(),
        hashes=None,
    )
    return _texts(ids, length)


def _texts(ids: NDArray[np.uint8], length: int) -> Any:
    """As the database writes them: `8a6f0a3c-6d0e-5f5b-9a53-0d0f6c5f3c11`."""
    letters = np.full((length, TEXT_BYTES), ord("-"), dtype=np.uint8)
    digits = np.stack((ids >> 4, ids & 0x0F), axis=2).reshape(length, -1)
    letters[:, _PLACES] = HEXADECIMAL[digits]
    offsets = np.arange(length + 1, dtype=np.int32) * TEXT_BYTES
    buffers = pa.py_buffer(offsets.tobytes()), pa.py_buffer(letters.tobytes())
    return pa.StringArray.from_buffers(length, *buffers)


def _whole(column: Any) -> Any:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _replaced(rows: pa.Table, ids: Any) -> pa.Table:
    at = rows.schema.get_field_index(ID)
    return rows.set_column(at, rows.schema.field(at).with_nullable(True), ids)
