"""In what state a device is."""

from datetime import timedelta

from pydantic import Field

from am_assets.streams.stream import Door, Row, Stream


class PowerState(Row):
    """One reading of a device's battery and supply."""

    battery_level: float = Field(ge=0, le=100, description="Percent of a full charge.")
    is_charging: bool = Field(description="Whether the battery gains charge.")
    is_plugged_in: bool | None = Field(default=None, description="Whether a supply is connected.")
    power_source: str | None = Field(default=None, description="battery, ac, usb, wireless.")
    is_lid_closed: bool | None = Field(default=None, description="Of a laptop.")
    thermal_state: str | None = Field(default=None, description="As the system names it.")


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
    aliases={"lid_closed": "is_lid_closed"},
    keep_hot=timedelta(days=30),
)

STREAMS = (POWER,)
