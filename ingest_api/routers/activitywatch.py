"""ActivityWatch's REST API, so that its watchers and clients work as with its own server.

The watchers drop what is not answered with success. So nothing that they send is refused for what
is in it: it is a row, or a dead letter; and where the database does not take data for a moment,
their requests wait for it. Nothing is deleted here.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar
from weakref import WeakValueDictionary

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import JSONResponse

from ingest_api import watch_buckets
from ingest_api.adapters import activitywatch as app
from ingest_api.adapters.activitywatch import ADAPTER, Bucket, Seen, bucket_of
from ingest_api.adapters.activitywatch_query import Asked, answer, clipped, period_of
from ingest_api.adapters.adapter import AppRequest, Event, Item
from ingest_api.adapters.forms import form_and_files
from ingest_api.answers import SERVICE
from ingest_api.app_requests import Received, arrival, unreadable
from ingest_api.audit import tally_of
from ingest_api.auth import authorize
from ingest_api.bodies import read_body, read_json
from ingest_api.errors import (
    ForbiddenError,
    IngestError,
    MalformedBodyError,
    NotFoundError,
    RejectedError,
    UnavailableError,
)
from ingest_api.pooled import pooled
from ingest_api.routers.adapters import land, split_token
from ingest_api.routers.asking import answering
from ingest_api.services import Services
from ingest_api.tokens import Principal, Scope

PREFIXES = ("", "/activitywatch", "/activitywatch/{token}")
BASE = "/api/0"
WAIT_S = 20.0  # a request is held so long for a database that is not there
RETRY_S = 0.25
MANY = 5_000  # events that are landed at once
MAX_PERIODS = 100
KEEPS = "AM deletes nothing that it was told here; `am erase` erases"

Result = TypeVar("Result")
Body = Callable[[Request], Awaitable[Any]]
Id = Annotated[str, Path(max_length=256)]
Time = Annotated[datetime | None, Query()]
Limit = Annotated[int, Query()]


class TooManyEventsError(IngestError):
    """More events than one answer holds."""


class Turns:
    """One request a bucket at a time: what one beat adds, the next one must see."""

    def __init__(self) -> None:
        """Nobody waits."""
        self._locks: WeakValueDictionary[tuple[str, str], asyncio.Lock] = WeakValueDictionary()

    def of(self, user_id: str, bucket_id: str) -> asyncio.Lock:
        """The bucket's own lock."""
        return self._locks.setdefault((user_id, bucket_id), asyncio.Lock())


TURNS = Turns()
router = APIRouter(tags=["apps"])


async def info(request: Request) -> dict[str, Any]:
    """What a watcher asks first: whether there is a server. It tells nothing of anybody."""
    return {
        "hostname": SERVICE,
        "version": f"v{request.app.version} ({SERVICE})",
        "testing": False,
        "device_id": SERVICE,
    }


async def buckets(request: Request) -> dict[str, Any]:
    """All buckets by id, as their watchers described them."""
    principal = await _let_in(request, Scope.READ)
    found = await asyncio.to_thread(_all_buckets, request, principal)
    tally_of(request).count = len(found)
    return {bucket.bucket_id: described(bucket) for bucket in found}


async def bucket(request: Request, bucket_id: Id) -> dict[str, Any]:
    """One bucket."""
    principal = await _let_in(request, Scope.READ)
    return described(await asyncio.to_thread(_one_bucket, request, principal, bucket_id))


async def make_bucket(request: Request, bucket_id: Id) -> Response:
    """Make a bucket: 200 where it is new, 304 where it is there. Nothing of it is changed then."""
    principal = await _let_in(request, Scope.WRITE)
    try:
        told = read_json(await _body(request))
    except MalformedBodyError:
        told = {}  # the id alone tells enough
    wanted = _at(bucket_of(bucket_id, told), principal, request)
    is_new = await _patient(lambda: _make(request, principal, wanted))
    return JSONResponse({}) if is_new else Response(status_code=304)


async def heartbeat(
    request: Request, bucket_id: Id, pulsetime: Annotated[float, Query()] = 0.0
) -> Response:
    """Prolong the bucket's last event, or begin the next one. The event as it is now."""
    principal = await _let_in(request, Scope.WRITE)
    told = await _told(request)
    known = await _patient(lambda: _known(request, principal, bucket_id))
    try:
        beat = app.seen(read_json(told.body))
    except (MalformedBodyError, RejectedError) as error:
        await _landed(request, principal, told, [unreadable(told, error)])
        return JSONResponse(None)
    async with TURNS.of(principal.user_id, bucket_id):
        event = await _patient(
            lambda: _beaten(request, principal, known, beat, pulsetime_s=pulsetime)
        )
        await _landed(request, principal, told, [app.event_of(event, known)])
    return JSONResponse(event.as_sent(bucket_id))


