"""The ids that the lake leaves out: those that follow from the row, computed again by who reads.

Sixteen random bytes a row are three quarters of what a sensor's reading takes in the lake. Where
nothing else names the rows of a stream one by one (`leaves_ids_out`), an id that is what
`row_ids.event_ids` computes is null there. A client's own ids stay, and so does whatever the
computation would not give again: it is done before an id is left out. See decision 0023.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from duckdb import DuckDBPyConnection
from duckdb.func import FunctionNullHandling, PythonUDFType
from numpy.typing import NDArray

from am_assets.schemas.arrow import row_schema
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


def batches_with_ids(stream: Stream, batches: Iterable[pa.RecordBatch]) -> Iterable[pa.RecordBatch]:
    """The same of rows that come in parts."""
    for batch in batches:
        yield from with_ids(stream, pa.Table.from_batches([batch])).to_batches()


def id_expression(stream: Stream) -> str:
    """A row's id in DuckDB's SQL, over the lake's columns."""
    row = ", ".join(f"'{name}': \"{name}\"" for name in sources(stream))
    return f"COALESCE({ID}, {_function(stream)}({{{row}}}))"


def register_ids(engine: DuckDBPyConnection, stream: Stream) -> None:
    """Tell an engine the function that the expression calls."""

    def compute(rows: Any) -> Any:
        told = pa.Table.from_batches([pa.RecordBatch.from_struct_array(_whole(rows))])
        return _computed(stream, _columns(stream, told), told.num_rows)

    schema = row_schema(stream)
    engine.create_function(
        _function(stream),
        compute,
        [engine.struct_type({n: _DUCK_TYPES[schema.field(n).type] for n in sources(stream)})],
        "VARCHAR",
        type=PythonUDFType.ARROW,
        null_handling=FunctionNullHandling.SPECIAL,
    )


def _function(stream: Stream) -> str:
    return f"am_event_id_{stream.table}"


_DUCK_TYPES: Mapping[pa.DataType, str] = {
    pa.string(): "VARCHAR",
    pa.int64(): "BIGINT",
    pa.float64(): "DOUBLE",
    pa.bool_(): "BOOLEAN",
    pa.timestamp("us", tz="UTC"): "TIMESTAMPTZ",
}


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
