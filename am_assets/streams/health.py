"""What bodies tell."""

from datetime import timedelta

from pydantic import Field

from am_assets.streams.stream import Door, Row, Stream


class HeartRate(Row):
    """One heart-rate reading, as the sensor averaged it."""

    bpm: float = Field(gt=0, le=400, description="Beats a minute.")
    confidence: float | None = Field(default=None, ge=0, le=1, description="The sensor's own.")
    measurement_type: str | None = Field(default=None, description="resting, workout, …")


HEART_RATE = Stream(
    name="device.health.heartrate.raw",
    row=HeartRate,
    summary="Heart rate, about one reading every 5 s while worn.",
    identity=("bpm",),
    kind="heart rate",
    title="{bpm} bpm",
    is_detail=True,
    example={"bpm": 61, "confidence": 0.9},
    doors=(Door(path="/sensor/heartrate"),),
    aliases={"heartrate": "bpm", "heart_rate": "bpm"},
    keep_hot=timedelta(days=60),
)

STREAMS = (HEART_RATE,)
