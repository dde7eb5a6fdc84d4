"""What bodies tell."""

from datetime import timedelta

from pydantic import Field, model_validator

from am_assets.streams.stream import Door, Row, Stream

HOT = timedelta(days=60)


class HeartRate(Row):
    """One heart-rate reading, as the sensor averaged it."""

    bpm: float = Field(gt=0, le=400, description="Beats a minute.")
    confidence: float | None = Field(default=None, ge=0, le=1, description="The sensor's own.")
    measurement_type: str | None = Field(default=None, description="resting, workout, …")


class Steps(Row):
    """Steps that a device counted, since the reading before or as it adds them up."""

    step_count: int = Field(ge=0, description="Steps, as the device counts them.")
    distance_m: float | None = Field(default=None, ge=0, description="Of those steps.")
    calories_kcal: float | None = Field(default=None, ge=0, description="Burned, as it reckons.")
    activity_type: str | None = Field(default=None, description="walking, running, …")
    duration_s: float | None = Field(default=None, ge=0, description="Over which it counted.")


class SleepStage(Row):
    """One stage of sleep, or being awake. One of the two lengths is there, as it was sent."""

    sleep_stage: str = Field(
        min_length=1, description="awake, light, deep, rem (watch: light_sleep, deep_sleep)."
    )
    duration_s: float | None = Field(default=None, ge=0, description="Length, sent in seconds.")
    duration_ms: float | None = Field(
        default=None, ge=0, description="Length, sent in milliseconds."
    )
    quality_score: float | None = Field(default=None, description="As the device scales it.")
    confidence: float | None = Field(default=None, ge=0, le=1, description="The device's own.")

    @model_validator(mode="after")
    def _check_length(self) -> "SleepStage":
        if self.duration_s is None and self.duration_ms is None:
            raise ValueError("duration_seconds, or duration in milliseconds, has to be there")
        return self


class BloodOxygen(Row):
    """One reading of the blood's oxygen."""

    spo2_percent: float = Field(ge=0, le=100, description="Saturation of the haemoglobin.")
    confidence: float | None = Field(default=None, ge=0, le=1, description="The sensor's own.")
    measurement_type: str | None = Field(default=None, description="spot, sleep, …")


class BloodPressure(Row):
    """One reading of the blood's pressure."""

    systolic_mmhg: float = Field(gt=0, description="While the heart beats.")
    diastolic_mmhg: float = Field(gt=0, description="Between two beats.")
    pulse_bpm: float | None = Field(default=None, gt=0, description="Beats a minute.")
    measurement_type: str | None = Field(default=None, description="resting, standing, …")


class BodyWeight(Row):
    """One weighing, in the unit that the client names."""

    weight: float = Field(gt=0, description="In `unit`, not converted.")
    unit: str = Field(default="kg", description="Of `weight`, as the client names it.")
    body_fat_percent: float | None = Field(default=None, ge=0, le=100, description="Of weight.")


class Glucose(Row):
    """One reading of the sugar in blood or tissue, in the unit that the client names."""

    glucose: float = Field(gt=0, description="In `unit`, not converted.")
    unit: str = Field(default="mg/dL", description="mg/dL or mmol/L, as the client names it.")
    trend: str | None = Field(default=None, description="rising, flat, falling, as sent.")
    rate_of_change: float | None = Field(default=None, description="`unit` a minute.")


class Stress(Row):
    """How strained the body is, as a wearable reckons."""

    stress_level: float | None = Field(default=None, ge=0, le=100, description="100 = most.")
    hrv_ms: float | None = Field(default=None, ge=0, description="Variability of the heart beat.")
    hrv_method: str | None = Field(default=None, description="rmssd or sdnn.")

    @model_validator(mode="after")
    def _check_content(self) -> "Stress":
        if self.stress_level is None and self.hrv_ms is None:
            raise ValueError("stress_level or hrv_ms has to be there")
        return self


class SkinTemperature(Row):
    """One reading of the skin's temperature, in the unit that the client names."""

    temperature: float = Field(description="In `unit`, not converted; a difference where so sent.")
    unit: str = Field(default="celsius", description="Of `temperature`, as the client names it.")
    is_difference: bool = Field(default=False, description="Whether from the wearer's baseline.")
    measurement_location: str | None = Field(default=None, description="wrist, finger, …")


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
    sent_by="watch, phone",
    keep_hot=HOT,
)

