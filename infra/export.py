"""An export: everything about one user, in files that need no AM to be read.

A day of a stream is read twice only where it changed meanwhile: the ledger and the receipts say so
(`Entry.mark`). The second look, and all other tables, are of one moment, so that the ledger in the
export fits its rows.
"""

import hashlib
import json
import mimetypes
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable
from psycopg import sql

from am_assets.out.day_digest import TABLE as DIGESTS
from am_assets.schemas.columns import columns
from am_assets.schemas.json_schema import message_schema
from am_assets.streams.registry import Registry
from am_assets.streams.stream import Stream
from infra import export_index
from infra.checksums import row_checksum
from infra.errors import ExportError
from infra.export_folder import Entry, ExportFolder, Manifest, span_of
from infra.export_tables import left_out, read_table, user_tables
from infra.migrate import newest_revision
from infra.progress import Progress, no_progress
from resources.blobs import BlobAbsentError, BlobCorruptError, BlobStore
from resources.connections import Connections
from resources.hot import RowReader, Span, table_of
from resources.removals import copying
from resources.vector_tables import MOST
from resources.whole import WholeStore

OWNER = "owner"  # the kind of the entry that says whose export it is
NAME = re.compile(r"^[A-Za-z0-9_.-]+$")
HOT_DAYS = """
SELECT {}, (ts AT TIME ZONE 'UTC')::date AS day, count(*) FROM {} WHERE user_id = %(user)s
GROUP BY day
"""
LANDED = """
SELECT stream, day, max(seq), count(*) FROM am.landing WHERE user_id = %s GROUP BY stream, day
"""
RECEIPTS = """
SELECT stream, day, published_at::text, left_hot_at::text, left_hot_at IS NOT NULL
FROM am.publication
"""
BLOBS = """
SELECT blob_key, min(sha256), min(media_type) FROM (
    SELECT blob_key, sha256, media_type FROM am.blob WHERE user_id = %(user)s
    UNION ALL SELECT payload_key, NULL, 'application/octet-stream' FROM am.dead_letter
    WHERE user_id = %(user)s AND payload_key IS NOT NULL
) AS found GROUP BY blob_key ORDER BY blob_key
"""

Place = tuple[Stream, date]


@dataclass(frozen=True)
class Blob:
    """One blob to be exported. `sha256` None: a dead letter's payload."""

    key: str
    sha256: str | None
    media_type: str

    @property
    def path(self) -> str:
        """Where it goes: by stream and day where the key tells, with an ending that people know."""
        ending = mimetypes.guess_extension(self.media_type.partition(";")[0]) or ""
        parts = self.key.split("/")[-3:]
        if len(parts) == 3 and all(NAME.match(part) for part in parts):
            return f"blobs/{'/'.join(parts)}{ending}"
        return f"blobs/other/{hashlib.sha256(self.key.encode()).hexdigest()}{ending}"


