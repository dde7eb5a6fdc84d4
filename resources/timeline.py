"""The timeline as asked for: a span of one user's events, page by page, and what lies round one.

Read from the view `am.timeline` through a reader that shows one user's rows only. What has left the
hot store is made into the same events by the same database: such rows travel with the question.
"""

import base64
import binascii
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from psycopg import sql
from psycopg.rows import class_row

from am_assets.schemas.columns import KEY
from am_assets.schemas.timeline import PLACEHOLDER, Dialect, timeline_select
from am_assets.streams.registry import Registry
from am_assets.streams.stream import Stream
from resources.hot import Span, names_of
from resources.whole import Away, Rows, WholeSnapshot, as_rows

MAX_LIMIT = 5000
MAX_SPAN = timedelta(days=31)
MAX_DETAIL_SPAN = timedelta(days=1, hours=2)  # a local day may have 25 hours
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NEAREST = 100  # of each kind, round a moment
FIRST_LOOK = timedelta(minutes=30)  # of details of days that have left, of which there are many
PARALLEL_READS = 8


class TimelineError(Exception):
    """A question that is not answered; the message says what would be.

    TimelineError
    ├── BadSpanError     too long, or ends before it begins
    ├── UnknownKindError no stream has this kind
    └── BadCursorError   not a cursor of ours
    """


class BadSpanError(TimelineError):
    """The span is empty, upside down, or longer than one answer may cover."""


class UnknownKindError(TimelineError):
    """A kind that no stream has."""


class BadCursorError(TimelineError):
    """A cursor that no answer gave."""


@dataclass(frozen=True)
class Entry:
    """One event of the timeline. `source_table` and `source_id` name its row."""

    ts: datetime
    kind: str
    user_id: str
    device_id: str
    title: str
    body: str | None
    source_table: str
    source_id: str
    blob_key: str | None
    is_detail: bool


@dataclass(frozen=True)
class Cursor:
    """Where a page ended: the place of its last entry in the order of all."""

    ts: datetime
    source_table: str
    source_id: str
    device_id: str

    def encode(self) -> str:
        """As it travels in an address."""
        parts = (self.ts.isoformat(), self.source_table, self.source_id, self.device_id)
        return base64.urlsafe_b64encode(json.dumps(parts).encode()).decode().rstrip("=")

    @classmethod
    def decode(cls, text: str) -> "Cursor":
        """Raises: BadCursorError."""
        try:
            padded = text.encode() + b"=" * (-len(text) % 4)
            at, *place = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
            table, source, device = map(_text, place)
            ts = datetime.fromisoformat(at)
        except (binascii.Error, ValueError, TypeError) as error:
            raise BadCursorError("this cursor is not one that an answer gave") from error
        if ts.tzinfo is None:
            raise BadCursorError("this cursor's time has no zone")
        return cls(ts, table, source, device)


@dataclass(frozen=True, kw_only=True)
class TimelineRequest:
    """A span, `begin` included and `end` not, and which kinds (none = all but details)."""

    begin: datetime
    end: datetime
    kinds: tuple[str, ...] = ()
    limit: int = 500
    cursor: Cursor | None = None


@dataclass(frozen=True)
class Page:
    """Entries from early to late; `next_cursor` None = there are no more."""

    entries: list[Entry]
    next_cursor: str | None


@dataclass(frozen=True)
class Around:
    """What lies round a moment, of one kind: how many in all, and the nearest, early to late."""

    total: int
    entries: list[Entry]


COLUMNS = "ts, kind, user_id, device_id, title, body, source_table, source_id, blob_key, is_detail"
PAGE = f"""
SELECT {COLUMNS} FROM {{timeline}}
WHERE ts >= %(begin)s AND ts < %(end)s AND {{kinds}} AND {{after}}
ORDER BY ts, source_table, source_id, device_id LIMIT %(limit)s
"""
AFTER = "(ts, source_table, source_id, device_id) > (%(ts)s, %(table)s, %(source)s, %(device)s)"
AROUND = f"""
SELECT {COLUMNS}, total FROM (
    SELECT {COLUMNS}, count(*) OVER (PARTITION BY kind) AS total, row_number() OVER (
        PARTITION BY kind ORDER BY abs(extract(epoch FROM ts - %(center)s)), source_id
    ) AS place
    FROM {{timeline}} WHERE ts >= %(begin)s AND ts < %(end)s
) near WHERE place <= %(nearest)s ORDER BY ts, source_table, source_id, device_id
"""


