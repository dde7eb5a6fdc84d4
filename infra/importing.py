"""Taking an export into a stack: everything is checked before anything is written.

A day of a stream comes in as a whole, with the ledger's lines of that day, or not at all. What is
there already as it is in the export is left alone, so that an import can be repeated, and goes on
after it was cut short; what is there and is different is never touched: the import is refused.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from deltalake import DeltaTable, write_deltalake
from psycopg import sql
from pyarrow import parquet

from am_assets.out.day_digest import TABLE as DIGESTS
from am_assets.schemas.arrow import row_schema
from am_assets.streams.registry import Registry
from am_assets.streams.stream import Stream
from infra.checksums import row_checksum
from infra.errors import ExportError
from infra.export_folder import MANIFEST, Entry, ExportFolder, Manifest
from infra.migrate import MIGRATIONS
from infra.progress import Progress, no_progress
from resources.blobs import BlobStore
from resources.connections import Connections
from resources.hot import Span, connect, names_of, table_of
from resources.lake import Lake, mark_stale
from resources.staged import TABLE as STAGED
from resources.staged import Staged
from resources.vectors import VectorStore
from resources.whole import WholeStore

RUN = "import"
LEDGER = "landing"
TOKENS = "api_token"
INCOMING = sql.Identifier("pg_temp", "am_incoming")
IMPORTED = (
    "device",
    "device_alias",
    "watch_bucket",
    "legal_hold",
    "blob",
    "blob_removed",
    "seen",
    "dead_letter",
    "audit",
    "work_item",
)
"""Tables that come in before the rows, in this order; the ledger's lines come with their days."""
NOT_IMPORTED: Mapping[str, str] = {
    TOKENS: "their secrets are in no export: make others with `am key create`",
    "trust": "a rule for the network of another stack: make it anew with `am trust add`",
    "invite": "its code is not in the export",
    "data_key": "blobs are sealed by keys of the stack that takes them in",
    "blob_upload": "an upload goes on where it was begun",
    "notification": "messages to devices, from the stack that sent them",
    "notification_delivery": "messages to devices, from the stack that sent them",
    "erasure": "receipts signed by the stack that erased",
}
"""Exported tables that stay out, and why."""
LOCAL: Mapping[str, frozenset[str]] = {
    LEDGER: frozenset({"seq", "xid"}),
    "audit": frozenset({"seq"}),
    "blob": frozenset({"is_sealed", "sealed_key_id"}),
    "dead_letter": frozenset({"is_sealed", "sealed_key_id"}),
}
"""Columns that each stack fills in itself."""
NATURAL: Mapping[str, Sequence[str]] = {
    LEDGER: ("batch_id", "user_id", "device_id", "stream", "day", "door"),
    "audit": ("at", "user_id", "token_id", "route", "kind", "status", "trace_id"),
}
"""What tells lines apart where there is no key: one that is there does not come again."""


@dataclass(frozen=True)
class Imported:
    """What an import did: days and blobs that were not there yet, and rows in these days."""

    user_id: str
    day_count: int
    row_count: int
    blob_count: int


