"""What holds for every adapter, and for the converters that they share."""

import json
import string
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from am_assets.streams.registry import REGISTRY
from ingest_api.adapters import influx, opengts, sealing, times, units
from ingest_api.adapters.adapter import Adapter, AppRequest, Door, Event, Landed
from ingest_api.adapters.addressing import content_of
from ingest_api.adapters.catalog import ADAPTERS, apps_table
from ingest_api.adapters.readings import UNITS, in_kept_unit
from ingest_api.errors import MalformedBodyError, RejectedError

NOW = datetime(2024, 1, 1, tzinfo=UTC)
EACH = [pytest.param(adapter, id=name) for name, adapter in ADAPTERS.items()]
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12)
WORDS_OF_APPS = (
    "_type lat lon tst acc vel batt bs event desc waypoints topic image data configuration steps "
    "locations type geometry coordinates properties timestamp speed battery_level battery_state "
    "action trip current device_id location coords latitude longitude battery level id points "
    "payload name values time x y z batteryLevel metrics workouts route heartRateData units qty "
    "date value sleep stages stage heart_rate bpm start_time weight kilograms resourceMetrics "
    "scopeMetrics ssid SSID conn gauge sum dataPoints asInt attributes key stringValue ts"
)
NAMES = st.sampled_from(WORDS_OF_APPS.split())
KINDS = st.sampled_from(
    ["location", "transition", "waypoints", "lwt", "steps", "status", "Feature"]
)
JSON = st.recursive(
    SCALARS | KINDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=20,
)
TAILS = st.sampled_from(
    ["", "pub", "logPost/x", "logPostMultiple/x", "write", "mood", "v1/metrics"]
)
TYPES = st.sampled_from(
    ["", "application/json", "application/x-www-form-urlencoded", "application/x-protobuf",
     "multipart/form-data; boundary=x", "application/octet-stream", "application/x-ndjson"]
)  # fmt: skip


def check_that_it_is_read_or_refused(adapter: Adapter, request: AppRequest) -> None:
    """No other error than the two that the router makes dead letters of; an answer in any case."""
    try:
        items = adapter.read(request)
    except (MalformedBodyError, RejectedError):
        items = []
    for item in items:
        if isinstance(item, Event):
            assert "." not in request.tail or item.stream == request.tail
            content_of(item, stream=REGISTRY.get(item.stream), device_id=None)
    assert adapter.reply(request, Landed()).status in (200, 204)


@pytest.mark.parametrize("adapter", EACH)
@settings(max_examples=150, deadline=None)
@given(content=JSON, tail=TAILS, kind=TYPES, query=st.dictionaries(NAMES, st.text(max_size=8)))
def test_no_json_whatever_breaks_an_adapter(
    adapter: Adapter, content: Any, tail: str, kind: str, query: dict[str, str]
) -> None:
    body = json.dumps(content).encode()
    request = AppRequest(
        received_at=NOW, tail=tail, query=query, headers={"content-type": kind}, body=body
    )
    check_that_it_is_read_or_refused(adapter, request)


@pytest.mark.parametrize("adapter", EACH)
@settings(max_examples=60, deadline=None)
@given(body=st.binary(max_size=80), tail=TAILS, kind=TYPES, secret=st.none() | st.text(max_size=40))
def test_no_bytes_whatever_break_an_adapter(
    adapter: Adapter, body: bytes, tail: str, kind: str, secret: str | None
) -> None:
    headers = {"content-type": kind}
    for method in ("POST", "GET"):
        request = AppRequest(
            received_at=NOW, method=method, tail=tail, headers=headers, body=body, secret=secret
        )
        check_that_it_is_read_or_refused(adapter, request)


@pytest.mark.parametrize("adapter", EACH)
def test_every_stream_that_an_adapter_names_is_declared(adapter: Adapter) -> None:
    assert set(adapter.streams) <= set(REGISTRY)


@pytest.mark.parametrize("adapter", EACH)
def test_every_apps_settings_tell_where_am_is_and_hold_the_token(adapter: Adapter) -> None:
    door = Door(base="https://am.example", token="am_TOKEN")
    told = [setting.value for setting in adapter.settings(door)]
    assert any(value.startswith(f"https://am.example/{adapter.name}") for value in told) or (
        any(f"https://am.example{root}" in told for root in adapter.roots)
    )
    assert any("am_TOKEN" in value for value in told)


def test_the_table_of_apps_in_the_docs_is_the_catalog() -> None:
    assert apps_table() in Path("docs/apps.md").read_text()


@given(st.floats(min_value=0, max_value=1e6))
def test_a_speed_is_the_same_in_all_units(metres: float) -> None:
    for factor in (units.KM_H, units.KNOT, units.MPH):
        assert units.speed(metres / factor, factor) == pytest.approx(metres)
        assert units.speed(str(metres / factor), factor) == pytest.approx(metres)
    assert units.speed(-1 - metres) is None


@given(st.floats(min_value=-1e6, max_value=1e6), st.sampled_from(sorted(UNITS)))
def test_a_kept_unit_is_a_fixed_multiple_and_is_kept_once(value: float, unit: str) -> None:
    kept, kept_unit = in_kept_unit(value, unit)
    assert kept == pytest.approx(value * UNITS[unit][1])
    assert in_kept_unit(kept, kept_unit) == (kept, kept_unit)


@given(SCALARS)
def test_a_number_is_read_finite_or_left_for_the_row_to_refuse(value: Any) -> None:
    read = units.number(value)
    assert read is None or units.is_number(read) or read is value
    assert units.number(read) is read or units.number(read) == read


