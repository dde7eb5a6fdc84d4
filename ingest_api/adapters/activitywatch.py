"""ActivityWatch's events: what a watcher saw, from when, for how long. The pure part of its API.

An event is one row that grows: its id is made of bucket, time and data, never of its length, so
that a heartbeat that prolongs it, or a copy that comes once more, finds the same row.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

from am_assets.schemas.row_ids import NAMESPACE
from ingest_api.adapters.adapter import (
    Adapter,
    AppRequest,
    Door,
    Event,
    Item,
    Landed,
    Reply,
    Setting,
    json_reply,
    unread,
)
from ingest_api.adapters.times import utc
from ingest_api.adapters.units import is_number, number
from ingest_api.bodies import read_json
from ingest_api.errors import MalformedBodyError, Reason, RejectedError
from ingest_api.instants import read_instant

WINDOWS = "os.events.app_lifecycle.raw"
PRESENCE = "os.events.system.raw"
PAGES = "external.web.visits.raw"
ACTIVITY = "digital.activity.raw"
STREAMS = (WINDOWS, PRESENCE, PAGES, ACTIVITY)
ID_BITS = 53  # of an event's id as a number: as many as JSON keeps exactly
TYPES = {
    "aw-watcher-window": "currentwindow",
    "aw-watcher-afk": "afkstatus",
    "aw-watcher-web": "web.tab.current",
    "aw-watcher-vim": "app.editor.activity",
    "aw-watcher-vscode": "app.editor.activity",
}
WEB = re.compile(r"^aw-watcher-web-([a-z0-9]+)")
PATH = re.compile(r"(^|/)buckets/(?P<bucket>[^/]+)/(heartbeat|events)$")
IMPORT = re.compile(r"(^|/)import$")

Data = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Bucket:
    """One watcher's series on one machine."""

    bucket_id: str
    type: str
    client: str
    hostname: str
    name: str | None = None
    data: Mapping[str, Any] | None = None
    created_at: datetime | None = None

    @property
    def streams(self) -> tuple[str, ...]:
        """Where its events are: in the type's own stream, and where that does not take one."""
        return tuple(dict.fromkeys((READERS[self.type][0], ACTIVITY))) if self.is_known else STREAMS

    @property
    def is_known(self) -> bool:
        """Whether its type has a stream of its own."""
        return self.type in READERS


@dataclass(frozen=True, kw_only=True)
class Seen:
    """An event as a watcher tells it, in aware UTC."""

    at: datetime
    duration_s: float
    data: Data
    tz_offset_min: int | None = None

    @property
    def end(self) -> datetime:
        """When it was over, as far as is known."""
        return self.at + timedelta(seconds=self.duration_s)

    def event_id(self, bucket_id: str) -> UUID:
        """The same for the same thing at the same time, however long it lasted."""
        told = json.dumps(self.data, sort_keys=True, default=str)
        return uuid5(NAMESPACE, "\n".join(("watch", bucket_id, self.at.isoformat(), told)))

    def as_sent(self, bucket_id: str) -> dict[str, Any]:
        """In the app's own form."""
        return {
            "id": number_of(self.event_id(bucket_id)),
            "timestamp": self.at.isoformat(),
            "duration": self.duration_s,
            "data": dict(self.data),
        }


def number_of(event_id: UUID) -> int:
    """An event's id as the app wants it."""
    return event_id.int & ((1 << ID_BITS) - 1)


def bucket_of(bucket_id: str, told: Any = None) -> Bucket:
    """A bucket as its maker describes it; what is missing is read from its id.

    Watchers call theirs `<client>_<hostname>`.
    """
    facts = told if isinstance(told, Mapping) else {}
    client, _, hostname = bucket_id.partition("_")
    client = _text(facts.get("client")) or client
    kind = next((kind for name, kind in TYPES.items() if client.startswith(name)), "")
    data = facts.get("data")
    return Bucket(
        bucket_id=bucket_id,
        type=_text(facts.get("type")) or kind,
        client=client,
        hostname=_text(facts.get("hostname")) or hostname,
        name=_text(facts.get("name")),
        data=data if isinstance(data, Mapping) else None,
    )


def seen(sent: Any) -> Seen:
    """Understand an event.

    Raises: RejectedError.
    """
    if not isinstance(sent, Mapping):
        raise RejectedError(Reason.NOT_AN_OBJECT, "an event must be an object")
    data, duration = sent.get("data"), number(sent.get("duration") or 0)
    if not isinstance(data, Mapping):
        raise RejectedError(Reason.BAD_VALUE, "data must be an object")
    if not is_number(duration) or duration < 0:
        raise RejectedError(Reason.BAD_VALUE, "duration must be seconds, 0 or more")
    if sent.get("timestamp") is None:
        raise RejectedError(Reason.NO_TIME, "timestamp must say when")
    instant = read_instant(utc(sent["timestamp"]), known_offset_min=None)
    return Seen(
        at=instant.ts, duration_s=float(duration), data=data, tz_offset_min=instant.tz_offset_min
    )


def prolonged(last: Seen | None, beat: Seen, *, pulsetime_s: float) -> Seen:
    """The event that a heartbeat belongs to: the one before it, grown, or a new one.

    It belongs to the one before where that has the same data, and ended no more than `pulsetime_s`
    ago.
    """
    if last is None or dict(last.data) != dict(beat.data):
        return beat
    try:
        until = last.end + timedelta(seconds=pulsetime_s)
    except OverflowError:  # for ever
        until = datetime.max.replace(tzinfo=UTC)
    if not last.at <= beat.at <= until:
        return beat
    length_s = (beat.at - last.at).total_seconds() + beat.duration_s
    return replace(last, duration_s=max(last.duration_s, length_s))


