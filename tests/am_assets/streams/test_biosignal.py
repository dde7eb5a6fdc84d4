"""Packed samples hold exactly the numbers that were sent, in as few bytes as that allows."""

import base64
import struct
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from am_assets.streams.biosignal import SampleBlock, numbers_of
from am_assets.streams.registry import REGISTRY
from am_assets.streams.samples import SAMPLE_TYPES, pack, unpack
from ingest_api.elements import NewRow, read_element
from ingest_api.envelope import Sender
from ingest_api.errors import RejectedError

EEG = REGISTRY["device.biosignal.eeg.raw"]
SENDER = Sender(
    user_id="u",
    door="/test",
    received_at=datetime(2026, 3, 2, tzinfo=UTC),
    max_future=timedelta(days=1),
)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
INTEGERS = st.integers(-(2**31), 2**31 - 1)
BLOCKS = st.integers(1, 8).flatmap(
    lambda width: st.lists(
        st.lists(FLOATS | INTEGERS, min_size=width, max_size=width), min_size=1, max_size=40
    )
)
NUMPY = {"i2": "<i2", "i4": "<i4", "f4": "<f4", "f8": "<f8"}


def channels(samples: list[list[float]]) -> list[str]:
    return [f"c{number}" for number in range(len(samples[0]))]


def read(**changes: Any) -> NewRow:
    """A block as a device sends it, understood."""
    told = {**EEG.example, "device_id": "cap", "recorded_at": "2026-03-01T08:30:00Z", **changes}
    return read_element(told, stream=EEG, sender=SENDER)


@given(BLOCKS)
def test_what_is_packed_is_what_was_sent(samples: list[list[float]]) -> None:
    block = SampleBlock(rate_hz=256, channels=channels(samples), samples=samples)
    assert numbers_of(block) == samples
    assert block.sample_count == len(samples)


@given(st.lists(FLOATS, min_size=1) | st.lists(INTEGERS, min_size=1))
def test_anybody_reads_it_who_knows_the_type(numbers: list[float]) -> None:
    kind, text = pack(numbers)
    assert np.frombuffer(base64.b64decode(text), NUMPY[kind]).tolist() == numbers
    assert list(unpack(text, kind)) == numbers


@pytest.mark.parametrize(
    ("numbers", "kind"),
    [
        ([0, -32_768, 32_767], "i2"),
        ([0, 32_768], "i4"),
        ([0.5, -1.25, 3], "f4"),
        ([0.1], "f8"),
        ([2**31], "f4"),
        ([2**31 + 1], "f8"),
        ([1e300], "f8"),
    ],
)
def test_the_smallest_type_is_taken_that_loses_nothing(numbers: list[float], kind: str) -> None:
    assert pack(numbers)[0] == kind


@given(BLOCKS)
def test_packing_what_was_packed_changes_nothing(samples: list[list[float]]) -> None:
    first = SampleBlock(rate_hz=256, channels=channels(samples), samples=samples)
    assert SampleBlock.model_validate(first.model_dump()) == first


def test_a_client_may_pack_by_itself_and_one_channel_may_come_bare() -> None:
    packed = base64.b64encode(struct.pack("<4h", 1, -2, 3, -4)).decode()
    two = read(channels=["a", "b"], samples=packed, sample_type="i2", sample_count=77)
    assert two.values["sample_count"] == 2
    assert read(channels=["I"], samples=[1, -2, 3, -4]).values["samples"] == packed
    ts = datetime(2026, 3, 1, 8, 30, tzinfo=UTC)
    assert two.envelope.ts == ts


@pytest.mark.parametrize(
    "changes",
    [
        {"samples": []},
        {"samples": [[1, 2, 3, 4], [1, 2]]},
        {"samples": [[1, 2, 3, "4"]]},
        {"samples": [[1, 2, 3, [4]]]},
        {"samples": {"a": 1}},
        {"samples": "AAAA"},
        {"samples": "AAAA", "sample_type": "i8"},
        {"samples": "AAAA", "sample_type": "i2"},
        {"samples": "not base64", "sample_type": "i2"},
        {"samples": "", "sample_type": "i2"},
        {"channels": []},
    ],
)
def test_what_is_no_block_is_refused_with_a_reason(changes: dict[str, Any]) -> None:
    with pytest.raises(RejectedError):
        read(**changes)


def test_a_second_of_eight_channels_is_a_quarter_of_its_size_in_json() -> None:
    """256 Hz of 8 channels in steps of a 24-bit converter, as caps send them."""
    steps = np.random.default_rng(1).integers(-(2**23), 2**23, (256, 8))
    kind, text = pack([int(step) for step in steps.ravel()])
    assert (kind, len(text)) == ("i4", 10_924)
    assert len(text) < len(str(steps.tolist())) * 0.6


def test_a_row_of_samples_that_is_made_wrongly_in_code_is_refused_too() -> None:
    with pytest.raises(ValidationError):
        SampleBlock(rate_hz=1, channels=["a"], samples=None)
    assert set(SAMPLE_TYPES) == set(NUMPY)
