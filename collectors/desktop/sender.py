"""Sends what waits, oldest first, and forgets it once the server has answered 2xx.

Sending anything again is safe: a message keeps its id and its time, a picture goes by its SHA-256.
"""

import asyncio
import gzip
import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Protocol, TypeVar

import httpx

from collectors.desktop.access import Access, reason
from collectors.desktop.errors import SpoolError
from collectors.desktop.spool import Item, Spool

log = logging.getLogger(__name__)
T = TypeVar("T")

WINDOW = 200  # messages looked at together; oldest first from window to window
MAX_BATCH_BYTES = 1 << 20
LATER = frozenset({408, 425, 429})  # and every 5xx
NOT_LET_IN = frozenset({401, 403, 407})
FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 300.0
TIMEOUT = httpx.Timeout(60, connect=10)


class HeldUpError(Exception):
    """The server takes nothing now; `wait_s` is what it asked for, None = it did not say."""

    def __init__(self, message: str, *, wait_s: float | None = None) -> None:
        """Keep both."""
        super().__init__(message)
        self.wait_s = wait_s


class RefusedError(Exception):
    """The server does not take this content, now or later."""

    def __init__(self, status: int, message: str) -> None:
        """Keep both."""
        super().__init__(message)
        self.status = status


class Runner(Protocol):
    """Runs what touches the spool where it may be touched."""

    async def __call__(self, work: Callable[[], T]) -> T:
        """The result of `work`."""


@dataclass(frozen=True)
class Sent:
    """What one round has done."""

    delivered: int
    refused: int


