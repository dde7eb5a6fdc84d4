"""InfluxDB's line protocol, as Telegraf, Home Assistant and ESPHome write it (v1 and v2).

A line becomes one generic reading: the measurement is the sensor, tags and fields are its readings,
and a lone field is its value too. Without a time a line is as old as its arrival.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from ingest_api.adapters.adapter import (
    Adapter,
    AppRequest,
    Door,
    Event,
    Item,
    Landed,
    Reply,
    Setting,
    Unread,
    json_reply,
)
from ingest_api.adapters.position import given
from ingest_api.adapters.readings import GENERIC, reading
from ingest_api.adapters.units import is_number, number
from ingest_api.errors import Reason, RejectedError

NANOSECONDS = {
    "n": 1,
    "ns": 1,
    "u": 1_000,
    "µ": 1_000,
    "us": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
DEVICE_TAGS = ("device_id", "device", "host")
INTEGER = re.compile(r"^[+-]?\d+[iu]$")
TRUE, FALSE = ("t", "T", "true", "True", "TRUE"), ("f", "F", "false", "False", "FALSE")
KEY = r"(?:\\[\s\S]|[^,= \n\\])+"
TEXT = r'"(?:\\[\s\S]|[^"\\])*"'
VALUE = rf'(?:{TEXT}|[^", ]+)'
TAG, FIELD = re.compile(rf",({KEY})=({KEY})"), re.compile(rf"({KEY})=({VALUE})")
LINE = re.compile(
    rf"(?P<measurement>(?:\\[\s\S]|[^, \n\\])+)(?P<tags>(?:,{KEY}={KEY})*)"
    rf" +(?P<fields>{KEY}={VALUE}(?:,{KEY}={VALUE})*)(?: +(?P<time>-?\d{{1,20}}))? *\Z"
)
LINES = re.compile(rb'(?:="(?:\\[\s\S]|[^"\\])*"|[^\n])+')
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
WRITES = ("write", "api/v2/write", "api/v3/write_lp")


class LineError(ValueError):
    """A line that is not of the protocol."""


def read(request: AppRequest) -> list[Item]:
    """A reading a line; a bad line spoils no other.

    Raises: RejectedError for a precision that does not exist.
    """
    if request.method == "GET" or not request.tail.endswith(WRITES):
        return []
    precision = request.query.get("precision") or "ns"
    if precision not in NANOSECONDS:
        raise RejectedError(Reason.BAD_VALUE, f"precision must be one of {', '.join(NANOSECONDS)}")
    return [_item(line, NANOSECONDS[precision], request) for line in lines_of(request.body)]


def reply(request: AppRequest, _landed: Landed) -> Reply:
    """204 after a write; to questions what a client needs before it writes."""
    if request.tail.endswith("query"):
        return json_reply({"results": [{"statement_id": 0}]})
    if request.tail.endswith("health"):
        return json_reply({"name": "influxdb", "status": "pass"})
    return Reply(status=204, headers={"X-Influxdb-Version": "am"})


def own_token(request: AppRequest) -> str | None:
    """`Authorization: Token …` of v2, `p` in the query of v1."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "token" else request.query.get("p")


def lines_of(body: bytes) -> list[bytes]:
    """The lines, without those that are blank or a comment; text in quotes may hold line ends."""
    stripped = (found[0].strip() for found in LINES.finditer(body))
    return [line for line in stripped if line and not line.startswith(b"#")]


def parse_line(line: str) -> tuple[str, dict[str, str], dict[str, Any], int | None]:
    """Measurement, tags, fields, and the time as a number of the precision's units.

    Raises: LineError.
    """
    found = LINE.match(line)
    if found is None:
        raise LineError("a line is measurement[,tag=value…] field=value[,field=value…] [time]")
    tags = {_plain(name): _plain(text) for name, text in TAG.findall(found["tags"])}
    fields = {_plain(name): _value(text) for name, text in FIELD.findall(found["fields"])}
    when = None if found["time"] is None else int(found["time"])
    return _plain(found["measurement"]), tags, fields, when


def _item(line: bytes, unit_ns: int, request: AppRequest) -> Item:
    try:
        measurement, tags, fields, when = parse_line(line.decode())
    except (LineError, UnicodeDecodeError) as error:
        return Unread(content=line, code=Reason.BAD_VALUE, reason=f"not line protocol: {error}")
    return _event((measurement, tags, fields), when, unit_ns=unit_ns, request=request)


def _event(
    point: tuple[str, Mapping[str, str], Mapping[str, Any]],
    when: int | None,
    *,
    unit_ns: int,
    request: AppRequest,
) -> Event:
    measurement, tags, fields = point
    happened = request.received_at.isoformat() if when is None else instant(when * unit_ns)
    values = list(fields.values())
    bucket = given(request.query, "bucket", "db")
    return reading(
        measurement,
        values[0] if len(values) == 1 else None,
        of={"device_id": given(tags, *DEVICE_TAGS), "recorded_at": happened},
        readings={"tags": dict(tags), "fields": dict(fields)},
        sent={"bucket": bucket, "is_time_of_arrival": True if when is None else None},
    )


def instant(nanoseconds: int) -> Any:
    """ISO 8601, to the microsecond; a number that is no time is refused later."""
    try:
        return (EPOCH + timedelta(microseconds=nanoseconds // 1_000)).isoformat()
    except OverflowError:
        return str(nanoseconds)


def _value(text: str) -> Any:
    """A field's number, truth value or text.

    Raises: LineError.
    """
    if len(text) > 1 and text[0] == text[-1] == '"':
        return text[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    if text in TRUE or text in FALSE:
        return text in TRUE
    if INTEGER.match(text):
        return int(text[:-1])
    read = number(text)
    if not is_number(read):
        raise LineError(f"{text[:40]!r} is no value")
    return float(read)


def _plain(text: str) -> str:
    """A name or a tag's value without its escapes."""
    return re.sub(r"\\([,= ])", r"\1", text)


def _settings(door: Door) -> list[Setting]:
    return [
        Setting(name="v2: urls", value=f"{door.base}/influx"),
        Setting(name="v2: token", value=door.token),
        Setting(name="v2: organization, bucket", value="anything"),
        Setting(name="v1: urls", value=f"{door.base}/influx"),
        Setting(name="v1: password (skip_database_creation = true)", value=door.token),
    ]


ADAPTER = Adapter(
    name="influx",
    app="InfluxDB clients: Telegraf, Home Assistant, ESPHome",
    systems="any",
    streams=(GENERIC,),
    read=read,
    reply=reply,
    settings=_settings,
    own_token=own_token,
    roots=("/write", "/api/v2/write"),
)
