"""The registry of devices: what they tell of themselves, which ids are one device, how active.

A device is registered by its first row, by itself, or by its owner. A merge says that several ids
are one device: rows keep the id they were sent with, and whoever reads joins `am.device_identity`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row
from psycopg.types.json import Jsonb
from pydantic import BaseModel, ConfigDict, Field, model_validator

from ingest_api.envelope import MAX_DEVICE_ID
from ingest_api.errors import IngestError, NotFoundError
from ingest_api.instants import MAX_OFFSET_MIN

MAX_TEXT = 256
IDLE_AFTER, INACTIVE_AFTER, OFFLINE_AFTER = timedelta(hours=1), timedelta(days=1), timedelta(days=7)


class DeviceType(StrEnum):
    """The kinds of device that clients can read."""

    MOBILE_ANDROID = "mobile_android"
    MOBILE_IOS = "mobile_ios"
    DESKTOP_MACOS = "desktop_macos"
    DESKTOP_LINUX = "desktop_linux"
    DESKTOP_WINDOWS = "desktop_windows"
    SERVICE_SCHEDULER = "service_scheduler"
    SERVICE_FETCHER = "service_fetcher"
    SERVICE_CONSUMER = "service_consumer"
    BROWSER_EXTENSION = "browser_extension"
    OTHER = "other"


class Activity(StrEnum):
    """How long ago a device sent its last row."""

    ACTIVE = "active"  # less than an hour
    IDLE = "idle"  # less than a day
    INACTIVE = "inactive"  # less than a week
    OFFLINE = "offline"


class UnknownDeviceError(NotFoundError):
    """The user has no device by this id."""

    def __init__(self, *device_ids: str) -> None:
        """Name them."""
        super().__init__(f"there is no device {', '.join(map(repr, device_ids))}; GET /devices")


class DeviceConflictError(IngestError):
    """Two ids can't be merged as they are."""

    status = 409


class DeviceFacts(BaseModel):
    """What a device tells of itself. Null or absent: not told, and what is known stays.

    Fields of no column are kept in `metadata`. `device_type` is kept as sent.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str | None = Field(default=None, max_length=MAX_TEXT, description="As people know it.")
    device_type: str | None = Field(default=None, max_length=MAX_TEXT)
    platform: str | None = Field(default=None, max_length=MAX_TEXT)
    model: str | None = Field(default=None, max_length=MAX_TEXT)
    manufacturer: str | None = Field(default=None, max_length=MAX_TEXT)
    os_version: str | None = Field(default=None, max_length=MAX_TEXT)
    app_version: str | None = Field(default=None, max_length=MAX_TEXT)
    service_name: str | None = Field(default=None, max_length=MAX_TEXT)
    service_config: dict[str, Any] | None = None
    tags: list[str] | None = None
    metadata: dict[str, Any] | None = None
    tz_offset_min: int | None = Field(
        default=None,
        ge=-MAX_OFFSET_MIN,
        le=MAX_OFFSET_MIN,
        description="Local time minus UTC, for the times that name no zone.",
    )
    is_active: bool | None = None

    @model_validator(mode="before")
    @classmethod
    def _keep_unknown_fields(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        known = {name: value for name, value in values.items() if name in cls.model_fields}
        unknown = {name: value for name, value in values.items() if name not in cls.model_fields}
        metadata = known.get("metadata")
        if unknown and (metadata is None or isinstance(metadata, Mapping)):
            known["metadata"] = {**unknown, **(metadata or {})}
        return known


class DeviceCreate(DeviceFacts):
    """A registration."""

    device_id: str = Field(min_length=1, max_length=MAX_DEVICE_ID, description="As it calls itself")


class MergeRequest(BaseModel):
    """Ids that are one device with the one in the path."""

    alias_ids: list[str] = Field(min_length=1, max_length=100)


@dataclass(frozen=True, kw_only=True)
class Device:
    """A device as the database has it. `merged_into`: the id it is an alias of, if it is one."""

    device_id: str
    name: str | None
    device_type: str | None
    platform: str | None
    model: str | None
    manufacturer: str | None
    os_version: str | None
    app_version: str | None
    service_name: str | None
    service_config: dict[str, Any] | None
    tags: list[str] | None
    metadata: dict[str, Any] | None
    tz_offset_min: int | None
    is_active: bool
    first_seen_at: datetime
    last_seen_at: datetime
    last_data_at: datetime | None
    created_at: datetime
    updated_at: datetime
    merged_into: str | None
    alias_ids: list[str]


COLUMNS = (
    "name",
    "device_type",
    "platform",
    "model",
    "manufacturer",
    "os_version",
    "app_version",
    "service_name",
    "service_config",
    "tags",
    "metadata",
    "tz_offset_min",
)
SELECT = f"""
WITH own AS (
    SELECT d.*, a.canonical_id AS merged_into,
        coalesce(a.canonical_id, d.device_id) AS canonical_id
    FROM am.device d LEFT JOIN am.device_alias a
        ON a.user_id = d.user_id AND a.alias_id = d.device_id
    WHERE d.user_id = %(user_id)s
), whole AS (
    SELECT canonical_id, min(first_seen_at) AS first_seen_at, max(last_seen_at) AS last_seen_at,
        max(last_data_at) AS last_data_at,
        coalesce(array_agg(device_id ORDER BY device_id)
            FILTER (WHERE merged_into IS NOT NULL), '{{}}') AS alias_ids
    FROM own GROUP BY canonical_id
)
SELECT device_id, {", ".join(COLUMNS)}, is_active, created_at, updated_at, merged_into,
    CASE WHEN merged_into IS NULL THEN whole.first_seen_at ELSE own.first_seen_at END
        AS first_seen_at,
    CASE WHEN merged_into IS NULL THEN whole.last_seen_at ELSE own.last_seen_at END
        AS last_seen_at,
    CASE WHEN merged_into IS NULL THEN whole.last_data_at ELSE own.last_data_at END
        AS last_data_at,
    CASE WHEN merged_into IS NULL THEN whole.alias_ids ELSE '{{}}' END AS alias_ids
