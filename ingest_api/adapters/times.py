"""Times as apps write them, made ready for `ingest_api.instants`, which reads the rest.

What is no time is given back as it is, so that it is refused there.
"""

import re
from typing import Any

from ingest_api.adapters.units import number

PLAIN = re.compile(r"^\d{4}-\d{2}-\d{2}[ T]\d{2}:\d{2}:\d{2}(\.\d+)?$")
OFFSET = re.compile(r"([+-])(\d{2}):?(\d{2})$")
SPELLED = re.compile(
    r"^(?P<day>\d{4}-\d{2}-\d{2})[ T](?P<hour>\d{1,2}):(?P<rest>\d{2}:\d{2}(\.\d+)?)"
    r" ?(?P<half>[AaPp][Mm])? ?(?P<zone>[+-]\d{2}:?\d{2}|Z)?$"
)


def epoch_or_text(value: Any) -> Any:
    """A number since 1970, also when it is spelled; other text is taken as it is."""
    return number(value)


def utc(value: Any) -> Any:
    """The same, for apps whose text without a zone is UTC."""
    read = number(value)
    is_plain = isinstance(read, str) and PLAIN.match(read.strip())
    return f"{read.strip()}+00:00" if is_plain else read


def offset_min(value: Any) -> int | None:
    """Minutes from UTC at the end of a text such as `2026-03-01T09:00:00+01:00`; None without."""
    found = OFFSET.search(value.strip()) if isinstance(value, str) else None
    if found is None:
        return None
    sign, hours, minutes = found.groups()
    return (int(hours) * 60 + int(minutes)) * (-1 if sign == "-" else 1)


def spelled(value: Any) -> Any:
    """ISO 8601 of `2021-12-24 3:04:05 PM +0800`, with any kind of blank before PM."""
    if not isinstance(value, str):
        return value
    found = SPELLED.match(" ".join(value.split()))
    if found is None:
        return value
    hour = _hour(int(found["hour"]), found["half"])
    return f"{found['day']}T{hour:02}:{found['rest']}{found['zone'] or ''}"


def _hour(hour: int, half: str | None) -> int:
    """Of 24; 12 AM is 0 and 12 PM is 12."""
    if half is None:
        return hour
    return hour % 12 + (12 if half.upper() == "PM" else 0)
