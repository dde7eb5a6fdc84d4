"""From an app's request to an arrival at the landing stage, wherever the request came from.

The doors for apps, the MQTT subscriber and the replay of dead letters all go this way.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from am_assets.streams.registry import Registry
from ingest_api.adapters.adapter import Adapter, AppRequest, Item, Unread
from ingest_api.adapters.addressing import addressed, by_address
from ingest_api.errors import MalformedBodyError, Reason, RejectedError
from ingest_api.landing import Arrival
from ingest_api.tokens import PREFIX, Principal

log = logging.getLogger(__name__)

# What adapters look at; a token is in none of them.
KEPT_HEADERS = (
    "content-type",
    "user-agent",
    "x-device-id",
    "x-limit-u",
    "x-limit-d",
)
SECRET_FIELDS = ("p", "password", "token", "key", "api_key")


@dataclass(frozen=True, kw_only=True)
class Received:
    """An app's request that was let in, and what its adapter makes of it."""

    adapter: Adapter
    told: AppRequest
    items: Sequence[Item]


def understood(told: AppRequest, adapter: Adapter) -> Received:
    """Read a request. A body that can't be read is an item too: it becomes a dead letter whole."""
    try:
        items: Sequence[Item] = adapter.read(told)
    except (MalformedBodyError, RejectedError) as error:
        items = [unreadable(told, error)]
    return Received(adapter=adapter, told=told, items=items)


def unreadable(told: AppRequest, error: MalformedBodyError | RejectedError) -> Unread:
    """The body as it came; the query where all is in that."""
    code = error.code if isinstance(error, RejectedError) else Reason.NOT_JSON
    return Unread(
        content=told.body or _as_query(_without_secrets(told)), code=code, reason=str(error)
    )


def arrival(
    received: Received,
    *,
    principal: Principal,
    registry: Registry,
    device_id: str | None = None,
    trace_id: str | None = None,
) -> Arrival:
    """What the landing stage takes; `device_id` stands in where an event names none."""
    adapter, told, items = received.adapter, received.told, received.items
    named = principal.device_id or device_id or _asked(told) or _neighbours(items)
    return Arrival(
        elements=addressed(items, registry=registry, device_id=principal.device_id),
        route=by_address(registry),
        door=f"/{adapter.name}",
        principal=principal,
        device_id=named or adapter.name,
        trace_id=trace_id,
        request=kept(told, principal.device_id),
    )


def kept(told: AppRequest, bound_device_id: str | None) -> dict[str, Any]:
    """What has to be known besides the body to read a request once more, without its secrets."""
    return {
        "method": told.method,
        "tail": told.tail,
        "query": _without_secrets(told),
        "headers": {name: told.headers[name] for name in KEPT_HEADERS if name in told.headers},
        "device_id": bound_device_id,
    }


def again(body: bytes, facts: Mapping[str, Any], like: AppRequest) -> AppRequest:
    """The request of which `kept` told; time and secret are those of `like`."""
    is_query = body == _as_query(facts["query"])  # then there was no body
    return AppRequest(
        received_at=like.received_at,
        secret=like.secret,
        method=facts["method"],
        tail=facts["tail"],
        query=facts["query"],
        headers=facts["headers"],
        body=b"" if is_query else body,
    )


def _without_secrets(told: AppRequest) -> dict[str, str]:
    return {
        name: value
        for name, value in told.query.items()
        if name not in SECRET_FIELDS and not value.startswith(PREFIX)
    }


def _as_query(fields: Mapping[str, str]) -> bytes:
    return urlencode(fields).encode()


def _asked(told: AppRequest) -> str | None:
    """The device that a request names beside its events."""
    query = told.query
    return told.headers.get("x-device-id") or query.get("device_id") or query.get("device")


def _neighbours(items: Sequence[Item]) -> str | None:
    named = (item.columns.get("device_id") for item in items if not isinstance(item, Unread))
    return next((str(device) for device in named if device), None)