def check(request: TimelineRequest, registry: Registry) -> None:
    """Raises BadSpanError or UnknownKindError for what one answer cannot cover."""
    detail = kinds_of(registry)
    for kind in request.kinds:
        if kind not in detail:
            known = ", ".join(sorted(detail))
            raise UnknownKindError(f"no stream has the kind {kind!r}; there are {known}")
    if request.end <= request.begin:
        raise BadSpanError("`to` has to be later than `from`")
    is_detailed = any(detail[kind] for kind in request.kinds)
    longest = MAX_DETAIL_SPAN if is_detailed else MAX_SPAN
    if request.end - request.begin > longest:
        raise BadSpanError(f"ask for {longest} at most of these kinds, and page through the rest")


def kinds_of(registry: Registry) -> dict[str, bool]:
    """All kinds, and whether every stream of one is a detail (speech: its text is none)."""
    kinds: dict[str, bool] = {}
    for stream in registry.values():
        kinds[stream.kind] = stream.is_detail and kinds.get(stream.kind, True)
    return kinds


def read_page(reader: WholeSnapshot, request: TimelineRequest, registry: Registry) -> Page:
    """One page of the reader's user.

    Raises: psycopg.Error, resources.lake_files.LakeFilesError, deltalake.exceptions.DeltaError.
    """
    limit = max(1, min(request.limit, MAX_LIMIT))
    values: dict[str, Any] = {
        "begin": request.begin,
        "end": request.end,
        "kinds": list(request.kinds),
        "limit": limit + 1,  # one more, to know whether there is more
    }
    if cursor := request.cursor:
        values |= {"ts": cursor.ts, "table": cursor.source_table, "source": cursor.source_id}
        values |= {"device": cursor.device_id, "begin": max(request.begin, cursor.ts)}
    span = Span(values["begin"], request.end)
    left = _read_left(
        reader,
        [stream for stream in registry.values() if _is_wanted(stream, request)],
        span,
        lambda away: _first(reader, away, span, limit + 1),
    )
    timeline = _timeline(left)
    query = sql.SQL(PAGE).format(
        timeline=timeline.text,
        kinds=sql.SQL("kind = ANY(%(kinds)s)" if request.kinds else "NOT is_detail"),
        after=sql.SQL(AFTER if request.cursor else "true"),
    )
    with reader.connection.cursor(row_factory=class_row(Entry)) as rows:
        found = rows.execute(query, values | timeline.values).fetchall()
    entries = found[:limit]
    return Page(entries, cursor_of(entries[-1]).encode() if len(found) > limit else None)


def cursor_of(entry: Entry) -> Cursor:
    """The cursor that goes on behind an entry."""
    return Cursor(entry.ts, entry.source_table, entry.source_id, entry.device_id)


def read_around(
    reader: WholeSnapshot, center: datetime, *, span: timedelta, registry: Registry
) -> dict[str, Around]:
    """Everything of the reader's user within `span` before and after, by kind.

    Raises: as `read_page`.
    """
    near = Span(center - span, center + span)
    values = {"center": center, "begin": near.begin, "end": near.end, "nearest": NEAREST}
    nearest, more = _nearest_left(reader, near, center, registry)
    timeline = _timeline(nearest)
    query = sql.SQL(AROUND).format(timeline=timeline.text)
    found = reader.connection.execute(query, values | timeline.values).fetchall()
    return group(((Entry(*row[:-1]), row[-1]) for row in found), more=more)


def group(
    found: Iterable[tuple[Entry, int]], *, more: Mapping[str, int] | None = None
) -> dict[str, Around]:
    """Entries with the total of their kind, by kind in alphabetical order; their order is kept.

    `more` is what the totals lack, by kind.
    """
    kinds: dict[str, Around] = {}
    for entry, total in found:
        whole = total + (more or {}).get(entry.kind, 0)
        kinds.setdefault(entry.kind, Around(whole, [])).entries.append(entry)
    return dict(sorted(kinds.items()))


def _is_wanted(stream: Stream, request: TimelineRequest) -> bool:
    return stream.kind in request.kinds if request.kinds else not stream.is_detail


