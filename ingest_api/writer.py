"""Commits what requests bring: many requests in one transaction, each answered after the commit.

One connection, one task. While a transaction is being fsynced the next group gathers, so that the
database's commits a second are no limit to requests a second (group commit). A group's statements
go out without waiting for one another's answers, where no later one depends on them.
"""

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Any
from uuid import UUID, uuid4

import psycopg

from am_assets.schemas.postgres import SCHEMA
from am_assets.streams.stream import Stream
from ingest_api import statements
from ingest_api.at_once import common_stream, store_at_once
from ingest_api.batch import Batch, DeadLetter, LedgerLine, ledger
from ingest_api.elements import NewRow
from ingest_api.errors import UnavailableError
from ingest_api.in_doubt import committed
from ingest_api.refused import refuse
from ingest_api.sheet_store import schema_of_tables, store_sheets
from ingest_api.sheets import Account

log = logging.getLogger(__name__)

MAX_WAITING = 1_000  # requests; more are answered 503 instead of filling the memory
MAX_GROUP_ROWS = 20_000
REMEMBER_S = 5.0  # a device's line need not be looked at again so soon
REMEMBER_MAX = 10_000

Key = tuple[str, str, datetime, UUID]
Devices = dict[tuple[str, str], int | None]  # offsets from UTC by user and device


@dataclass(frozen=True)
class Receipt:
    """What became of a batch: whether each element is new, a copy, or a dead letter."""

    batch: Batch
    lines: Sequence[LedgerLine]

    @cached_property
    def stored(self) -> int:
        """Rows that are new."""
        return sum(line.stored for line in self.lines)

    @cached_property
    def duplicate(self) -> int:
        """Rows that were there already."""
        return sum(line.duplicate for line in self.lines)

    @cached_property
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
        self._name = ""
        self._settling: set[asyncio.Task[None]] = set()
        self._schema = SCHEMA
        self._noted: dict[tuple[str, str], tuple[int | None, float]] = {}

    async def start(self) -> None:
        """Begin to take batches; the connection is made with the first one."""
        self._task = asyncio.create_task(self._run(), name="writer")

    async def stop(self) -> None:
        """Write all that waits, then close."""
        await self._queue.join()
        await asyncio.gather(*self._settling, return_exceptions=True)
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
            rows = group[0].batch.received
            while rows < MAX_GROUP_ROWS and not self._queue.empty():
                group.append(self._queue.get_nowait())
                rows += group[-1].batch.received
            try:
                await self._answer(group)
            except Exception as error:  # whatever it is: the next are still written
                log.exception("a group could not be written")
                _fail(group, error)
            for _ in group:
                self._queue.task_done()

    async def _answer(self, group: Sequence[_Waiting]) -> None:
        """Commit a group and answer each; a group that the data itself breaks is taken apart."""
        try:
            receipts = await self._commit(group)
        except (psycopg.OperationalError, OSError) as error:
            is_in_doubt = self._connection is not None and self._connection.closed
            await self._disconnect()
            log.warning("the database does not take data: %s", error)
            if is_in_doubt:  # the commit may have been on its way: others go on meanwhile
                self._keep(asyncio.create_task(self._settle(group, self._name, error)))
            else:
                _fail(group, UnavailableError(f"the database does not take data: {error}"))
        except psycopg.Error as error:
            await self._take_apart(group, error)
        else:
            for waiting, receipt in zip(group, receipts, strict=True):
                if not waiting.answer.done():  # the client may have gone
                    waiting.answer.set_result(receipt)

    async def _settle(self, group: Sequence[_Waiting], name: str, error: Exception) -> None:
        """Answer a group whose connection broke by what the ledger tells of it."""
        try:
            found = await committed(self._url, name, [one.batch.batch_id for one in group])
        except (UnavailableError, psycopg.Error) as failure:
            log.warning("nobody knows what became of %d requests: %s", len(group), failure)
            _fail(group, failure)
            return
        for waiting in group:
            lines = found.get(waiting.batch.batch_id)
            if lines is None:
                _fail([waiting], UnavailableError(f"the database does not take data: {error}"))
            elif not waiting.answer.done():
                waiting.answer.set_result(Receipt(waiting.batch, lines))

    def _keep(self, task: asyncio.Task[None]) -> None:
        """Hold on to a task until it is done; asyncio itself does not."""
        self._settling.add(task)
        task.add_done_callback(self._settling.discard)

    async def _take_apart(self, group: Sequence[_Waiting], error: psycopg.Error) -> None:
        """Find the request, then the row, that the database refuses; commit all others."""
        if len(group) > 1:
            for waiting in group:
                await self._answer([waiting])
            return
        (waiting,) = group
        log.warning("the database refuses a row: %s", type(error).__name__)
        if waiting.batch.one_by_one is not None:
            await self._answer([replace(waiting, batch=waiting.batch.one_by_one())])
            return
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
        batches = [waiting.batch for waiting in group]
        devices = self._unnoted(batches)
        stream = None if devices else common_stream(batches)
        if stream is not None:
            lines = await store_at_once(connection, stream, batches)
            return [Receipt(*pair) for pair in zip(batches, lines, strict=True)]
        if any(batch.sheets for batch in batches):
            receipts = await self._write_sheets(connection, group, devices)
        else:
            async with connection.pipeline():
                receipts = await self._write(connection, group, devices)
        until = time.monotonic() + REMEMBER_S
        self._noted.update((key, (offset, until)) for key, offset in devices.items())
        return receipts

    def _unnoted(self, batches: Iterable[Batch]) -> Devices:
        """The batches' devices, with their offsets from UTC, but for those just written."""
        if len(self._noted) > REMEMBER_MAX:
            self._noted.clear()
        now = time.monotonic()
        devices: Devices = {}
        for batch in batches:
            for key, offset in batch.devices.items():
                devices[key] = devices.get(key) if offset is None else offset
        return {
            key: offset for key, offset in devices.items() if not self._is_noted(key, offset, now)
        }

    def _is_noted(self, key: tuple[str, str], offset: int | None, now: float) -> bool:
        noted, until = self._noted.get(key, (None, 0.0))
        return now < until and offset in (None, noted)

    async def _write_sheets(
        self, connection: psycopg.AsyncConnection, group: Sequence[_Waiting], devices: Devices
    ) -> list[Receipt]:
        """Without a pipeline, which takes no COPY; in the hope that all is new, at first."""
        try:
            return await self._write(connection, group, devices)
        except psycopg.errors.UniqueViolation:
            return await self._write(connection, group, devices, are_new=False)

    async def _write(
        self,
        connection: psycopg.AsyncConnection,
        group: Sequence[_Waiting],
        devices: Devices,
        *,
        are_new: bool = True,
    ) -> list[Receipt]:
        batches = [waiting.batch for waiting in group]
        async with connection.transaction():
            rows = [row for batch in batches for row in batch.rows]
            await _note_devices(connection, devices)
            unseen = await _drop_seen(connection, rows)
            new = await _insert(connection, unseen)
            grown = await _grow(connection, unseen, new)
            sheets = [sheet for batch in batches for sheet in batch.sheets]
            schema = self._schema
            stored = await store_sheets(connection, sheets, schema=schema, are_new=are_new)
            await _note_blobs(connection, rows)
            receipts = [_receipt(batch, new, grown, stored) for batch in batches]
            await _bury(connection, group)
            await _account(connection, receipts)
        return receipts

    async def _connected(self) -> psycopg.AsyncConnection:
        if self._connection is None or self._connection.closed:
            self._connection, self._name = None, f"am-writer-{uuid4()}"
            self._connection = await psycopg.AsyncConnection.connect(
                self._url, autocommit=True, connect_timeout=3, application_name=self._name
            )
            self._schema = await schema_of_tables(self._connection)
        return self._connection

    async def _disconnect(self) -> None:
        if self._connection is not None:
            await self._connection.close()
            self._connection = None


