"""The checksum of rows: whatever their order, their pieces, or columns that came later."""

import hashlib
import struct
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from infra.checksums import MODULUS, row_checksum

KINDS: dict[str, pa.DataType] = {
    "text": pa.string(),
    "other": pa.string(),
    "number": pa.int64(),
    "real": pa.float64(),
    "is_so": pa.bool_(),
    "ts": pa.timestamp("us", tz="UTC"),
    "content": pa.binary(),
}
SCHEMA = pa.schema(KINDS)
FEW = settings(max_examples=25)  # each asks an engine of its own
INSTANTS = st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1))  # noqa: DTZ001 - as hypothesis wants it
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "text": st.none() | st.text(),
            "other": st.none() | st.text(),
            "number": st.none() | st.integers(-(2**63), 2**63 - 1),
            "real": st.none() | st.floats(allow_nan=False),
            "is_so": st.none() | st.booleans(),
            "ts": st.none() | INSTANTS.map(lambda naive: naive.replace(tzinfo=UTC)),
            "content": st.none() | st.binary(),
        }
    ),
    max_size=8,
)
Row = dict[str, Any]


def table(rows: list[Row]) -> pa.Table:
    return pa.Table.from_pylist(rows, schema=SCHEMA)


@FEW
@given(ROWS, st.randoms())
def test_neither_order_nor_pieces_matter(rows: list[Row], random: Any) -> None:
    shuffled = random.sample(rows, len(rows))
    whole = row_checksum(table(rows))
    assert row_checksum(table(shuffled)) == whole
    some = random.randint(0, len(rows))
    parts = row_checksum(table(rows[:some])) + row_checksum(table(rows[some:]))
    assert parts % MODULUS == whole


@FEW
@given(ROWS)
def test_a_column_that_came_later_and_is_null_changes_nothing(rows: list[Row]) -> None:
    old = table(rows)
    newer = old.append_column("later", pa.nulls(old.num_rows, pa.string()))
    assert row_checksum(newer) == row_checksum(old)
    reversed_columns = old.select(old.column_names[::-1])
    assert row_checksum(reversed_columns) == row_checksum(old)


@FEW
@given(ROWS.filter(bool), st.sampled_from(SCHEMA.names), st.data())
def test_any_other_value_gives_another_checksum(rows: list[Row], name: str, data: Any) -> None:
    other = data.draw(ROWS.filter(bool))[0][name]
    changed = [{**rows[0], name: other}, *rows[1:]]
    same = repr(other) == repr(rows[0][name])  # 0.0 is not -0.0
    assert same == (row_checksum(table(changed)) == row_checksum(table(rows)))


def test_a_value_is_not_taken_for_another_columns_or_for_none() -> None:
    one = {"text": "a", "other": "b"}
    values: list[Row] = [one, {"text": "b", "other": "a"}, {"text": "ab"}, {"text": "a:1:b"}]
    values += [{"text": ""}, {"text": None}, {"text": "a", "other": ""}]
    sums = [row_checksum(table([value])) for value in values]
    assert len(set(sums)) == len(sums)


def test_anybody_can_compute_it_and_it_is_the_same_in_every_version() -> None:
    at = datetime(2026, 5, 4, 12, tzinfo=UTC)
    row = {"text": "Käse", "number": -1, "real": 1 / 3, "is_so": True, "ts": at, "content": b"\0"}
    (bits,) = struct.unpack("<q", struct.pack("<d", 1 / 3))
    text = f"content:2:00is_so:1:1number:2:-1real:{len(str(bits))}:{bits}text:4:Käse"
    text += "ts:16:1777896000000000"
    halves = hashlib.md5(text.encode(), usedforsecurity=False).digest()
    assert row_checksum(table([row])) == int.from_bytes(halves[8:], "little")
    assert row_checksum(table([row])) == 18277477652217985823