def _read_left(
    reader: WholeSnapshot,
    streams: Iterable[Stream],
    span: Span,
    read: Callable[[Away], pa.Table],
) -> list[tuple[Stream, pa.Table]]:
    """What has left the hot store, of each stream of which there is something."""
    away = reader.away(streams, span)
    if not away:
        return []
    with ThreadPoolExecutor(PARALLEL_READS) as pool:
        found = list(pool.map(read, away))
    return [(one.stream, rows) for one, rows in zip(away, found, strict=True) if rows.num_rows]


def _first(reader: WholeSnapshot, away: Away, span: Span, limit: int) -> pa.Table:
    """The first rows by time, at least `limit` that are later than the span's begin if there are.

    Of details no more of the day is read than has to be.
    """
    names, found, seen = _needed(away.stream), [], 0
    begin, step = span.begin, FIRST_LOOK if away.stream.is_detail else span.end - span.begin
    while begin < span.end and seen < limit:
        until = min(begin + step, span.end)
        rows = reader.left(away, Span(begin, until), names=names)
        found.append(rows)
        seen += rows.filter(pc.field("ts") > span.begin).num_rows
        begin, step = until, step * 2
    rows = pa.concat_tables(found).sort_by("ts")
    last = rows.num_rows - seen + limit - 1
    if last >= rows.num_rows:
        return rows
    return rows.filter(pc.less_equal(rows["ts"], rows["ts"][last]))  # with all of the same time


def _nearest_left(
    reader: WholeSnapshot, near: Span, center: datetime, registry: Registry
) -> tuple[list[tuple[Stream, pa.Table]], dict[str, int]]:
    """The nearest rows of each stream that have left, and how many more there are of each kind.

    By their times first: there may be an hour of motion, of which hardly any is told.
    """
    times = dict(
        _read_left(
            reader, registry.values(), near, lambda away: reader.left(away, near, names=["ts"])
        )
    )
    spans = {stream: _holding_nearest(rows, center, near) for stream, rows in times.items()}
    nearest = _read_left(
        reader,
        times,
        near,
        lambda away: _nearest(
            reader.left(away, spans[away.stream], names=_needed(away.stream)), center
        ),
    )
    more: dict[str, int] = {}
    for stream, kept in nearest:
        lacking = times[stream].num_rows - kept.num_rows
        more[stream.kind] = more.get(stream.kind, 0) + lacking
    return nearest, more


def _holding_nearest(rows: pa.Table, center: datetime, near: Span) -> Span:
    """The part of the span where the rows nearest to its center are, with all that are as far."""
    if rows.num_rows <= NEAREST:
        return near
    farthest = timedelta(microseconds=_away(rows, center).sort()[NEAREST - 1].as_py())
    after = center + farthest + timedelta(microseconds=1)
    return Span(center - farthest, min(after, near.end))


def _away(rows: pa.Table, center: datetime) -> Any:
    """Each row's distance from a moment, in µs."""
    at = (center - EPOCH) // timedelta(microseconds=1)
    return pc.abs(pc.subtract(rows["ts"].cast(pa.int64()), pa.scalar(at)))


def _nearest(rows: pa.Table, center: datetime) -> pa.Table:
    away = _away(rows, center)
    order = [("away", "ascending"), ("event_id", "ascending")]
    return rows.append_column("away", away).sort_by(order).slice(0, NEAREST).drop_columns("away")  # type: ignore[arg-type]  # a list of literals


def _needed(stream: Stream) -> list[str]:
    """The columns that an event of the timeline is made of."""
    told = PLACEHOLDER.findall(stream.title + (stream.body or ""))
    return [name for name in names_of(stream) if name in {*KEY, *told, "blob_key"}]


def _timeline(left: Sequence[tuple[Stream, pa.Table]]) -> Rows:
    """The view, and what has left it in the same form."""
    if not left:
        return Rows(sql.Composed([sql.SQL("am.timeline")]), {})
    parts = [Rows(sql.Composed([sql.SQL(f"SELECT {COLUMNS} FROM am.timeline")]), {})]
    for stream, table in left:
        rows = as_rows(stream, table)
        select = timeline_select(stream, source="", dialect=Dialect.POSTGRES).replace("%", "%%")
        parts.append(Rows(sql.SQL("{}{}").format(sql.SQL(select), rows.text), rows.values))
    text = sql.SQL(" UNION ALL ").join(part.text for part in parts)
    values = {name: value for part in parts for name, value in part.values.items()}
    return Rows(sql.SQL("({}) AS timeline").format(text), values)


def _text(part: object) -> str:
    if not isinstance(part, str):
        raise TypeError("not a string")
    return part
