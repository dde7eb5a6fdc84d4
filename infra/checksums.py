"""A checksum of rows that depends neither on their order nor on where they are kept.

The sum, modulo 2^64, of the last eight bytes (little-endian) of each row's MD5. What is hashed of a
row are its columns that are not null, by name: `<name>:<length>:<value>`, numbers in decimal,
floats as the integer of their bits, instants as microseconds since 1970, bytes in hexadecimal. So a
column that came later, and is null in older rows, changes nothing. It guards against loss and
mistakes, not against a forger: that is what the SHA-256 of the files and signatures are for.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import pyarrow as pa

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MODULUS = 2**64
BITS = {8: pa.int64(), 4: pa.int32()}  # by the width of a float in bytes


def row_checksum(rows: pa.Table) -> int:
    """Of all rows; none = 0. Sums of parts, modulo 2^64, are the checksum of the whole."""
    if not rows.num_rows:
        return 0
    plain = pa.table({name: _plain(rows[name].combine_chunks()) for name in rows.column_names})
    text = " || ".join(_term(name) for name in sorted(plain.column_names))
    with _engine().cursor() as engine:
        engine.register("plain", plain)
        found = engine.execute(
            f"SELECT (sum(md5_number_lower({text})) % {MODULUS})::varchar FROM plain"
        ).fetchone()
    assert found is not None
    return int(found[0])


@cache
def _engine() -> "DuckDBPyConnection":
    """One for the process: to make one takes longer than to ask it. Each asks by its own cursor."""
    import duckdb  # noqa: PLC0415 (heavy)

    return duckdb.connect(":memory:", config={"autoinstall_known_extensions": "false"})


def _term(name: str) -> str:
    quoted = '"' + name.replace('"', '""') + '"'
    label = "'" + name.replace("'", "''") + "'"
    value = f"CAST({quoted} AS VARCHAR)"
    return f"coalesce({label} || ':' || length({value}) || ':' || {value}, '')"


def _plain(values: Any) -> Any:
    """The same values as integers, text, or lists of these."""
    kind = values.type
    if pa.types.is_floating(kind):
        return values.view(BITS[kind.bit_width // 8])
    if pa.types.is_timestamp(kind):
        return values.cast(pa.timestamp("us", tz=kind.tz)).view(pa.int64())
    for is_kind, convert in CONVERSIONS:
        if is_kind(kind):
            return convert(values)
    return values


def _joined(vector: Any) -> str | None:
    """A vector of a row."""
    if not vector.is_valid:
        return None
    return ",".join(map(str, _plain(vector.values).to_pylist()))


CONVERSIONS: Sequence[tuple[Callable[[pa.DataType], bool], Callable[[Any], Any]]] = (
    (pa.types.is_date, lambda values: values.cast(pa.date32()).view(pa.int32())),
    (pa.types.is_boolean, lambda values: values.cast(pa.int8())),
    (
        pa.types.is_binary,
        lambda values: _texts(None if one is None else one.hex() for one in values.to_pylist()),
    ),
    (pa.types.is_fixed_size_list, lambda values: _texts(map(_joined, values))),
)


def _texts(values: Iterable[str | None]) -> Any:
    return pa.array(list(values), pa.string())


def _hex(content: bytes | None) -> str | None:
    return None if content is None else content.hex()
