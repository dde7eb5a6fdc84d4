"""Signals of the body at high rates, in blocks of samples.

One row is one block: `ts` is the time of its first sample, `rate_hz` how many follow a second, and
`samples` all numbers of all channels, packed (`am_assets.streams.samples`); `numbers_of` reads it.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any

from pydantic import Field, JsonValue, WithJsonSchema, model_validator

from am_assets.streams.samples import SAMPLE_TYPES, SampleType, flat, pack, unpack
from am_assets.streams.stream import Row, Stream

HOT = timedelta(days=60)
DAY = timedelta(days=1)

AS_SENT = {
    "anyOf": [
        {"type": "array", "items": {"type": ["array", "number"]}, "minItems": 1},
        {"type": "string", "contentEncoding": "base64"},
    ],
    "description": "A list of numbers a sample, one a channel; or packed, with `sample_type`.",
}


class SampleBlock(Row):
    """Samples of all channels, evenly spaced from `ts` on."""

    rate_hz: float = Field(gt=0, description="Samples a second and channel.")
    channels: list[str] = Field(min_length=1, description="Names, in the order of each sample.")
    samples: Annotated[JsonValue, WithJsonSchema(AS_SENT)] = Field(
        description="Base64 of little-endian numbers in `unit`, sample by sample, in it channel "
        "by channel."
    )
    unit: str | None = Field(default=None, description="Of the numbers; null = not told.")
    sample_count: int = Field(default=0, ge=0, description="Of each channel; counted, not sent.")
    sample_type: SampleType | None = Field(
        default=None,
        description="Of each number: i2, i4 (integers of 2 or 4 bytes), f4, f8 (floats).",
    )

    @model_validator(mode="before")
    @classmethod
    def _pack(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        sent, channels = values.get("samples"), values.get("channels")
        if not isinstance(channels, list) or not channels:
            return values
        if isinstance(sent, str):
            count = _count_packed(sent, values.get("sample_type"), len(channels))
            return {**values, "sample_count": count}
        if not isinstance(sent, list) or not sent:
            raise ValueError("samples has to be a list of samples, or packed with sample_type")
        kind, packed = pack(flat(sent, channel_count=len(channels)))
        return {
            **values,
            "samples": packed,
            "sample_type": kind,
            "sample_count": len(sent),
        }


def numbers_of(block: SampleBlock) -> list[list[float]]:
    """A list of numbers a sample, one a channel, as they were sent."""
    assert isinstance(block.samples, str)
    assert block.sample_type is not None
    numbers, width = unpack(block.samples, block.sample_type), len(block.channels)
    return [list(numbers[start : start + width]) for start in range(0, len(numbers), width)]


def _count_packed(text: str, kind: Any, channel_count: int) -> int:
    """How many samples a packing holds. Raises: ValueError."""
    if kind not in SAMPLE_TYPES:
        raise ValueError(f"packed samples need sample_type, one of {', '.join(SAMPLE_TYPES)}")
    number_count = len(unpack(text, kind))
    if not number_count or number_count % channel_count:
        raise ValueError("every sample has to hold one number a channel")
    return number_count // channel_count


def _signal(name: str, summary: str, *, kind: str, channels: list[str], rate_hz: float) -> Stream:
    sample = [0.25 * place for place in range(len(channels))]
    return Stream(
        name=f"device.biosignal.{name}.raw",
        row=SampleBlock,
        summary=summary,
        identity=("channels", "rate_hz", "samples"),
        kind=kind,
        title="{sample_count} samples at {rate_hz} Hz",
        is_detail=True,
        example={
            "sample_rate_hz": rate_hz,
            "channels": channels,
            "samples": [sample, sample],
            "unit": "µV",
        },
        aliases={"sample_rate_hz": "rate_hz", "sample_rate": "rate_hz"},
        sent_by="wearable, recorder",
        chunk_interval=DAY,
        keep_hot=HOT,
    )


STREAMS = (
    _signal(
        "eeg",
        "Electric activity of the brain, in blocks.",
        kind="eeg",
        channels=["TP9", "AF7", "AF8", "TP10"],
        rate_hz=256,
    ),
    _signal(
        "ecg",
        "Electric activity of the heart, in blocks.",
        kind="ecg",
        channels=["I"],
        rate_hz=250,
    ),
    _signal(
        "ppg",
        "Light through the skin with each pulse, in blocks.",
        kind="ppg",
        channels=["green"],
        rate_hz=64,
    ),
)