@dataclass(frozen=True)
class Import:
    """One export, and the stack it comes into."""

    connections: Connections
    registry: Registry
    folder: ExportFolder
    progress: Progress = no_progress

    def run(self, *, user_id: str | None = None) -> Imported:
        """Take it in. `user_id`: whose it has to be; None = anybody's.

        Raises: ExportError, which names what is wrong and where; psycopg.Error, DeltaError,
        resources.blobs.BlobError.
        """
        manifest = self._manifest(user_id)
        self._check_files(manifest)
        missing = self._missing_days(manifest)
        blobs = self._blobs(manifest)
        tables = {entry.name: entry for entry in manifest.of("table")}
        with connect(self.connections.database_url) as connection:
            for name in IMPORTED:
                if name in tables:
                    _insert(connection, name, self._rows(tables[name]))
                connection.commit()
        ledger = self._rows(tables[LEDGER]) if LEDGER in tables else None
        self._days(missing, ledger)
        self._moments(manifest)
        self._digests(manifest)
        self._compare(manifest)
        rows = sum(entry.row_count or 0 for entry in missing)
        return Imported(manifest.user_id, len(missing), rows, blobs)

    def _manifest(self, user_id: str | None) -> Manifest:
        manifest = self.folder.manifest()
        if manifest is None:
            raise ExportError(
                f"{self.folder.root} is no whole export of AM: there is no {MANIFEST} in it. If an "
                "export into it was cut short, run `am export` again."
            )
        if user_id not in {None, manifest.user_id}:
            raise ExportError(
                f"this is an export of {manifest.user_id}, not of {user_id}: rows and blobs carry "
                "that name, so it comes in under it. Leave --user out."
            )
        try:
            ScriptDirectory(str(MIGRATIONS)).get_revision(manifest.revision)
        except CommandError as cause:
            raise ExportError(
                f"the export is of AM {manifest.am_version}, which is newer than this one: "
                "upgrade first."
            ) from cause
        unknown = {entry.stream for entry in manifest.of("rows")} - set(self.registry)
        if unknown:
            raise ExportError(f"this AM knows no stream {', '.join(sorted(map(str, unknown)))}.")
        return manifest

    def _check_files(self, manifest: Manifest) -> None:
        """Every file is as it was written, and holds what the manifest says."""
        for count, entry in enumerate(manifest.entries, start=1):
            if not self.folder.has(entry):
                raise ExportError(f"{_title(entry)}: a file is missing or was changed.")
            if entry.row_count is not None:
                self._check_rows(manifest, entry)
            self.progress("checking", count, len(manifest.entries))

    def _check_rows(self, manifest: Manifest, entry: Entry) -> None:
        rows = self._rows(entry)
        if rows.num_rows != entry.row_count:
            raise ExportError(f"{_title(entry)}: {rows.num_rows} rows, not {entry.row_count}.")
        if str(row_checksum(rows)) != entry.checksum:
            raise ExportError(f"{_title(entry)}: the checksum of its rows is another.")
        if set(pc.unique(rows["user_id"]).to_pylist()) - {manifest.user_id}:
            raise ExportError(f"{_title(entry)}: it holds rows of somebody else.")
        if entry.day and set(pc.unique(rows["ts"].cast(pa.date32())).to_pylist()) != {_day(entry)}:
            raise ExportError(f"{_title(entry)}: it holds rows of another day.")

    def _missing_days(self, manifest: Manifest) -> list[Entry]:
        """Days that are not here yet. Raises: ExportError where others are here instead."""
        missing, whole = [], WholeStore(self.connections)
        for entry in manifest.of("rows"):
            there = self._there(whole, manifest, entry)
            if not there.num_rows:
                missing.append(entry)
            elif str(row_checksum(there)) != entry.checksum:
                raise ExportError(
                    f"{_title(entry)}: this stack already has {there.num_rows} other rows of "
                    f"{manifest.user_id} on that day. Nothing was imported; use an empty stack."
                )
        return missing

    def _there(self, whole: WholeStore, manifest: Manifest, entry: Entry) -> pa.Table:
        span = Span.of_day(_day(entry))
        own = Span(span.begin, span.end, user_id=manifest.user_id)
        return whole.read(self._stream(entry), own)

    def _blobs(self, manifest: Manifest) -> int:
        """Put the blobs that are not there; they are sealed on the way in. Returns how many."""
        store = BlobStore(self.connections)
        entries = {entry.name: entry for entry in manifest.of("blob")}
        prefix = f"/{manifest.user_id}/"
        for strange in (key for key in entries if prefix not in f"/{key}/"):
            raise ExportError(f"blob {strange!r} is not of {manifest.user_id}.")
        absent = sorted(store.absent(entries))
        for count, key in enumerate(absent, start=1):
            entry = entries[key]
            with self.folder.path(entry.path).open("rb") as content:
                size, kind = entry.byte_count or 0, entry.media_type or ""
                store.put_file(key, content, byte_count=size, media_type=kind)
            self.progress("blobs", count, len(absent))
        return len(absent)

    def _days(self, missing: Sequence[Entry], ledger: pa.Table | None) -> None:
        lake = Lake(self.connections)
        for count, entry in enumerate(missing, start=1):
            stream, day = self._stream(entry), _day(entry)
            lake.reopen(stream, day, run_id=RUN)  # somebody else's rows of it may have left
            self._day(entry, ledger)
            lake.publish(stream, day, run_id=RUN)
            self.progress("days", count, len(missing))
        if ledger is not None:  # what was rejected or sent twice, on days without a row
            with connect(self.connections.database_url) as connection:
                _insert(connection, LEDGER, ledger)

    def _day(self, entry: Entry, ledger: pa.Table | None) -> None:
        """The rows of one day and the ledger's lines of it, in one transaction."""
        stream, day = self._stream(entry), _day(entry)
        with connect(self.connections.database_url) as connection:
            Staged(connection, stream).fill(self._rows(entry).to_batches())
            names = sql.SQL(", ").join(map(sql.Identifier, names_of(stream)))
            connection.execute(
                sql.SQL("INSERT INTO {} ({}) SELECT {} FROM {}").format(
                    table_of(stream), names, names, STAGED
                )
            )
            if stream.is_derived:
                mark_stale(connection, stream, [day], run_id=RUN)
            elif ledger is not None:
                is_line = (pc.field("stream") == pc.scalar(stream.name)) & (
                    pc.field("day") == pa.scalar(day, pa.date32())
                )
                _insert(connection, LEDGER, ledger.filter(is_line))

    def _moments(self, manifest: Manifest) -> None:
        for entry in manifest.of("moments"):
            rows = self._rows(entry)
            if not rows.num_rows:
                continue
            model_id = str(rows["model_id"][0].as_py())
            dimension = rows.schema.field("vector").type.list_size
            store = VectorStore(self.connections, model_id=model_id, dimension=dimension)
            for name in sorted(set(map(str, rows["source_stream"].to_pylist()))):
                some = rows.filter(pc.field("source_stream") == pc.scalar(name))
                sources = list(map(str, some["source_event_id"].to_pylist()))
                store.replace(sources, some, user_id=manifest.user_id, source_stream=name)

    def _digests(self, manifest: Manifest) -> None:
        uri = f"{self.connections.lake_uri.rstrip('/')}/{DIGESTS}"
        options = self.connections.delta_options()
        quoted = manifest.user_id.replace("'", "''")
        for entry in manifest.of("digests"):
            is_there = DeltaTable.is_deltatable(uri, storage_options=options)
            write_deltalake(
                uri,
                self._rows(entry),
                mode="overwrite",
                predicate=f"user_id = '{quoted}'" if is_there else None,
                partition_by=["day"],
                storage_options=options,
            )

    def _compare(self, manifest: Manifest) -> None:
        """Read back every day. Raises: ExportError where it is not as it was."""
        entries, whole = manifest.of("rows"), WholeStore(self.connections)
        for count, entry in enumerate(entries, start=1):
            there = self._there(whole, manifest, entry)
            if str(row_checksum(there)) != entry.checksum:
                raise ExportError(
                    f"{_title(entry)}: {there.num_rows} rows are here, and not as in the export."
                )
            self.progress("comparing", count, len(entries))

    def _stream(self, entry: Entry) -> Stream:
        return self.registry[entry.stream or ""]

    def _rows(self, entry: Entry) -> pa.Table:
        try:
            rows = parquet.read_table(self.folder.path(entry.path))
        except (OSError, pa.ArrowException) as cause:
            raise ExportError(f"{_title(entry)}: {cause}") from cause
        if entry.kind == "rows":
            strange = set(rows.column_names) - set(row_schema(self._stream(entry)).names)
            if strange:
                raise ExportError(f"{_title(entry)}: unknown columns {', '.join(sorted(strange))}.")
        return rows


