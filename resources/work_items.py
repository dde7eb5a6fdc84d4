"""What an item of work is, and which items there are: rows, hours or sequences of a day's rows.

An item's fingerprint tells the state of its source; where that changed, the item is to be done
again. Who does it, and how it ends, is `resources.work`'s.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol
from uuid import UUID, uuid5

import psycopg
from psycopg import sql
from psycopg.rows import class_row

from am_assets.streams.stream import Stream
from resources.hot import Span, table_of
from resources.sequences import Link, fingerprint, sequences

NAMESPACE = UUID("7f0c2f4e-6c0e-5b0a-9d53-4b7a1c9a5a10")  # of the ids that AM makes itself
HOUR = timedelta(hours=1)


class Unit(StrEnum):
    """What one item is."""

    ROW = "row"  # one row of a source
    HOUR = "hour"  # all rows of one device in one hour of a UTC day
    SEQUENCE = "sequence"  # rows that follow each other closely: the first stands for all of them


class Work(Protocol):
    """What the queue has to know of an enrichment. `output` None = its rows are not in a table."""

    @property
    def name(self) -> str:
        """Under which its items are kept."""
        ...

    @property
    def version(self) -> int:
        """Each has items of its own."""
        ...

    @property
    def output(self) -> Stream | None:
        """Where its rows go."""
        ...

    @property
    def sources(self) -> tuple[Stream, ...]:
        """Where its items come from."""
        ...

    @property
    def unit(self) -> Unit:
        """What one item is."""
        ...

    @property
    def overlap(self) -> timedelta:
        """How far an hour looks into the next."""
        ...


@dataclass(frozen=True)
class Recent:
    """One user's rows that were received since; of hours, those from the hour before that on.

    What is left out of it is backlog.
    """

    user_id: str
    since: datetime

    @property
    def first_hour(self) -> datetime:
        """The first hour that is not backlog."""
        return self.since.astimezone(UTC).replace(minute=0, second=0, microsecond=0) - HOUR


def enqueue(
    connection: psycopg.Connection, work: Work, day: date, *, recent: Recent | None = None
) -> int:
    """Make the day's items pending that are new or whose source has changed, in one transaction.

    `recent` looks at no others. Returns how many became pending.
    """
    add = {
        Unit.ROW: _enqueue_rows,
        Unit.HOUR: _enqueue_hours,
        Unit.SEQUENCE: _enqueue_sequences,
    }[work.unit]
    with connection.transaction():
        return sum(add(connection, work, source, day, recent) for source in work.sources)


def read_links(connection: psycopg.Connection, source: Stream, span: Span) -> list[Link]:
    """The span's rows as links of sequences. The source's rows have a `duration_ms`."""
    cursor = connection.cursor(row_factory=class_row(Link))
    return cursor.execute(
        sql.SQL(_LINKS).format(table_of(source)),
        {
            "begin": span.begin,
            "end": span.end,
            "user": span.user_id,
            "device": span.device_id,
        },
    ).fetchall()


def hour_id(source: Stream, user_id: str, device_id: str, hour: datetime) -> UUID:
    """The id of the item that is one device's hour."""
    start = hour.astimezone(UTC).isoformat()
    return uuid5(NAMESPACE, "\x1f".join(("hour", source.name, user_id, device_id, start)))


_REOPEN = (
    "ON CONFLICT (enrichment, version, user_id, item_id) DO UPDATE SET "
    # Who is at it loses it: the source is not what it was.
    "state = CASE am.work_item.state WHEN 'running' THEN 'pending' ELSE excluded.state END, "
    "fingerprint = excluded.fingerprint, device_id = excluded.device_id, day = excluded.day, "
    "ts = excluded.ts, attempts = 0, reason = excluded.reason, worker_pid = NULL, "
    "worker_started = NULL, updated_at = now() "
    "WHERE am.work_item.fingerprint <> excluded.fingerprint"
)
_TELL_STATE = " RETURNING am.work_item.state"
# Only what is new or has changed: an insert that changes nothing would still lock its row.
_SEQUENCES = """
INSERT INTO am.work_item (enrichment, version, user_id, item_id, source_stream, device_id, day, ts,
    fingerprint, state, reason)
SELECT %(name)s, %(version)s, n.user_id, n.item_id, %(source)s, n.device_id, %(day)s, n.ts,
    n.fingerprint, n.state, CASE n.state WHEN 'empty' THEN n.fingerprint END
FROM (
    SELECT link.*, CASE WHEN is_part AND NOT EXISTS (
        SELECT FROM {output} AS o
        WHERE o.user_id = link.user_id AND o.source_event_id = link.item_id
    ) THEN 'empty' ELSE 'pending' END AS state
    FROM unnest(%(users)s::text[], %(ids)s::uuid[], %(devices)s::text[], %(times)s::timestamptz[],
        %(fingerprints)s::text[], %(parts)s::boolean[])
        AS link (user_id, item_id, device_id, ts, fingerprint, is_part)
    WHERE NOT EXISTS (
        SELECT FROM am.work_item AS w WHERE w.enrichment = %(name)s AND w.version = %(version)s
            AND w.user_id = link.user_id AND w.item_id = link.item_id
            AND w.fingerprint = link.fingerprint
    )
) AS n ORDER BY n.user_id, n.item_id
"""
_LINKS = """
SELECT user_id, device_id, event_id, ts AS begin, received_at,
    ts + duration_ms * interval '1 millisecond' AS end
FROM {} WHERE ts >= %(begin)s AND ts < %(end)s
    AND (%(user)s::text IS NULL OR user_id = %(user)s)
    AND (%(device)s::text IS NULL OR device_id = %(device)s)
"""
# The rows at an hour's begin belong to the hour before as well, as far as that hour looks ahead.
_HOURS = """
SELECT user_id, device_id, hour, count(*), max(received_at) FROM (
    SELECT user_id, device_id, received_at, date_trunc('hour', ts) AS hour, true AS is_own
    FROM {source} WHERE ts >= %(begin)s AND ts < %(end)s {only}
    UNION ALL
    SELECT user_id, device_id, received_at, date_trunc('hour', ts) - interval '1 hour', false
    FROM {source} WHERE ts >= %(begin)s::timestamptz + interval '1 hour' AND ts < %(end)s
        AND ts < date_trunc('hour', ts) + %(overlap)s {only}
) AS seen GROUP BY user_id, device_id, hour HAVING bool_or(is_own)
ORDER BY user_id, device_id, hour
"""