FROM own JOIN whole USING (canonical_id)
"""
FIND = f"{SELECT} WHERE device_id = %(device_id)s"
LIST = f"""{SELECT} WHERE merged_into IS NULL
    AND (%(device_type)s::text IS NULL OR device_type = %(device_type)s)
    AND (%(is_active)s::boolean IS NULL OR is_active = %(is_active)s)
ORDER BY device_id"""
KEPT = ", ".join(f"{name} = coalesce(excluded.{name}, known.{name})" for name in COLUMNS)
REGISTER = f"""
INSERT INTO am.device AS known (user_id, device_id, {", ".join(COLUMNS)}, is_active)
VALUES (%(user_id)s, %(device_id)s, {", ".join(f"%({name})s" for name in COLUMNS)},
    coalesce(%(is_active)s, true))
ON CONFLICT (user_id, device_id) DO UPDATE SET {KEPT}, is_active = excluded.is_active,
    last_seen_at = now(), updated_at = now()
RETURNING xmax = 0
"""
CHANGED = ", ".join(f"{name} = coalesce(%({name})s, {name})" for name in COLUMNS)
CHANGE = f"""
UPDATE am.device SET {CHANGED}, is_active = coalesce(%(is_active)s, is_active), updated_at = now()
WHERE user_id = %(user_id)s AND device_id = %(device_id)s
"""
TOUCH = """
INSERT INTO am.device AS known (user_id, device_id, tz_offset_min)
VALUES (%(user_id)s, %(device_id)s, %(tz_offset_min)s)
ON CONFLICT (user_id, device_id) DO UPDATE SET last_seen_at = now(),
    tz_offset_min = coalesce(excluded.tz_offset_min, known.tz_offset_min)
WHERE known.last_seen_at < now() - interval '30 seconds'
    OR excluded.tz_offset_min <> coalesce(known.tz_offset_min, -9999)
"""
# Merges of one user wait for each other: two at once could make a chain or a ring.
LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('am.device_alias ' || %s, 0))"
KNOWN = "SELECT device_id FROM am.device WHERE user_id = %s AND device_id = ANY(%s)"
CANONICAL = "SELECT canonical_id FROM am.device_alias WHERE user_id = %s AND alias_id = %s"
# An alias brings its own aliases with it, so that a join never takes more than one step.
FOLLOW = """
UPDATE am.device_alias SET canonical_id = %(canonical_id)s
WHERE user_id = %(user_id)s AND canonical_id = ANY(%(alias_ids)s)
"""
MERGE = """
INSERT INTO am.device_alias (user_id, alias_id, canonical_id)
SELECT %(user_id)s, alias_id, %(canonical_id)s FROM unnest(%(alias_ids)s::text[]) AS alias_id
ON CONFLICT (user_id, alias_id) DO UPDATE SET canonical_id = excluded.canonical_id
"""
PART = "DELETE FROM am.device_alias WHERE user_id = %s AND canonical_id = %s AND alias_id = %s"


def activity_of(last_data_at: datetime | None, *, now: datetime) -> Activity:
    """How active a device is whose last row came then; None = it never sent one."""
    if last_data_at is None or now - last_data_at >= OFFLINE_AFTER:
        return Activity.OFFLINE
    if now - last_data_at >= INACTIVE_AFTER:
        return Activity.INACTIVE
    return Activity.IDLE if now - last_data_at >= IDLE_AFTER else Activity.ACTIVE


def described(device: Device) -> dict[str, Any]:
    """A device as clients read it: they need a name, and a type of those they know."""
    known = {kind.value for kind in DeviceType}
    is_known = device.device_type in known
    return {
        **vars(device),
        "name": device.name or device.device_id,
        "device_type": device.device_type if is_known else DeviceType.OTHER.value,
        "device_type_as_sent": device.device_type,
    }


def as_told(device: Device, told: DeviceFacts) -> Device:
    """The device without anything that these facts don't tell, but for its dates."""
    return replace(
        device,
        **{name: getattr(told, name) for name in COLUMNS},
        last_data_at=None,
        merged_into=None,
        alias_ids=[],
    )


