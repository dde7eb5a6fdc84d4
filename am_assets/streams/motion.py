"""How a device is moved: acceleration as measured, in windows, and the activity it tells of."""

from datetime import datetime, timedelta

from pydantic import Field

from am_assets.streams.stream import Door, Row, Stream


class Acceleration(Row):
    """One reading of a three-axis accelerometer, gravity included where the sensor includes it."""

    x_m_s2: float = Field(description="Along the device's x axis.")
    y_m_s2: float = Field(description="Along the device's y axis.")
    z_m_s2: float = Field(description="Along the device's z axis.")
    accuracy: float | None = Field(default=None, description="As sent; Android: 0 to 3 = best.")


class AccelerationWindow(Row):
    """What one window of readings looks like, at the rate that was measured in it."""

    duration_ms: int = Field(gt=0, description="From the window's begin to its end.")
    sample_count: int = Field(gt=0, description="Readings in the window.")
    rate_hz: float = Field(gt=0, description="Measured from the readings' own times.")
    mean_m_s2: float = Field(description="Mean of the magnitude.")
    std_m_s2: float = Field(ge=0, description="Standard deviation of the magnitude.")
    peak_frequency_hz: float = Field(ge=0, description="Strongest frequency of the magnitude.")
    features: list[float] = Field(description="As models.activity.FEATURE_NAMES orders them.")


class ActivitySpan(Row):
    """A stretch of time in which the same thing was done."""

    activity: str = Field(description="still, walking, running or racket_sport.")
    end_ts: datetime = Field(description="When it ended.")
    duration_ms: int = Field(gt=0, description="Length of the stretch.")
    window_count: int = Field(gt=0, description="Windows that agree on it.")


class MotionEvent(Row):
    """A movement that stands out of what was before."""

    motion_type: str = Field(
        description="walking, running, vehicle, sudden_stop, sudden_start, fall, shake, unknown."
    )
    end_ts: datetime = Field(description="When it ended.")
    duration_ms: int = Field(ge=0, description="Length of the movement.")
    max_m_s2: float = Field(ge=0, description="Largest magnitude, gravity taken off.")
    mean_m_s2: float = Field(ge=0, description="Mean magnitude, gravity taken off.")
    dominant_axis: str | None = Field(default=None, description="x, y or z.")
    sample_count: int = Field(gt=0, description="Readings it was found in.")


ACCELERATION = Stream(
    name="device.sensor.accelerometer.raw",
    row=Acceleration,
    summary="Accelerometer readings, 10 to 100 a second.",
    identity=("x_m_s2", "y_m_s2", "z_m_s2"),
    kind="acceleration",
    title="{x_m_s2}, {y_m_s2}, {z_m_s2} m/s²",
    is_detail=True,
    example={"x": 0.12, "y": -0.3, "z": 9.79},
    doors=(Door(path="/sensor/accelerometer"),),
    aliases={"x": "x_m_s2", "y": "y_m_s2", "z": "z_m_s2"},
    chunk_interval=timedelta(hours=1),
    compress_after=timedelta(days=1),
    keep_hot=timedelta(days=7),
)

WINDOWS = Stream(
    name="device.sensor.accelerometer.windowed",
    row=AccelerationWindow,
    summary="Windows of 5 s, one every 4 s, with what a classifier needs of them.",
    identity=("duration_ms",),
    is_derived=True,
    is_detail=True,
    kind="motion",
    title="{std_m_s2} m/s² at {peak_frequency_hz} Hz",
    chunk_interval=timedelta(days=1),
    keep_hot=timedelta(days=7),
)

ACTIVITY = Stream(
    name="motion.classification.activity",
    row=ActivitySpan,
    summary="What the wearer did: still, walking, running, a racket sport.",
    identity=("activity",),
    is_derived=True,
    kind="activity",
    title="{activity}",
)

SIGNIFICANT_MOTION = Stream(
    name="motion.events.significant",
    row=MotionEvent,
    summary="Movements that stand out: starts, stops, falls.",
    identity=("motion_type",),
    is_derived=True,
    planned="motion_classification",
    is_detail=True,
    kind="movement",
    title="{motion_type}",
)

STREAMS = (ACCELERATION, WINDOWS, ACTIVITY, SIGNIFICANT_MOTION)
