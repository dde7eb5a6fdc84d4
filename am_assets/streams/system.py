"""What runs on a device, and what the device is."""

from datetime import timedelta
from typing import Annotated, Any

from pydantic import Field, StringConstraints

from am_assets.streams.stream import Door, Row, Stream


class RunningApps(Row):
    """All apps that ran at one time, as one row: the list belongs to one look at the device."""

    running_applications: list[dict[str, Any]] = Field(
        description="As sent, an object an app: pid, name, bundle_id (macOS) or package_name "
        "(Android), active, hidden, launch_date, version_code, version_name."
    )
    metadata: dict[str, Any] | None = Field(default=None, description="As the client sent it.")


class DeviceFacts(Row):
    """Facts about a device or an app on it, of one type."""

    metadata_type: Annotated[
        str, StringConstraints(strip_whitespace=True, to_lower=True, min_length=1)
    ] = Field(
        description="device_capabilities, hardware_specs, software_config, network_info, custom, …"
    )
    metadata: dict[str, Any] = Field(description="The facts, as sent.")


HOT = timedelta(days=30)

APPS_MACOS = Stream(
    name="device.system.apps.macos.raw",
    row=RunningApps,
    summary="Apps that run on a Mac.",
    identity=("running_applications",),
    kind="running apps",
    title="Running apps",
    is_detail=True,
    example={
        "running_applications": [
            {
                "pid": 501,
                "name": "Safari",
                "bundle_id": "com.apple.Safari",
                "active": True,
                "hidden": False,
                "launch_date": 1772349000.0,
            }
        ]
    },
    doors=(Door(path="/system/apps/macos"),),
    sent_by="macOS client",
    keep_hot=HOT,
)

APPS_ANDROID = Stream(
    name="device.system.apps.android.raw",
    row=RunningApps,
    summary="Apps that run on a phone, about every five minutes; the Linux client uses it too.",
    identity=("running_applications",),
    kind="running apps",
    title="Running apps",
    is_detail=True,
    example={
        "running_applications": [
            {
                "pid": 0,
                "name": "Maps",
                "package_name": "com.google.android.apps.maps",
                "active": True,
                "hidden": False,
                "version_code": 1067,
                "version_name": "11.102",
            }
        ]
    },
    doors=(Door(path="/system/apps/android"),),
    sent_by="phone, Linux client",
    keep_hot=HOT,
)

DEVICE_METADATA = Stream(
    name="device.metadata.raw",
    row=DeviceFacts,
    summary="What a device can do and what is on it.",
    identity=("metadata_type", "metadata"),
    kind="device facts",
    title="Device facts: {metadata_type}",
    is_detail=True,
    example={
        "metadata_type": "device_capabilities",
        "metadata": {"model": "Pixel 8", "sensors": ["accelerometer", "barometer"]},
    },
    doors=(Door(path="/system/metadata"),),
    sent_by="phone",
    keep_hot=timedelta(days=90),
)

STREAMS = (APPS_MACOS, APPS_ANDROID, DEVICE_METADATA)
