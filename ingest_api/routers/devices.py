"""The registry of devices over HTTP: `/devices`, with and without the slash that clients put."""

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response, status

from ingest_api import devices
from ingest_api.audit import Tallied, mark_reading
from ingest_api.auth import require
from ingest_api.contents import json_body, read_model, read_small
from ingest_api.devices import (
    Device,
    DeviceCreate,
    DeviceFacts,
    MergeRequest,
    UnknownDeviceError,
)
from ingest_api.errors import ForbiddenError
from ingest_api.pooled import pooled
from ingest_api.services import Services
from ingest_api.tokens import Principal, Scope

router = APIRouter(tags=["devices"])

Writer = Annotated[Principal, Depends(require(Scope.WRITE))]
Reader = Annotated[Principal, Depends(require(Scope.READ))]
Admin = Annotated[Principal, Depends(require(Scope.ADMIN))]


@router.post("/devices", status_code=201, openapi_extra=json_body(DeviceCreate))
@router.post("/devices/", status_code=201, include_in_schema=False)
async def register(request: Request, response: Response, principal: Writer) -> dict[str, Any]:
    """Register a device: 201, or 200 where it is known and what it tells is brought up to date."""
    told = read_model(DeviceCreate, await read_small(request))
    _check_own(principal, told.device_id)
    async with pooled(_services(request).pool) as connection:
        is_new = await devices.register(connection, principal.user_id, told)
        device = await devices.find(connection, principal.user_id, told.device_id)
    response.status_code = status.HTTP_201_CREATED if is_new else status.HTTP_200_OK
    return _answer(request, principal, device, told)


@router.get("/devices")
@router.get("/devices/", include_in_schema=False)
async def list_devices(
    request: Request,
    principal: Reader,
    tally: Tallied,
    device_type: Annotated[str | None, Query(description="As it was sent.")] = None,
    is_active: Annotated[bool | None, Query(description="False: the retired ones.")] = None,
) -> list[dict[str, Any]]:
    """The user's devices; those that were merged are listed as `alias_ids` of one."""
    async with pooled(_services(request).pool) as connection:
        found = await devices.list_all(
            connection, principal.user_id, device_type=device_type, is_active=is_active
        )
    tally.count = len(found)
    return [devices.described(device) for device in found]


@router.get("/devices/activity")
async def activity(request: Request, principal: Reader, tally: Tallied) -> list[dict[str, Any]]:
    """How active each device is: active (an hour), idle (a day), inactive (a week), offline."""
    now = datetime.now(UTC)
    async with pooled(_services(request).pool) as connection:
        found = await devices.list_all(connection, principal.user_id)
    tally.count = len(found)
    return [devices.described_activity(device, now=now) for device in found]


@router.get("/devices/{device_id}")
async def get_device(
    request: Request, device_id: str, principal: Reader, tally: Tallied
) -> dict[str, Any]:
    """One device; one that was merged says into which."""
    async with pooled(_services(request).pool) as connection:
        found = await devices.find(connection, principal.user_id, _named(device_id))
    tally.count = 1
    return devices.described(found)


@router.patch("/devices/{device_id}", openapi_extra=json_body(DeviceFacts))
async def change(request: Request, device_id: str, principal: Writer) -> dict[str, Any]:
    """Change what is named, leave the rest."""
    _check_own(principal, device_id)
    facts = read_model(DeviceFacts, _without_id(await read_small(request)))
    async with pooled(_services(request).pool) as connection:
        found = await devices.change(connection, principal.user_id, _named(device_id), facts)
    return _answer(request, principal, found, facts)


@router.delete("/devices/{device_id}", status_code=204)
async def retire(request: Request, device_id: str, principal: Writer) -> None:
    """Set a device aside: it keeps its rows, and comes back when it registers again."""
    if not _is_own(principal, device_id) and not principal.may(Scope.ADMIN):
        raise ForbiddenError("only its own token, or one with the scope 'admin', retires a device")
    retired = DeviceFacts(is_active=False)
    async with pooled(_services(request).pool) as connection:
        await devices.change(connection, principal.user_id, _named(device_id), retired)


@router.post("/devices/{device_id}/merge", openapi_extra=json_body(MergeRequest))
async def merge(request: Request, device_id: str, principal: Admin) -> dict[str, Any]:
    """Say that other ids are this device. Rows keep the id they came with; reading joins."""
    alias_ids = read_model(MergeRequest, await read_small(request)).alias_ids
    async with pooled(_services(request).pool) as connection:
        found = await devices.merge(connection, principal.user_id, _named(device_id), alias_ids)
    return devices.described(found)


@router.delete("/devices/{device_id}/aliases/{alias_id}", status_code=204)
async def part(request: Request, device_id: str, alias_id: str, principal: Admin) -> None:
    """Undo a merge: the alias is a device of its own again, with all rows it ever sent."""
    async with pooled(_services(request).pool) as connection:
        await devices.part(
            connection, principal.user_id, _named(device_id), alias_id=_named(alias_id)
        )


def _answer(
    request: Request, principal: Principal, device: Device, told: DeviceFacts
) -> dict[str, Any]:
    """The device as it is known now; who may only write is told what was just said, no more."""
    if not principal.may(Scope.READ):
        return devices.described(devices.as_told(device, told))
    mark_reading(request, principal)
    return devices.described(device)


def _without_id(content: Any) -> Any:
    """A device is never renamed: the id of the path counts."""
    if not isinstance(content, dict):
        return content
    return {name: value for name, value in content.items() if name != "device_id"}


def _named(device_id: str) -> str:
    """The id of a path, if a device can have it. Raises: UnknownDeviceError."""
    if not devices.is_device_id(device_id):
        raise UnknownDeviceError(device_id)
    return device_id


def _is_own(principal: Principal, device_id: str) -> bool:
    return principal.device_id == device_id


def _check_own(principal: Principal, device_id: str) -> None:
    if principal.device_id not in (None, device_id):
        raise ForbiddenError(f"this token speaks for device {principal.device_id!r} alone")


def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services
