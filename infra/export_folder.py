"""The folder of an export: its manifest, and files that are either whole or not there.

    index.html  README.txt       for people
    manifest.json                every file: SHA-256, rows, checksum (`infra.checksums`)
    schema/<stream>.json         JSON Schema of what a client may send
    rows/<stream>/<day>.parquet  and .csv, UTC days
    tables/<table>.parquet       and .csv: ledger (landing), dead letters, devices, …
    moments/<table>.parquet      with vectors
    day_digests.parquet          and .csv
    blobs/<stream>/<day>/…       as they were sent, decrypted

`progress.jsonl` is what an export that was cut short has finished.
"""

import errno
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv, parquet

from infra.backup_folder import whole_lines
from infra.digests import file_sha256
from infra.errors import ExportError

FORMAT = 1
MANIFEST, PROGRESS = "manifest.json", "progress.jsonl"


@dataclass(frozen=True)
class Entry:
    """One thing of an export and its files. What does not apply is null.

    `mark`: what the database said of it when it was read; the same again = nothing has changed.
    """

    kind: str  # rows, table, moments, digests, blob, schema
    name: str
    files: dict[str, str]  # path: SHA-256
    row_count: int | None = None
    checksum: str | None = None
    stream: str | None = None
    day: str | None = None
    first_ts: str | None = None
    last_ts: str | None = None
    byte_count: int | None = None
    media_type: str | None = None
    mark: list[Any] | None = None

    @property
    def path(self) -> str:
        """The file that an import reads."""
        return next(iter(self.files))


@dataclass(frozen=True)
class Manifest:
    """All that there is to know of an export."""

    user_id: str
    am_version: str
    revision: str
    made_at: str
    entries: list[Entry]
    missing_blobs: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    format: int = FORMAT

    def of(self, kind: str) -> list[Entry]:
        """Its entries of one kind, in order."""
        return [entry for entry in self.entries if entry.kind == kind]


@dataclass(frozen=True)
class ExportFolder:
    """A folder that an export is written to or read from."""

    root: Path

    def path(self, name: str) -> Path:
        """A file of it. Raises: ExportError for a name that leads out of it."""
        path = (self.root / name).resolve()
        if not path.is_relative_to(self.root.resolve()):
            raise ExportError(f"the export's manifest names a strange file: {name!r}.")
        return path

    def prepare(self) -> None:
        """Make it, readable by the owner alone. Raises: ExportError where it is something else."""
        with told(str(self.root)):
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            is_ours = any((self.root / name).exists() for name in (MANIFEST, PROGRESS))
            if not is_ours and any(self.root.iterdir()):
                raise ExportError(f"{self.root} holds other things: name an empty folder.")

    def manifest(self) -> Manifest | None:
        """What a whole export says of itself; None where there is none.

        Raises: ExportError for what is no manifest of this version.
        """
        path = self.root / MANIFEST
        if not path.is_file():
            return None
        try:
            found = json.loads(path.read_bytes())
            entries = [Entry(**entry) for entry in found.pop("entries")]
            manifest = Manifest(**found, entries=entries)
        except (OSError, ValueError, TypeError, KeyError) as cause:
            raise ExportError(f"{path} cannot be read: {cause!r}.") from cause
        if manifest.format != FORMAT:
            raise ExportError(f"{path} was written by another version of AM: use that one.")
        return manifest

    def finished(self) -> dict[tuple[str, str], Entry]:
        """What is there already, by kind and name: of a whole export and of a cut-short one."""
        manifest = self.manifest()
        entries = [*(manifest.entries if manifest else []), *self._progress()]
        return {(entry.kind, entry.name): entry for entry in entries}

    def note(self, entry: Entry) -> None:
        """Remember that it is finished."""
        with told(PROGRESS), (self.root / PROGRESS).open("a") as progress:
            progress.write(json.dumps(asdict(entry)) + "\n")

    def has(self, entry: Entry) -> bool:
        """Whether all of its files are there, as they were written."""
        return all(
            self.path(name).is_file() and file_sha256(self.path(name)) == sha256
            for name, sha256 in entry.files.items()
        )

    def finish(self, manifest: Manifest) -> None:
        """Write the manifest: the export is whole."""
        self.write_text(MANIFEST, json.dumps(asdict(manifest), indent=1, ensure_ascii=False))
        (self.root / PROGRESS).unlink(missing_ok=True)

    def write(self, name: str, put: Callable[[Path], object]) -> str:
        """Make one file, whole or not at all. Returns its SHA-256. Raises: ExportError."""
        target = self.path(name)
        temporary = target.with_name(f".{target.name}.unfinished")
        with told(name):
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                put(temporary)
                with temporary.open("rb") as written:
                    os.fsync(written.fileno())
                temporary.replace(target)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
        return file_sha256(target)

    def write_text(self, name: str, text: str) -> str:
        """The same for a text. Returns its SHA-256. Raises: ExportError."""
        return self.write(name, lambda path: path.write_text(text, encoding="utf-8"))

    def write_rows(self, stem: str, rows: pa.Table) -> dict[str, str]:
        """As Parquet and as CSV; the files and their SHA-256."""
        typed, plain = f"{stem}.parquet", f"{stem}.csv"
        return {
            typed: self.write(
                typed, lambda path: parquet.write_table(rows, path, compression="zstd")
            ),
            plain: self.write(plain, lambda path: csv.write_csv(_for_csv(rows), path)),
        }

    def _progress(self) -> list[Entry]:
        return [Entry(**line) for line in whole_lines(self.root / PROGRESS)]


@contextmanager
def told(what: str) -> Iterator[None]:
    """The one border to the file system's own errors, as they come from Python and from Arrow."""
    try:
        yield
    except OSError as cause:
        if cause.errno in {errno.ENOSPC, errno.EDQUOT} or "No space left" in str(cause):
            raise ExportError(
                f"the disk is full ({what}): make room and run the same command again, it goes on "
                "where it stopped."
            ) from cause
        raise ExportError(f"{what}: {cause}") from cause


def span_of(rows: pa.Table) -> tuple[str | None, str | None]:
    """The first and the last `ts`, as ISO 8601."""
    if not rows.num_rows or "ts" not in rows.column_names:
        return None, None
    first, last = pc.min(rows["ts"]).as_py(), pc.max(rows["ts"]).as_py()
    return first.isoformat(), last.isoformat()


def _for_csv(rows: pa.Table) -> pa.Table:
    """Bytes in hexadecimal; vectors are in the Parquet file alone."""
    made: dict[str, Any] = {}
    for name in rows.column_names:
        kind = rows.schema.field(name).type
        if pa.types.is_binary(kind):
            values = [one.hex() if one is not None else None for one in rows[name].to_pylist()]
            made[name] = pa.array(values, pa.string())
        elif not pa.types.is_fixed_size_list(kind):
            made[name] = rows[name]
    return pa.table(made)
