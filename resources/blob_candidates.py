"""Which of the stored blobs may go: their rows, what the enrichments found in them, how they look.

Read a day of a stream at a time, oldest first.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import pyarrow as pa

from am_assets.streams.stream import Stream
from resources.blob_plan import Candidate, Ground, Shot, repeats
from resources.blobs import BlobAbsentError, BlobCorruptError, BlobStore
from resources.hot import RowReader, Span
from resources.look import look_of
from resources.work import State
from resources.work_items import Work

ENDED = (State.DONE, State.EMPTY)
Item = tuple[str, UUID]

_DAYS = """
SELECT DISTINCT split_part(blob_key, '/', -2)::date FROM am.blob
WHERE split_part(blob_key, '/', -3) = %s ORDER BY 1
"""
_STORED = """
SELECT user_id, blob_key, byte_count FROM am.blob
WHERE split_part(blob_key, '/', -3) = %s AND split_part(blob_key, '/', -2) = %s
"""
_ENDS = """
SELECT user_id, item_id, state, reason, updated_at FROM am.work_item
WHERE enrichment = %s AND version = %s
    AND (user_id, item_id) IN (SELECT * FROM unnest(%s::text[], %s::uuid[]))
"""


@dataclass(frozen=True)
class End:
    """How an item of an enrichment stands."""

    state: str
    reason: str | None
    at: datetime


@dataclass(frozen=True)
class Named:
    """One stored blob, and the rows that name it."""

    user_id: str
    blob_key: str
    byte_count: int
    rows: Sequence[Mapping[str, Any]]

    @property
    def items(self) -> list[Item]:
        """The rows as items of work."""
        return [(row["user_id"], UUID(row["event_id"])) for row in self.rows]

    @property
    def begin(self) -> datetime:
        """Of the first row."""
        begin: datetime = min(row["ts"] for row in self.rows)
        return begin

    @property
    def end(self) -> datetime:
        """Of the last to end."""
        end: datetime = max(
            row["ts"] + timedelta(milliseconds=row.get("duration_ms") or 0) for row in self.rows
        )
        return end


@dataclass(frozen=True)
class Shelf:
    """The blobs of one stream, and what is known of each."""

    connection: psycopg.Connection
    stream: Stream
    rows: RowReader
    readers: Sequence[Work]

    def days(self) -> list[date]:
        """UTC days of which there are blobs; oldest first."""
        return [day for (day,) in self.connection.execute(_DAYS, (self.stream.name,))]

    def without_finding(self, day: date, *, keep: timedelta) -> list[Candidate]:
        """Blobs in which nothing was found, and all who read them have ended."""
        finder = next((one for one in self.readers if self._is_finder(one)), None)
        if finder is None:
            return []
        named = self._named(day)
        ends = self._ends(named)
        return [
            self._empty(one, finder, [ends[finder][item] for item in one.items], keep)
            for one in named
            if self._is_read(one, ends) and all(_is_empty(ends[finder][i]) for i in one.items)
        ]

    def near_duplicates(self, day: date, blobs: BlobStore) -> list[Candidate]:
        """Pictures between two that look the same, that somebody has read the text of."""
        named = {one.blob_key: one for one in self._named(day)}
        ends = self._ends(list(named.values()))
        looks = self._looks(list(named.values()), blobs)
        shots = [
            Shot(
                source=(row["user_id"], row["device_id"]),
                ts=row["ts"],
                blob_key=one.blob_key,
                size=(row["width_px"], row["height_px"]),
                look=looks.get(one.blob_key),
                is_read=self._is_read(one, ends),
            )
            for one in named.values()
            for row in one.rows
        ]
        going = repeats(shots)
        return [self._duplicate(named[key], kept) for key, kept in sorted(going.items())]

    def _is_finder(self, work: Work) -> bool:
        assert self.stream.blob is not None
        return work.output is not None and work.output.name == self.stream.blob.found_in

    def _named(self, day: date) -> list[Named]:
        stored = self.connection.execute(_STORED, (self.stream.name, day.isoformat())).fetchall()
        if not stored:
            return []
        by_key = _by_blob(self.rows.read(self.stream, Span.of_day(day)))
        return [
            Named(user, key, byte_count, by_key[user, key])
            for user, key, byte_count in stored
            if (user, key) in by_key  # others were stored for a message that is yet to come
        ]

    def _ends(self, named: Sequence[Named]) -> dict[Work, dict[Item, End]]:
        items = sorted({item for one in named for item in one.items}, key=str)
        return {work: self._ends_of(work, items) for work in self.readers}

    def _ends_of(self, work: Work, items: Sequence[Item]) -> dict[Item, End]:
        users, ids = [user for user, _ in items], [event for _, event in items]
        rows = self.connection.execute(_ENDS, (work.name, work.version, users, ids))
        return {(user, event): End(*end) for user, event, *end in rows}

    def _is_read(self, named: Named, ends: Mapping[Work, Mapping[Item, End]]) -> bool:
        """Whether all who read such blobs, and at least one, have ended with it."""
        return bool(self.readers) and all(
            item in ends[work] and ends[work][item].state in ENDED
            for work in self.readers
            for item in named.items
        )

    def _looks(self, named: Sequence[Named], blobs: BlobStore) -> dict[str, bytes | None]:
        """Measured now where that was not done before; a picture that is not there has none."""
        keys = [one.blob_key for one in named]
        found = self.connection.execute(
            "SELECT blob_key, look FROM am.blob_look "
            "WHERE (user_id, blob_key) IN (SELECT * FROM unnest(%s::text[], %s::text[]))",
            ([one.user_id for one in named], keys),
        )
        known: dict[str, bytes | None] = dict(found.fetchall())
        for one in named:
            if one.blob_key not in known:
                self._measure(one, blobs, known)
        return known

    def _measure(self, one: Named, blobs: BlobStore, known: dict[str, bytes | None]) -> None:
        try:
            look = look_of(blobs.get(one.blob_key))
        except (BlobAbsentError, BlobCorruptError):  # like no other, so that it stays
            return
        known[one.blob_key] = look
        self.connection.execute(
            "INSERT INTO am.blob_look (user_id, blob_key, look) VALUES (%s, %s, %s) "
            "ON CONFLICT DO NOTHING",
            (one.user_id, one.blob_key, look),
        )

    def _empty(self, one: Named, finder: Work, ends: Sequence[End], keep: timedelta) -> Candidate:
        looked_at = max(end.at for end in ends)
        what = f"{finder.name}, version {finder.version}, found nothing in it"
        reason = f"{what} on {looked_at.astimezone(UTC):%Y-%m-%d}"
        return self._candidate(one, Ground.WITHOUT_FINDING, reason, due_at=looked_at + keep)

    def _duplicate(self, one: Named, kept_key: str) -> Candidate:
        reason = f"it looks like {kept_key}, which stays"
        return self._candidate(one, Ground.NEAR_DUPLICATE, reason, kept_key=kept_key)

    def _candidate(
        self,
        one: Named,
        ground: Ground,
        reason: str,
        *,
        due_at: datetime | None = None,
        kept_key: str | None = None,
    ) -> Candidate:
        return Candidate(
            user_id=one.user_id,
            stream=self.stream.name,
            blob_key=one.blob_key,
            byte_count=one.byte_count,
            begin=one.begin,
            end=one.end,
            ground=ground,
            reason=reason,
            due_at=due_at,
            kept_key=kept_key,
        )


def days_and_shelves(shelves: Sequence[Shelf]) -> Iterator[tuple[date, Shelf]]:
    """Every day of every stream, the oldest first."""
    yield from sorted(
        ((day, shelf) for shelf in shelves for day in shelf.days()),
        key=lambda pair: (pair[0], pair[1].stream.name),
    )


def _is_empty(end: End) -> bool:
    """Whether an item was looked at, and there was nothing: an item with a reason was not."""
    return end.state == State.EMPTY and end.reason is None


def _by_blob(rows: pa.Table) -> Mapping[tuple[str, str], list[Mapping[str, Any]]]:
    wanted = ("user_id", "device_id", "ts", "event_id", "blob_key")
    facts = ("duration_ms", "width_px", "height_px")
    names = [name for name in (*wanted, *facts) if name in rows.column_names]
    found: dict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows.select(names).to_pylist():
        found[row["user_id"], row["blob_key"]].append(row)
    return found
