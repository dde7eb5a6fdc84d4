"""Whether the lake holds what its receipts say: the log, the files, the rows of each day.

Looking changes nothing. What can be done about what is found is in `lake_repair`.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Literal

import psycopg
import pyarrow as pa
from deltalake import DeltaTable
from psycopg.rows import dict_row

from am_assets.streams.stream import Stream
from resources.hot import Fingerprint, HotStore, connect, names_of
from resources.lake import STALE, Lake, Receipt
from resources.lake_folder import Damage, folder_of

REPAIR = "`am doctor --deep --repair`"
REOPEN = "`am doctor --deep --reopen` brings them back out of the lake."
BACKUP = "AM holds it nowhere else: `am restore` a backup that has this day."
WAITS = "Nothing: the day is published again soon; `am process` does it now."


@dataclass(frozen=True)
class Fault:
    """Something that is not as it has to be, where, and what to do about it.

    A note is no loss: it says what is on its way. `day` None = not of one day.
    """

    check: str
    stream: str | None
    day: date | None
    what: str
    todo: str
    level: Literal["error", "note"] = "error"


@dataclass(frozen=True)
class TableLook:
    """A table as it was found. `table` None = there is none, or its log is damaged."""

    damage: Damage | None
    table: DeltaTable | None
    receipts: Mapping[date, Receipt]
    files: Mapping[date, Sequence[dict[str, Any]]]
    sizes: Mapping[str, int]


@dataclass(frozen=True)
class LakeCheck:
    """Looks at tables of one lake, each while nobody writes to it."""

    lake: Lake

    def quick(self, stream: Stream) -> list[Fault]:
        """By the log, the list of objects and the files' own counts; no row is read.

        Raises: psycopg.Error, OSError.
        """
        with self.lake.write_lock(stream):
            return list(self.quick_faults(stream, self.look(stream)))

    def deep(self, stream: Stream) -> list[Fault]:
        """The same, and every row of every day against its receipt and against the hot store.

        Raises: psycopg.Error, OSError.
        """
        with self.lake.write_lock(stream):
            look = self.look(stream)
            faults = list(self.quick_faults(stream, look))
        wrong = {fault.day for fault in faults if fault.level == "error"}
        sound = [] if look.damage else sorted(set(look.receipts) - wrong)
        return [*faults, *(fault for day in sound for fault in self.day_faults(stream, day))]

    def look(self, stream: Stream) -> TableLook:
        """The table's state, for who holds its lock."""
        folder = folder_of(self.lake, stream)
        damage, receipts = folder.damage(), self.receipts(stream)
        table = None if damage else self.lake.open(stream)
        files = defaultdict(list)
        for file in _files(table) if table else ():
            files[file["partition.day"]].append(file)
        return TableLook(damage, table, receipts, files, folder.sizes())

    def receipts(self, stream: Stream) -> dict[date, Receipt]:
        """Of all days, by the day. Raises: psycopg.Error."""
        with psycopg.connect(self.lake.connections.database_url) as connection:
            cursor = connection.cursor(row_factory=dict_row)
            cursor.execute(
                "SELECT day, row_count, checksum, delta_version, published_at, columns, "
                "left_hot_at FROM am.publication WHERE stream = %s ORDER BY day",
                (stream.name,),
            )
            return {row.pop("day"): Receipt(**row) for row in cursor}

    def quick_faults(self, stream: Stream, look: TableLook) -> Iterator[Fault]:
        """What the look shows."""
        if look.damage:
            yield _log_fault(stream, look.damage)
            for day, receipt in look.receipts.items():
                if receipt.delta_version >= look.damage.version:
                    what = f"was published as version {receipt.delta_version}, which can't be read"
                    yield Fault("log", stream.name, day, what, REPAIR)
            return
        yield from _file_faults(stream, look)
        for day in sorted({*look.receipts, *look.files}):
            counted = sum(file["num_records"] for file in look.files.get(day, ()))
            yield from _count_faults(stream, day, counted, look.receipts.get(day))

    def day_faults(self, stream: Stream, day: date) -> list[Fault]:
        """One day's rows, read back, against the receipt; and the hot ones, while it is there.

        Raises: psycopg.Error, OSError.
        """
        with self.lake.write_lock(stream):
            signed = self.receipts(stream).get(day)
            if signed is None or signed.checksum == STALE:
                return []
            try:
                found = self.fingerprint(stream, day, signed)
            except (OSError, pa.ArrowException) as error:
                return [Fault("file", stream.name, day, f"can't be read: {error}", REPAIR)]
            faults = _row_faults(stream, day, found, signed)
            return [*faults, *self._hot_faults(stream, day, signed)]

    def fingerprint(self, stream: Stream, day: date, signed: Receipt) -> Fingerprint:
        """Of the day's rows as they are in the lake now, over the receipt's columns."""
        with connect(self.lake.connections.database_url) as connection:
            version = self.lake.version(stream)
            staged = self.lake.stage(connection, stream, day, version=version)
            return staged.fingerprint(signed.columns or names_of(stream))

    def _hot_faults(self, stream: Stream, day: date, signed: Receipt) -> Iterator[Fault]:
        if signed.has_left:
            return
        with HotStore(self.lake.connections.database_url).snapshot() as snapshot:
            hot = snapshot.fingerprint(stream, day, names=signed.columns)
        if hot.row_count < signed.row_count:
            what = f"{signed.row_count} rows were published, the database has {hot.row_count}"
            yield Fault("hot", stream.name, day, what, REOPEN)
        elif hot != signed.fingerprint:
            what = "its rows have changed since they were published"
            yield Fault("hot", stream.name, day, what, WAITS, level="note")


def errors(faults: Iterable[Fault]) -> list[Fault]:
    """Those that are more than a note."""
    return [fault for fault in faults if fault.level == "error"]


def _log_fault(stream: Stream, damage: Damage) -> Fault:
    return Fault("log", stream.name, None, f"the table's log: {damage.what}", REPAIR)


def _file_faults(stream: Stream, look: TableLook) -> Iterator[Fault]:
    for day, files in look.files.items():
        for file in files:
            path, size = file["path"], look.sizes.get(file["path"])
            if size is None:
                yield Fault("file", stream.name, day, f"{path} is gone", REPAIR)
            elif size != file["size_bytes"]:
                what = f"{path} has {size} bytes, not {file['size_bytes']}"
                yield Fault("file", stream.name, day, what, REPAIR)


def _count_faults(
    stream: Stream, day: date, counted: int, signed: Receipt | None
) -> Iterator[Fault]:
    if signed is None or signed.checksum == STALE:
        if counted and signed is None:
            what = f"{counted} rows are in the lake, and no receipt says so"
            yield Fault("receipt", stream.name, day, what, WAITS, level="note")
    elif counted != signed.row_count:
        what = f"the lake has {counted} rows, its receipt says {signed.row_count}"
        yield Fault("receipt", stream.name, day, what, REPAIR)


def _row_faults(stream: Stream, day: date, found: Fingerprint, signed: Receipt) -> Iterator[Fault]:
    if found.row_count != signed.row_count:
        what = f"{found.row_count} rows were read, its receipt says {signed.row_count}"
        yield Fault("receipt", stream.name, day, what, REPAIR)
    elif found.checksum != signed.checksum:
        what = "its rows are not those that the receipt was written for"
        yield Fault("receipt", stream.name, day, what, REPAIR)


def _files(table: DeltaTable) -> list[dict[str, Any]]:
    return pa.table(table.get_add_actions(flatten=True)).to_pylist()
