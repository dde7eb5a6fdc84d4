"""In what state a device is."""

from datetime import timedelta
from typing import Any

from pydantic import Field

from am_assets.streams.stream import Door, Row, Stream

HOT = timedelta(days=30)
FLOW = "power_state_processing"


class PowerState(Row):
    """One reading of a device's battery and supply."""

    battery_level: float = Field(ge=0, le=100, description="Percent of a full charge.")
    is_charging: bool = Field(description="Whether the battery gains charge.")
    is_plugged_in: bool | None = Field(default=None, description="Whether a supply is connected.")
    power_source: str | None = Field(default=None, description="battery, ac, usb, wireless.")
    is_lid_closed: bool | None = Field(default=None, description="Of a laptop.")
    thermal_state: str | None = Field(default=None, description="As the system names it.")
    event_type: str | None = Field(
        default=None, description="Why a watch sent it: charging_started, battery_low, wake, …"
    )
    battery_temperature_c: float | None = Field(default=None, description="Of the battery.")
    voltage_v: float | None = Field(default=None, description="Of the battery, as sent.")


class PowerTrend(Row):
    """A reading of the battery, with what it tells together with those before."""

    session_id: str = Field(min_length=1, description="The same from plug to plug.")
    charging_rate_percent_h: float | None = Field(
        default=None, description="Of a full charge; negative = it is used up."
    )
    time_to_full_s: float | None = Field(default=None, ge=0, description="While it charges.")
    time_to_empty_s: float | None = Field(default=None, ge=0, description="While it does not.")
    level: str = Field(description="ok, low (20 %) or critical (10 %).")


class PowerPattern(Row):
    """A habit of charging or use."""

    pattern_type: str = Field(description="charging_place, daily_use or battery_health.")
    pattern: dict[str, Any] = Field(description="What it says, by name.")
    day_count: int = Field(gt=0, description="Days it was seen on.")


POWER = Stream(
    name="device.state.power.raw",
    row=PowerState,
    summary="Battery and supply, about once a minute.",
    identity=("battery_level", "is_charging"),
    kind="power",
    title="Battery {battery_level} %",
    is_detail=True,
    example={"battery_level": 81.5, "is_charging": False, "power_source": "battery"},
    doors=(Door(path="/sensor/power"),),
    aliases={
        "lid_closed": "is_lid_closed",
        "battery_temperature": "battery_temperature_c",
        "voltage": "voltage_v",
    },
    sent_by="phone, watch, desktop",
    keep_hot=HOT,
)

POWER_ENRICHED = Stream(
    name="device.state.power.enriched",
    row=PowerTrend,
    summary="How fast batteries fill and empty.",
    identity=("session_id",),
    is_derived=True,
    planned=FLOW,
    is_detail=True,
    kind="power trend",
    title="Battery {level}",
    keep_hot=HOT,
)

POWER_PATTERNS = Stream(
    name="device.state.power.patterns",
    row=PowerPattern,
    summary="Habits of charging and use.",
    identity=("pattern_type",),
    is_derived=True,
    planned=FLOW,
    is_detail=True,
    kind="power pattern",
    title="{pattern_type}",
    keep_hot=HOT,
)

STREAMS = (POWER, POWER_ENRICHED, POWER_PATTERNS)
