"""From an element to a row: nothing that was sent is lost, and sending again gives the same row."""

import base64
import json
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

import pytest
from hypothesis import given
from hypothesis import strategies as st

from am_assets.schemas.row_ids import NAMESPACE
from am_assets.streams.registry import REGISTRY
from ingest_api.batch import DeadLetter, read_batch, to_stream
from ingest_api.elements import NewRow, check_content, read_element
from ingest_api.envelope import Sender, read_envelope
from ingest_api.errors import RejectedError

GPS = REGISTRY["device.sensor.gps.raw"]
AUDIO = REGISTRY["device.audio.raw"]
SENDER = Sender(
    user_id="ann",
    door="/test",
    received_at=datetime(2026, 3, 1, tzinfo=UTC),
    max_future=timedelta(days=1),
)
FIX = {"device_id": "p", "recorded_at": "2026-02-01T08:00:00+02:00", "latitude": 1, "longitude": 2}
UNKNOWN = st.dictionaries(
    st.text(st.characters(min_codepoint=97, max_codepoint=122), min_size=1).map("x_".__add__),
    st.integers(-(2**63), 2**63)
    | st.booleans()
    | st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"])),
    max_size=5,
)


@given(UNKNOWN)
def test_every_unknown_field_is_in_extra_unchanged(unknown: dict[str, Any]) -> None:
    row = read_element({**FIX, **unknown}, stream=GPS, sender=SENDER)
    assert dict(row.extra) == unknown


@given(st.permutations(list({**FIX, "speed": 3.5, "heading": None}.items())))
def test_the_order_of_fields_and_nulls_do_not_change_the_id(fields: list[tuple[str, Any]]) -> None:
    row = read_element(dict(fields), stream=GPS, sender=SENDER)
    assert (
        row.event_id == read_element({**FIX, "speed_m_s": 3.5}, stream=GPS, sender=SENDER).event_id
    )


def test_the_clients_own_uuid_is_the_id_and_any_other_id_is_kept_in_extra() -> None:
    own = UUID("0189d3c1-6b6a-7c4e-9d5a-3f1e2d4c5b6a")
    with_uuid = read_element({**FIX, "message_id": str(own)}, stream=GPS, sender=SENDER)
    with_text = read_element({**FIX, "message_id": "p-17.5"}, stream=GPS, sender=SENDER)
    assert (with_uuid.event_id, with_uuid.extra) == (own, {})
    assert with_text.extra == {"message_id": "p-17.5"}
    assert with_text.event_id == read_element(FIX, stream=GPS, sender=SENDER).event_id


def test_another_device_or_time_is_another_row() -> None:
    rows = [
        read_element({**FIX, **change}, stream=GPS, sender=SENDER).event_id
        for change in ({}, {"device_id": "q"}, {"recorded_at": "2026-02-01T08:00:01+02:00"})
    ]
    assert len(set(rows)) == 3


def test_both_times_are_kept_where_a_client_sends_two() -> None:
    row = read_element({**FIX, "timestamp": "2026-02-01T09:00:00Z"}, stream=GPS, sender=SENDER)
    assert row.envelope.ts == datetime(2026, 2, 1, 6, tzinfo=UTC)
    assert row.extra == {"timestamp": "2026-02-01T09:00:00Z"}


def test_of_two_aliases_of_one_column_the_second_is_kept_in_extra() -> None:
    row = read_element({**FIX, "heading": 10, "bearing": 12}, stream=GPS, sender=SENDER)
    assert (row.values["heading_deg"], row.extra) == (10.0, {"bearing": 12})


def test_audio_wrapped_into_a_second_wav_header_is_measured_by_the_inner_one() -> None:
    inner = base64.b64decode(AUDIO.example["data"])
    wrapped = inner[:44] + inner
    message = {
        "device_id": "u",
        "recorded_at": "2026-02-01T08:00:00Z",
        "audio_data": base64.b64encode(wrapped).decode(),
    }
    row = read_element(message, stream=AUDIO, sender=SENDER)
    assert (row.values["duration_ms"], row.values["blob_bytes"]) == (2, len(wrapped))


def test_raw_pcm_is_taken_with_the_rate_the_client_names() -> None:
    message = {
        "device_id": "o",
        "recorded_at": "2026-02-01T08:00:00Z",
        "data": base64.b64encode(bytes(32_000)).decode(),
        "format": "pcm",
        "sample_rate": 16_000,
    }
    row = read_element(message, stream=AUDIO, sender=SENDER)
    assert row.values["duration_ms"] == 1000
    assert row.values["media_type"] == "audio/L16;rate=16000;channels=1"


ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=8,
)


@given(st.lists(ANY, max_size=5))
def test_every_element_is_a_row_or_a_dead_letter_that_keeps_it(elements: list[Any]) -> None:
    batch = read_batch(elements, route=to_stream(GPS), sender=SENDER, batch_id=UUID(int=1))
    assert len(batch.outcomes) == len(elements)
    for element, outcome in zip(elements, batch.outcomes, strict=True):
        assert isinstance(outcome, NewRow | DeadLetter)
        if isinstance(outcome, DeadLetter):
            assert json.dumps(json.loads(outcome.payload)) == json.dumps(element)


@given(st.lists(st.lists(st.floats(allow_nan=False, allow_infinity=False) | st.integers())))
def test_a_list_of_numbers_gives_the_id_that_its_python_form_gives(samples: list[Any]) -> None:
    stream = replace(GPS, identity=("latitude",))
    told = read_envelope(FIX, sender=SENDER)
    content = "\n".join((GPS.name, "p", "2026-02-01T06:00:00+00:00", repr([samples])))
    assert told.event_id(stream, {"latitude": samples}) == uuid5(NAMESPACE, content)


@given(st.recursive(st.floats(), lambda inner: st.lists(inner, max_size=4), max_leaves=9))
def test_no_list_hides_a_number_that_is_not_finite(value: Any) -> None:
    leaves = str(value).replace("[", " ").replace("]", " ").replace(",", " ").split()
    if all(math.isfinite(float(leaf)) for leaf in leaves):
        check_content({"value": value})
    else:
        with pytest.raises(RejectedError):
            check_content({"value": value})
