"""How the lake's files are written: what costs the bytes, and the encodings that save them.

Measured on a generated person: an accelerometer's reading takes 6 bytes and a position 21.5, where
their ids follow from them (`lake_ids`); others take 18.5 more. Times that differ little are stored
as differences; ids, of which no two are equal, without the dictionary that would be filled with
them first; and numbers that rarely come twice byte by byte, so that what they share is together.
Everything else is best in a dictionary, readings of a sensor too.
"""

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import ColumnProperties, WriterProperties

from am_assets.schemas.columns import ColumnType, columns, own_columns
from am_assets.streams.stream import Stream

TIMES = ColumnProperties(dictionary_enabled=False, encoding="DELTA_BINARY_PACKED")
IDS = ColumnProperties(dictionary_enabled=False, encoding="DELTA_LENGTH_BYTE_ARRAY")
SPLIT = ColumnProperties(dictionary_enabled=False, encoding="BYTE_STREAM_SPLIT")
SAMPLE_ROWS = 50_000
# Ids have nothing to find in them, and take less at the lowest level; long texts a sixth less here.
LEVEL, WORDS_LEVEL = 1, 9
WORDY_BYTES = 200  # a row
MOST_DISTINCT = 0.5  # of the rows: with more, a dictionary is larger than what it stands for


def writer_properties(stream: Stream, rows: pa.Table | None = None) -> WriterProperties:
    """Of one stream's files, whoever writes them: publishing, compaction, import.

    `rows`: what is to be written, where that is known; it shows which numbers rarely come twice.
    """
    times = {c.name: TIMES for c in columns(stream) if c.type is ColumnType.INSTANT}
    split = {} if rows is None else dict.fromkeys(_rarely_equal(stream, rows), SPLIT)
    return WriterProperties(
        compression="ZSTD",
        compression_level=WORDS_LEVEL if rows is not None and _is_wordy(stream, rows) else LEVEL,
        column_properties={**times, **split, "event_id": IDS},
    )


def _is_wordy(stream: Stream, rows: pa.Table) -> bool:
    """Whether most of what is written are texts."""
    texts = [
        c.name for c in own_columns(stream.row) if c.type in (ColumnType.TEXT, ColumnType.JSON)
    ]
    sample = rows.slice(0, SAMPLE_ROWS)
    byte_count = sum(sample[name].nbytes for name in texts if name in rows.column_names)
    return byte_count > WORDY_BYTES * sample.num_rows


def _rarely_equal(stream: Stream, rows: pa.Table) -> list[str]:
    sample = rows.slice(0, SAMPLE_ROWS)
    real = [c.name for c in columns(stream) if c.type is ColumnType.REAL]
    return [
        name
        for name in real
        if name in rows.column_names
        and pc.count_distinct(sample[name]).as_py() > MOST_DISTINCT * sample.num_rows
    ]
