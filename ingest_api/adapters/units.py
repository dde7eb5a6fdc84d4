"""Numbers as apps write them, in the units of AM's columns.

What is no number is given back as it is, so that the row's own check refuses it and says why;
what stands for "unknown" (blank text, or a negative number where none can be) is None.
"""

import math
import re
from typing import Any

NUMBER = re.compile(r"^[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?$")
KM_H, KNOT, MPH = 1 / 3.6, 1852 / 3600, 0.44704  # in m/s
FOOT, MILE = 0.3048, 1609.344  # in m
KCAL_J = 4184.0  # the thermochemical calorie, as health apps use it
YES, NO = ("true", "1", "yes", "on"), ("false", "0", "no", "off")


def number(value: Any) -> Any:
    """A finite number; a text that spells one is read."""
    if not isinstance(value, str):
        return value
    text = value.strip()
    if not text:
        return None
    if not NUMBER.match(text):
        return value
    read = float(text)
    if not math.isfinite(read):
        return value
    return int(text) if text.lstrip("+-").isdigit() else read


def is_number(value: Any) -> bool:
    """Whether it is a finite number; a truth value is none."""
    is_real = isinstance(value, int | float) and not isinstance(value, bool)
    return is_real and (isinstance(value, int) or math.isfinite(value))


def scaled(value: Any, factor: float) -> Any:
    """A number in another unit."""
    read = number(value)
    try:
        return read * factor if is_number(read) else read
    except OverflowError:  # an integer that no float holds
        return read


def known(value: Any) -> Any:
    """None for the negative numbers with which receivers say that they don't know."""
    read = number(value)
    return None if is_number(read) and read < 0 else read


def speed(value: Any, factor: float = 1.0) -> Any:
    """Metres a second; `factor` is one of the sent unit in m/s."""
    return scaled(known(value), factor)


def percent(fraction: Any) -> Any:
    """Percent of a fraction between 0 and 1, without the noise of a float32's digits."""
    of_one = scaled(known(fraction), 100)
    return round(of_one, 4) if is_number(of_one) else of_one


def truth(value: Any) -> bool | None:
    """What a truth value or its spelling says; None for anything else."""
    if isinstance(value, bool):
        return value
    text = str(value).strip().lower()
    if text in YES:
        return True
    return False if text in NO else None


def celsius_of_fahrenheit(value: Any) -> Any:
    """Degrees Celsius."""
    read = number(value)
    return (read - 32) / 1.8 if is_number(read) else read
