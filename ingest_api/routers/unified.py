"""What types of messages there are, and what else older clients ask a server for."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request

from ingest_api.answers import SERVICE
from ingest_api.audit import Tallied
from ingest_api.auth import require
from ingest_api.errors import NotFoundError
from ingest_api.live import Kind
from ingest_api.services import Services
from ingest_api.tokens import Principal, Scope
from ingest_api.unified import TYPES, describe_type, describe_types

router = APIRouter(tags=["messages"])

SYSTEM_EVENTS: Mapping[str, Mapping[str, str]] = {
    "screen": {"screen_on": "The screen was switched on.", "screen_off": "It was switched off."},
    "lock": {"device_lock": "The device was locked.", "device_unlock": "It was unlocked."},
    "power": {
        "power_connected": "A supply was connected.",
        "power_disconnected": "It was disconnected.",
    },
}
APP_EVENTS = {
    "launch": "An app was started.",
    "foreground": "It came to the front.",
    "background": "It was put back.",
    "terminate": "It ended.",
    "crash": "It failed.",
}
NOTIFICATION_ACTIONS = {
    "posted": "A notification was shown.",
    "removed": "It was taken away.",
    "clicked": "It was opened.",
}
METADATA_TYPES = {
    "device_capabilities": "What the device can do: sensors, cameras, radios.",
    "hardware_specs": "What it is built of.",
    "software_config": "Its system and what is installed.",
    "network_info": "How it is connected.",
    "custom": "Anything else; other names are taken too.",
}


@router.get("/")
async def service_info(request: Request) -> dict[str, Any]:
    """What this is, and where its doors are."""
    services: Services = request.app.state.services
    doors = sorted(door.path for stream in services.registry.raw for door in stream.doors)
    return {
        "service": SERVICE,
        "version": request.app.version,
        "status": "running",
        "docs": "/docs",
        "endpoints": {
            "health": "/healthz",
            "ready": "/readyz",
            "metrics": "/metrics",
            "devices": "/devices",
            "message": "/ingest/message",
            "message_types": "/ingest/message-types",
            "streams": "/v1/streams",
            "realtime": "/realtime/ws/{device_id}",
            "notifications": "/notifications/ws/{device_id}",
            "heartbeat": "/heartbeat/{device_id}",
        },
        "doors": doors,
    }


@router.get("/ingest/message-types")
async def message_types(request: Request) -> dict[str, dict[str, Any]]:
    """Each type that `POST /ingest/message` and the realtime socket take, with its stream."""
    return describe_types(request.app.state.services.registry)


@router.get("/ingest/message-types/{message_type_id}")
async def message_type(request: Request, message_type_id: str) -> dict[str, Any]:
    """One type, with the fields that a message of it must have."""
    name = TYPES.get(message_type_id)
    if name is None:
        raise NotFoundError(
            f"there is no message type {message_type_id[:64]!r}; GET /ingest/message-types"
        )
    return describe_type(message_type_id, request.app.state.services.registry[name])


@router.get("/os-events/event-types")
async def event_types() -> dict[str, Any]:
    """The events of operating systems that AM knows by name; other system events are taken too."""
    return {
        "app_lifecycle": APP_EVENTS,
        "system": SYSTEM_EVENTS,
        "notifications": NOTIFICATION_ACTIONS,
    }


@router.get("/system/apps/stats")
async def app_stats(request: Request) -> dict[str, Any]:
    """What may be sent about running apps. More than 100 at once are taken too."""
    streams = [
        stream
        for stream in request.app.state.services.registry.raw
        if any(door.path.startswith("/system/apps/") for door in stream.doors)
    ]
    return {
        "app_monitoring_enabled": True,
        "max_apps_per_request": 100,
        "supported_platforms": ["android", "macos"],
        "topics": [stream.name for stream in streams],
    }


@router.get("/system/metadata/types")
async def metadata_types() -> dict[str, Any]:
    """The kinds of facts about a device that clients send."""
    return {"metadata_types": METADATA_TYPES}


@router.get("/audio/connections")
async def audio_connections(
    request: Request, principal: Annotated[Principal, Depends(require(Scope.READ))], tally: Tallied
) -> dict[str, Any]:
    """The user's devices that stream sound to this process now."""
    services: Services = request.app.state.services
    device_ids = services.live.device_ids(Kind.AUDIO, user_id=principal.user_id)
    tally.count = len(device_ids)
    return {
        "active_connections": len(device_ids),
        "connected_devices": sorted(set(device_ids)),
        "trace_id": request.state.trace_id,
        "services_encountered": [SERVICE],
    }
