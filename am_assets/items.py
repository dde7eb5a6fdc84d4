"""What an enrichment works on, fetched for the items that were claimed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Protocol
from uuid import UUID

import pyarrow as pa
from psycopg import sql
from psycopg.rows import dict_row

from am_assets.derived.enrichment import Enrichment, Failed, Item
from am_assets.streams.registry import Registry
from am_assets.streams.stream import Stream
from resources.blob_retention import removed_blob
from resources.blobs import BlobAbsentError, BlobCorruptError
from resources.hot import Span, table_of
from resources.lake import DayLeftError, left_days
from resources.sequences import Links, sequences
from resources.whole import WholeSnapshot, WholeStore
from resources.work import Claimed
from resources.work_items import HOUR, Unit, read_links

Row = dict[str, Any]
Key = tuple[str, UUID]
SLACK = timedelta(days=1)  # a derived row lies within a day of the row it was made from


class BlobReader(Protocol):
    """What can get a blob's bytes."""

    def get(self, key: str) -> bytes:
        """The content. Raises: BlobAbsentError where there is no such blob."""
        ...


@dataclass(frozen=True)
class Gone:
    """The item's source is no more, or is worked on as part of another item."""

    reason: str = "its source row is gone"


@dataclass(frozen=True)
class Removed:
    """The item's bytes were removed on purpose; what was found in them before stays."""

    reason: str


Fetched = Item | Gone | Removed | Failed


@dataclass(frozen=True)
class ItemSource:
    """Where items' rows and blobs are read."""

    whole: WholeStore
    blobs: BlobReader
    registry: Registry

    def fetch(self, enrichment: Enrichment, claimed: Sequence[Claimed]) -> list[Fetched]:
        """One answer a claimed item, in the same order.

        Raises: psycopg.Error, resources.blobs.BlobUnreachableError when a store does not answer;
        resources.lake.DayLeftError where items' day has left the hot store since it was claimed.
        """
        with self.whole.snapshot() as snapshot:
            self._refuse_left(claimed, snapshot)
            if enrichment.unit is Unit.HOUR:
                return [self._hour(enrichment, item, snapshot) for item in claimed]
            if enrichment.unit is Unit.SEQUENCE:
                return self._sequences(enrichment, claimed, snapshot)
            return self._rows(enrichment, claimed, snapshot)

    def _refuse_left(self, claimed: Sequence[Claimed], snapshot: WholeSnapshot) -> None:
        """A row that is not there is gone only where its day is."""
        for name in {item.source_stream for item in claimed}:
            source = self.registry[name]
            days = {item.day for item in claimed if item.source_stream == name}
            away = left_days(snapshot.connection, [source], begin=min(days), end=max(days))
            if left := days & {day for _, day in away}:
                raise DayLeftError(source, sorted(left))

    def _sequences(
        self, enrichment: Enrichment, claimed: Sequence[Claimed], snapshot: WholeSnapshot
    ) -> list[Fetched]:
        found = {
            (one[0].user_id, one[0].event_id): one
            for source, span in {_day_of(item) for item in claimed}
            for one in sequences(read_links(snapshot.connection, self.registry[source], span))
        }
        return [
            self._sequence(enrichment, item, found.get((item.user_id, item.item_id)), snapshot)
            for item in claimed
        ]

    def _sequence(
        self, enrichment: Enrichment, item: Claimed, links: Links | None, snapshot: WholeSnapshot
    ) -> Fetched:
        """A row that does not begin a sequence (any more) gives nothing of its own."""
        if links is None:
            return Gone("it follows another, or is gone")
        members = [replace(item, item_id=one.event_id, ts=one.begin) for one in links]
        fetched = self._rows(enrichment, members, snapshot)
        parts = tuple(one for one in fetched if isinstance(one, Item))
        # What cannot be read is left out, unless it is all there is.
        return (
            replace(parts[0], item_id=item.item_id, ts=item.ts, parts=parts)
            if parts
            else fetched[0]
        )

    def _hour(self, enrichment: Enrichment, item: Claimed, snapshot: WholeSnapshot) -> Fetched:
        source = self.registry[item.source_stream]
        end = min(item.ts + HOUR + enrichment.overlap, Span.of_day(item.day).end)
        rows = snapshot.read(source, Span(item.ts, end, item.user_id, item.device_id))
        return _hour_item(item, rows) if rows.num_rows else Gone()

    def _rows(
        self, enrichment: Enrichment, claimed: Sequence[Claimed], snapshot: WholeSnapshot
    ) -> list[Fetched]:
        found: dict[Key, Row] = {}
        for source in {item.source_stream for item in claimed}:
            mine = [item for item in claimed if item.source_stream == source]
            found |= _read_rows(snapshot, self.registry[source], mine)
        types = self._media_types(snapshot, found) if enrichment.needs_blob else {}
        return [
            self._item(enrichment, item, found.get((item.user_id, item.item_id)), types, snapshot)
            for item in claimed
        ]

    def _item(
        self,
        enrichment: Enrichment,
        item: Claimed,
        row: Row | None,
        media_types: Mapping[Key, str],
        snapshot: WholeSnapshot,
    ) -> Fetched:
        if row is None:
            return Gone()
        if not enrichment.needs_blob:
            return _row_item(item, row)
        if row["blob_key"] is None:
            return Failed("its row names no blob")
        try:
            blob = self.blobs.get(row["blob_key"])
        except BlobAbsentError as error:
            removed = removed_blob(snapshot.connection, item.user_id, row["blob_key"])
            return Removed(removed.told) if removed else Failed(str(error))
        except BlobCorruptError as error:
            return Failed(str(error))
        return _row_item(item, row, blob=blob, media_type=media_types.get(_key(row)))

    def _media_types(self, snapshot: WholeSnapshot, rows: Mapping[Key, Row]) -> dict[Key, str]:
        """What the rows' blobs are: as the row says, or the row that it was made from."""
        types = {key: row["media_type"] for key, row in rows.items() if "media_type" in row}
        derived = {key: row for key, row in rows.items() if "source_stream" in row}
        for name in {row["source_stream"] for row in derived.values()}:
            mine = {k: r for k, r in derived.items() if r["source_stream"] == name}
            origins = _origins(snapshot, self.registry[name], list(mine.values()))
            types |= {
                key: origins[key[0], row["source_event_id"]]
                for key, row in mine.items()
                if (key[0], row["source_event_id"]) in origins
            }
        return types


