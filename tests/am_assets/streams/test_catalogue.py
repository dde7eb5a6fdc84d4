"""That every stream is there, complete, and kept as long as was decided."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from am_assets.derived.catalog import ENRICHMENTS
from am_assets.schemas.columns import columns
from am_assets.streams.registry import REGISTRY
from am_assets.streams.stream import Row, Stream
from ingest_api.elements import NewRow, read_element
from ingest_api.envelope import Sender
from ingest_api.errors import RejectedError
from ingest_api.mixed_doors import mixed_doors

STREAMS = [pytest.param(stream, id=stream.name) for stream in REGISTRY.values()]
RAW = [pytest.param(stream, id=stream.name) for stream in REGISTRY.raw]
NOW = "2026-03-01T08:30:00.250+01:00"
LATER = "2026-03-01T08:30:30.250+01:00"
SENDER = Sender(
    user_id="u",
    door="/test",
    received_at=datetime(2026, 3, 2, tzinfo=UTC),
    max_future=timedelta(days=1),
)
MEASURED = {"format", "file_size"}  # claims about bytes, which are measured instead
GENERIC = REGISTRY["device.sensor.generic.raw"]
USAGE = REGISTRY["device.app_usage.android.aggregated"]

CLIENT_PATHS = (
    "/audio/upload",
    "/audio/stream/{device_id}",
    *(f"/sensor/{kind}" for kind in ("gps", "accelerometer", "gyroscope", "magnetometer")),
    *(f"/sensor/{kind}" for kind in ("temperature", "barometer", "light", "heartrate", "power")),
    *(f"/sensor/{kind}" for kind in ("wifi", "bluetooth", "generic", "batch")),
    *(f"/health/{kind}" for kind in ("steps", "sleep", "blood-oxygen", "blood-pressure")),
    *(f"/images/{kind}" for kind in ("upload", "screenshot", "batch")),
    *(f"/notes/{kind}" for kind in ("upload", "batch", "digital")),
    *(f"/digital/{kind}" for kind in ("clipboard", "web-analytics", "screen-text")),
    *(f"/os-events/{kind}" for kind in ("app-lifecycle", "system", "notifications")),
    *(f"/system/apps/{system}" for system in ("macos", "android")),
    *(f"/system/apps/android/{kind}" for kind in ("usage", "events", "categories")),
    "/system/metadata",
    "/images/video",
    "/documents/upload",
    "/documents/batch",
)
HOT_DAYS = {
    "device.audio.raw": 7,
    "device.sensor.accelerometer.raw": 7,
    "device.image.": 90,
    "device.video.": 90,
    "location.georegion.detected": 30,
    "location.address.geocoded": 90,
    "location.business.identified": 365,
    "media.text.": 90,
    "media.image.": 90,
    "media.audio.": 90,
    "analysis.inferred_context.": 180,
    "device.health.": 60,
    "device.biosignal.": 60,
    "device.sensor.accelerometer.windowed": 7,
    "device.sensor.": 30,
    "device.state.": 30,
    "device.system.apps.": 30,
    "device.app_usage.": 30,
    "os.events.": 30,
    "device.network.": 30,
    "device.metadata.": 90,
    "external.email.": 365,
    "external.calendar.": 365,
    "external.twitter.": 365,
    "external.hackernews.": 365,
    "digital.notes.": 365,
    "task.url.processed": 365,
    "task.document.": 365,
    "processed.": 365,
    "device.command.": 30,
    "device.response.": 30,
    "device.sync.": 30,
    "device.notification.response.raw": 30,
}
"""Days by the longest beginning that fits; 90 where none does."""


def read(stream: Stream, **changes: Any) -> NewRow:
    """The stream's example as a device would send it, understood."""
    element = {**stream.example, "device_id": "phone", "recorded_at": NOW, **changes}
    return read_element(element, stream=stream, sender=SENDER)


@pytest.mark.parametrize("stream", STREAMS)
def test_each_stream_comes_through_a_door_or_from_an_enrichment_or_from_a_planned_flow(
    stream: Stream,
) -> None:
    is_made = any(enrichment.output is stream for enrichment in ENRICHMENTS)
    assert [not stream.is_derived, is_made, bool(stream.planned)].count(True) == 1
    assert not (stream.is_derived and stream.doors)


@pytest.mark.parametrize("stream", STREAMS)
def test_no_column_is_there_twice_and_none_shadows_the_envelope(stream: Stream) -> None:
    names = [column.name for column in columns(stream)]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("stream", STREAMS)
def test_rows_stay_hot_as_long_as_was_decided(stream: Stream) -> None:
    fitting = [name for name in HOT_DAYS if stream.name.startswith(name)]
    days = HOT_DAYS[max(fitting, key=len)] if fitting else 90
    assert stream.keep_hot == timedelta(days=days)


@pytest.mark.parametrize(
    ("name", "hours"),
    [
        ("device.audio.raw", 24),
        ("device.sensor.accelerometer.raw", 24),
        ("location.georegion.detected", 6),
    ],
)
def test_what_is_compressed_early_has_chunks_that_are_over_by_then(name: str, hours: int) -> None:
    stream = REGISTRY[name]
    assert stream.compress_after == timedelta(hours=hours)
    assert stream.chunk_interval <= stream.compress_after