async def insert(request: Request, bucket_id: Id) -> Response:
    """Keep events as they are; one that is there already is prolonged where this one is longer."""
    principal = await _let_in(request, Scope.WRITE)
    told = await _told(request)
    known = await _patient(lambda: _known(request, principal, bucket_id))
    try:
        content = read_json(told.body)
    except MalformedBodyError as error:
        await _landed(request, principal, told, [unreadable(told, error)])
        return JSONResponse(None)
    events = content if isinstance(content, list) else [content]
    items = await asyncio.to_thread(app.items, events, known)
    await _landed(request, principal, told, items)
    is_one = len(events) == 1 and isinstance(items[0], Event)
    return JSONResponse(app.seen(events[0]).as_sent(bucket_id) if is_one else None)


async def events(
    request: Request,
    bucket_id: Id,
    start: Time = None,
    end: Time = None,
    limit: Limit = -1,
) -> list[dict[str, Any]]:
    """A bucket's events within a span, the newest first, cut at its ends.

    What has left the database for the lake is not among them.
    """
    principal = await _let_in(request, Scope.READ)
    wanted = watch_buckets.Wanted(
        begin=_aware(start), end=_aware(end), limit=None if limit < 0 else limit
    )
    found = await asyncio.to_thread(_events, request, principal, bucket_id, wanted)
    tally_of(request).count = len(found)
    return found


async def event_count(request: Request, bucket_id: Id, start: Time = None, end: Time = None) -> int:
    """How many events touch a span."""
    principal = await _let_in(request, Scope.READ)
    wanted = watch_buckets.Wanted(begin=_aware(start), end=_aware(end))

    def count() -> int:
        found = _one_bucket(request, principal, bucket_id)
        with answering(), _services(request).asking.whole.reader(principal.user_id) as reader:
            return watch_buckets.count_of(
                reader,
                user_id=principal.user_id,
                bucket=found,
                registry=_services(request).registry,
                wanted=wanted,
            )

    return await asyncio.to_thread(count)


async def event(request: Request, bucket_id: Id, event_id: int) -> dict[str, Any]:
    """One event by its number."""
    principal = await _let_in(request, Scope.READ)
    wanted = watch_buckets.Wanted(number=event_id)
    found = await asyncio.to_thread(_events, request, principal, bucket_id, wanted)
    if not found:
        raise NotFoundError(f"there is no event {event_id} in bucket {bucket_id!r}")
    return found[0]


async def delete_event(request: Request, bucket_id: Id, event_id: int) -> None:
    """Refused: nothing is deleted here, and least of all silently."""
    await _let_in(request, Scope.WRITE)
    raise ForbiddenError(f"event {event_id} of {bucket_id!r} stays: {KEEPS}")


async def delete_bucket(request: Request, bucket_id: Id) -> None:
    """Refused, with or without `force`."""
    await _let_in(request, Scope.WRITE)
    raise ForbiddenError(f"bucket {bucket_id!r} stays: {KEEPS}")


async def query(request: Request) -> list[Any]:
    """The answer to a query for each of its periods."""
    principal = await _let_in(request, Scope.READ)
    asked = read_json(await _body(request))
    if not isinstance(asked, Mapping) or not isinstance(asked.get("timeperiods"), list):
        raise MalformedBodyError('a query is {"timeperiods": […], "query": […]}')
    periods = [period_of(period) for period in asked["timeperiods"][:MAX_PERIODS]]
    if len(periods) < len(asked["timeperiods"]):
        raise MalformedBodyError(f"at most {MAX_PERIODS} timeperiods at once")

    def answers() -> list[Any]:
        known = {one.bucket_id: one for one in _all_buckets(request, principal)}
        results = []
        for period in periods:
            wanted = watch_buckets.Wanted(begin=period.begin, end=period.end)

            def events_of(
                wanted_of: Bucket, wanted: watch_buckets.Wanted = wanted
            ) -> list[dict[str, Any]]:
                return _events_of(request, principal, wanted_of, wanted)

            results.append(answer(asked.get("query"), Asked(known, events_of)))
        return results

    return await asyncio.to_thread(answers)


async def export(request: Request) -> dict[str, Any]:
    """All buckets with their events, as the app's own server exports them."""
    principal = await _let_in(request, Scope.READ)

    def everything() -> dict[str, Any]:
        found = _all_buckets(request, principal)
        return {one.bucket_id: _exported(request, principal, one) for one in found}

    return {"buckets": await asyncio.to_thread(everything)}


