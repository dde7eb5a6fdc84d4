"""The asset `out/day_digest` as functions: read a user's day, name its places, keep it in Delta."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date, datetime, timedelta
from typing import Any, Literal

import psycopg
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import DeltaTable, write_deltalake
from psycopg import sql

from am_assets.out.day import (
    FURTHEST,
    DayDigest,
    DayRows,
    LocalDay,
    Offsets,
    day_visits,
    digest,
)
from am_assets.streams.digital import CLIPBOARD, NOTE
from am_assets.streams.health import HEART_RATE
from am_assets.streams.motion import ACTIVITY
from am_assets.streams.os_events import APP_LIFECYCLE
from am_assets.streams.position import GPS_FIX
from am_assets.streams.registry import Registry
from am_assets.streams.stream import Stream
from am_assets.streams.text import OCR_CLEANED, TRANSCRIPT
from resources.connections import Connections
from resources.hot import HotStore, Span, table_of
from resources.places import Visit, name_places
from resources.table_locks import table_lock
from resources.whole import WholeSnapshot, WholeStore

TABLE = "out_day_digest"
SOURCES = (
    TRANSCRIPT,
    OCR_CLEANED,
    ACTIVITY,
    GPS_FIX,
    APP_LIFECYCLE,
    HEART_RATE,
    NOTE,
    CLIPBOARD,
)
AROUND = timedelta(hours=12)  # before and after, so that visits and apps over midnight are whole


def _field(name: str, kind: pa.DataType, *, is_nullable: bool = True) -> "pa.Field[Any]":
    return pa.field(name, kind, nullable=is_nullable)


_INSTANT = pa.timestamp("us", tz="UTC")
PRESENCE = pa.schema(
    [_field("stream", pa.string()), _field("minute", _INSTANT), _field("count", pa.int64())]
)
KEPT = pa.schema(
    [
        _field("user_id", pa.string(), is_nullable=False),
        _field("day", pa.date32(), is_nullable=False),
        _field("begin", _INSTANT),
        _field("end", _INSTANT),
        _field("row_count", pa.int64()),
        _field("digest", pa.string()),
    ]
)
"""The Delta table: a row a user and local day; `digest` is the JSON of `as_json`."""


def day_digest(
    whole: WholeStore, registry: Registry, user_id: str, day: date, *, now: datetime
) -> DayDigest:
    """One user's local day, all of it as of one moment.

    Raises: psycopg.Error, resources.lake_files.LakeFilesError, DeltaError.
    """
    with whole.snapshot() as snapshot:
        local = LocalDay.of(day, _offsets(snapshot, registry, user_id, day))
        rows = _rows(snapshot, registry, user_id, local)
    return digest(local, rows, until=now, places=_names(day_visits(rows.fixes, local)))


def users_of(hot: HotStore, day: date | None = None) -> list[str]:
    """Everybody with a line in the ledger, of that day and its neighbours or (None) of any."""
    query = (
        "SELECT DISTINCT user_id FROM am.landing WHERE %(day)s::date IS NULL "
        "OR day BETWEEN %(day)s::date - 1 AND %(day)s::date + 1 ORDER BY 1"
    )
    with hot.snapshot() as snapshot:
        return [row[0] for row in snapshot.connection.execute(query, {"day": day})]


def digests_of(
    whole: WholeStore, registry: Registry, day: date, *, now: datetime
) -> list[tuple[str, DayDigest]]:
    """Everybody's local day, but for those to whom nothing happened. Raises: as `day_digest`."""
    made = [
        (user, day_digest(whole, registry, user, day, now=now)) for user in users_of(whole.hot, day)
    ]
    return [(user, digest) for user, digest in made if not digest.is_empty]


def keep_digests(
    connections: Connections, day: date, digests: Sequence[tuple[str, DayDigest]]
) -> int:
    """Replace the day in the Delta table `out_day_digest`. Returns its version then."""
    uri = f"{connections.lake_uri.rstrip('/')}/{TABLE}"
    options = connections.delta_options()
    with table_lock(connections.database_url, TABLE):
        is_there = DeltaTable.is_deltatable(uri, storage_options=options)
        write_deltalake(
            uri,
            pa.Table.from_pylist([_kept(user, made) for user, made in digests], schema=KEPT),
            mode="overwrite",
            predicate=f"day = '{day.isoformat()}'" if is_there else None,
            partition_by=["day"],
            storage_options=options,
        )
        return DeltaTable(uri, storage_options=options).version()


def as_json(made: DayDigest) -> dict[str, Any]:
    """The digest as JSON can hold it: times in ISO 8601, durations in seconds."""
    found: dict[str, Any] = json.loads(json.dumps(asdict(made), default=_plain))
    return found


def _plain(value: object) -> object:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    raise TypeError(f"no JSON for {type(value)}")


def _kept(user_id: str, made: DayDigest) -> dict[str, Any]:
    local = made.local
    return {
        "user_id": user_id,
        "day": local.day,
        "begin": local.begin,
        "end": local.end,
        "row_count": made.row_count,
        "digest": json.dumps(as_json(made), ensure_ascii=False),
    }