@pytest.mark.parametrize("stream", RAW)
def test_each_example_becomes_a_row_in_which_every_field_has_its_column(stream: Stream) -> None:
    row = read(stream)
    claimed = {name for name in row.extra if name.startswith("claimed_")}
    assert set(row.extra) - claimed <= MEASURED
    assert row.event_id == read(stream).event_id


@pytest.mark.parametrize("stream", RAW)
def test_a_copy_with_a_new_time_is_the_same_row_only_where_the_stream_says_so(
    stream: Stream,
) -> None:
    is_same = read(stream).event_id == read(stream, recorded_at=LATER).event_id
    assert is_same == stream.is_resent_with_new_time


@pytest.mark.parametrize("path", CLIENT_PATHS)
def test_every_path_that_clients_know_has_a_door(path: str) -> None:
    doors = {door.path for stream in REGISTRY.raw for door in stream.doors}
    assert path in doors | set(mixed_doors(REGISTRY))


def test_a_raw_stream_can_not_be_planned() -> None:
    with pytest.raises(ValueError, match="only what AM derives"):
        Stream(
            name="a.b.raw",
            row=Row,
            summary="None.",
            identity=(),
            kind="none",
            title="none",
            planned="some_flow",
        )


@given(first=st.floats(-1e6, 1e6), times=st.lists(st.integers(0, 59), min_size=2, unique=True))
def test_equal_readings_of_a_sensor_without_polls_stay_apart(
    first: float, times: list[int]
) -> None:
    reading = {"sensor_type": "noise", "value": first, "device_id": "phone"}
    rows = [
        read_element(
            {**reading, field: f"2026-03-01T08:00:{second:02}Z"}, stream=GENERIC, sender=SENDER
        )
        for second in times
        for field in ("recorded_at", "timestamp")
    ]
    assert len({row.event_id for row in rows}) == len(times)


@given(polls=st.lists(st.integers(0, 1000), min_size=2, unique=True))
def test_polls_of_a_desktop_stay_apart_however_often_each_is_sent(polls: list[int]) -> None:
    def poll(number: int, when: str) -> NewRow:
        return read(GENERIC, recorded_at=when, readings={"cpu": 1, "poll_sequence": number})

    rows = [poll(number, when) for number in polls for when in (NOW, LATER)]
    assert len({row.event_id for row in rows}) == len(polls)


@pytest.mark.parametrize("value", [0, 17.5, "on", True, {"a": [1]}, [1, "b"]])
def test_a_generic_reading_may_be_any_json(value: object) -> None:
    assert read(GENERIC, value=value).values["value"] == value


def test_a_period_without_a_zone_is_kept_as_sent_and_is_no_instant() -> None:
    values = read(USAGE).values
    assert values["period_start_as_sent"] == "2026-03-01T07:00:00.000000"
    assert values["period_start_ts"] is None
    zoned = read(USAGE, aggregation_period_start="2026-03-01T07:00:00+01:00").values
    assert zoned["period_start_ts"] == datetime(2026, 3, 1, 6, tzinfo=UTC)


def test_a_period_that_ends_before_it_begins_is_refused() -> None:
    changes = {
        "aggregation_period_start": "2026-03-01T07:00:00Z",
        "aggregation_period_end": "2026-03-01T07:00:00Z",
    }
    with pytest.raises(RejectedError, match="end after it begins"):
        read(USAGE, **changes)


@pytest.mark.parametrize(
    ("name", "message", "expected"),
    [
        (
            "device.health.sleep.raw",
            {"state": "deep_sleep", "confidence": 0.75, "duration": 60000},
            {"sleep_stage": "deep_sleep", "duration_ms": 60000, "duration_s": None},
        ),
        ("device.sensor.on_body.raw", {"on_body": False}, {"is_on_body": False}),
        (
            "device.state.power.raw",
            {"event_type": "charging_started", "battery_level": 41, "is_charging": True},
            {"event_type": "charging_started", "battery_level": 41.0},
        ),
        (
            "device.health.heartrate.raw",
            {"bpm": 61, "confidence": 0.75, "source": "wearable"},
            {"bpm": 61.0, "confidence": 0.75},
        ),
    ],
)
def test_what_a_watch_sends_finds_its_columns(
    name: str, message: dict[str, Any], expected: dict[str, Any]
) -> None:
    element = {**message, "device_id": "wearable_1", "recorded_at": NOW}
    values = read_element(element, stream=REGISTRY[name], sender=SENDER).values
    assert {column: values[column] for column in expected} == expected


def test_a_units_name_is_kept_and_nothing_is_converted() -> None:
    values = read(REGISTRY["device.sensor.temperature.raw"], temperature=70, unit="fahrenheit")
    assert (values.values["temperature"], values.values["unit"]) == (70.0, "fahrenheit")


def test_a_block_of_samples_counts_them_and_refuses_a_ragged_one() -> None:
    eeg = REGISTRY["device.biosignal.eeg.raw"]
    assert read(eeg, sample_count=99).values["sample_count"] == 2
    with pytest.raises(RejectedError, match="one number a channel"):
        read(eeg, samples=[[1, 2, 3, 4], [1, 2]])