async def export_bucket(request: Request, bucket_id: Id) -> dict[str, Any]:
    """One bucket with its events."""
    principal = await _let_in(request, Scope.READ)

    def one() -> dict[str, Any]:
        found = _one_bucket(request, principal, bucket_id)
        return {"buckets": {bucket_id: _exported(request, principal, found)}}

    return await asyncio.to_thread(one)


async def import_all(request: Request) -> Response:
    """Make the buckets of an export and keep their events; what is there stays as it is."""
    principal = await _let_in(request, Scope.WRITE)
    told = await _told(request)
    for content in _exports(told):
        for wanted, sent in app.imported(content):
            placed = _at(wanted, principal, request)
            await _patient(lambda placed=placed: _make(request, principal, placed))  # type: ignore[misc]  # a loop variable, bound
            for begin in range(0, len(sent), MANY):
                items = await asyncio.to_thread(app.items, sent[begin : begin + MANY], placed)
                await _landed(request, principal, told, items)
    return JSONResponse({})


def described(found: Bucket) -> dict[str, Any]:
    """A bucket in the app's own form."""
    created = None if found.created_at is None else found.created_at.astimezone(UTC).isoformat()
    return {
        "id": found.bucket_id,
        "created": created,
        "name": found.name,
        "type": found.type,
        "client": found.client,
        "hostname": found.hostname,
        "data": dict(found.data or {}),
    }


ROUTES: tuple[tuple[str, str, Callable[..., Any]], ...] = (
    ("GET", "/info", info),
    ("GET", "/buckets/", buckets),
    ("GET", "/buckets", buckets),
    ("GET", "/buckets/{bucket_id}", bucket),
    ("POST", "/buckets/{bucket_id}", make_bucket),
    ("DELETE", "/buckets/{bucket_id}", delete_bucket),
    ("GET", "/buckets/{bucket_id}/export", export_bucket),
    ("POST", "/buckets/{bucket_id}/heartbeat", heartbeat),
    ("POST", "/buckets/{bucket_id}/events", insert),
    ("GET", "/buckets/{bucket_id}/events", events),
    ("GET", "/buckets/{bucket_id}/events/count", event_count),
    ("GET", "/buckets/{bucket_id}/events/{event_id}", event),
    ("DELETE", "/buckets/{bucket_id}/events/{event_id}", delete_event),
    ("POST", "/query/", query),
    ("POST", "/query", query),
    ("GET", "/export", export),
    ("POST", "/import", import_all),
)
for prefix in PREFIXES:
    for method, path, endpoint in ROUTES:
        router.add_api_route(
            f"{prefix}{BASE}{path}",
            endpoint,
            methods=[method],
            operation_id=f"watch_{endpoint.__name__}",
            include_in_schema=not prefix and path not in ("/buckets", "/query"),
            response_model=None,
        )


async def _let_in(request: Request, scope: Scope) -> Principal:
    """Who is there; the token may be in the path.

    Raises: UnauthorizedError, ForbiddenError, TooManyRequestsError, UnavailableError.
    """
    token, _ = split_token(request.url.path)
    return await _patient(lambda: authorize(request, scope, app_token=token))


async def _patient(work: Callable[[], Awaitable[Result]]) -> Result:
    """Do what needs the database; wait a while for it where it is not there.

    Raises: UnavailableError when it did not come back.
    """
    until = time.monotonic() + WAIT_S
    while True:
        try:
            return await work()
        except UnavailableError:
            if time.monotonic() > until:
                raise
            await asyncio.sleep(RETRY_S)


async def _body(request: Request) -> bytes:
    limit = _services(request).settings.api_max_body_mb << 20
    return await read_body(request, limit=limit)


async def _told(request: Request) -> AppRequest:
    """The request as the adapter knows it, so that a dead letter can be read once more."""
    _, tail = split_token(request.url.path.removeprefix(f"/{ADAPTER.name}"))
    return AppRequest(
        received_at=datetime.now(UTC),
        method=request.method,
        tail=tail,
        query=dict(request.query_params),
        headers=dict(request.headers),
        body=await _body(request),
    )


async def _landed(
    request: Request, principal: Principal, told: AppRequest, items: list[Item]
) -> None:
    """Commit all items.

    Raises: UnavailableError.
    """
    if not items:
        return
    brought = await asyncio.to_thread(
        arrival,
        Received(adapter=ADAPTER, told=told, items=items),
        principal=principal,
        registry=_services(request).registry,
        trace_id=request.state.trace_id,
    )
    await _patient(lambda: land(request, brought))


