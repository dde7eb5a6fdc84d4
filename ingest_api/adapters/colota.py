"""Colota's native format: one flat JSON object a fix (or a query). Its `vel` is in m/s.

In its other templates Colota speaks the format it is set to: use that app's address then.
"""

from collections.abc import Mapping
from typing import Any

from ingest_api.adapters.adapter import (
    Adapter,
    AppRequest,
    Event,
    Item,
    Landed,
    Reply,
    json_reply,
    unread,
    url_setting,
)
from ingest_api.adapters.parameters import body_fields
from ingest_api.adapters.position import (
    LOCATION_STREAMS,
    battery,
    charging,
    fix,
    given,
    spelled_fix,
)
from ingest_api.adapters.times import utc
from ingest_api.adapters.units import known, speed
from ingest_api.errors import Reason

NAMES = {"latitude": ("lat",), "longitude": ("lon",), "altitude_m": ("alt",)}


def read(request: AppRequest) -> list[Item]:
    """The fixes of a request; custom fields stay with each.

    Raises: MalformedBodyError.
    """
    content = body_fields(request)
    messages = content if isinstance(content, list) else [content]
    return [item for message in messages for item in _items(message, request.query)]


def reply(_request: AppRequest, _landed: Landed) -> Reply:
    """Any 2xx will do; after anything else it tries for ever."""
    return json_reply({"result": "ok"})


def _items(message: Any, query: Mapping[str, str]) -> list[Item]:
    if not isinstance(message, dict):
        return [unread(message, code=Reason.NOT_AN_OBJECT, reason="a fix must be an object")]
    return list(_events({**query, **message}))


def _events(sent: Mapping[str, Any]) -> list[Event]:
    columns = {
        **spelled_fix(sent, NAMES),
        "device_id": given(sent, "device_id", "device", "tid"),
        "recorded_at": utc(given(sent, "tst", "timestamp")),
        "accuracy_m": known(given(sent, "acc")),
        "heading_deg": known(given(sent, "bear")),
        "speed_m_s": speed(given(sent, "vel")),
    }
    here = fix(columns, sent)
    return [here, *battery(given(sent, "batt"), charging(sent.get("bs")), here)]


ADAPTER = Adapter(
    name="colota",
    app="Colota",
    systems="Android",
    streams=LOCATION_STREAMS,
    read=read,
    reply=reply,
    settings=url_setting("colota", at="Endpoint"),
)
