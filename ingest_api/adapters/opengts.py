"""OpenGTS clients: a `$GPRMC` sentence in the query. Degrees and minutes, knots, UTC."""

import re
from typing import Any

from ingest_api.adapters.adapter import Adapter, AppRequest, Item, Landed, Reply, url_setting
from ingest_api.adapters.parameters import parameters
from ingest_api.adapters.position import GPS, fix, given
from ingest_api.adapters.units import KNOT, known, number, speed
from ingest_api.errors import Reason, RejectedError

ANGLE = re.compile(r"^(\d{1,3})(\d{2}(?:\.\d*)?)$")
FIELDS = 10


def read(request: AppRequest) -> list[Item]:
    """The one fix of a request.

    Raises: MalformedBodyError; RejectedError for a sentence without a fix.
    """
    sent = parameters(request)
    columns = {
        **sentence(str(given(sent, "gprmc", "rmc") or "")),
        "device_id": given(sent, "id", "dev", "device_id"),
        "altitude_m": number(given(sent, "alt")),
    }
    return [fix(columns, sent)]


def reply(_request: AppRequest, _landed: Landed) -> Reply:
    """As the original server answers."""
    return Reply(content=b"OK", media_type="text/plain")


def sentence(text: str) -> dict[str, Any]:
    """The columns of `$GPRMC,hhmmss,A,ddmm.mmmm,N,dddmm.mmmm,E,knots,course,ddmmyy,…`.

    Raises: RejectedError when it has no fix (`V`), or is cut off.
    """
    parts = text.partition("*")[0].split(",")
    if len(parts) < FIELDS or not parts[0].upper().endswith("RMC"):
        raise RejectedError(Reason.BAD_VALUE, "gprmc must be a whole $GPRMC sentence")
    if parts[2].upper() != "A":
        raise RejectedError(Reason.BAD_VALUE, "the receiver says that it has no fix")
    return {
        "recorded_at": _time(parts[9], parts[1]),
        "latitude": _angle(parts[3], is_negative=parts[4].upper() == "S"),
        "longitude": _angle(parts[5], is_negative=parts[6].upper() == "W"),
        "speed_m_s": speed(parts[7], KNOT),
        "heading_deg": known(parts[8]),
    }


def _angle(text: str, *, is_negative: bool) -> float:
    found = ANGLE.match(text.strip())
    if found is None:
        raise RejectedError(Reason.BAD_VALUE, f"{text[:32]!r} is no angle as NMEA writes it")
    degrees = int(found[1]) + float(found[2]) / 60
    return -degrees if is_negative else degrees


def _time(day: str, time: str) -> str:
    """`ddmmyy` and `hhmmss[.sss]` as ISO 8601; what is wrong with it is found later."""
    hour = time.partition(".")[0].rjust(6, "0")
    return f"20{day[4:6]}-{day[2:4]}-{day[0:2]}T{hour[0:2]}:{hour[2:4]}:{hour[4:6]}+00:00"


ADAPTER = Adapter(
    name="opengts",
    app="OpenGTS clients",
    systems="Android, iOS",
    streams=(GPS,),
    read=read,
    reply=reply,
    settings=url_setting("opengts", at="OpenGTS server URL"),
)
