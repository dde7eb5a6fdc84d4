"""Commits what requests bring: many requests in one transaction, each answered after the commit.

One connection, one task. While a transaction is being fsynced the next group gathers, so that the
database's commits a second are no limit to requests a second (group commit).
"""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg

from ingest_api import statements
from ingest_api.batch import Batch, DeadLetter, LedgerLine, ledger
from ingest_api.elements import NewRow
from ingest_api.errors import UnavailableError
from ingest_api.refused import refuse

log = logging.getLogger(__name__)

MAX_WAITING = 1_000  # requests; more are answered 503 instead of filling the memory
MAX_GROUP_ROWS = 20_000

Key = tuple[str, str, datetime, UUID]


@dataclass(frozen=True)
class Receipt:
    """What became of a batch: whether each element is new, a copy, or a dead letter."""

    batch: Batch
    lines: Sequence[LedgerLine]

    @property
    def stored(self) -> int:
        """Rows that are new."""
        return sum(line.stored for line in self.lines)

    @property
    def duplicate(self) -> int:
        """Rows that were there already."""
        return sum(line.duplicate for line in self.lines)

    @property
    def rejected(self) -> int:
        """Elements that are dead letters now."""
        return sum(line.rejected for line in self.lines)


@dataclass(frozen=True)
class _Waiting:
    batch: Batch
    payload_keys: dict[UUID, str]
    answer: asyncio.Future[Receipt]


class Writer:
    """Takes batches, gives receipts. Start it before use, stop it to write what still waits."""

    def __init__(self, database_url: str) -> None:
        """Connects when it is started."""
        self._url = database_url
        self._queue: asyncio.Queue[_Waiting] = asyncio.Queue(MAX_WAITING)
        self._connection: psycopg.AsyncConnection | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to take batches; the connection is made with the first one."""
        self._task = asyncio.create_task(self._run(), name="writer")

    async def stop(self) -> None:
        """Write all that waits, then close."""
        await self._queue.join()
        if self._task is not None:
            self._task.cancel()
        if self._connection is not None:
            await self._connection.close()

    async def land(self, batch: Batch, *, payload_keys: dict[UUID, str]) -> Receipt:
        """Commit one batch; `payload_keys` tell of dead letters whose payload is a blob.

        Raises: UnavailableError; nothing of the batch is stored then.
        """
        answer: asyncio.Future[Receipt] = asyncio.get_running_loop().create_future()
        try:
            self._queue.put_nowait(_Waiting(batch, payload_keys, answer))
        except asyncio.QueueFull:
            raise UnavailableError("too many requests wait to be written") from None
        return await answer

    async def _run(self) -> None:
        while True:
            group = [await self._queue.get()]
            rows = len(group[0].batch.outcomes)
            while rows < MAX_GROUP_ROWS and not self._queue.empty():
                group.append(self._queue.get_nowait())
                rows += len(group[-1].batch.outcomes)
            try:
                await self._answer(group)
            except Exception as error:
                log.exception("a group could not be written")
                _fail(group, error)
            for _ in group:
                self._queue.task_done()

    async def _answer(self, group: Sequence[_Waiting]) -> None:
        """Commit a group and answer each; a group that the data itself breaks is taken apart."""
        try:
            receipts = await self._commit(group)
        except (psycopg.OperationalError, OSError) as error:
            await self._disconnect()
            log.warning("the database does not take data: %s", error)
            _fail(group, UnavailableError(f"the database does not take data: {error}"))
        except psycopg.Error as error:
            await self._take_apart(group, error)
        else:
            for waiting, receipt in zip(group, receipts, strict=True):
                if not waiting.answer.done():  # the client may have gone
                    waiting.answer.set_result(receipt)

    async def _take_apart(self, group: Sequence[_Waiting], error: psycopg.Error) -> None:
        """Find the request, then the row, that the database refuses; commit all others."""
        if len(group) > 1:
            for waiting in group:
                await self._answer([waiting])
            return
        (waiting,) = group
        log.warning("the database refuses a row: %s", type(error).__name__)
        try:
            outcomes = await self._sift(waiting.batch)
        except (psycopg.Error, OSError) as failure:
            await self._disconnect()
            _fail(group, UnavailableError(f"the database does not take data: {failure}"))
            return
        if outcomes == list(waiting.batch.outcomes):  # no row's fault: AM's own statements fail
            _fail(group, UnavailableError(f"the database does not take data: {error}"))
            return
        await self._answer([replace(waiting, batch=replace(waiting.batch, outcomes=outcomes))])

    async def _sift(self, batch: Batch) -> list[NewRow | DeadLetter]:
        """Try each row alone, and roll back: those that fail become dead letters."""
        connection = await self._connected()
        sifted: list[NewRow | DeadLetter] = []
        for outcome in batch.outcomes:
            if isinstance(outcome, NewRow):
                try:
                    async with connection.transaction(force_rollback=True):
                        await _insert(connection, [outcome])
                except (psycopg.DataError, psycopg.IntegrityError) as error:
                    sifted.append(refuse(outcome, door=batch.door, reason=str(error)))
                    continue
            sifted.append(outcome)
        return sifted

    async def _commit(self, group: Sequence[_Waiting]) -> list[Receipt]:
        connection = await self._connected()
        async with connection.transaction():
            rows = [row for waiting in group for row in waiting.batch.rows]
            await _note_devices(connection, rows)
            new = await _insert(connection, await _drop_seen(connection, rows))
            await _note_blobs(connection, rows)
            receipts = [_receipt(waiting.batch, new) for waiting in group]
            await _bury(connection, group)
            await _account(connection, receipts)
            await connection.execute(statements.NOTIFY)
        return receipts

    async def _connected(self) -> psycopg.AsyncConnection:
        if self._connection is None or self._connection.closed:
            self._connection = await psycopg.AsyncConnection.connect(
                self._url, autocommit=True, connect_timeout=3
            )
        return self._connection

    async def _disconnect(self) -> None:
        if self._connection is not None:
            await self._connection.close()
            self._connection = None


async def _note_devices(connection: psycopg.AsyncConnection, rows: Iterable[NewRow]) -> None:
    offsets: dict[tuple[str, str], int | None] = {}
    for row in rows:
        key = (row.user_id, row.envelope.device_id)
        offset = row.envelope.instant.tz_offset_min
        offsets[key] = offsets.get(key) if offset is None else offset
    if offsets:
        devices = [(user, device, offset) for (user, device), offset in sorted(offsets.items())]
        await connection.execute(statements.DEVICES, _columns(devices))


async def _note_blobs(connection: psycopg.AsyncConnection, rows: Iterable[NewRow]) -> None:
    """Know the rows' blobs by their hash, so that a client need not send one again."""
    blobs = {
        (row.user_id, blob.sha256, blob.key): (len(blob.content), blob.media_type)
        for row in rows
        if (blob := row.blob) is not None
    }
    if blobs:
        lines = [(*key, *facts) for key, facts in sorted(blobs.items())]
        await connection.execute(statements.BLOBS, _columns(lines))


