"""Notifications for devices: kept until each device says that it was delivered.

Their ids are integers, because phones can show nothing else. What a device says of one is a row of
`device.notification.response.raw`, and the state of its delivery.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal

from psycopg import AsyncConnection
from psycopg.rows import class_row
from psycopg.types.json import Json
from pydantic import BaseModel, ConfigDict, Field

from ingest_api.elements import INT64
from ingest_api.envelope import MAX_DEVICE_ID, TIME_FIELDS
from ingest_api.unified import time_in

RESPONSES = "device.notification.response.raw"
DAY_S = 86_400
MAX_AT_ONCE = 100
TAPS = frozenset({"clicked", "click", "tap", "open"})
DISMISSALS = frozenset({"dismissed", "dismiss"})
# What clients call the same thing.
ACTION, ACTION_DATA = ("action_id", "action"), ("action_data", "actionData", "response_data")
TEXT = ("text_input", "text_response")
ENVELOPE = frozenset({"type", "message_type", "response", *ACTION, *ACTION_DATA})

CREATE = """
INSERT INTO am.notification (user_id, device_id, title, body, data, priority, expires_at)
VALUES (%s, %s, %s, %s, %s, %s, now() + make_interval(secs => %s))
RETURNING notification_id
"""
PENDING = """
SELECT n.notification_id, n.title, n.body, n.data, n.priority, n.created_at
FROM am.notification n
WHERE n.user_id = %(user_id)s AND n.expires_at > now()
    AND n.notification_id <> ALL(%(sent)s::bigint[])
    AND (n.device_id IS NULL OR n.device_id = %(device_id)s OR n.device_id IN (
        SELECT same.device_id FROM am.device_identity own
        JOIN am.device_identity same USING (user_id, canonical_id)
        WHERE own.user_id = %(user_id)s AND own.device_id = %(device_id)s))
    AND NOT EXISTS (SELECT FROM am.notification_delivery d
        WHERE d.notification_id = n.notification_id AND d.device_id = %(device_id)s
        AND coalesce(d.delivered_at, d.read_at, d.responded_at) IS NOT NULL)
ORDER BY n.notification_id LIMIT %(limit)s
"""
SENT = """
INSERT INTO am.notification_delivery AS known
    (notification_id, user_id, device_id, sent_at, times_sent)
SELECT id, %(user_id)s, %(device_id)s, now(), 1 FROM unnest(%(ids)s::bigint[]) AS id
ON CONFLICT (notification_id, device_id) DO UPDATE SET times_sent = known.times_sent + 1,
    sent_at = coalesce(known.sent_at, excluded.sent_at)
"""


class State(StrEnum):
    """What a device says of a notification: the column that keeps when."""

    DELIVERED = "delivered_at"
    READ = "read_at"
    RESPONDED = "responded_at"


# The column is one of State's; what a client names is never part of the statement.
WHEN = """
SELECT {column} FROM am.notification_delivery
WHERE user_id = %s AND device_id = %s AND notification_id = %s
"""
NOTE = """
INSERT INTO am.notification_delivery AS known (notification_id, user_id, device_id, {column})
SELECT notification_id, user_id, %(device_id)s, %(at)s FROM am.notification
WHERE user_id = %(user_id)s AND notification_id = %(notification_id)s
ON CONFLICT (notification_id, device_id)
    DO UPDATE SET {column} = coalesce(known.{column}, excluded.{column})
"""


class NotificationCreate(BaseModel):
    """A notification to send. `device_id` null: to all of the user's devices."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    title: str = Field(min_length=1, max_length=256)
    body: str = Field(default="", max_length=4096)
    device_id: str | None = Field(default=None, min_length=1, max_length=MAX_DEVICE_ID)
    data: dict[str, Any] = Field(
        default_factory=dict, description="For the client: actions (at most 3), each id and title."
    )
    priority: Literal["low", "normal", "high", "urgent"] = "normal"
    expires_in_s: int = Field(
        default=7 * DAY_S, gt=0, le=366 * DAY_S, description="After which it is not sent again."
    )