async def _make(request: Request, principal: Principal, wanted: Bucket) -> bool:
    async with pooled(_services(request).pool) as connection:
        return await watch_buckets.make(
            connection,
            user_id=principal.user_id,
            device_id=_device(wanted, principal),
            bucket=wanted,
        )


async def _known(request: Request, principal: Principal, bucket_id: str) -> Bucket:
    """A bucket as it was made, or as its id tells where nobody has made it: nothing gets lost."""
    async with pooled(_services(request).pool) as connection:
        found = await watch_buckets.find(connection, user_id=principal.user_id, bucket_id=bucket_id)
        if found is not None:
            return found
        guessed = _at(bucket_of(bucket_id), principal, request)
    await _make(request, principal, guessed)
    return guessed


async def _beaten(
    request: Request, principal: Principal, known: Bucket, beat: Seen, *, pulsetime_s: float
) -> Seen:
    """The event that a heartbeat belongs to."""
    stream = app.event_of(beat, known).stream
    async with pooled(_services(request).pool) as connection:
        last = await watch_buckets.last_before(
            connection,
            user_id=principal.user_id,
            device_id=_device(known, principal),
            bucket_id=known.bucket_id,
            stream=_services(request).registry[stream],
            at=beat.at,
        )
    event = app.prolonged(last, beat, pulsetime_s=pulsetime_s)
    return replace(event, tz_offset_min=beat.tz_offset_min)


def _device(known: Bucket, principal: Principal) -> str:
    return principal.device_id or known.hostname or ADAPTER.name


def _at(wanted: Bucket, principal: Principal, request: Request) -> Bucket:
    """The bucket with a hostname; `!local` asks the server for one."""
    if wanted.hostname not in ("", "!local"):
        return wanted
    named = principal.device_id or request.headers.get("x-device-id") or ADAPTER.name
    return replace(wanted, hostname=named)


def _all_buckets(request: Request, principal: Principal) -> list[Bucket]:
    with answering(), _services(request).asking.hot.reader(principal.user_id) as reader:
        return watch_buckets.all_of(reader, user_id=principal.user_id)


def _one_bucket(request: Request, principal: Principal, bucket_id: str) -> Bucket:
    """Raises: NotFoundError."""
    with answering(), _services(request).asking.hot.reader(principal.user_id) as reader:
        found = watch_buckets.one_of(reader, user_id=principal.user_id, bucket_id=bucket_id)
    if found is None:
        raise NotFoundError(f"there is no bucket {bucket_id!r}")
    return found


def _events(
    request: Request, principal: Principal, bucket_id: str, wanted: watch_buckets.Wanted
) -> list[dict[str, Any]]:
    return _events_of(request, principal, _one_bucket(request, principal, bucket_id), wanted)


def _events_of(
    request: Request, principal: Principal, found: Bucket, wanted: watch_buckets.Wanted
) -> list[dict[str, Any]]:
    """Raises: TooManyEventsError."""
    services = _services(request)
    with answering(), services.asking.whole.reader(principal.user_id) as reader:
        seen = watch_buckets.events_of(
            reader,
            user_id=principal.user_id,
            bucket=found,
            registry=services.registry,
            wanted=wanted,
        )
    if len(seen) > watch_buckets.MAX_EVENTS:
        raise TooManyEventsError(
            f"bucket {found.bucket_id!r} has more than {watch_buckets.MAX_EVENTS} events there: "
            "ask for a shorter span, or set limit"
        )
    begin = wanted.begin or datetime.min.replace(tzinfo=UTC)
    end = wanted.end or datetime.max.replace(tzinfo=UTC)
    return [clipped(one.as_sent(found.bucket_id), begin, end) for one in seen]


def _exported(request: Request, principal: Principal, found: Bucket) -> dict[str, Any]:
    listed = _events_of(request, principal, found, watch_buckets.Wanted())
    return {**described(found), "events": listed}


def _exports(told: AppRequest) -> list[Any]:
    """The exports in a body: JSON, or files of it.

    Raises: MalformedBodyError.
    """
    if told.media_type != "multipart/form-data":
        return [read_json(told.body)]
    _, files = form_and_files(told)
    return [read_json(content) for _, content in files]


def _aware(moment: datetime | None) -> datetime | None:
    """A time without a zone is UTC, as the app's own server has it."""
    return moment if moment is None or moment.tzinfo else moment.replace(tzinfo=UTC)


def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services
