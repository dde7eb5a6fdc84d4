"""Times that a client sends inside its payload: kept as sent, and read where they are sure.

The envelope's time is read at the front door, which knows the device's zone. A second time in the
same message often has no zone, or is a date: it is then text only, never a guess.
"""

from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any


def aware(sent: object) -> datetime | None:
    """The instant that ISO 8601 or RFC 5322 text names; None = no zone, or no time at all."""
    if isinstance(sent, datetime):
        return sent if sent.utcoffset() is not None else None
    if not isinstance(sent, str):
        return None
    for read in (datetime.fromisoformat, parsedate_to_datetime):
        try:
            instant = read(sent.strip())
        except ValueError:
            continue
        return instant if instant.utcoffset() is not None else None
    return None


def with_instants(values: Any, columns: Mapping[str, str]) -> Any:
    """A row's values with each `<name>_as_sent` as text and its instant beside it.

    `columns` gives the instant's column by the name of the column that holds it as sent. For a
    `model_validator(mode="before")`; what is no mapping is left for pydantic to refuse.
    """
    if not isinstance(values, Mapping):
        return values
    filled = dict(values)
    for source, target in columns.items():
        sent = filled.get(source)
        if sent is None:
            continue
        filled[source] = sent.isoformat() if isinstance(sent, datetime) else str(sent)
        if (instant := aware(sent)) is not None:
            filled.setdefault(target, instant)
    return filled