class Sender:
    """Empties a spool into a server."""

    def __init__(self, spool: Spool, access: Access, *, run: Runner) -> None:
        """`run` brings work into the thread of the spool."""
        self._spool = spool
        self._run = run
        self._http = httpx.AsyncClient(
            base_url=access.url,
            headers={"Authorization": f"Bearer {access.token}"},
            timeout=TIMEOUT,
        )

    async def close(self) -> None:
        """End the connections."""
        await self._http.aclose()

    async def send_all(self) -> Sent:
        """Send until nothing waits. Raises: HeldUpError, SpoolError."""
        delivered = refused = 0
        while items := await self._run(lambda: self._spool.oldest(WINDOW)):
            for batch in batches(items):
                done = await self._send(batch)
                delivered, refused = delivered + done.delivered, refused + done.refused
        return Sent(delivered, refused)

    async def keep_sending(self, fresh: asyncio.Event, *, every_s: float) -> None:
        """Send whenever there is something new, at most once in `every_s`; never ends."""
        failures = 0
        while True:
            await fresh.wait()
            fresh.clear()
            try:
                await self.send_all()
            except (HeldUpError, SpoolError) as error:
                failures += 1
                asked_s = error.wait_s if isinstance(error, HeldUpError) else None
                wait_s = wait_before(failures, asked_s=asked_s)
                log.log(_level(failures), "not sent, again in %.0f s: %s", wait_s, error)
                fresh.set()
                await asyncio.sleep(wait_s)
                continue
            if failures:
                log.info("sending works again")
            failures = 0
            await asyncio.sleep(every_s)

    async def _send(self, batch: Sequence[Item]) -> Sent:
        """Send a batch of one stream; where the server refuses it, each half by itself."""
        try:
            for item in batch:
                await self._put_picture(item)
            rejected = await self._post(batch)
        except RefusedError as error:
            return await self._halve(batch, error)
        await self._run(lambda: self._spool.delivered(batch, rejected=rejected))
        return Sent(len(batch), 0)

    async def _halve(self, batch: Sequence[Item], error: RefusedError) -> Sent:
        if len(batch) > 1:
            middle = len(batch) // 2
            first, second = await self._send(batch[:middle]), await self._send(batch[middle:])
            return Sent(first.delivered + second.delivered, first.refused + second.refused)
        told = str(error)
        await self._run(lambda: self._spool.refuse(batch[0], status=error.status, reason=told))
        log.warning("refused (%s): %s; see `am collect --status`", batch[0].stream, error)
        return Sent(0, 1)

    async def _put_picture(self, item: Item) -> None:
        if item.picture is None:
            return
        day = datetime.fromisoformat(item.element["recorded_at"]).astimezone(UTC).date()
        sha256 = hashlib.sha256(item.picture.content).hexdigest()
        await self._ask(
            "PUT",
            f"/v1/blobs/{sha256}",
            params={"stream": item.stream, "day": day.isoformat()},
            content=item.picture.content,
            headers={"Content-Type": item.picture.media_type},
        )

    async def _post(self, batch: Sequence[Item]) -> int:
        """How many of a batch the server keeps as dead letters."""
        body = json.dumps([message(item) for item in batch]).encode()
        headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        path = f"/v1/streams/{batch[0].stream}"
        answer = await self._ask("POST", path, content=gzip.compress(body, 5), headers=headers)
        rejected: int = answer["rejected"]
        if rejected:
            reasons = {str(letter["reason"]) for letter in answer["dead_letters"]}
            log.warning("%s: the server keeps %d as dead letters: %s", path, rejected, reasons)
        return rejected

    async def _ask(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        """The JSON of a 2xx. Raises: HeldUpError, RefusedError."""
        try:
            answer = await self._http.request(method, path, **request)
        except httpx.HTTPError as error:
            raise HeldUpError(f"{type(error).__name__}: {error}") from error
        return understood(answer, now=datetime.now(UTC))


def understood(answer: httpx.Response, *, now: datetime) -> dict[str, Any]:
    """The JSON of a 2xx of AM's. Raises: HeldUpError, RefusedError. Pure.

    Whatever is not clearly AM's own word on this content (a proxy's page, a wrong address) keeps
    the content waiting.
    """
    status = answer.status_code
    if status >= 500 or status in LATER:
        asked = retry_after_s(answer.headers.get("Retry-After"), now=now)
        raise HeldUpError(f"{status}: {reason(answer)}", wait_s=asked)
    if status in NOT_LET_IN:
        again = "pair this machine again (`am collect --pair CODE`)"
        raise HeldUpError(f"{status}: {reason(answer)}; {again}")
    told = _json_object(answer)
    is_refusal = answer.is_client_error and "detail" in told
    if is_refusal or status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        raise RefusedError(status, reason(answer))
    if not answer.is_success or not {"stored", "sha256"} & set(told):
        raise HeldUpError(f"{status}, but not an answer of AM's: is the address right?")
    return told


def _json_object(answer: httpx.Response) -> dict[str, Any]:
    """The object in a body; an empty one where there is none."""
    try:
        told = answer.json()
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def message(item: Item) -> dict[str, Any]:
    """What is posted for an item: its picture by name alone. Pure."""
    if item.picture is None:
        return dict(item.element)
    return {**item.element, "blob_sha256": hashlib.sha256(item.picture.content).hexdigest()}


def batches(items: Sequence[Item]) -> list[list[Item]]:
    """Items of one stream together, each batch bounded, in the order of their oldest. Pure."""
    made: list[list[Item]] = []
    open_for: dict[str, list[Item]] = {}
    sizes: dict[str, int] = {}
    for item in items:
        size = sizes.get(item.stream, 0) + item.byte_count
        if item.stream not in open_for or size > MAX_BATCH_BYTES:
            open_for[item.stream] = []
            made.append(open_for[item.stream])
            size = item.byte_count
        open_for[item.stream].append(item)
        sizes[item.stream] = size
    return made


def wait_before(failures: int, *, asked_s: float | None) -> float:
    """Seconds until the next try: doubling, and never sooner than the server asked. Pure."""
    doubled = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(failures - 1, 30))
    return max(doubled, asked_s or 0.0)


def retry_after_s(header: str | None, *, now: datetime) -> float | None:
    """Seconds that a Retry-After asks for, as a number or a date; None = none that is readable."""
    if header is None:
        return None
    if header.strip().isdecimal():
        return float(header)
    try:
        until = parsedate_to_datetime(header)
    except ValueError:
        return None
    aware = until if until.tzinfo else until.replace(tzinfo=UTC)
    return max(0.0, (aware - now).total_seconds())


def _level(failures: int) -> int:
    """An outage is said once; the tries in it only to those who look closer."""
    return logging.WARNING if failures == 1 else logging.DEBUG