@dataclass
class Export:
    """One user's export into one folder."""

    connections: Connections
    registry: Registry
    user_id: str
    folder: ExportFolder
    progress: Progress = no_progress
    done: dict[tuple[str, str], Entry] = field(default_factory=dict)
    entries: dict[tuple[str, str], Entry] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    empty: dict[str, list[Any]] = field(default_factory=dict)  # days without a row of the user

    def run(self, *, now: datetime) -> Manifest:
        """Write all of it; what an earlier run has written and did not change stays.

        Raises: ExportError, psycopg.Error, resources.blobs.BlobUnreachableError.
        """
        self._begin()
        with copying(self.connections.database_url):
            whole = WholeStore(self.connections)
            with whole.hot.snapshot() as snapshot:
                places = self._places(snapshot.connection)
            self._rows(whole, places)
            with whole.snapshot() as moment:
                self._rows(moment, self._places(moment.connection))
                reasons = self._tables(moment.connection)
                blobs = self._blob_list(moment.connection)
            self._schemas()
            self._moments()
            self._digests()
            self._blobs(blobs)
        return self._finish(now, reasons)

    def _begin(self) -> None:
        self.folder.prepare()
        self.done = self.folder.finished()
        manifest = self.folder.manifest()
        owners = {name for kind, name in self.done if kind == OWNER}
        owners |= {manifest.user_id} if manifest else set()
        if owners - {self.user_id}:
            raise ExportError(
                f"{self.folder.root} is an export of {min(owners)}: name another folder."
            )
        self.folder.note(Entry(OWNER, self.user_id, {}))

    def _rows(self, reader: RowReader, places: Mapping[Place, list[Any]]) -> None:
        """Write the days that are not as they were written."""
        for count, ((stream, day), mark) in enumerate(places.items(), start=1):
            self._day(reader, stream, day, mark)
            self.progress("days", count, len(places))
        # Days of which nothing is left (erased, or replaced by none).
        names = {_day_name(stream, day) for stream, day in places}
        for kind, name in [key for key in self.entries if key[0] == "rows"]:
            if name not in names:
                del self.entries[kind, name]

    def _day(self, reader: RowReader, stream: Stream, day: date, mark: list[Any]) -> None:
        name = _day_name(stream, day)
        old = self.entries.get(("rows", name)) or self.done.get(("rows", name))
        if old and old.mark == mark and (("rows", name) in self.entries or self.folder.has(old)):
            self._keep(old, is_new=False)
            return
        if self.empty.get(name) == mark:
            return
        span = Span.of_day(day)
        rows = reader.read(stream, Span(span.begin, span.end, user_id=self.user_id))
        self.entries.pop(("rows", name), None)
        if not rows.num_rows:
            self.empty[name] = mark
        else:
            self._require_own(name, rows)
            facts = {"stream": stream.name, "day": day.isoformat(), "mark": mark}
            self._keep(self._written("rows", name, f"rows/{name}", rows, **facts))

    def _places(self, connection: psycopg.Connection) -> Mapping[Place, list[Any]]:
        """Days with rows of the user, or that have left and may have some; each with its mark."""
        query = connection.execute
        hot = {(s, d): count for s, d, count in query(self._hot_days(), {"user": self.user_id})}
        landed = {(s, d): (seq, lines) for s, d, seq, lines in query(LANDED, (self.user_id,))}
        receipts = {(s, d): rest for s, d, *rest in query(RECEIPTS)}
        left = {key for key, rest in receipts.items() if rest[-1]}
        return {
            (self.registry[name], day): [
                hot.get((name, day), 0),
                *landed.get((name, day), (None, None)),
                *receipts.get((name, day), [None, None, False]),
            ]
            for name, day in sorted(hot.keys() | left)
            if name in self.registry
        }

    def _hot_days(self) -> sql.Composed:
        """One question for all streams: asked one by one they take a hundred times as long."""
        return sql.SQL(" UNION ALL ").join(
            sql.SQL(HOT_DAYS).format(sql.Literal(stream.name), table_of(stream))
            for stream in self.registry.values()
        )

    def _tables(self, connection: psycopg.Connection) -> dict[str, str]:
        """Write every table that holds something of the user; why others are not written."""
        names = user_tables(connection)
        reasons = {name: left_out(name, self.registry) for name in names}
        chosen = [name for name in names if reasons[name] is None]
        for count, name in enumerate(chosen, start=1):
            rows = read_table(connection, name, self.user_id)
            self._table("table", name, f"tables/{name}", rows)
            self.progress("tables", count, len(chosen))
        streams = {stream.table for stream in self.registry.values()}
        return {name: why for name, why in reasons.items() if why and name not in streams}

    def _moments(self) -> None:
        import lancedb  # noqa: PLC0415 (heavy)
        from lancedb.expr import col, lit  # noqa: PLC0415

        options = self.connections.lance_options()
        database = lancedb.connect(self.connections.vectors_uri, storage_options=options)
        for name in database.list_tables(limit=MOST).tables:
            table = database.open_table(name)
            mine = table.search().where(col("user_id") == lit(self.user_id))
            rows = mine.limit(table.count_rows() or 1).to_arrow()
            self._table("moments", name, f"moments/{name}", rows)

    def _digests(self) -> None:
        uri = f"{self.connections.lake_uri.rstrip('/')}/{DIGESTS}"
        options = self.connections.delta_options()
        if DeltaTable.is_deltatable(uri, storage_options=options):
            table = DeltaTable(uri, storage_options=options)
            rows = table.to_pyarrow_table(filters=[("user_id", "=", self.user_id)])
            self._table("digests", "day_digests", "day_digests", rows)

    def _schemas(self) -> None:
        for name in {entry.stream for entry in self.entries.values() if entry.stream}:
            text = json.dumps(_schema(self.registry[name]), indent=1)
            path = f"schema/{name}.json"
            sha256 = self.folder.write_text(path, text)
            self._keep(Entry("schema", name, {path: sha256}))

    def _blob_list(self, connection: psycopg.Connection) -> list[Blob]:
        found = connection.execute(BLOBS, {"user": self.user_id})
        return [Blob(*row) for row in found]

    def _blobs(self, blobs: Sequence[Blob]) -> None:
        store = BlobStore(self.connections)
        for count, blob in enumerate(blobs, start=1):
            old = self.done.get(("blob", blob.key))
            if old and self.folder.has(old):
                self._keep(old, is_new=False)
            else:
                self._blob(store, blob)
            self.progress("blobs", count, len(blobs))

    def _blob(self, store: BlobStore, blob: Blob) -> None:
        """Write one as it was sent; one that cannot be had is told of."""
        try:
            sha256 = self.folder.write(blob.path, lambda at: _pour(store.read(blob.key), at))
        except (BlobAbsentError, BlobCorruptError) as reason:
            self.missing.append(f"{blob.key}: {reason}")
            return
        if blob.sha256 not in {None, sha256}:
            self.missing.append(f"{blob.key}: its bytes are not those that were sent")
        size = self.folder.path(blob.path).stat().st_size
        kind, files = blob.media_type, {blob.path: sha256}
        self._keep(Entry("blob", blob.key, files, byte_count=size, media_type=kind))

    def _table(self, kind: str, name: str, stem: str, rows: pa.Table) -> None:
        self._require_own(name, rows)
        old = self.done.get((kind, name))
        checksum = str(row_checksum(rows))
        if old and old.checksum == checksum and self.folder.has(old):
            self._keep(old, is_new=False)
        else:
            self._keep(self._written(kind, name, stem, rows, checksum=checksum))

    def _written(self, kind: str, name: str, stem: str, rows: pa.Table, **facts: Any) -> Entry:
        first, last = span_of(rows)
        facts = {"checksum": str(row_checksum(rows)), **facts} if "checksum" not in facts else facts
        files = self.folder.write_rows(stem, rows)
        return Entry(
            kind, name, files, row_count=rows.num_rows, first_ts=first, last_ts=last, **facts
        )

    def _require_own(self, name: str, rows: pa.Table) -> None:
        """The last line before a file: nobody else's rows get past it."""
        others = set(pc.unique(rows["user_id"]).to_pylist()) - {self.user_id}
        if others:
            raise ExportError(f"{name} gave rows of somebody else: nothing of it was written.")

    def _keep(self, entry: Entry, *, is_new: bool = True) -> None:
        self.entries[entry.kind, entry.name] = entry
        if is_new:
            self.folder.note(entry)

    def _finish(self, now: datetime, reasons: dict[str, str]) -> Manifest:
        manifest = Manifest(
            user_id=self.user_id,
            am_version=version("am"),
            revision=newest_revision(),
            made_at=now.isoformat(),
            entries=[self.entries[key] for key in sorted(self.entries)],
            missing_blobs=sorted(self.missing),
            left_out=reasons,
        )
        self._sweep()
        for name, text in export_index.pages(manifest, self.registry).items():
            self.folder.write_text(name, text)
        self.folder.finish(manifest)
        return manifest

    def _sweep(self) -> None:
        """Remove files of an earlier run for which there is nothing any more."""
        kept = {name for entry in self.entries.values() for name in entry.files}
        for entry in self.done.values():
            for name in entry.files.keys() - kept:
                self.folder.path(name).unlink(missing_ok=True)


def _day_name(stream: Stream, day: date) -> str:
    return f"{stream.name}/{day.isoformat()}"


def _schema(stream: Stream) -> dict[str, Any]:
    """What a client may send, and the columns of the rows as they are in the export."""
    described = [
        {
            "name": column.name,
            "type": column.type.value,
            "nullable": column.is_nullable,
            "description": column.description,
        }
        for column in columns(stream)
    ]
    return {**message_schema(stream), "x-columns": described}


def _pour(pieces: Iterator[bytes], path: Path) -> None:
    with path.open("wb") as file:
        for piece in pieces:
            file.write(piece)
