"""Readings of sensors that have no stream of their own, and the units that these are kept in."""

from collections.abc import Mapping
from typing import Any

from ingest_api.adapters.adapter import Event
from ingest_api.adapters.units import FOOT, MILE, MPH, celsius_of_fahrenheit, is_number, scaled

GENERIC = "device.sensor.generic.raw"

# The unit as sent: the unit that is kept, and how many of it one is. Health apps send what the
# phone's region uses.
UNITS: Mapping[str, tuple[str, float]] = {
    "kcal": ("kJ", 4.184),
    "Cal": ("kJ", 4.184),
    "km": ("m", 1000.0),
    "mi": ("m", MILE),
    "ft": ("m", FOOT),
    "yd": ("m", 0.9144),
    "in": ("m", 0.0254),
    "cm": ("m", 0.01),
    "lb": ("kg", 0.45359237),
    "st": ("kg", 6.35029318),
    "km/hr": ("m/s", 1 / 3.6),
    "km/h": ("m/s", 1 / 3.6),
    "mi/hr": ("m/s", MPH),
    "mph": ("m/s", MPH),
    "hr": ("s", 3600.0),
    "min": ("s", 60.0),
    "fl_oz_us": ("mL", 29.5735295625),
    "L": ("mL", 1000.0),
    "mg/dL": ("mmol/L", 1 / 18.0156),  # of glucose, the only thing that apps count in it
}
FAHRENHEIT = ("degF", "°F")


def reading(
    sensor_type: str,
    value: Any,
    *,
    of: Mapping[str, Any],
    unit: str | None = None,
    readings: Mapping[str, Any] | None = None,
    sent: Mapping[str, Any] | None = None,
) -> Event:
    """One reading; `of` are the envelope's fields.

    `readings` is all that was said with the value and tells it from another at the same time (its
    source, its tags); `sent` is what may differ when the app sends it again.
    """
    when = of.get("recorded_at")
    columns = {
        **of,
        "sensor_type": sensor_type,
        "value": value,
        "unit": unit,
        "readings": readings,
        "sample": None if when is None else str(when),
    }
    return Event(stream=GENERIC, columns=columns, sent=sent or {})


def in_kept_unit(value: Any, unit: str | None) -> tuple[Any, str | None]:
    """A value and its unit, in the unit that AM keeps; others are left as they are."""
    if not is_number(value) or unit is None:
        return value, unit
    if unit in FAHRENHEIT:
        return celsius_of_fahrenheit(value), "degC"
    kept, factor = UNITS.get(unit, (unit, 1.0))
    return (value if kept == unit else scaled(value, factor)), kept