def _day_of(item: Claimed) -> tuple[str, Span]:
    """Where the item's neighbours are."""
    day = Span.of_day(item.day)
    return item.source_stream, replace(day, user_id=item.user_id, device_id=item.device_id)


def _read_rows(
    snapshot: WholeSnapshot, source: Stream, claimed: Sequence[Claimed]
) -> dict[Key, Row]:
    cursor = snapshot.connection.cursor(row_factory=dict_row)
    cursor.execute(
        sql.SQL(
            "SELECT * FROM {} WHERE (user_id, event_id, ts) IN "
            "(SELECT * FROM unnest(%s::text[], %s::uuid[], %s::timestamptz[])) "
            "AND ts BETWEEN %s AND %s"
        ).format(table_of(source)),
        (
            [item.user_id for item in claimed],
            [item.item_id for item in claimed],
            [item.ts for item in claimed],
            min(item.ts for item in claimed),
            max(item.ts for item in claimed),
        ),
    )
    return {_key(row): row for row in cursor}


def _origins(snapshot: WholeSnapshot, source: Stream, rows: Sequence[Row]) -> dict[Key, str]:
    if source.blob is None:
        return {}
    begin, end = min(row["ts"] for row in rows) - SLACK, max(row["ts"] for row in rows) + SLACK
    # Not by the enrichment that is at work, but by an earlier one: their days may have left.
    names = ["user_id", "event_id", "ts", "media_type"]
    found = snapshot.source(source, Span(begin, end), names=names)
    cursor = snapshot.connection.execute(
        sql.SQL(
            "SELECT user_id, event_id, media_type FROM {} AS origin WHERE (user_id, event_id) IN "
            "(SELECT * FROM unnest(%(users)s::text[], %(ids)s::uuid[])) "
            "AND ts >= %(begin)s AND ts < %(end)s"
        ).format(found.text),
        {
            "users": [row["user_id"] for row in rows],
            "ids": [row["source_event_id"] for row in rows],
            "begin": begin,
            "end": end,
            **found.values,
        },
    )
    return {(user, event): media_type for user, event, media_type in cursor}


def _row_item(
    item: Claimed, row: Row, *, blob: bytes | None = None, media_type: str | None = None
) -> Item:
    return Item(
        item_id=item.item_id,
        user_id=item.user_id,
        device_id=item.device_id,
        ts=item.ts,
        stream=item.source_stream,
        row=row,
        blob=blob,
        blob_key=row.get("blob_key"),
        media_type=media_type,
        tz_offset_min=row["tz_offset_min"],
        trace_id=row["trace_id"],
    )


def _hour_item(item: Claimed, rows: pa.Table) -> Item:
    last = rows.slice(rows.num_rows - 1).to_pylist()[0]
    return Item(
        item_id=item.item_id,
        user_id=item.user_id,
        device_id=item.device_id,
        ts=item.ts,
        stream=item.source_stream,
        rows=rows,
        tz_offset_min=last["tz_offset_min"],
        trace_id=last["trace_id"],
    )


def _key(row: Row) -> Key:
    return row["user_id"], row["event_id"]
