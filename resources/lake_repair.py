"""Making the lake hold again what its receipts say: from the hot store, or from files still there.

Nothing is believed here: a day counts as repaired when its rows, read back, give the receipt.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import date

import psycopg
import pyarrow as pa
from deltalake import CommitProperties, write_deltalake
from psycopg import sql

from am_assets.schemas.arrow import delta_schema
from am_assets.streams.stream import Stream
from resources.hot import HotStore, Span, connect, names_of, table_of
from resources.lake import RUNLESS, Lake, Receipt, ReceiptError, mark_stale
from resources.lake_check import LakeCheck
from resources.lake_folder import LakeFolder, folder_of
from resources.lake_ids import batches_with_ids
from resources.lake_writing import writer_properties
from resources.staged import TABLE as STAGED
from resources.staged import Staged

_WRITER = re.compile(r"part-\d+-([0-9a-f-]{36})-")  # the files of one commit share it


@dataclass(frozen=True)
class LakeRepair:
    """Repairs tables of one lake. Every method raises psycopg.Error, OSError, DeltaError."""

    lake: Lake

    def mend_log(self, stream: Stream) -> None:
        """Make the table's log readable. Days that it lost have to be repaired after that."""
        with self.lake.write_lock(stream):
            folder = folder_of(self.lake, stream)
            folder.mend()
            version = folder.log().version
            if version < 0:
                return
            # A log that was begun anew has versions that a receipt may be ahead of.
            with psycopg.connect(self._url) as connection:
                connection.execute(
                    "UPDATE am.publication SET delta_version = %(version)s "
                    "WHERE stream = %(stream)s AND delta_version > %(version)s",
                    {"stream": stream.name, "version": version},
                )

    def repair_day(self, stream: Stream, day: date, *, run_id: str = RUNLESS) -> bool:
        """Make the lake's day what its receipt says; whether it is so now.

        A day that is in the hot store is published again, unless that has fewer rows than were
        published. One that has left is put together from files that still lie in its folder.
        """
        signed = LakeCheck(self.lake).receipts(stream).get(day)
        if signed is None:
            return False
        if signed.has_left:
            return self._recover(stream, day, signed)
        if self._hot_count(stream, day) < signed.row_count:
            return self._recover(stream, day, signed)
        with psycopg.connect(self._url) as connection:
            mark_stale(connection, stream, [day], run_id=run_id)
        self.lake.publish(stream, day, run_id=run_id)
        return True

    def bring_back(self, stream: Stream, day: date, *, run_id: str = RUNLESS) -> int:
        """Put rows that the database lost, and the lake holds, back into it. Returns how many.

        What is there stays as it is. Raises: ReceiptError where the lake does not hold the day.
        """
        with self.lake.write_lock(stream), connect(self._url) as connection:
            signed = LakeCheck(self.lake).receipts(stream).get(day)
            staged = self.lake.stage(connection, stream, day, version=self.lake.version(stream))
            if signed is None or not _gives(staged, stream, signed):
                raise ReceiptError(f"{stream.name} of {day}: the lake does not hold it either")
            with connection.transaction():
                came_back = connection.execute(
                    sql.SQL(
                        "INSERT INTO {hot} ({names}) SELECT {names} FROM {staged} "
                        "ON CONFLICT DO NOTHING"
                    ).format(
                        hot=table_of(stream),
                        staged=STAGED,
                        names=sql.SQL(", ").join(map(sql.Identifier, names_of(stream))),
                    )
                ).rowcount
                mark_stale(connection, stream, [day], run_id=run_id)
            return came_back

    def _recover(self, stream: Stream, day: date, signed: Receipt) -> bool:
        self.lake.ensure_tables([stream])
        with self.lake.write_lock(stream):
            for rows in self._candidates(stream, day):
                if self._is_signed(stream, rows, signed):
                    self._write(stream, day, rows)
                    return True
        return False

    def _candidates(self, stream: Stream, day: date) -> Iterator[pa.Table]:
        """What commits once wrote for the day, as far as all of it is there; newest last."""
        folder = folder_of(self.lake, stream)
        for paths in _by_writer(folder.sizes(), day).values():
            with suppress(OSError, pa.ArrowException):  # damaged: then it is none
                yield pa.concat_tables(
                    [_whole(folder, path, stream, day) for path in paths],
                    promote_options="default",
                )

    def _is_signed(self, stream: Stream, rows: pa.Table, signed: Receipt) -> bool:
        with connect(self._url) as connection:
            staged = Staged(connection, stream)
            staged.fill(batches_with_ids(stream, rows.to_batches()))
            return _gives(staged, stream, signed)

    def _write(self, stream: Stream, day: date, rows: pa.Table) -> None:
        write_deltalake(
            self.lake.table_uri(stream),
            rows,
            mode="overwrite",
            predicate=f"day = '{day}'",
            partition_by=["day"],
            schema_mode="merge",
            storage_options=self.lake.connections.delta_options(),
            writer_properties=writer_properties(stream, rows),
            commit_properties=CommitProperties(custom_metadata={"am.recovered": str(day)}),
        )
        with psycopg.connect(self._url) as connection:
            connection.execute(
                "UPDATE am.publication SET delta_version = %s WHERE stream = %s AND day = %s",
                (self.lake.version(stream), stream.name, day),
            )

    def _hot_count(self, stream: Stream, day: date) -> int:
        with HotStore(self._url).snapshot() as snapshot:
            return snapshot.count(stream, Span.of_day(day))

    @property
    def _url(self) -> str:
        return self.lake.connections.database_url


def _gives(staged: Staged, stream: Stream, signed: Receipt) -> bool:
    return staged.fingerprint(signed.columns or names_of(stream)) == signed.fingerprint


def _by_writer(sizes: Mapping[str, int], day: date) -> Mapping[str, list[str]]:
    found = defaultdict(list)
    for path in sorted(sizes):
        if path.startswith(f"day={day}/"):
            writer = _WRITER.search(path)
            found[writer[1] if writer else path].append(path)
    return found


def _whole(folder: LakeFolder, path: str, stream: Stream, day: date) -> pa.Table:
    """A file's rows with the day, which is in its path alone; columns that it lacks stay so."""
    rows = folder.read_rows(path)
    schema = delta_schema(stream)
    # Without their comments: the table has its own.
    fields = [
        schema.field(name).remove_metadata() for name in rows.column_names if name in schema.names
    ]
    kept = rows.select([field.name for field in fields]).cast(pa.schema(fields))
    return kept.append_column(schema.field("day"), pa.array([day] * rows.num_rows, pa.date32()))