def described_activity(device: Device, *, now: datetime) -> dict[str, Any]:
    """How active a device is, its aliases included."""
    told = described(device)
    names = ("device_id", "name", "device_type", "is_active", "first_seen_at", "last_seen_at")
    return {
        **{name: told[name] for name in names},
        "alias_ids": device.alias_ids,
        "last_data_received": device.last_data_at,
        "status": activity_of(device.last_data_at, now=now).value,
    }


def is_device_id(device_id: str) -> bool:
    """Whether a database can hold it and a row may carry it."""
    return 0 < len(device_id) <= MAX_DEVICE_ID and "\x00" not in device_id


async def register(connection: AsyncConnection, user_id: str, told: DeviceCreate) -> bool:
    """Keep what a device tells of itself, and bring it back if it was retired; whether it is new.

    Raises: psycopg.Error.
    """
    values = _parameters(user_id, told.device_id, told)
    row = await (await connection.execute(REGISTER, values)).fetchone()
    assert row is not None
    return bool(row[0])


async def find(connection: AsyncConnection, user_id: str, device_id: str) -> Device:
    """One of the user's devices, as it is known.

    Raises: UnknownDeviceError, psycopg.Error.
    """
    cursor = connection.cursor(row_factory=class_row(Device))
    await cursor.execute(FIND, {"user_id": user_id, "device_id": device_id})
    device = await cursor.fetchone()
    if device is None:
        raise UnknownDeviceError(device_id)
    return device


async def list_all(
    connection: AsyncConnection,
    user_id: str,
    *,
    device_type: str | None = None,
    is_active: bool | None = None,
) -> list[Device]:
    """The user's devices by id, each with its aliases rather than beside them.

    Raises: psycopg.Error.
    """
    cursor = connection.cursor(row_factory=class_row(Device))
    values = {"user_id": user_id, "device_type": device_type, "is_active": is_active}
    return await (await cursor.execute(LIST, values)).fetchall()


async def change(
    connection: AsyncConnection, user_id: str, device_id: str, facts: DeviceFacts
) -> Device:
    """Change what is told, leave the rest.

    Raises: UnknownDeviceError, psycopg.Error.
    """
    cursor = await connection.execute(CHANGE, _parameters(user_id, device_id, facts))
    if cursor.rowcount == 0:
        raise UnknownDeviceError(device_id)
    return await find(connection, user_id, device_id)


async def touch(
    connection: AsyncConnection, user_id: str, device_id: str, *, tz_offset_min: int | None = None
) -> None:
    """Note a sign of life, and a zone where one is learnt; twice a minute is enough.

    Raises: psycopg.Error.
    """
    values = {"user_id": user_id, "device_id": device_id, "tz_offset_min": tz_offset_min}
    await connection.execute(TOUCH, values)


async def merge(
    connection: AsyncConnection, user_id: str, device_id: str, alias_ids: Sequence[str]
) -> Device:
    """Say that these ids are one device, called `device_id` or what that is an alias of.

    Raises: UnknownDeviceError, DeviceConflictError, psycopg.Error.
    """
    async with connection.transaction():
        await connection.execute(LOCK, (user_id,))
        canonical_id = await _canonical(connection, user_id, device_id)
        if canonical_id in alias_ids:
            raise DeviceConflictError(f"{canonical_id!r} can't be an alias of itself")
        await _require_known(connection, user_id, [device_id, *alias_ids])
        values = {
            "user_id": user_id,
            "canonical_id": canonical_id,
            "alias_ids": sorted(set(alias_ids)),
        }
        await connection.execute(FOLLOW, values)
        await connection.execute(MERGE, values)
    return await find(connection, user_id, canonical_id)


async def part(connection: AsyncConnection, user_id: str, device_id: str, *, alias_id: str) -> None:
    """Undo a merge: the alias is a device of its own again, with all rows it ever sent.

    Raises: UnknownDeviceError, psycopg.Error.
    """
    cursor = await connection.execute(PART, (user_id, device_id, alias_id))
    if cursor.rowcount == 0:
        raise UnknownDeviceError(alias_id)


async def _canonical(connection: AsyncConnection, user_id: str, device_id: str) -> str:
    row = await (await connection.execute(CANONICAL, (user_id, device_id))).fetchone()
    return str(row[0]) if row else device_id


async def _require_known(
    connection: AsyncConnection, user_id: str, device_ids: Sequence[str]
) -> None:
    rows = await (await connection.execute(KNOWN, (user_id, list(device_ids)))).fetchall()
    if unknown := set(device_ids) - {row[0] for row in rows}:
        raise UnknownDeviceError(*sorted(unknown))


def _parameters(user_id: str, device_id: str, facts: DeviceFacts) -> dict[str, Any]:
    objects = {"service_config": facts.service_config, "metadata": facts.metadata}
    return {
        **{name: getattr(facts, name) for name in COLUMNS},
        **{name: None if value is None else Jsonb(value) for name, value in objects.items()},
        "is_active": facts.is_active,
        "user_id": user_id,
        "device_id": device_id,
    }
