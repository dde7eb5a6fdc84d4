"""Files of the lake are smaller for it, and hold the same rows for every reader."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from uuid import UUID

import duckdb
import numpy as np
import pyarrow as pa
import pytest
from deltalake import DeltaTable, WriterProperties, write_deltalake
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from am_assets.schemas.arrow import delta_schema
from am_assets.streams.digital import NOTE
from am_assets.streams.position import GPS_FIX
from resources.lake_writing import writer_properties

DAY = date(2026, 5, 4)
BEGIN = datetime(2026, 5, 4, tzinfo=UTC)
SCHEMA = delta_schema(GPS_FIX)


def fixes(latitudes: list[float], speeds: list[float | None]) -> pa.Table:
    count = len(latitudes)
    rng = np.random.default_rng(1)
    known = {
        "user_id": ["ada"] * count,
        "device_id": ["phone"] * count,
        "ts": [BEGIN + timedelta(seconds=n) for n in range(count)],
        "received_at": [BEGIN] * count,
        "event_id": [str(UUID(bytes=rng.bytes(16))) for _ in range(count)],
        "latitude": latitudes,
        "speed_m_s": speeds,
        "day": [DAY] * count,
    }
    return pa.table(
        [pa.array(known.get(field.name, [None] * count), field.type) for field in SCHEMA],
        schema=SCHEMA,
    )


def written(rows: pa.Table, folder: Path, properties: WriterProperties) -> DeltaTable:
    write_deltalake(str(folder), rows, mode="overwrite", writer_properties=properties)
    return DeltaTable(str(folder))


def size(table: DeltaTable) -> int:
    return sum(pa.table(table.get_add_actions(flatten=True))["size_bytes"].to_pylist())


numbers = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from([0.0, -0.0, 1.5])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(st.lists(st.tuples(numbers, st.none() | numbers), min_size=1, max_size=60))
def test_rows_come_back_as_they_were_whatever_the_encoding(
    tmp_path: Path, pairs: list[tuple[float, float | None]]
) -> None:
    rows = fixes([latitude for latitude, _ in pairs], [speed for _, speed in pairs])
    table = written(rows, tmp_path / "t", writer_properties(GPS_FIX, rows))
    found = table.to_pyarrow_table().cast(SCHEMA).sort_by("ts")
    assert repr(found.to_pylist()) == repr(rows.to_pylist())  # tells 0.0 from -0.0
    files = [str(tmp_path / "t" / path) for path in table.file_uris()]
    read = duckdb.sql(f"SELECT latitude, event_id FROM read_parquet({files}) ORDER BY ts")
    assert read.fetchall() == list(
        zip(rows["latitude"].to_pylist(), rows["event_id"].to_pylist(), strict=True)
    )


@pytest.mark.parametrize("is_coarse", [False, True], ids=["fine", "coarse"])
def test_files_are_smaller_than_without(tmp_path: Path, is_coarse: bool) -> None:
    values = np.random.default_rng(2).normal(45, 0.1, 5_000).round(2 if is_coarse else 7)
    rows = fixes(values.tolist(), values.tolist())
    plain = size(written(rows, tmp_path / "plain", WriterProperties(compression="ZSTD")))
    small = size(written(rows, tmp_path / "small", writer_properties(GPS_FIX, rows)))
    blind = size(written(rows, tmp_path / "blind", writer_properties(GPS_FIX)))
    assert small <= blind < 0.9 * plain


def test_long_texts_are_smaller_still(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    words = [f"w{number}" for number in range(3_000)]
    texts = [
        " ".join(words[n] for n in np.minimum(rng.zipf(1.3, 150), 3_000) - 1) for _ in "x" * 400
    ]
    schema = delta_schema(NOTE)
    rows = pa.table(
        [pa.array(texts) if f.name == "content" else pa.nulls(400, f.type) for f in schema],
        schema=pa.schema([field.with_nullable(True) for field in schema]),
    )
    seen = size(written(rows, tmp_path / "seen", writer_properties(NOTE, rows)))
    blind = size(written(rows, tmp_path / "blind", writer_properties(NOTE)))
    assert seen < 0.93 * blind


def test_a_stream_without_a_row_can_be_written(tmp_path: Path) -> None:
    rows = fixes([], [])
    table = written(rows, tmp_path / "t", writer_properties(GPS_FIX, rows))
    assert table.to_pyarrow_table().num_rows == 0
