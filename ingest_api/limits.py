"""How much the front door takes: of one token, at once, in one body, and how slowly.

Rates are counted within one process: `AM_API_REPLICAS` tells each of several how many they are, so
that together they give a token its share once. What is in memory is counted by `held`.
"""

import asyncio
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ingest_api.errors import (
    BusyError,
    IngestError,
    SlowBodyError,
    TooLargeError,
    TooManyRequestsError,
)
from ingest_api.held import HELD, Held, Memory
from ingest_api.middleware import refusal
from ingest_api.settings import Settings

MIB = 1 << 20
REMEMBER_TOKENS = 10_000
ALWAYS_OPEN = frozenset({"/healthz", "/readyz", "/metrics"})  # who watches must see a busy AM
IS_WHOLE = "am.is_whole"  # where the server says whether it has a request's whole body
CONTROL = ("/v1/pair", "/v1/blobs/missing", "/v1/blobs/presign", "/v1/blobs/uploads")


@dataclass
class Bucket:
    """A share that fills up by `rate` a second to at most `burst`.

    What is known only afterwards, such as the size of a body, may overdraw it; then nothing more
    is let in until it is filled again.
    """

    rate: float
    burst: float
    level: float
    at: float

    def wait_s(self, now: float) -> float:
        """Seconds until there is something in it; 0 = now."""
        self.level = min(self.burst, self.level + self.rate * max(0.0, now - self.at))
        self.at = max(now, self.at)
        return 0.0 if self.level >= 1 else (1 - self.level) / self.rate

    def take(self, amount: float) -> None:
        """Take out as much, even more than there is."""
        self.level -= amount

    @property
    def is_full(self) -> bool:
        """Whether a new one would be the same."""
        return self.level >= self.burst


@dataclass
class _Share:
    requests: Bucket | None
    bytes: Bucket | None


class RateLimits:
    """Each token's share of requests and bytes."""

    def __init__(self, settings: Settings, *, clock: Callable[[], float] = time.monotonic) -> None:
        """A rate of 0 means no limit."""
        self._settings = settings
        self._clock = clock
        self._shares: dict[UUID, _Share] = {}

    def admit(self, token_id: UUID) -> None:
        """Count one request of a token.

        Raises: TooManyRequestsError; then nothing was counted.
        """
        if wait_s := self.wait_s(token_id):
            raise TooManyRequestsError(
                f"this token sends more than its share: wait {math.ceil(wait_s)} s",
                retry_after_s=wait_s,
            )
        self.count(token_id)

    def count(self, token_id: UUID) -> None:
        """Count one request or frame, whether there is a share left or not."""
        share = self._share(token_id)
        if share.requests is not None:
            share.requests.take(1)

    def wait_s(self, token_id: UUID) -> float:
        """Seconds until a token has a share left, of requests and of bytes; 0 = it has."""
        share, now = self._share(token_id), self._clock()
        buckets = (share.requests, share.bytes)
        return max(bucket.wait_s(now) if bucket else 0.0 for bucket in buckets)

    def charge(self, token_id: UUID, byte_count: int) -> None:
        """Count bytes that a token has sent."""
        share = self._share(token_id)
        if share.bytes is not None:
            share.bytes.wait_s(self._clock())  # what has flown in until now
            share.bytes.take(byte_count)

    def _share(self, token_id: UUID) -> _Share:
        share = self._shares.get(token_id)
        if share is None:
            self._forget_some()
            share = self._shares[token_id] = self._full()
        return share

    def _full(self) -> _Share:
        own, now, parts = self._settings, self._clock(), self._settings.api_replicas
        return _Share(
            _bucket(own.api_requests_per_s / parts, own.api_request_burst / parts, now),
            _bucket(own.api_mb_per_s * MIB / parts, own.api_mb_burst * MIB / parts, now),
        )

    def _forget_some(self) -> None:
        """Forget shares that nobody would miss, then the oldest."""
        if len(self._shares) < REMEMBER_TOKENS:
            return
        for token_id in [key for key, share in self._shares.items() if _is_full(share)]:
            del self._shares[token_id]
        while len(self._shares) >= REMEMBER_TOKENS:
            del self._shares[next(iter(self._shares))]


