"""Doors whose elements name their stream themselves. Pure."""

from typing import Any

import pyarrow as pa

from am_assets.streams.registry import Registry
from am_assets.streams.stream import Stream
from ingest_api.batch import ElementRouter
from ingest_api.errors import Reason, RejectedError
from ingest_api.unified import by_type

REALTIME = "/realtime/ws"
SENSOR_BATCH = "/sensor/batch"


def mixed_doors(registry: Registry) -> dict[str, tuple[str, ElementRouter]]:
    """Summary and router of each such door, by path."""
    return {
        "/ingest/message": (
            "A message of any type, as phones and watches send it.",
            by_type(registry),
        ),
        "/images/batch": ("Photos and screenshots.", _by_camera(registry)),
        SENSOR_BATCH: ("Readings of several sensors.", _by_sensor(registry)),
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
    """`/sensor/batch`: each reading names its sensor, and holds in `value` an object or one number.

    A sensor without a door of its own is a generic reading, as at `/sensor/generic`.
    """
    streams = {
        door.path.removeprefix("/sensor/"): stream
        for stream in registry.raw
        for door in stream.doors
        if door.path.startswith("/sensor/")
    }

    def route(element: Any) -> tuple[Stream, Any]:
        named = element.get("sensor_type") if isinstance(element, dict) else None
        if not isinstance(named, str) or not named:
            raise RejectedError(Reason.UNKNOWN_TYPE, "sensor_type must name the sensor")
        stream = streams.get(named.lower())
        if stream is None or (stream is streams["generic"] and not _is_object(element)):
            return streams["generic"], element
        rest = {name: part for name, part in element.items() if name != "value"}
        if _is_object(element):
            return stream, {**rest, **element["value"]}
        return stream, _with_number(element, rest, stream)

    return route


def _is_object(element: dict[str, Any]) -> bool:
    return isinstance(element.get("value"), dict)


def _with_number(element: dict[str, Any], rest: dict[str, Any], stream: Stream) -> dict[str, Any]:
    """A reading whose one number is the one column that the stream can't do without.

    Raises: RejectedError where a single number does not say what the stream has to know.
    """
    fields = stream.row.model_fields
    needed = [name for name, field in fields.items() if field.is_required()]
    if "value" not in element:
        return rest
    if len(needed) != 1:
        raise RejectedError(
            Reason.BAD_VALUE,
            f"value must be an object with {', '.join(needed)}: one number does not tell them",
        )
    return {**rest, needed[0]: element["value"]}


def unfolded(door: str, elements: list[Any] | pa.Table) -> list[Any] | pa.Table:
    """The elements, with `{"readings": […]}` at `/sensor/batch` taken apart.

    What stands beside `readings` (the device, a time) holds for each that does not say otherwise.
    """
    if door != SENSOR_BATCH:
        return elements
    rows = elements.to_pylist() if isinstance(elements, pa.Table) else elements
    return [part for element in rows for part in _readings_of(element)]


def _readings_of(element: Any) -> list[Any]:
    readings = element.get("readings") if isinstance(element, dict) else None
    if not isinstance(readings, list) or not readings or "sensor_type" in element:
        return [element]
    shared = {name: part for name, part in element.items() if name != "readings"}
    return [{**shared, **part} if isinstance(part, dict) else part for part in readings]