async def _drop_seen(connection: psycopg.AsyncConnection, rows: Sequence[NewRow]) -> list[NewRow]:
    """Leave out rows whose content has come before under another time."""
    timeless = {_timeless_key(row): row for row in rows if row.is_timeless}
    if not timeless:
        return list(rows)
    keys = sorted(timeless, key=str)
    moments = [timeless[key].envelope.ts for key in keys]
    cursor = await connection.execute(statements.SEEN, [*_columns(keys), moments])
    unseen = {(row[0], row[1], row[2], row[3]) for row in await cursor.fetchall()}
    kept: list[NewRow] = []
    for row in rows:
        if row.is_timeless and _timeless_key(row) not in unseen:
            continue
        unseen.discard(_timeless_key(row))
        kept.append(row)
    return kept


async def _insert(connection: psycopg.AsyncConnection, rows: Sequence[NewRow]) -> set[Key]:
    """Insert rows, stream by stream in one order for all writers; the keys of the new ones."""
    new: set[Key] = set()
    for name in sorted({row.stream.name for row in rows}):
        chosen = sorted((row for row in rows if row.stream.name == name), key=_key)
        stream = chosen[0].stream
        cursor = await connection.execute(
            statements.insert(stream), statements.insert_parameters(stream, chosen)
        )
        new.update((row[0], row[1], row[2], row[3]) for row in await cursor.fetchall())
    return new


async def _bury(connection: psycopg.AsyncConnection, group: Sequence[_Waiting]) -> None:
    """Keep the dead letters; one that came twice in this group is written once."""
    letters = {
        letter.dead_letter_id: (letter, waiting.payload_keys.get(letter.dead_letter_id))
        for waiting in group
        for letter in waiting.batch.dead_letters
    }
    if letters:
        ordered = [letters[key] for key in sorted(letters)]
        await connection.execute(
            statements.DEAD_LETTERS, statements.dead_letter_parameters(ordered)
        )


async def _account(connection: psycopg.AsyncConnection, receipts: Sequence[Receipt]) -> None:
    lines = [
        (
            receipt.batch.batch_id,
            line.user_id,
            line.device_id,
            line.stream,
            line.day,
            receipt.batch.door,
            line.received,
            line.stored,
            line.duplicate,
            line.rejected,
        )
        for receipt in receipts
        for line in receipt.lines
    ]
    if lines:
        await connection.execute(statements.LANDING, _columns(lines))


def _receipt(batch: Batch, new: set[Key]) -> Receipt:
    """Account for one batch; a key that two of a group's rows share is new for the first only."""
    is_stored: dict[int, bool] = {}
    for index, outcome in enumerate(batch.outcomes):
        if isinstance(outcome, NewRow) and _key(outcome) in new:
            new.discard(_key(outcome))
            is_stored[index] = True
    return Receipt(batch, ledger(batch, is_stored=is_stored))


def _columns(rows: Sequence[tuple[Any, ...]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]


def _key(row: NewRow) -> Key:
    return row.user_id, row.envelope.device_id, row.envelope.ts, row.event_id


def _timeless_key(row: NewRow) -> tuple[str, str, str, UUID]:
    return row.user_id, row.envelope.device_id, row.stream.name, row.event_id


def _fail(group: Iterable[_Waiting], error: Exception) -> None:
    for waiting in group:
        if not waiting.answer.done():
            waiting.answer.set_exception(error)