def _enqueue_rows(
    connection: psycopg.Connection, work: Work, source: Stream, day: date, recent: Recent | None
) -> int:
    # A raw row never changes; a derived one is received anew when it is computed again.
    mark = "received_at::text" if source.is_derived else "''"
    only = "AND user_id = %(user)s AND received_at >= %(since)s" if recent else ""
    query = (
        "INSERT INTO am.work_item (enrichment, version, user_id, item_id, source_stream, "
        "device_id, day, ts, fingerprint) "
        "SELECT DISTINCT ON (user_id, event_id) %(name)s, %(version)s, user_id, event_id, "
        f"%(source)s, device_id, %(day)s, ts, {mark} FROM {{}} "
        f"WHERE ts >= %(begin)s AND ts < %(end)s {only} ORDER BY user_id, event_id, ts DESC "
        + _REOPEN
    )
    values = {**_source_values(work, source, day), "day": day, **_recent_values(recent)}
    return connection.execute(sql.SQL(query).format(table_of(source)), values).rowcount


def _enqueue_hours(
    connection: psycopg.Connection, work: Work, source: Stream, day: date, recent: Recent | None
) -> int:
    values = {**_source_values(work, source, day), "overlap": work.overlap}
    only = sql.SQL("AND user_id = %(user)s" if recent else "")
    if recent:
        values |= _recent_values(recent)
        values["begin"] = max(values["begin"], recent.first_hour)
    hours = connection.execute(
        sql.SQL(_HOURS).format(source=table_of(source), only=only), values
    ).fetchall()
    cursor = connection.cursor()
    cursor.executemany(
        "INSERT INTO am.work_item (enrichment, version, user_id, item_id, source_stream, "
        "device_id, day, ts, fingerprint) VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) " + _REOPEN,
        [
            (
                *(work.name, work.version, user, hour_id(source, user, device, hour)),
                *(source.name, device, day, hour),
                f"{count} rows until {newest.isoformat()}",
            )
            for user, device, hour, count, newest in hours
        ],
    )
    return cursor.rowcount if hours else 0


def _enqueue_sequences(
    connection: psycopg.Connection, work: Work, source: Stream, day: date, recent: Recent | None
) -> int:
    """Every row is an item; all but the first of a sequence end as empty at once.

    But for those from which something was derived when they stood for themselves.
    """
    assert work.output is not None
    span = replace(Span.of_day(day), user_id=recent.user_id if recent else None)
    found = sequences(read_links(connection, source, span))
    chosen = [
        one
        for one in found
        if recent is None or any(link.received_at >= recent.since for link in one)
    ]
    rows = [
        (link, f"follows {one[0].event_id}" if place else fingerprint(one), place > 0)
        for one in chosen
        for place, link in enumerate(one)
    ]
    values = {**_source_values(work, source, day), "day": day, **_arrays(rows)}
    query = sql.SQL(_SEQUENCES).format(output=table_of(work.output))
    states = connection.execute(query + sql.SQL(_REOPEN + _TELL_STATE), values).fetchall()
    return states.count(("pending",))


def _arrays(rows: Sequence[tuple[Link, str, bool]]) -> dict[str, Any]:
    return {
        "users": [link.user_id for link, _, _ in rows],
        "ids": [link.event_id for link, _, _ in rows],
        "devices": [link.device_id for link, _, _ in rows],
        "times": [link.begin for link, _, _ in rows],
        "fingerprints": [text for _, text, _ in rows],
        "parts": [is_part for _, _, is_part in rows],
    }


def _recent_values(recent: Recent | None) -> dict[str, Any]:
    return {"user": recent.user_id, "since": recent.since} if recent else {}


def _source_values(work: Work, source: Stream, day: date) -> dict[str, Any]:
    span = Span.of_day(day)
    return {
        "name": work.name,
        "version": work.version,
        "source": source.name,
        "begin": span.begin,
        "end": span.end,
    }
