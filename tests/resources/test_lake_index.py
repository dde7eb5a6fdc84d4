"""The files that a question touches: the same that a look at each of them finds."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import fs

from resources.lake_index import BRANCHES, INSTANT, FileIndex, within

FIRST = date(2031, 1, 1)
MANY = 4 * BRANCHES**2
FIELDS: list[tuple[str, pa.DataType]] = [
    ("user_id", pa.string()),
    ("ts", INSTANT),
    ("day", pa.date32()),
]
SCHEMA = pa.schema(FIELDS)


def index_of(numbers: list[int]) -> FileIndex:
    """A table with a file for each number of a day; a day may have several."""
    form, files = pads.ParquetFileFormat(), fs.LocalFileSystem()
    days = {f"{at}.parquet": FIRST + timedelta(days=n) for at, n in enumerate(numbers)}
    fragments = [
        form.make_fragment(path, filesystem=files, partition_expression=within(day, day))
        for path, day in days.items()
    ]
    return FileIndex.of(pads.FileSystemDataset(fragments, SCHEMA, form, files), days)


def moment(hours: int) -> Any:
    begin = datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=UTC)
    return pa.scalar(begin + timedelta(hours=hours), INSTANT)


days_of_files = st.lists(st.integers(0, 400), max_size=MANY)
hours = st.integers(-50, 24 * 401)


@st.composite
def questions(draw: st.DrawFn) -> pc.Expression | None:
    one, other = sorted((draw(hours), draw(hours)))
    day = pa.scalar(FIRST + timedelta(days=draw(st.integers(-5, 405))), pa.date32())
    span = (pc.field("ts") >= moment(one)) & (pc.field("ts") < moment(other))
    chosen: pc.Expression | None = draw(
        st.sampled_from(
            [
                None,
                span,
                pc.field("day") == day,
                span & (pc.field("day") <= day),
                span | (pc.field("day") > day),
                pc.field("user_id") == "ann",
                pc.field("ts").is_null(),
            ]
        )
    )
    return chosen


@given(numbers=days_of_files, wanted=questions())
def test_it_finds_the_files_that_comparing_each_of_them_would(
    numbers: list[int], wanted: pc.Expression | None
) -> None:
    index = index_of(numbers)
    one_by_one: Any = index.whole.get_fragments(wanted)
    found: Any = list(index.touched(wanted))
    assert sorted(file.path for file in found) == sorted(file.path for file in one_by_one)


@given(numbers=days_of_files)
def test_files_come_from_early_to_late(numbers: list[int]) -> None:
    found: Any = index_of(numbers).touched(None)
    assert [numbers[int(file.path.removesuffix(".parquet"))] for file in found] == sorted(numbers)