def _insert(connection: psycopg.Connection, name: str, rows: pa.Table) -> None:
    """Put lines into one of AM's own tables; those that are there already stay as they are."""
    chosen = [one for one in rows.column_names if one not in LOCAL.get(name, frozenset())]
    names = sql.SQL(", ").join(map(sql.Identifier, chosen))
    table = sql.Identifier("am", name)
    connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(INCOMING))
    connection.execute(
        sql.SQL("CREATE TEMP TABLE am_incoming AS SELECT {} FROM {} WITH NO DATA").format(
            names, table
        )
    )
    _copy(connection, names, rows.select(chosen))
    connection.execute(
        sql.SQL(
            "INSERT INTO {} ({}) SELECT {} FROM {} AS i WHERE {} ON CONFLICT DO NOTHING"
        ).format(table, names, names, INCOMING, _is_new(name))
    )


def _copy(connection: psycopg.Connection, names: sql.Composed, rows: pa.Table) -> None:
    query = sql.SQL("COPY {} ({}) FROM STDIN").format(INCOMING, names)
    with connection.cursor() as cursor, cursor.copy(query) as copy:
        for batch in rows.to_batches():
            for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                copy.write_row(row)


def _is_new(name: str) -> sql.Composable:
    if name not in NATURAL:
        return sql.SQL("true")
    same = sql.SQL(" AND ").join(
        sql.SQL("t.{0} IS NOT DISTINCT FROM i.{0}").format(sql.Identifier(column))
        for column in NATURAL[name]
    )
    return sql.SQL("NOT EXISTS (SELECT FROM {} AS t WHERE {})").format(
        sql.Identifier("am", name), same
    )


def _day(entry: Entry) -> date:
    return date.fromisoformat(entry.day or "")


def _title(entry: Entry) -> str:
    """What a person calls it."""
    if entry.stream and entry.day:
        return f"{entry.stream} of {entry.day}"
    return f"{entry.kind} {entry.name}"