async def _note_devices(connection: psycopg.AsyncConnection, offsets: Devices) -> None:
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
    by_stream: dict[Stream, list[NewRow]] = {}
    for row in rows:
        by_stream.setdefault(row.stream, []).append(row)
    cursors = [
        await connection.execute(
            statements.insert(stream),
            statements.insert_parameters(stream, sorted(by_stream[stream], key=_key)),
        )
        for stream in sorted(by_stream, key=lambda stream: stream.name)
    ]
    return {
        (row[0], row[1], row[2], row[3]) for cursor in cursors for row in await cursor.fetchall()
    }


async def _grow(
    connection: psycopg.AsyncConnection, rows: Sequence[NewRow], new: set[Key]
) -> set[Key]:
    """Raise what these rows tell longer of events that were there; the keys of those events."""
    growing = [row for row in rows if row.stream.grows]
    times = Counter(_key(row) for row in growing)
    told: dict[Stream, dict[Key, float]] = {}
    for row in growing:
        key, value = _key(row), row.values[row.stream.grows or ""]
        if value is not None and (key not in new or times[key] > 1):
            values = told.setdefault(row.stream, {})
            values[key] = max(value, values.get(key, value))
    grown: set[Key] = set()
    for stream in sorted(told, key=lambda stream: stream.name):
        lines = [(*key, value) for key, value in sorted(told[stream].items())]
        cursor = await connection.execute(statements.grow(stream), _columns(lines))
        grown.update((row[0], row[1], row[2], row[3]) for row in await cursor.fetchall())
    return grown


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
            line.grown,
        )
        for receipt in receipts
        for line in receipt.lines
    ]
    if lines:
        await connection.execute(statements.LANDING, _columns(lines))


def _receipt(
    batch: Batch, new: set[Key], grown: set[Key], stored: Mapping[int, Mapping[Account, int]]
) -> Receipt:
    """Account for one batch; a key that two of a group's rows share is new for the first only.

    `stored`: what is new of each sheet, by the sheet's `id`.
    """
    is_stored: dict[int, bool] = {}
    has_grown: set[int] = set()
    for index, outcome in enumerate(batch.outcomes):
        if isinstance(outcome, NewRow) and _key(outcome) in new:
            new.discard(_key(outcome))
            is_stored[index] = True
        elif isinstance(outcome, NewRow) and _key(outcome) in grown:
            grown.discard(_key(outcome))
            has_grown.add(index)
    of_sheets = [stored[id(sheet)] for sheet in batch.sheets]
    lines = ledger(batch, is_stored=is_stored, has_grown=has_grown, stored=of_sheets)
    return Receipt(batch, lines)


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
