"""By columns or one by one: what becomes of the elements is the same, row for row."""

import io
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from am_assets.streams.registry import REGISTRY
from am_assets.streams.stream import Stream
from ingest_api.batch import ENOUGH_FOR_COLUMNS, Batch, read_batch, read_many, to_stream
from ingest_api.bodies import ARROW, elements_of
from ingest_api.elements import NewRow, plain
from ingest_api.envelope import Sender
from ingest_api.errors import MalformedBodyError
from ingest_api.rules import rules_of

GPS = REGISTRY["device.sensor.gps.raw"]
PLAIN = [stream for stream in REGISTRY.raw if rules_of(stream) is not None]
BATCH_ID = UUID(int=1)
SENDER = Sender(
    user_id="ann",
    door="/test",
    received_at=datetime(2026, 3, 1, tzinfo=UTC),
    max_future=timedelta(days=1),
    default_device_id="default",
    offsets_min={"phone": 120},
    trace_id="trace",
)
TIMES = st.datetimes(datetime(1960, 1, 1), datetime(2028, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - hypothesis wants bounds without a zone
TIME_TEXTS = TIMES.map(datetime.isoformat) | st.sampled_from(
    ["2026-02-01T08:00:00.25+05:30", "2026-02-01T08:00:00", " 2026-02-01T08:00:00Z", "no time", ""]
)
TIME_NUMBERS = st.integers(-(10**9), 2 * 10**18) | st.floats(0, 2e18, allow_nan=False)
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=4)
REALS = st.floats() | st.sampled_from([0.0, -0.0, 1e-5, 1e16, 123.25])
VALUES = st.one_of(REALS, st.integers(-200, 200), TEXTS, st.booleans(), st.none())
OWN_IDS = st.sampled_from(
    [None, "p-17", "0189d3c1-6b6a-7c4e-9d5a-3f1e2d4c5b6a", "0189D3C16B6A7C4E9D5A3F1E2D4C5B6A"]
)
DEVICES = st.sampled_from(["phone", "watch", None, "", "a\x00b", "x" * 129, 'qu"ote'])
# Each field is of one kind of values in most lists, as clients send them, and mixed in some.
FIELDS = {
    "device_id": st.just(DEVICES),
    "tz_offset_min": st.sampled_from([st.integers(-2000, 2000) | st.none(), VALUES]),
    "latitude": st.sampled_from([st.floats(-100, 100), st.integers(-95, 95), REALS, VALUES]),
    "longitude": st.sampled_from([st.floats(-180, 180), REALS | st.none(), VALUES]),
    "accuracy": st.sampled_from([st.floats(-1, 100) | st.none(), VALUES]),
    "speed_m_s": st.sampled_from([st.floats(0, 9), st.none(), VALUES]),
    "speed": st.sampled_from([st.floats(0, 9) | st.none(), VALUES]),
    "trace_id": st.sampled_from([TEXTS | st.none(), VALUES]),
    "message_id": st.just(OWN_IDS),
    "content_hash": st.sampled_from([TEXTS | st.none(), VALUES]),
    "note": st.sampled_from([TEXTS, VALUES, st.dictionaries(TEXTS, VALUES, max_size=2)]),
    "timestamp": st.just(TIME_TEXTS),
}


@st.composite
def fixes(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Some positions, of the same few fields each, as one client would send them."""
    times = draw(st.sampled_from([TIMES.map(datetime.isoformat), TIME_TEXTS, TIME_NUMBERS]))
    names = draw(st.sets(st.sampled_from(sorted(FIELDS)), min_size=2))
    kinds = {name: draw(FIELDS[name]) for name in sorted(names | {"latitude", "longitude"})}
    drawn = st.fixed_dictionaries({"recorded_at": times, **kinds})
    return draw(st.lists(drawn, min_size=1, max_size=6))


def many(elements: list[Any]) -> list[Any]:
    """As many as columns are used for, the drawn ones first."""
    filling = {"recorded_at": "2026-02-01T08:00:00Z", "latitude": 1.5, "longitude": 2.5}
    return elements + [filling] * (ENOUGH_FOR_COLUMNS - len(elements))


def fates(batch: Batch) -> list[Any]:
    """What became of each element, in order."""
    left = dict(batch.placed)
    rows = iter([row for sheet in batch.sheets for row in sheet.rows.to_pylist()])
    return [
        fate(left[place]) if place in left else copied(next(rows))
        for place in range(batch.received)
    ]


def fate(outcome: Any) -> Any:
    """A row's columns as text, so that 1 is not 1.0 and a nan itself; or the dead letter."""
    if not isinstance(outcome, NewRow):
        return outcome
    own = {
        "user_id": outcome.user_id,
        "device_id": outcome.envelope.device_id,
        "ts": outcome.envelope.ts,
        "tz_offset_min": outcome.tz_offset_min,
        "event_id": outcome.event_id,
        "trace_id": outcome.envelope.trace_id,
        "schema_version": outcome.stream.schema_version,
        **outcome.values,
        "extra": json.loads(json.dumps(dict(outcome.extra), default=plain)) or None,
    }
    return texts(own)


def copied(row: Mapping[str, Any]) -> Any:
    """The same of a sheet's row."""
    told = {name: value for name, value in row.items() if name != "received_at"}
    extra = json.loads(row["extra"]) if row["extra"] else None
    return texts({**told, "event_id": UUID(bytes=row["event_id"]), "extra": extra})


def texts(row: Mapping[str, Any]) -> dict[str, str]:
    """Each value's own form."""
    return {name: form(name, value) for name, value in row.items()}


def form(name: str, value: Any) -> str:
    """Such that only the same value has it."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return json.dumps(value, sort_keys=True) if name == "extra" else repr(value)


def both_ways(elements: Any, stream: Stream, sender: Sender = SENDER) -> tuple[Batch, Batch]:
    """By columns, and one by one."""
    rows = elements.to_pylist() if isinstance(elements, pa.Table) else elements
    route = to_stream(stream)
    return (
        read_many(elements, route=route, sender=sender, batch_id=BATCH_ID),
        read_batch(rows, route=route, sender=sender, batch_id=BATCH_ID),
    )


@settings(max_examples=60)
@given(fixes())
def test_a_json_array_becomes_the_rows_that_its_elements_become_alone(elements: list[Any]) -> None:
    by_columns, one_by_one = both_ways(many(elements), GPS)
    assert fates(by_columns) == fates(one_by_one)


@settings(max_examples=60)
@given(fixes())
def test_an_arrow_table_becomes_the_rows_that_its_elements_become_alone(
    elements: list[Any],
) -> None:
    try:
        table = pa.Table.from_pylist(many(elements))
    except (pa.ArrowException, OverflowError):
        return  # no client can make such a table either
    by_columns, one_by_one = both_ways(table, GPS)
    assert fates(by_columns) == fates(one_by_one)


@given(st.sampled_from(["s", "ms", "us"]), st.lists(st.integers(0, 2 * 10**9), min_size=1))
def test_arrow_times_of_every_unit_are_the_instants_they_name(unit: str, told: list[int]) -> None:
    instants = pa.array(told, pa.timestamp(unit, "UTC"))  # type: ignore[call-overload]  # a unit
    values = pa.array([1.5] * len(told))
    table = pa.table({"ts": instants, "latitude": values, "longitude": values})
    table = pa.concat_tables([table] * (1 + ENOUGH_FOR_COLUMNS // len(told)))
    by_columns, one_by_one = both_ways(table, GPS)
    assert by_columns.sheets or not one_by_one.rows
    assert fates(by_columns) == fates(one_by_one)


@given(st.sampled_from(PLAIN), st.data())
def test_every_plain_stream_is_read_alike_by_columns(stream: Stream, data: st.DataObject) -> None:
    others = {name: data.draw(st.just(None) | VALUES) for name in stream.columns[:2]}
    first = {**stream.example, "recorded_at": "2026-02-01T08:00:00+02:00"}
    example = {"recorded_at": "2026-02-01T08:00:00Z", **stream.example}
    elements = [first, {**example, **others}, *[example] * ENOUGH_FOR_COLUMNS]
    by_columns, one_by_one = both_ways(elements, stream)
    assert fates(by_columns) == fates(one_by_one)


@pytest.mark.parametrize("stream", PLAIN, ids=lambda stream: stream.name)
def test_a_plain_streams_examples_are_all_read_by_columns(stream: Stream) -> None:
    example = {"recorded_at": "2026-02-01T08:00:00Z", **stream.example}
    by_columns, _ = both_ways([example] * ENOUGH_FOR_COLUMNS, stream)
    assert (len(by_columns.outcomes), by_columns.received) == (0, ENOUGH_FOR_COLUMNS)


@pytest.mark.parametrize("number", [ENOUGH_FOR_COLUMNS - 1, ENOUGH_FOR_COLUMNS, 50])
@given(values=st.lists(st.floats(-80, 80) | st.sampled_from([0.0, -0.0, 1e-5, 1e-300]), min_size=1))
def test_a_phones_short_batches_become_the_same_rows_whichever_way_they_go(
    number: int, values: list[float]
) -> None:
    motion = REGISTRY["device.sensor.accelerometer.raw"]
    begin = datetime(2026, 2, 1, 23, 59, 59, 500_000, tzinfo=UTC)  # midnight is within
    elements = [
        {
            "device_id": "phone",
            "recorded_at": (begin + place * timedelta(milliseconds=20)).isoformat(),
            "x": values[place % len(values)],
            "y": values[-1 - place % len(values)],
            "z": place,
        }
        for place in range(number)
    ]
    by_columns, one_by_one = both_ways(elements, motion)
    assert bool(by_columns.sheets) == (number >= ENOUGH_FOR_COLUMNS)
    assert fates(by_columns) == fates(one_by_one)


def test_a_wrong_value_is_a_dead_letter_at_its_place_and_its_neighbours_stay_in_columns() -> None:
    elements = many([])
    elements[7] = {**elements[7], "latitude": 91.0}
    by_columns, _ = both_ways(elements, GPS)
    assert [place for place, _ in by_columns.placed] == [7]
    assert len(by_columns.dead_letters) == 1
    assert sum(map(len, by_columns.sheets)) == len(elements) - 1


def test_a_token_for_one_device_stores_nothing_of_another_by_columns() -> None:
    bound = Sender(
        user_id="ann",
        door="/test",
        received_at=SENDER.received_at,
        max_future=SENDER.max_future,
        bound_device_id="phone",
    )
    elements = [{**one, "device_id": "watch"} for one in many([])]
    by_columns, one_by_one = both_ways(elements, GPS, bound)
    assert fates(by_columns) == fates(one_by_one)
    assert len(by_columns.dead_letters) == len(elements)


def test_an_arrow_body_whose_text_is_no_utf8_is_refused_as_a_whole() -> None:
    texts = pa.StringArray.from_buffers(
        1, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xfe")
    )
    sink = io.BytesIO()
    table = pa.table({"device_id": texts})
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(MalformedBodyError):
        elements_of(sink.getvalue(), content_type=ARROW)