def _rows(snapshot: WholeSnapshot, registry: Registry, user_id: str, local: LocalDay) -> DayRows:
    def read(stream: Stream) -> pa.Table:
        return snapshot.read(stream, Span(local.begin - AROUND, local.end + AROUND, user_id))

    return DayRows(
        transcripts=read(TRANSCRIPT),
        screen_texts=read(OCR_CLEANED),
        activities=read(ACTIVITY),
        fixes=read(GPS_FIX),
        app_events=read(APP_LIFECYCLE),
        heart_rates=read(HEART_RATE),
        notes=read(NOTE),
        clipboard=read(CLIPBOARD),
        presence=_presence(snapshot, registry, user_id, local),
    )


def _presence(
    snapshot: WholeSnapshot, registry: Registry, user_id: str, local: LocalDay
) -> pa.Table:
    query = sql.SQL(" UNION ALL ").join(
        sql.SQL(
            "SELECT {}, date_trunc('minute', ts, 'UTC'), count(*) FROM {} "
            "WHERE user_id = %(user)s AND ts >= %(begin)s AND ts < %(end)s GROUP BY 2"
        ).format(sql.Literal(stream.name), table_of(stream))
        for stream in registry.values()
    )
    values = {"user": user_id, "begin": local.begin, "end": local.end}
    rows = snapshot.connection.execute(query, values).fetchall()
    found = [dict(zip(PRESENCE.names, row, strict=True)) for row in rows]
    left = _left_presence(snapshot, registry, Span(local.begin, local.end, user_id))
    whole = pa.concat_tables([pa.Table.from_pylist(found, schema=PRESENCE), *left])
    counts = whole.group_by(["stream", "minute"]).aggregate([("count", "sum")])
    return counts.rename_columns(PRESENCE.names).cast(PRESENCE)


def _left_presence(snapshot: WholeSnapshot, registry: Registry, span: Span) -> list[pa.Table]:
    """The same of what has left the hot store, a table a stream."""
    found = []
    for away in snapshot.away(registry.values(), span):
        rows = _by(snapshot.left(away, span, names=["ts"]), "minute")
        names = pa.array([away.stream.name] * rows.num_rows, pa.string())
        counts = rows.group_by("ts").aggregate([("ts", "count")])
        found.append(counts.add_column(0, "stream", names[: counts.num_rows]))
    return [table.rename_columns(PRESENCE.names).cast(PRESENCE) for table in found]


def _by(rows: pa.Table, unit: Literal["minute", "hour"]) -> pa.Table:
    """The rows with the begin of their minute or hour as `ts`, the first column."""
    return rows.set_column(0, "ts", pc.floor_temporal(rows["ts"], unit=unit))


def _offsets(snapshot: WholeSnapshot, registry: Registry, user_id: str, day: date) -> Offsets:
    """What the rows of events say; of details only where events say nothing; then the device."""
    events = [stream for stream in registry.raw if not stream.is_detail]
    details = [stream for stream in registry.raw if stream.is_detail]
    for streams in (events, details):
        found = _sent_offsets(snapshot, streams, user_id, day)
        if found:
            return Offsets.of(found)
    return Offsets.of(_device_offsets(snapshot.connection, user_id, day))


def _sent_offsets(
    snapshot: WholeSnapshot, streams: Sequence[Stream], user_id: str, day: date
) -> list[tuple[datetime, int, int]]:
    if not streams:
        return []
    query = sql.SQL(" UNION ALL ").join(
        sql.SQL(
            "SELECT date_trunc('hour', ts, 'UTC'), tz_offset_min, count(*) FROM {} WHERE "
            "user_id = %(user)s AND ts >= %(begin)s AND ts < %(end)s "
            "AND tz_offset_min IS NOT NULL GROUP BY 1, 2"
        ).format(table_of(stream))
        for stream in streams
    )
    utc = Span.of_day(day)
    span = Span(utc.begin - FURTHEST, utc.end + FURTHEST, user_id)
    values = {"user": user_id, "begin": span.begin, "end": span.end}
    return [
        *snapshot.connection.execute(query, values).fetchall(),
        *_left_offsets(snapshot, streams, span),
    ]


def _left_offsets(
    snapshot: WholeSnapshot, streams: Sequence[Stream], span: Span
) -> list[tuple[datetime, int, int]]:
    """The same of what has left the hot store."""
    names, found = ["ts", "tz_offset_min"], []
    is_known = ~pc.field("tz_offset_min").is_null()
    for away in snapshot.away(streams, span):
        hours = _by(snapshot.left(away, span, names=names, only=is_known), "hour")
        counts = hours.group_by(names).aggregate([("ts", "count")]).select([*names, "ts_count"])
        found += [tuple(row.values()) for row in counts.to_pylist()]
    return found


def _device_offsets(
    connection: psycopg.Connection, user_id: str, day: date
) -> list[tuple[datetime, int, int]]:
    query = (
        "SELECT tz_offset_min, count(*) FROM am.device "
        "WHERE user_id = %s AND tz_offset_min IS NOT NULL GROUP BY 1"
    )
    midnight = Span.of_day(day).begin
    return [(midnight, *row) for row in connection.execute(query, (user_id,))]


def _names(found: Sequence[Visit]) -> dict[Visit, str]:
    places = name_places([(visit.latitude, visit.longitude) for visit in found])
    return {visit: place.label for visit, place in zip(found, places, strict=True) if place}
