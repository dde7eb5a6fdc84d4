from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest

from am_assets.checks.contract import count_violations, rules_of, schema_faults
from am_assets.schemas.arrow import delta_schema
from am_assets.streams.digital import CLIPBOARD
from am_assets.streams.health import HEART_RATE
from am_assets.streams.registry import REGISTRY
from am_assets.streams.stream import Stream

DAY = date(2026, 3, 1)
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def _batch(stream: Stream, **values: Any) -> pa.RecordBatch:
    row = {
        "user_id": "ada",
        "device_id": "phone",
        "ts": NOON,
        "event_id": "1",
        "received_at": NOON,
        "schema_version": 1,
        "day": DAY,
        **values,
    }
    schema = pa.schema([field.with_nullable(True) for field in delta_schema(stream)])
    return pa.RecordBatch.from_pylist([row], schema)


def _broken(stream: Stream, **values: Any) -> set[str]:
    return set(count_violations(_batch(stream, **values), rules_of(stream, DAY)))


@pytest.mark.parametrize(
    ("values", "broken"),
    [
        ({"bpm": 61.0}, set()),
        ({"bpm": 61.0, "confidence": 1.0}, set()),
        ({"bpm": 0.0}, {"bpm: > 0"}),
        ({"bpm": 401.0}, {"bpm: ≤ 400"}),
        ({"bpm": 61.0, "confidence": 1.5}, {"confidence: ≤ 1"}),
        ({"bpm": None}, {"bpm: not null"}),
        ({"bpm": 61.0, "user_id": None}, {"user_id: not null"}),
        ({"bpm": 61.0, "ts": NOON + timedelta(hours=12)}, {"ts: on 2026-03-01"}),
    ],
)
def test_a_value_outside_the_registrys_limits_is_named(
    values: dict[str, Any], broken: set[str]
) -> None:
    assert _broken(HEART_RATE, **values) == broken


def test_a_word_that_is_none_of_the_registrys_is_named() -> None:
    assert _broken(CLIPBOARD, content_type="text") == set()
    (fault,) = _broken(CLIPBOARD, content_type="smell")
    assert fault.startswith("content_type: one of text, ")


@pytest.mark.parametrize("stream", REGISTRY.values(), ids=lambda stream: stream.table)
def test_a_stream_agrees_with_its_own_schema_and_its_rules_can_be_evaluated(
    stream: Stream,
) -> None:
    schema = delta_schema(stream)
    assert schema_faults(schema, stream) == []
    count_violations(_batch(stream), rules_of(stream, DAY))
    assert schema_faults(schema.remove(2), stream) == ["ts is missing"]
