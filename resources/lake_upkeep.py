"""Keeping the lake's tables in order: few files a day, none that nobody needs, a short log.

None of it changes a row: what a receipt says of a day stays true, and who reads an older version
goes on reading it until the horizon. Each table is written to under the lake's own lock.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import psycopg
import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, write_deltalake

from am_assets.schemas.columns import KEY
from am_assets.streams.stream import Stream
from resources.lake import Lake
from resources.lake_check import REPAIR, LakeCheck, errors
from resources.lake_folder import DAMAGED, LOG, LakeFolder, LogState, folder_of
from resources.lake_ids import with_ids, without_ids
from resources.lake_writing import writer_properties

# Longer than any question, backup or restore that reads a version takes, and a weekend away.
HORIZON = timedelta(days=7)
FILE_BYTES = 256 << 20
SMALL_BYTES = FILE_BYTES // 4  # a day's last file may be small, a second one need not be
COMMITS_A_CHECKPOINT = 20  # a reader reads so many one by one
PARALLEL_LOOKS = 16


class LakeUpkeepError(Exception):
    """A table that can't be put in order as it is; says which and why."""


@dataclass(frozen=True)
class Kept:
    """What was done to a table. Files are those of its newest version, objects all that lie there.

    `versions` are the table's before and after.
    """

    stream: str
    versions: tuple[int, int]
    files: tuple[int, int]
    objects: tuple[int, int]
    bytes_freed: int
    days: tuple[date, ...]
    has_new_checkpoint: bool


