"""What a device's sensors measure of its surroundings, apart from position and acceleration."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from pydantic import Field, JsonValue, model_validator

from am_assets.streams.stream import Door, Row, Stream

HOT = timedelta(days=30)
DAY = timedelta(days=1)


class Pressure(Row):
    """One reading of a barometer, in the unit that the client names."""

    pressure: float = Field(description="Air pressure in `unit`, not converted.")
    unit: str = Field(default="hPa", description="Of `pressure`, as the client names it.")
    altitude_m: float | None = Field(default=None, description="As the client worked it out.")


class Temperature(Row):
    """One reading of a thermometer, in the unit that the client names."""

    temperature: float = Field(description="In `unit`, not converted.")
    unit: str = Field(default="celsius", description="Of `temperature`, as the client names it.")
    sensor_location: str | None = Field(default=None, description="battery, ambient, cpu, …")


class Light(Row):
    """One reading of a light sensor."""

    illuminance_lux: float = Field(ge=0, description="Of the light that falls on the sensor.")
    color_temperature_k: float | None = Field(default=None, ge=0, description="Of that light.")


class Rotation(Row):
    """One reading of a three-axis gyroscope, in the unit that the client names."""

    x: float = Field(description="Round the device's x axis, in `unit`.")
    y: float = Field(description="Round the device's y axis, in `unit`.")
    z: float = Field(description="Round the device's z axis, in `unit`.")
    unit: str = Field(default="rad/s", description="Of all three, as the client names it.")


class MagneticField(Row):
    """One reading of a three-axis magnetometer, in the unit that the client names."""

    x: float = Field(description="Along the device's x axis, in `unit`.")
    y: float = Field(description="Along the device's y axis, in `unit`.")
    z: float = Field(description="Along the device's z axis, in `unit`.")
    unit: str = Field(default="μT", description="Of all three, as the client names it.")


class OnBody(Row):
    """A watch was put on or taken off."""

    is_on_body: bool = Field(description="Whether it is worn.")


class GenericReading(Row):
    """A reading of a sensor that has no stream of its own, as the client sent it.

    The desktop client sends a poll again with a new time until it is answered; only the count and
    time inside `readings` tell one poll from another. `sample` is that, so that the copies are one
    row; for all others it is the time they were recorded, so that equal values stay two rows.
    """

    sensor_type: str = Field(min_length=1, description="As the client names the sensor.")
    value: JsonValue | None = Field(default=None, description="A number, text, or an object.")
    unit: str | None = Field(default=None, description="Of `value`, as the client names it.")
    accuracy: float | None = Field(default=None, description="As sent; its scale is the sensor's.")
    readings: dict[str, Any] | None = Field(
        default=None, description="All that was polled with it, as sent."
    )
    sample: str | None = Field(
        default=None,
        description="What tells this reading from the next: a poll, or a time as sent.",
    )

    @model_validator(mode="before")
    @classmethod
    def _name_the_sample(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        when = values.get("sample")
        poll = _poll(values.get("readings")) or _poll(values.get("value"))
        return {**values, "sample": poll or (None if when is None else str(when))}


def _poll(readings: object) -> str | None:
    """The poll that readings are from, by the client's own count; None where it keeps none."""
    if not isinstance(readings, Mapping) or "poll_sequence" not in readings:
        return None
    return f"poll {readings['poll_sequence']} at {readings.get('recorded_at')}"


BAROMETER = Stream(
    name="device.sensor.barometer.raw",
    row=Pressure,
    summary="Air pressure, about once a second.",
    identity=("pressure", "unit"),
    kind="air pressure",
    title="{pressure} {unit}",
    is_detail=True,
    example={"pressure": 1013.25, "unit": "hPa", "altitude": 112.0},
    doors=(Door(path="/sensor/barometer"),),
    aliases={"altitude": "altitude_m"},
    sent_by="phone, watch",
    keep_hot=HOT,
)

TEMPERATURE = Stream(
    name="device.sensor.temperature.raw",
    row=Temperature,
    summary="Temperature of the device or of the air round it, about once a minute.",
    identity=("temperature", "unit", "sensor_location"),
    kind="temperature",
    title="{temperature} {unit}",
    is_detail=True,
    example={"temperature": 21.4, "unit": "celsius", "sensor_location": "ambient"},
    doors=(Door(path="/sensor/temperature"),),
    sent_by="phone, watch",
    keep_hot=HOT,
)

LIGHT = Stream(
    name="device.sensor.light.raw",
    row=Light,
    summary="How bright it is, whenever that changes.",
    identity=("illuminance_lux",),
    kind="light",
    title="{illuminance_lux} lx",
    is_detail=True,
    example={"lux": 320.0, "color_temperature": 4000},
    doors=(Door(path="/sensor/light"),),
    aliases={"lux": "illuminance_lux", "color_temperature": "color_temperature_k"},
    sent_by="phone, watch",
    keep_hot=HOT,
)

GYROSCOPE = Stream(
    name="device.sensor.gyroscope.raw",
    row=Rotation,
    summary="How fast a device turns, 10 to 100 readings a second.",
    identity=("x", "y", "z"),
    kind="rotation",
    title="{x}, {y}, {z} {unit}",
    is_detail=True,
    example={"x": 0.01, "y": -0.02, "z": 0.003, "unit": "rad/s"},
    doors=(Door(path="/sensor/gyroscope"),),
    sent_by="phone, watch",
    chunk_interval=DAY,
    keep_hot=HOT,
)

MAGNETOMETER = Stream(
    name="device.sensor.magnetometer.raw",
    row=MagneticField,
    summary="The magnetic field round a device, about 10 readings a second.",
    identity=("x", "y", "z"),
    kind="magnetic field",
    title="{x}, {y}, {z} {unit}",
    is_detail=True,
    example={"x": 22.5, "y": -4.1, "z": 41.0, "unit": "μT"},
    doors=(Door(path="/sensor/magnetometer"),),
    sent_by="phone, watch",
    chunk_interval=DAY,
    keep_hot=HOT,
)

ON_BODY = Stream(
    name="device.sensor.on_body.raw",
    row=OnBody,
    summary="A watch put on or taken off.",
    identity=("is_on_body",),
    kind="worn",
    title="On body: {is_on_body}",
    is_detail=True,
    example={"on_body": True},
    aliases={"on_body": "is_on_body"},
    sent_by="watch",
    keep_hot=HOT,
)

GENERIC = Stream(
    name="device.sensor.generic.raw",
    row=GenericReading,
    summary="Readings of sensors that have no stream of their own, desktop metrics among them.",
    identity=("sensor_type", "sample", "value", "unit", "readings"),
    is_resent_with_new_time=True,
    kind="sensor",
    title="{sensor_type} {value} {unit}",
    body="{sensor_type}",
    is_detail=True,
    example={
        "sensor_type": "system_metrics",
        "value": 17.5,
        "unit": "percent",
        "readings": {
            "cpu_percent": 17.5,
            "memory_percent": 61.2,
            "poll_sequence": 42,
            "recorded_at": "2026-03-01T07:29:55.120000+00:00",
        },
    },
    doors=(Door(path="/sensor/generic"),),
    aliases={"recorded_at": "sample", "timestamp": "sample", "ts": "sample"},
    sent_by="desktop, phone, any client",
    keep_hot=HOT,
)

STREAMS = (BAROMETER, TEMPERATURE, LIGHT, GYROSCOPE, MAGNETOMETER, ON_BODY, GENERIC)