@given(st.floats(min_value=0, max_value=1))
def test_percent_of_a_fraction_stays_within_a_hundred(fraction: float) -> None:
    assert 0 <= units.percent(fraction) <= 100


@given(
    st.datetimes(min_value=datetime(1980, 1, 1), max_value=datetime(2100, 1, 1)),  # noqa: DTZ001
    st.integers(-14 * 60, 14 * 60),
    st.booleans(),
)
def test_a_spelled_time_is_the_time_it_spells(
    moment: datetime, minutes: int, is_half_day: bool
) -> None:
    moment = moment.replace(microsecond=0)
    zone = f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02}{abs(minutes) % 60:02}"
    hour = moment.strftime("%I").lstrip("0") if is_half_day else moment.strftime("%H")
    half = "\u202f" + ("AM" if moment.hour < 12 else "PM") if is_half_day else ""
    text = f"{moment:%Y-%m-%d} {hour}:{moment:%M:%S}{half} {zone}"
    read = datetime.fromisoformat(times.spelled(text))
    assert read.replace(tzinfo=None) == moment
    assert times.offset_min(times.spelled(text)) == minutes


@given(st.floats(-90, 90), st.floats(-180, 180))
def test_an_nmea_position_is_read_back_to_a_metre(latitude: float, longitude: float) -> None:
    def angle(value: float, digits: int) -> str:
        return f"{int(abs(value)):0{digits}}{abs(value) % 1 * 60:09.6f}"

    north, east = "S" if latitude < 0 else "N", "W" if longitude < 0 else "E"
    place = f"{angle(latitude, 2)},{north},{angle(longitude, 3)},{east}"
    read = opengts.sentence(f"$GPRMC,000000,A,{place},0,0,010124,,")
    assert read["latitude"] == pytest.approx(latitude, abs=1e-5)
    assert read["longitude"] == pytest.approx(longitude, abs=1e-5)


WORDS = st.text(string.ascii_letters + string.digits + " ,=_-µ", min_size=1, max_size=8)
FIELD_VALUES = (
    st.booleans()
    | st.integers(-(2**62), 2**62)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(string.printable.replace("\r", ""), max_size=12)
)


def escaped(name: str) -> str:
    """A name or a tag's value as the protocol escapes it."""
    return name.replace(",", "\\,").replace("=", "\\=").replace(" ", "\\ ")


def spelled(value: Any) -> str:
    """A field's value as the protocol writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"{value}i"
    if isinstance(value, float):
        return repr(value)
    text = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


@settings(deadline=None)
@given(
    WORDS,
    st.dictionaries(WORDS, WORDS, max_size=3),
    st.dictionaries(WORDS, FIELD_VALUES, min_size=1, max_size=3),
    st.none() | st.integers(0, 2**62),
)
def test_a_line_of_influx_is_read_back_as_it_was_written(
    measurement: str, tags: dict[str, str], fields: dict[str, Any], when: int | None
) -> None:
    head = ",".join(
        [escaped(measurement), *(f"{escaped(k)}={escaped(v)}" for k, v in tags.items())]
    )
    body = ",".join(f"{escaped(name)}={spelled(value)}" for name, value in fields.items())
    line = " ".join([head, body, *([] if when is None else [str(when)])])
    assert influx.parse_line(line) == (measurement, tags, fields, when)
    if measurement.strip() == measurement and not measurement.startswith("#"):
        assert influx.lines_of(f"{line}\n{line}\n".encode()) == [line.strip().encode()] * 2


@given(st.binary(max_size=64), st.text(max_size=7))  # at most 28 bytes: one more has to fit
def test_what_is_sealed_is_opened_with_the_same_secret_and_no_other(
    content: bytes, secret: str
) -> None:
    data = sealing.seal(content, secret=secret)
    assert sealing.unseal(data, secret=secret) == content
    with pytest.raises(RejectedError, match=sealing.SETTING):
        sealing.unseal(data, secret=f"{secret}!")


@given(st.dictionaries(st.sampled_from(["speed", "altitude", "device_id", "ts", "x"]), SCALARS))
def test_nothing_that_was_sent_is_lost_and_no_sent_field_becomes_a_column(
    sent: dict[str, Any],
) -> None:
    columns = {"recorded_at": 1704067200, "latitude": 1.0, "longitude": 2.0, "device_id": "own"}
    event = Event(stream="device.sensor.gps.raw", columns=columns, sent=sent)
    content = content_of(event, stream=REGISTRY[event.stream], device_id=None)
    assert {name: content[name] for name in columns} == columns
    assert not {"speed", "altitude"} & set(content)
    for name, value in sent.items():
        said = content.get(f"{name}_as_sent", content.get(name))
        assert said is value or said == value


def test_the_openapi_document_describes_each_app_once(base_url: str) -> None:
    document = httpx.get(f"{base_url}/openapi.json", timeout=60).json()
    for name in (name for name, adapter in ADAPTERS.items() if not adapter.has_own_router):
        assert set(document["paths"][f"/{name}"]) == {"post"}
    operations = [one for path in document["paths"].values() for one in path.values()]
    named = [one["operationId"] for one in operations]
    assert len(named) == len(set(named))


def test_a_token_in_the_path_is_in_no_door_and_no_metric(
    base_url: str, token_for: Callable[..., str], user: str, database: psycopg.Connection
) -> None:
    token = token_for(user)
    httpx.get(f"{base_url}/colota/{token}", params={"lat": "1", "lon": "2", "tst": "1704067200"})
    doors = database.execute("SELECT door FROM am.landing WHERE user_id = %s", (user,)).fetchall()
    assert doors == [("/colota",)]
    assert token not in httpx.get(f"{base_url}/metrics").text