class LakeUpkeep:
    """Compaction, vacuum, checkpoints of one lake's tables."""

    def __init__(
        self, lake: Lake, *, horizon: timedelta = HORIZON, small_bytes: int = SMALL_BYTES
    ) -> None:
        """Connects to nothing yet. Files that no version since the horizon needs are removed."""
        self._lake = lake
        self._horizon = horizon
        self._small_bytes = small_bytes

    def due(self, streams: Iterable[Stream], *, now: datetime) -> list[Stream]:
        """Those with commits since they were kept last, or with files that may be removed by now.

        Raises: psycopg.Error, OSError.
        """
        asked, seen = list(streams), self._seen()
        with ThreadPoolExecutor(PARALLEL_LOOKS) as pool:
            logs = list(pool.map(lambda stream: folder_of(self._lake, stream).log(), asked))
        return [
            stream
            for stream, log in zip(asked, logs, strict=True)
            if _is_due(log, seen.get(stream.name), now=now)
        ]

    def keep(self, stream: Stream, *, now: datetime) -> Kept:
        """Put one table in order. Doing it again changes nothing.

        Raises: LakeUpkeepError for a table that is damaged, or missing; psycopg.Error, OSError,
        deltalake.exceptions.DeltaError. The table is then as it was, or some days further.
        """
        with self._lake.write_lock(stream):
            sizes = self._sound(stream)
            folder, before = folder_of(self._lake, stream), self._open(stream)
            days = crowded_days(_files(before), small_bytes=self._small_bytes)
            for day in days:
                self._rewrite(stream, day)
            has_checkpoint = self._shorten_log(stream, folder)
            self._vacuum(stream, folder, now=now)
            after, left = self._open(stream), folder.sizes()
            self._note(stream, after, left, now=now)
        return Kept(
            stream=stream.name,
            versions=(before.version(), after.version()),
            files=(len(_files(before)), len(_files(after))),
            objects=(len(sizes), len(left)),
            bytes_freed=sum(size for path, size in sizes.items() if path not in left),
            days=tuple(days),
            has_new_checkpoint=has_checkpoint,
        )

    def _sound(self, stream: Stream) -> Mapping[str, int]:
        """The table's objects. Raises: LakeUpkeepError for a table that lacks what was signed: what
        is removed now may be what it is repaired from.
        """
        check = LakeCheck(self._lake)
        look = check.look(stream)
        if found := errors(check.quick_faults(stream, look)):
            told = "; ".join(f"{one.day or 'every day'}: {one.what}" for one in found)
            raise LakeUpkeepError(f"{stream.name}: {told}: {REPAIR}")
        return look.sizes

    def _rewrite(self, stream: Stream, day: date) -> None:
        """Put a day's rows into as few files as it takes, sorted; see that they are the same."""
        table = self._open(stream)
        rows = _sorted_day(stream, table, day)
        write_deltalake(
            table,
            without_ids(stream, rows),
            mode="overwrite",
            predicate=f"day = '{day}'",
            target_file_size=FILE_BYTES,
            writer_properties=writer_properties(stream, rows),
            commit_properties=CommitProperties(custom_metadata={"am.compacted": str(day)}),
        )
        if not _sorted_day(stream, self._open(stream), day).equals(rows):
            self._open(stream).restore(table.version())
            raise LakeUpkeepError(f"{stream.name} {day}: other rows came out of compaction")

    def _shorten_log(self, stream: Stream, folder: LakeFolder) -> bool:
        is_long = len(folder.log().unfolded) >= COMMITS_A_CHECKPOINT
        table = self._open(stream)
        if is_long:
            table.create_checkpoint()
        table.cleanup_metadata()  # commits older than a month that a checkpoint has replaced
        return is_long

    def _vacuum(self, stream: Stream, folder: LakeFolder, *, now: datetime) -> None:
        hours = int(self._horizon / timedelta(hours=1))
        self._open(stream).vacuum(
            retention_hours=hours,
            dry_run=False,
            enforce_retention_duration=False,
            full=True,  # also what a writer left behind that died before its commit
        )
        aside = [path for path in folder.sizes() if path.startswith(f"{DAMAGED}/")]
        folder.remove(path for path in aside if folder.is_older(path, now - self._horizon))

    def _open(self, stream: Stream) -> DeltaTable:
        table = self._lake.open(stream)
        if table is None:
            raise LakeUpkeepError(f"{stream.name} has no table")
        return table

    def _seen(self) -> dict[str, tuple[int, datetime | None]]:
        with psycopg.connect(self._lake.connections.database_url) as connection:
            rows = connection.execute(
                "SELECT stream, delta_version, vacuum_at FROM am.lake_upkeep"
            ).fetchall()
        return {name: (version, vacuum_at) for name, version, vacuum_at in rows}

    def _note(
        self, stream: Stream, table: DeltaTable, left: Iterable[str], *, now: datetime
    ) -> None:
        current = {file["path"] for file in _files(table)}
        has_old = any(not path.startswith(LOG) and path not in current for path in left)
        with psycopg.connect(self._lake.connections.database_url) as connection:
            connection.execute(
                "INSERT INTO am.lake_upkeep (stream, delta_version, vacuum_at) "
                "VALUES (%s, %s, %s) ON CONFLICT (stream) DO UPDATE SET "
                "delta_version = excluded.delta_version, vacuum_at = excluded.vacuum_at, "
                "kept_at = clock_timestamp()",
                (stream.name, table.version(), now + self._horizon if has_old else None),
            )


def crowded_days(files: Sequence[dict[str, Any]], *, small_bytes: int) -> list[date]:
    """Days with more than one small file; oldest first.

    Writing such a day again leaves at most one: whatever is written last.
    """
    small = Counter(file["partition.day"] for file in files if file["size_bytes"] < small_bytes)
    return sorted(day for day, count in small.items() if count > 1)


def _is_due(log: LogState, seen: tuple[int, datetime | None] | None, *, now: datetime) -> bool:
    if log.version < 0:
        return False
    if seen is None:
        return True
    version, vacuum_at = seen
    return log.version != version or (vacuum_at is not None and vacuum_at <= now)


def _files(table: DeltaTable) -> list[dict[str, Any]]:
    return pa.table(table.get_add_actions(flatten=True)).to_pylist()


def _sorted_day(stream: Stream, table: DeltaTable, day: date) -> pa.Table:
    rows = with_ids(stream, table.to_pyarrow_table(filters=[("day", "=", day)]))
    return rows.sort_by([(name, "ascending") for name in KEY])
