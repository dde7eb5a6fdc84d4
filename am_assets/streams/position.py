"""Where a device is."""

from datetime import timedelta

from pydantic import Field

from am_assets.streams.stream import Door, Row, Stream


class GpsFix(Row):
    """One position fix, as the receiver gave it: not smoothed, not snapped to roads."""

    latitude: float = Field(ge=-90, le=90, description="WGS 84, degrees north.")
    longitude: float = Field(ge=-180, le=180, description="WGS 84, degrees east.")
    altitude_m: float | None = Field(default=None, description="Above mean sea level.")
    accuracy_m: float | None = Field(default=None, ge=0, description="68 % confidence radius.")
    heading_deg: float | None = Field(
        default=None, ge=0, le=360, description="Direction of travel, clockwise from true north."
    )
    speed_m_s: float | None = Field(default=None, ge=0, description="Over ground.")


GPS_FIX = Stream(
    name="device.sensor.gps.raw",
    row=GpsFix,
    summary="Position fixes, about one every 10 s while moving.",
    identity=("latitude", "longitude"),
    kind="place",
    title="{latitude}, {longitude}",
    is_detail=True,
    example={"latitude": 45.2269, "longitude": 13.5966, "altitude": 12.5, "accuracy": 8.0},
    doors=(Door(path="/sensor/gps"),),
    aliases={
        "altitude": "altitude_m",
        "accuracy": "accuracy_m",
        "heading": "heading_deg",
        "bearing": "heading_deg",
        "speed": "speed_m_s",
    },
    keep_hot=timedelta(days=30),
)

STREAMS = (GPS_FIX,)