STEPS = Stream(
    name="device.health.steps.raw",
    row=Steps,
    summary="Steps as devices count them.",
    identity=("step_count", "distance_m", "activity_type"),
    kind="steps",
    title="{step_count} steps",
    is_detail=True,
    example={
        "step_count": 112,
        "distance_meters": 81.5,
        "calories_burned": 4.2,
        "activity_type": "walking",
    },
    doors=(Door(path="/health/steps"),),
    aliases={
        "distance_meters": "distance_m",
        "calories_burned": "calories_kcal",
        "duration_seconds": "duration_s",
    },
    sent_by="watch, phone",
    keep_hot=HOT,
)

SLEEP = Stream(
    name="device.health.sleep.raw",
    row=SleepStage,
    summary="Stages of sleep.",
    identity=("sleep_stage", "duration_s", "duration_ms"),
    kind="sleep",
    title="Sleep: {sleep_stage}",
    example={"sleep_stage": "deep", "duration_seconds": 1560, "quality_score": 0.8},
    doors=(Door(path="/health/sleep"),),
    aliases={
        "state": "sleep_stage",
        "duration_seconds": "duration_s",
        "duration": "duration_ms",
    },
    sent_by="watch, phone",
    keep_hot=HOT,
)

BLOOD_OXYGEN = Stream(
    name="device.health.blood_oxygen.raw",
    row=BloodOxygen,
    summary="Oxygen in the blood.",
    identity=("spo2_percent",),
    kind="blood oxygen",
    title="SpO₂ {spo2_percent} %",
    is_detail=True,
    example={"spo2_percentage": 97, "confidence": 0.9, "measurement_type": "spot"},
    doors=(Door(path="/health/blood-oxygen"),),
    aliases={"spo2_percentage": "spo2_percent"},
    sent_by="watch, phone",
    keep_hot=HOT,
)

BLOOD_PRESSURE = Stream(
    name="device.health.blood_pressure.raw",
    row=BloodPressure,
    summary="Pressure of the blood.",
    identity=("systolic_mmhg", "diastolic_mmhg"),
    kind="blood pressure",
    title="{systolic_mmhg}/{diastolic_mmhg} mmHg",
    example={"systolic": 121, "diastolic": 78, "pulse": 62, "measurement_type": "resting"},
    doors=(Door(path="/health/blood-pressure"),),
    aliases={"systolic": "systolic_mmhg", "diastolic": "diastolic_mmhg", "pulse": "pulse_bpm"},
    sent_by="watch, phone",
    keep_hot=HOT,
)

BODY_WEIGHT = Stream(
    name="device.health.body_weight.raw",
    row=BodyWeight,
    summary="Weighings.",
    identity=("weight", "unit"),
    kind="weight",
    title="{weight} {unit}",
    example={"weight": 71.4, "unit": "kg"},
    sent_by="watch, health apps",
    keep_hot=HOT,
)

GLUCOSE = Stream(
    name="device.health.glucose.raw",
    row=Glucose,
    summary="Sugar in blood or tissue, every few minutes while a sensor is worn.",
    identity=("glucose", "unit"),
    kind="glucose",
    title="{glucose} {unit}",
    is_detail=True,
    example={"glucose_mg_dl": 96, "trend_arrow": "flat", "rate_of_change": 0.2},
    aliases={"glucose_mg_dl": "glucose", "trend_arrow": "trend"},
    sent_by="health apps",
    keep_hot=HOT,
)

STRESS = Stream(
    name="device.health.stress.raw",
    row=Stress,
    summary="Strain and variability of the heart beat, as wearables reckon.",
    identity=("stress_level", "hrv_ms", "hrv_method"),
    kind="stress",
    title="HRV {hrv_ms} ms",
    body="Stress {stress_level}",
    is_detail=True,
    example={"stress_level": 31, "hrv_ms": 48.2, "hrv_method": "rmssd"},
    sent_by="health apps",
    keep_hot=HOT,
)

SKIN_TEMPERATURE = Stream(
    name="device.health.skin_temperature.raw",
    row=SkinTemperature,
    summary="Temperature of the skin, mostly by night.",
    identity=("temperature", "unit", "is_difference"),
    kind="skin temperature",
    title="{temperature} {unit}",
    is_detail=True,
    example={"temp_c": 33.1, "unit": "celsius", "measurement_location": "wrist"},
    aliases={"temp_c": "temperature"},
    sent_by="health apps",
    keep_hot=HOT,
)

STREAMS = (
    HEART_RATE,
    STEPS,
    SLEEP,
    BLOOD_OXYGEN,
    BLOOD_PRESSURE,
    BODY_WEIGHT,
    GLUCOSE,
    STRESS,
    SKIN_TEMPERATURE,
)
