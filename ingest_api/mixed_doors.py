"""Doors whose elements name their stream themselves. Pure."""

from typing import Any

from am_assets.streams.registry import Registry
from am_assets.streams.stream import Stream
from ingest_api.batch import ElementRouter
from ingest_api.errors import Reason, RejectedError
from ingest_api.unified import by_type

REALTIME = "/realtime/ws"


def mixed_doors(registry: Registry) -> dict[str, tuple[str, ElementRouter]]:
    """Summary and router of each such door, by path."""
    return {
        "/ingest/message": (
            "A message of any type, as phones and watches send it.",
            by_type(registry),
        ),
        "/images/batch": ("Photos and screenshots.", _by_camera(registry)),
        "/sensor/batch": ("Readings of several sensors.", _by_sensor(registry)),
    }


def route_of(door: str, registry: Registry) -> ElementRouter | None:
    """The router of a mixed door, sockets included; None = the door serves one stream."""
    if door == REALTIME:
        return by_type(registry)
    found = mixed_doors(registry).get(door)
    return found[1] if found else None


def _by_camera(registry: Registry) -> ElementRouter:
    """`/images/batch`: what a screen shows is a screenshot, all else a photo."""
    photo, screenshot = (
        registry["device.image.camera.raw"],
        registry["device.image.screenshot.raw"],
    )

    def route(element: Any) -> tuple[Stream, Any]:
        is_screen = isinstance(element, dict) and element.get("camera_type") == "screen"
        return (screenshot if is_screen else photo), element

    return route


def _by_sensor(registry: Registry) -> ElementRouter:
    """`/sensor/batch`: each reading names its sensor, and holds its values in `value`."""
    streams = {
        door.path.removeprefix("/sensor/"): stream
        for stream in registry.raw
        for door in stream.doors
        if door.path.startswith("/sensor/")
    }

    def route(element: Any) -> tuple[Stream, Any]:
        named = element.get("sensor_type") if isinstance(element, dict) else None
        stream = streams.get(str(named).lower())
        if stream is None or not isinstance(element.get("value"), dict):
            known = ", ".join(sorted(streams))
            raise RejectedError(
                Reason.UNKNOWN_TYPE,
                f"sensor_type must be one of {known}, and value an object with its readings",
            )
        rest = {name: part for name, part in element.items() if name != "value"}
        return stream, {**rest, **element["value"]}

    return route