def _bucket(rate: float, burst: float, now: float) -> Bucket | None:
    return Bucket(rate, max(1.0, burst), max(1.0, burst), now) if rate > 0 else None


def _is_full(share: _Share) -> bool:
    return all(bucket is None or bucket.is_full for bucket in (share.requests, share.bytes))


@dataclass(frozen=True)
class BodyLimit:
    """How many bytes a body may have, and the setting that says so."""

    byte_count: int
    setting: str

    @property
    def is_for_memory(self) -> bool:
        """Whether such a body is held in memory; blobs and their parts are spooled to disk."""
        return self.setting in ("AM_API_MAX_BODY_MB", "AM_API_MAX_CONTROL_MB")

    def exceeded(self) -> TooLargeError:
        """What a client is told."""
        return TooLargeError(
            f"the body is larger than {self.byte_count // MIB} MiB ({self.setting}): "
            "send smaller pieces"
        )


def body_limit(method: str, path: str, settings: Settings) -> BodyLimit:
    """The limit of a route's kind: control, part, blob or message. Pure."""
    is_upload = path.startswith("/v1/blobs/uploads/")
    if path in CONTROL or (is_upload and method != "PUT"):
        return BodyLimit(settings.api_max_control_mb * MIB, "AM_API_MAX_CONTROL_MB")
    if is_upload:
        return BodyLimit(settings.api_max_part_mb * MIB, "AM_API_MAX_PART_MB")
    if path.startswith("/v1/blobs") and method in {"PUT", "POST"}:
        return blob_limit(settings)
    return BodyLimit(settings.api_max_body_mb * MIB, "AM_API_MAX_BODY_MB")


def blob_limit(settings: Settings) -> BodyLimit:
    """The limit of one blob, however it comes."""
    return BodyLimit(settings.api_max_blob_mb * MIB, "AM_API_MAX_BLOB_MB")


