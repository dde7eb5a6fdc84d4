"""The timeline as asked for: a span of one user's events, page by page, and what lies round one.

Read from the view `am.timeline` through a connection that shows one user's rows only.
"""

import base64
import binascii
import json
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg
from psycopg.rows import class_row

from am_assets.streams.registry import Registry

MAX_LIMIT = 5000
MAX_SPAN = timedelta(days=31)
MAX_DETAIL_SPAN = timedelta(days=1, hours=2)  # a local day may have 25 hours
NEAREST = 100  # of each kind, round a moment


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
SELECT {COLUMNS} FROM am.timeline
WHERE ts >= %(begin)s AND ts < %(end)s AND {{kinds}} AND {{after}}
ORDER BY ts, source_table, source_id, device_id LIMIT %(limit)s
"""
AFTER = "(ts, source_table, source_id, device_id) > (%(ts)s, %(table)s, %(source)s, %(device)s)"
AROUND = f"""
SELECT {COLUMNS}, total FROM (
    SELECT {COLUMNS}, count(*) OVER (PARTITION BY kind) AS total, row_number() OVER (
        PARTITION BY kind ORDER BY abs(extract(epoch FROM ts - %(center)s)), source_id
    ) AS place
    FROM am.timeline WHERE ts >= %(begin)s AND ts < %(end)s
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


def read_page(connection: psycopg.Connection[Any], request: TimelineRequest) -> Page:
    """One page of the connection's user. Raises: psycopg.Error."""
    limit = max(1, min(request.limit, MAX_LIMIT))
    kinds = "kind = ANY(%(kinds)s)" if request.kinds else "NOT is_detail"
    after = AFTER if request.cursor else "true"
    values: dict[str, Any] = {
        "begin": request.begin,
        "end": request.end,
        "kinds": list(request.kinds),
        "limit": limit + 1,  # one more, to know whether there is more
    }
    if cursor := request.cursor:
        values |= {"ts": cursor.ts, "table": cursor.source_table, "source": cursor.source_id}
        values |= {"device": cursor.device_id, "begin": max(request.begin, cursor.ts)}
    text = PAGE.format(kinds=kinds, after=after).encode()
    with connection.cursor(row_factory=class_row(Entry)) as rows:
        found = rows.execute(text, values).fetchall()
    entries = found[:limit]
    return Page(entries, cursor_of(entries[-1]).encode() if len(found) > limit else None)


def cursor_of(entry: Entry) -> Cursor:
    """The cursor that goes on behind an entry."""
    return Cursor(entry.ts, entry.source_table, entry.source_id, entry.device_id)


def read_around(
    connection: psycopg.Connection[Any], center: datetime, *, span: timedelta
) -> dict[str, Around]:
    """Everything of the connection's user within `span` before and after, by kind.

    Raises: psycopg.Error.
    """
    values = {
        "center": center,
        "begin": center - span,
        "end": center + span,
        "nearest": NEAREST,
    }
    rows = connection.execute(AROUND.encode(), values).fetchall()
    return group((Entry(*row[:-1]), row[-1]) for row in rows)


def group(found: Iterable[tuple[Entry, int]]) -> dict[str, Around]:
    """Entries with the total of their kind, by kind in alphabetical order; their order is kept."""
    kinds: dict[str, Around] = {}
    for entry, total in found:
        kinds.setdefault(entry.kind, Around(total, [])).entries.append(entry)
    return dict(sorted(kinds.items()))


def _text(part: object) -> str:
    if not isinstance(part, str):
        raise TypeError("not a string")
    return part