@dataclass(frozen=True)
class Notification:
    """One notification as a client is to show it."""

    notification_id: int
    title: str
    body: str
    data: dict[str, Any]
    priority: str
    created_at: datetime

    def shown(self) -> dict[str, Any]:
        """As clients read it."""
        return {
            "id": self.notification_id,
            "title": self.title,
            "body": self.body,
            "data": {"priority": self.priority, **self.data},
        }


def response_element(kind: State, told: Mapping[str, Any], *, at: datetime) -> dict[str, Any]:
    """What a client said of a notification, as an element of the stream.

    `at` is used where the client tells no time. The client's other words are kept.
    """
    inner = told.get("response")
    fields = {**told, **inner} if isinstance(inner, Mapping) else told
    action, data = _first(fields, ACTION), _first(fields, ACTION_DATA)
    element = {name: value for name, value in fields.items() if name not in ENVELOPE}
    element["notification_id"] = _integral(fields.get("notification_id"))
    element["response_type"] = _response_type(kind, action, _first(fields, TEXT))
    if action is not None:
        element["action_id"] = action
    if data is not None:
        element["action_data"] = data if isinstance(data, Mapping) else {"value": data}
    return element if time_in(fields) is not None else {**element, TIME_FIELDS[0]: at}


def notification_id_of(told: Mapping[str, Any]) -> int | None:
    """The id that a client names; None where it is none that a notification can have."""
    found = _integral(told.get("notification_id"))
    is_id = isinstance(found, int) and not isinstance(found, bool) and 0 < found < INT64
    return found if is_id else None


async def create(connection: AsyncConnection, user_id: str, told: NotificationCreate) -> int:
    """Keep a notification; its id.

    Raises: psycopg.Error.
    """
    values = (
        user_id,
        told.device_id,
        told.title,
        told.body,
        Json(told.data),
        told.priority,
        told.expires_in_s,
    )
    row = await (await connection.execute(CREATE, values)).fetchone()
    assert row is not None
    return int(row[0])


async def pending(
    connection: AsyncConnection, user_id: str, device_id: str, *, sent: Collection[int]
) -> list[Notification]:
    """What a device has yet to show, oldest first, without what was `sent` to it just now.

    Raises: psycopg.Error.
    """
    cursor = connection.cursor(row_factory=class_row(Notification))
    values = {
        "user_id": user_id,
        "device_id": device_id,
        "sent": sorted(sent),
        "limit": MAX_AT_ONCE,
    }
    return await (await cursor.execute(PENDING, values)).fetchall()


async def note_sent(
    connection: AsyncConnection, user_id: str, device_id: str, ids: Sequence[int]
) -> None:
    """Count what was sent to a device.

    Raises: psycopg.Error.
    """
    values = {"user_id": user_id, "device_id": device_id, "ids": list(ids)}
    await connection.execute(SENT, values)


async def when(
    connection: AsyncConnection, user_id: str, device_id: str, *, told: tuple[State, int | None]
) -> datetime | None:
    """When a device first said this of a notification; None = it has not.

    Raises: psycopg.Error.
    """
    state, notification_id = told
    statement = WHEN.format(column=state.value).encode()
    cursor = await connection.execute(statement, (user_id, device_id, notification_id))
    row = await cursor.fetchone()
    return row[0] if row else None


async def note(
    connection: AsyncConnection,
    user_id: str,
    device_id: str,
    *,
    told: tuple[State, int | None],
    at: datetime,
) -> None:
    """Keep what a device said first; nothing happens where the user has no such notification.

    Raises: psycopg.Error.
    """
    state, notification_id = told
    values = {
        "user_id": user_id,
        "device_id": device_id,
        "notification_id": notification_id,
        "at": at,
    }
    await connection.execute(NOTE.format(column=state.value).encode(), values)


def _response_type(kind: State, action: Any, text: Any) -> str:
    if kind is not State.RESPONDED:
        return kind.name.lower()
    if text is not None:
        return "text_reply"
    if action is None or str(action) in TAPS:
        return "clicked"
    return "dismissed" if str(action) in DISMISSALS else "button_click"


def _integral(value: Any) -> Any:
    """7 for the 7.0 that some clients make of it."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _first(fields: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((fields[name] for name in names if fields.get(name) is not None), None)
