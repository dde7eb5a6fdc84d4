"""Signals of the body at high rates, in blocks of samples.

One row is one block: `ts` is the time of its first sample, `samples` a JSON list with one list of
numbers a sample, one number a channel. They are one column for now; a reader of many blocks wants
them as an array, which is a change of the column type and of nothing else.
"""

from datetime import timedelta

from pydantic import Field, model_validator

from am_assets.streams.stream import Row, Stream

HOT = timedelta(days=60)
DAY = timedelta(days=1)


class SampleBlock(Row):
    """Samples of all channels, evenly spaced from `ts` on."""

    rate_hz: float = Field(gt=0, description="Samples a second and channel.")
    channels: list[str] = Field(min_length=1, description="Names, in the order of each sample.")
    samples: list[list[float]] = Field(
        min_length=1, description="A list a sample, in it a number a channel, in `unit`."
    )
    unit: str | None = Field(default=None, description="Of the numbers; null = not told.")
    sample_count: int = Field(default=0, ge=0, description="Of each channel; counted, not sent.")

    @model_validator(mode="before")
    @classmethod
    def _count(cls, values: object) -> object:
        samples = values.get("samples") if isinstance(values, dict) else None
        if not isinstance(values, dict) or not isinstance(samples, list):
            return values
        return {**values, "sample_count": len(samples)}

    @model_validator(mode="after")
    def _check_width(self) -> "SampleBlock":
        if any(len(sample) != len(self.channels) for sample in self.samples):
            raise ValueError("every sample has to hold one number a channel")
        return self


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