def item_of(sent: Any, bucket: Bucket) -> Item:
    """One event as it was sent, for the stream of its bucket."""
    try:
        return event_of(seen(sent), bucket)
    except RejectedError as error:
        return unread(sent, code=error.code, reason=str(error))


def event_of(told: Seen, bucket: Bucket) -> Event:
    """A row's columns; what the bucket's type can't place is an activity."""
    stream, columns = ACTIVITY, _activity(told, bucket)
    if bucket.is_known:
        own_stream, read_own = READERS[bucket.type]
        own = read_own(told, bucket)
        stream, columns = (stream, columns) if own is None else (own_stream, own)
    envelope = {
        "device_id": bucket.hostname or None,
        "recorded_at": told.at.isoformat(),
        "tz_offset_min": told.tz_offset_min,
        "event_id": str(told.event_id(bucket.bucket_id)),
        "bucket": bucket.bucket_id,
        "data": dict(told.data),
    }
    return Event(stream=stream, columns={**envelope, **columns})


def read(request: AppRequest) -> list[Item]:
    """The events of a request by their own words; the router knows what came before, this does not.

    Raises: MalformedBodyError; RejectedError for a path that takes none.
    """
    found = PATH.search(request.tail)
    if found is None and not IMPORT.search(request.tail):
        raise RejectedError(Reason.UNKNOWN_TYPE, "send to …/api/0/buckets/{bucket}/heartbeat")
    content = read_json(request.body)
    if found is not None:
        sent = content if isinstance(content, list) else [content]
        return [item_of(one, bucket_of(found["bucket"])) for one in sent]
    return [item for bucket, events in imported(content) for item in items(events, bucket)]


def items(events: list[Any], bucket: Bucket) -> list[Item]:
    """Each event on its own."""
    return [item_of(one, bucket) for one in events]


def imported(content: Any) -> list[tuple[Bucket, list[Any]]]:
    """Buckets with their events, as an export holds them.

    Raises: MalformedBodyError.
    """
    buckets = content.get("buckets") if isinstance(content, Mapping) else None
    if not isinstance(buckets, Mapping):
        raise MalformedBodyError('an export is an object: {"buckets": {…}}')
    return [(bucket_of(str(key), told), _events_in(told)) for key, told in buckets.items()]


def reply(_request: AppRequest, _landed: Landed) -> Reply:
    """The app reads no more than the status."""
    return json_reply(None)


def _events_in(bucket: Any) -> list[Any]:
    events = bucket.get("events") if isinstance(bucket, Mapping) else None
    return events if isinstance(events, list) else []


def _window(told: Seen, _bucket: Bucket) -> dict[str, Any] | None:
    app = _text(told.data.get("app"))
    if app is None:
        return None
    return {
        "app_identifier": app,
        "event_type": "foreground",
        "window_title": _text(told.data.get("title")),
        "duration_s": told.duration_s,
    }


def _presence(told: Seen, _bucket: Bucket) -> dict[str, Any] | None:
    status = _text(told.data.get("status"))
    if status is None or not status.strip():
        return None
    return {
        "event_type": status,
        "event_category": "presence",
        "duration_s": told.duration_s,
    }


def _page(told: Seen, bucket: Bucket) -> dict[str, Any] | None:
    url = _text(told.data.get("url"))
    if url is None:
        return None
    browser = WEB.match(bucket.client) or WEB.match(bucket.bucket_id)
    tabs = number(told.data.get("tabCount"))
    is_private = told.data.get("incognito")
    return {
        "url": url,
        "title": _text(told.data.get("title")),
        "visit_duration_s": told.duration_s,
        "browser": browser[1] if browser else None,
        "tab_count": tabs if isinstance(tabs, int) and tabs >= 0 else None,
        "is_incognito": is_private if isinstance(is_private, bool) else None,
    }


def _activity(told: Seen, bucket: Bucket) -> dict[str, Any]:
    columns = {name: _text(told.data.get(name)) for name in ("project", "file", "language")}
    kind = bucket.type or bucket.client or "unknown"
    return {**columns, "activity_type": kind, "duration_s": told.duration_s}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


# A bucket's type: the stream of its events, and their columns; None = the data is not of the type.
READERS: Mapping[str, tuple[str, Callable[[Seen, Bucket], dict[str, Any] | None]]] = {
    "currentwindow": (WINDOWS, _window),
    "afkstatus": (PRESENCE, _presence),
    "web.tab.current": (PAGES, _page),
}


def _settings(door: Door) -> list[Setting]:
    scheme, _, host = door.base.partition("://")
    name, _, port = host.rpartition(":") if ":" in host.rpartition("]")[2] else (host, "", "")
    return [
        Setting(name="aw-client.toml, [server] hostname", value=f"am:{door.token}@{name}"),
        Setting(
            name="aw-client.toml, [server] port",
            value=port or ("443" if scheme == "https" else "80"),
        ),
        Setting(
            name="or, where the base of the API can be set",
            value=f"{door.base}/activitywatch/{door.token}",
        ),
    ]


ADAPTER = Adapter(
    name="activitywatch",
    app="ActivityWatch's watchers",
    systems="Linux, macOS, Windows, browsers",
    streams=STREAMS,
    read=read,
    reply=reply,
    settings=_settings,
    roots=("/api/0/buckets/{name}/events",),
    has_own_router=True,
)
