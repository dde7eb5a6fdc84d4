"""The shortest way for the commonest group: rows of one stream, from devices that are known.

One statement stores them, accounts for them and commits; a group of all other kinds takes several,
in a transaction of their own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from uuid import UUID

import psycopg

from am_assets.streams.stream import Stream
from ingest_api import statements
from ingest_api.batch import Batch, LedgerLine, ledger
from ingest_api.elements import NewRow

Line = tuple[UUID, str, str, date]  # batch, user, device, day: one line of the ledger


def common_stream(batches: Sequence[Batch]) -> Stream | None:
    """The one stream of all rows; None where there are others, or anything but plain rows."""
    outcomes = [outcome for batch in batches for outcome in batch.outcomes]
    if any(batch.sheets for batch in batches) or not outcomes:
        return None
    first = outcomes[0]
    if not isinstance(first, NewRow) or first.stream.grows:
        return None
    are_alike = all(
        isinstance(outcome, NewRow)
        and outcome.stream is first.stream
        and outcome.blob is None
        and not outcome.is_timeless
        for outcome in outcomes
    )
    return first.stream if are_alike else None


async def store_at_once(
    connection: psycopg.AsyncConnection, stream: Stream, batches: Sequence[Batch]
) -> list[Sequence[LedgerLine]]:
    """Commit batches of which `common_stream` is the stream; each one's ledger lines.

    A key that two of their rows share is new for the first only. Raises: psycopg.Error.
    """
    drafts = [ledger(batch, is_stored={}) for batch in batches]
    lines = {
        _line(batch, line): line
        for batch, draft in zip(batches, drafts, strict=True)
        for line in draft
    }
    stored = await _store(connection, stream, batches, lines)
    return [
        [_accounted(line, stored[_line(batch, line)]) for line in draft]
        for batch, draft in zip(batches, drafts, strict=True)
    ]


async def _store(
    connection: psycopg.AsyncConnection,
    stream: Stream,
    batches: Sequence[Batch],
    lines: Mapping[Line, LedgerLine],
) -> Mapping[Line, int]:
    places = {key: place for place, key in enumerate(lines, start=1)}
    rows = [
        (row, places[batch.batch_id, row.user_id, row.envelope.device_id, row.day])
        for batch in batches
        for row in batch.rows
    ]
    doors = {batch.batch_id: batch.door for batch in batches}
    accounts = [
        (batch_id, user_id, device_id, stream.name, day, doors[batch_id], line.received)
        for (batch_id, user_id, device_id, day), line in lines.items()
    ]
    cursor = await connection.execute(
        statements.land(stream),
        [statements.row_texts(rows), *([*column] for column in zip(*accounts, strict=True))],
    )
    return {(row[0], row[1], row[2], row[3]): row[4] for row in await cursor.fetchall()}


def _line(batch: Batch, line: LedgerLine) -> Line:
    return batch.batch_id, line.user_id, line.device_id, line.day


def _accounted(line: LedgerLine, stored: int) -> LedgerLine:
    return replace(line, stored=stored, duplicate=line.received - stored)
