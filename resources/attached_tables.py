"""The owner's SQLite files as Delta tables: for Trino, which can't read SQLite.

A snapshot: each time the whole of every table, with whose file it is in `user_id` (empty: the
stores' owner's). A table that has not changed is not written again.
"""

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, write_deltalake

from resources.attached import attachable, catalog_name, opened_copy
from resources.connections import Connections
from resources.trino_catalog import ATTACHED

CHECKSUM = "am.checksum"
TABLES = """
SELECT name FROM sqlite_master
WHERE type = 'table' AND name NOT LIKE 'sqlite_%' AND sql NOT LIKE 'CREATE VIRTUAL%' ORDER BY name
"""


@dataclass(frozen=True)
class Snapshot:
    """One table of one file, in the lake: its name there and where it is."""

    table: str
    uri: str
    row_count: int
    is_changed: bool


def snapshot_files(connections: Connections, folder: Path) -> list[Snapshot]:
    """Bring the snapshots of all files up to date. Raises: OSError, sqlite3.Error."""
    users = [place.name for place in sorted(folder.iterdir()) if place.is_dir()]
    return [
        _kept(connections, name, rows)
        for user in (None, *users)
        for path in attachable(folder, user_id=user).values()
        for name, rows in _tables(path, user or "")
    ]


def snapshot_uri(connections: Connections, table: str) -> str:
    """Beside the lake, where the streams' tables are."""
    return f"{connections.lake_uri.rstrip('/')}_{ATTACHED}/{table}"


def _tables(path: Path, user_id: str) -> Iterator[tuple[str, pa.Table]]:
    taken = opened_copy(path)
    prefix = f"{catalog_name(Path(user_id))}_" if user_id else ""
    try:
        with closing(sqlite3.connect(f"file:{taken.path}?mode=ro", uri=True)) as connection:
            for (table,) in connection.execute(TABLES).fetchall():
                name = f"{prefix}{catalog_name(path)}_{catalog_name(Path(table))}"
                yield name, _rows(connection, table, user_id)
    finally:
        taken.close()


def _rows(connection: sqlite3.Connection, table: str, user_id: str) -> pa.Table:
    quoted = table.replace('"', '""')
    found = connection.execute(f'SELECT * FROM "{quoted}"')
    names = [column[0].lower() for column in found.description]
    rows = found.fetchall()
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(names)
    arrays: dict[str, pa.Array[Any]] = {"user_id": pa.array([user_id] * len(rows), pa.string())}
    for name, values in zip(names, columns, strict=True):
        # A column of the file that is called so is kept under another name.
        arrays[f"file_{name}" if name == "user_id" else name] = _column(values)
    return pa.table(arrays)


def _column(values: tuple[Any, ...]) -> "pa.Array[Any]":
    """SQLite's columns have no type, only values: one type for all of them, or text."""
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {int}:
        return pa.array(values, pa.int64())
    if kinds <= {int, float}:
        return pa.array([None if v is None else float(v) for v in values], pa.float64())
    if kinds == {bytes}:
        return pa.array(values, pa.binary())
    return pa.array([_text(value) for value in values], pa.string())


def _text(value: Any) -> str | None:
    if value is None:
        return None
    return value.hex() if isinstance(value, bytes) else str(value)


def _kept(connections: Connections, name: str, rows: pa.Table) -> Snapshot:
    uri, options = snapshot_uri(connections, name), connections.delta_options()
    checksum = _checksum(rows)
    is_changed = _stored_checksum(uri, options) != checksum
    if is_changed:
        write_deltalake(
            uri,
            rows,
            mode="overwrite",
            schema_mode="overwrite",
            storage_options=options,
            commit_properties=CommitProperties(custom_metadata={CHECKSUM: checksum}),
        )
    return Snapshot(name, uri, rows.num_rows, is_changed)


def _stored_checksum(uri: str, options: dict[str, str]) -> str | None:
    if not DeltaTable.is_deltatable(uri, storage_options=options):
        return None
    (last,) = DeltaTable(uri, storage_options=options).history(1)
    return last.get(CHECKSUM)


def _checksum(rows: pa.Table) -> str:
    digest = hashlib.sha256(str(rows.schema).encode())
    for row in rows.to_pylist():
        digest.update(json.dumps(row, default=repr).encode())
    return digest.hexdigest()