class Admission:
    """ASGI middleware: lets in so many requests at once, with bodies so large and no slower."""

    def __init__(self, app: ASGIApp, *, settings: Settings, rates: RateLimits) -> None:
        """`rates` are charged for the bytes of requests that `auth.authorize` let in."""
        self._app = app
        self._settings = settings
        self._rates = rates
        self._memory = Memory(
            settings.api_max_pending_mb * MIB, patience_s=settings.api_pending_wait_s
        )
        self._requests = 0
        self._sockets = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request or socket."""
        if scope["type"] == "http" and scope["path"] not in ALWAYS_OPEN:
            await self._request(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._socket(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _request(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._requests >= self._settings.api_max_concurrent:
            await refusal(BusyError("AM is busy: try again in a moment"), scope)(
                scope, receive, send
            )
            return
        self._requests += 1
        try:
            await self._guarded(scope, receive, send)
        finally:
            self._requests -= 1

    async def _guarded(self, scope: Scope, receive: Receive, send: Send) -> None:
        limit = body_limit(scope["method"], scope["path"], self._settings)
        held = Held(self._memory)
        scope[HELD] = held if limit.is_for_memory else None
        guard = _Guard(self._settings, limit, (receive, send), scope)
        if _announced(scope) > limit.byte_count:
            guard.error = limit.exceeded()
        else:
            try:
                await self._app(scope, guard.receive, guard.send)
            finally:
                held.release()
            self._charge(scope, guard.byte_count)
        if guard.error is not None and not guard.is_answered:
            answer = refusal(guard.error, scope)
            answer.headers["Connection"] = "close"  # the rest of the body is not waited for
            await answer(scope, receive, send)

    def _charge(self, scope: Scope, byte_count: int) -> None:
        principal = scope.get("state", {}).get("principal")
        if principal is not None and byte_count:
            self._rates.charge(principal.token_id, byte_count)

    async def _socket(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._sockets >= self._settings.api_max_sockets:
            await receive()  # the wish to connect
            await _deny(scope, send)
            return

        held = Held(self._memory)

        async def paced() -> Message:
            held.release()  # who asks for the next frame is done with the last one
            message = await receive()
            await self._pace(scope, message, held)
            return message

        self._sockets += 1
        try:
            await self._app(scope, paced, send)
        finally:
            held.release()
            self._sockets -= 1

    async def _pace(self, scope: Scope, message: Message, held: Held) -> None:
        """Hand a frame on once its token has a share left, and AM room for it: a socket is slowed,
        never refused.
        """
        principal = scope.get("state", {}).get("principal")
        if principal is None or message["type"] != "websocket.receive":
            return
        frame = message.get("bytes") or (message.get("text") or "").encode()
        await held.reserve(len(frame), is_patient=True)
        await asyncio.sleep(self._rates.wait_s(principal.token_id))
        self._rates.count(principal.token_id)
        self._rates.charge(principal.token_id, len(frame))


class _Guard:
    """Between the server and the application: measures the body, and takes back the answer of an
    application that was given an error instead of a body.
    """

    def __init__(
        self,
        settings: Settings,
        limit: BodyLimit,
        channel: tuple[Receive, Send],
        scope: Scope,
    ) -> None:
        self.byte_count = 0
        self.error: IngestError | None = None
        self.is_answered = False
        self._settings = settings
        self._limit = limit
        self._receive, self._send = channel
        self._held: Held | None = scope[HELD]
        # Taken out: a scope that holds on to its own request is freed late.
        self._has_whole: Callable[[], bool] | None = scope.pop(IS_WHOLE, None)
        self._is_whole = False
        self._deadline = time.monotonic() + settings.api_body_timeout_s

    async def receive(self) -> Message:
        """The next piece. Raises: SlowBodyError, TooLargeError, BusyError."""
        if self._is_whole:
            return await self._receive()  # waits for the client to leave: that may take its time
        message = await self._in_time()
        self.byte_count += len(message.get("body", b""))
        self._is_whole = not message.get("more_body", False)
        if self._held is not None:
            await self._reserve(self._held, len(message.get("body", b"")))
        if self.byte_count > self._limit.byte_count:
            raise self._noted(self._limit.exceeded())
        return message

    async def send(self, message: Message) -> None:
        """Pass on what the application answers, unless the guard has to answer itself."""
        if self.error is None or self.is_answered:
            self.is_answered = True
            await self._send(message)

    async def _in_time(self) -> Message:
        if self._has_whole is not None and self._has_whole():
            return await self._receive()  # nothing to wait for: most requests need no clock
        left_s = min(self._settings.api_body_idle_s, self._deadline - time.monotonic())
        try:
            async with asyncio.timeout(left_s):
                return await self._receive()
        except TimeoutError:
            error = SlowBodyError("the body did not come in time: send smaller pieces")
            raise self._noted(error) from None

    async def _reserve(self, held: Held, byte_count: int) -> None:
        begin = time.monotonic()
        try:
            await held.reserve(byte_count)
        except BusyError as error:
            held.release()
            await self._discard()
            raise self._noted(error) from None
        self._deadline += time.monotonic() - begin  # the wait is not the client's

    async def _discard(self) -> None:
        """Let the client send to its end: before that, many don't look for an answer."""
        while not self._is_whole and self.byte_count <= self._limit.byte_count:
            message = await self._in_time()
            self.byte_count += len(message.get("body", b""))
            self._is_whole = not message.get("more_body", False)

    def _noted(self, error: IngestError) -> IngestError:
        self.error = error
        return error


def _announced(scope: Scope) -> int:
    """The body's length as its header tells; 0 where none does."""
    for name, value in scope["headers"]:
        if name == b"content-length":
            return int(value) if value.isdigit() else 0
    return 0


async def _deny(scope: Scope, send: Send) -> None:
    """Refuse a socket: as HTTP where the server can, else by closing it."""
    if "websocket.http.response" not in scope.get("extensions", {}):
        await send({"type": "websocket.close", "code": 1013, "reason": "try again later"})
        return
    headers = [(b"retry-after", b"2"), (b"content-length", b"0")]
    await send({"type": "websocket.http.response.start", "status": 503, "headers": headers})
    await send({"type": "websocket.http.response.body", "body": b""})
