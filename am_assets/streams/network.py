"""Which networks and devices are near, and what follows from that."""

from datetime import timedelta

from pydantic import Field

from am_assets.streams.stream import Door, Row, Stream

HOT = timedelta(days=30)
FLOW = "network_events_processing"


class Wifi(Row):
    """One Wi-Fi network, as the device sees it."""

    ssid: str = Field(description="The network's name; may be empty where it is hidden.")
    bssid: str | None = Field(default=None, description="The access point's address.")
    signal_strength: float | None = Field(
        default=None, description="As sent: dBm from phones, percent from desktops."
    )
    frequency_mhz: float | None = Field(default=None, description="Of the channel, as sent.")
    channel: int | None = Field(default=None, description="Its number.")
    security: str | None = Field(default=None, description="open, wpa2, wpa3, …")
    is_connected: bool = Field(default=False, description="Whether the device uses it.")
    ip_address: str | None = Field(default=None, description="The device's own, in that network.")


class Bluetooth(Row):
    """One Bluetooth device, as it was seen."""

    device_name: str = Field(description="As it calls itself; may be empty.")
    device_address: str = Field(min_length=1, description="Its hardware address.")
    device_type: str | None = Field(default=None, description="classic, le, dual, …")
    rssi_dbm: float | None = Field(default=None, description="Strength of its signal.")
    is_connected: bool = Field(default=False, description="Whether it is connected now.")
    is_paired: bool = Field(default=False, description="Whether it was paired before.")


class WifiCategory(Row):
    """A Wi-Fi observation and what kind of network that is."""

    ssid: str = Field(description="The network's name.")
    bssid: str | None = Field(default=None, description="The access point's address.")
    category: str = Field(description="home, work, public, mobile_hotspot or unknown.")


class NetworkPlace(Row):
    """A network and the place at which it is met."""

    network: str = Field(description="The access point's address, or the network's name.")
    place: str | None = Field(default=None, description="The place's name; null = it has none.")
    latitude: float = Field(ge=-90, le=90, description="WGS 84, degrees north.")
    longitude: float = Field(ge=-180, le=180, description="WGS 84, degrees east.")
    radius_m: float = Field(ge=0, description="In which it was met.")
    observation_count: int = Field(gt=0, description="How often it was met there.")


WIFI = Stream(
    name="device.network.wifi.raw",
    row=Wifi,
    summary="Wi-Fi networks in reach, about every two minutes.",
    identity=("ssid", "bssid", "is_connected"),
    kind="wifi",
    title="{ssid} {signal_strength}",
    body="{ssid}",
    is_detail=True,
    example={
        "ssid": "garden",
        "bssid": "f0:9f:c2:11:22:33",
        "signal_strength": -50,
        "frequency": 5180.0,
        "channel": 36,
        "security": "wpa2",
        "connected": True,
        "ip_address": "192.168.1.17",
    },
    doors=(Door(path="/sensor/wifi"),),
    aliases={
        "frequency": "frequency_mhz",
        "connected": "is_connected",
    },
    sent_by="phone",
    keep_hot=HOT,
)

BLUETOOTH = Stream(
    name="device.network.bluetooth.raw",
    row=Bluetooth,
    summary="Bluetooth devices near by, about once a minute.",
    identity=("device_address", "is_connected", "is_paired"),
    kind="bluetooth",
    title="{device_name} {rssi_dbm} dBm",
    body="{device_name}",
    is_detail=True,
    example={
        "device_name": "Headphones",
        "device_address": "AA:BB:CC:DD:EE:FF",
        "device_type": "classic",
        "rssi": -61,
        "connected": True,
        "paired": True,
    },
    doors=(Door(path="/sensor/bluetooth"),),
    aliases={"rssi": "rssi_dbm", "connected": "is_connected", "paired": "is_paired"},
    sent_by="phone",
    keep_hot=HOT,
)

WIFI_ENRICHED = Stream(
    name="device.network.wifi.enriched",
    row=WifiCategory,
    summary="Wi-Fi observations with the kind of network.",
    identity=("ssid", "bssid"),
    is_derived=True,
    planned=FLOW,
    is_detail=True,
    kind="network",
    title="{ssid}: {category}",
    keep_hot=HOT,
)

NETWORK_PLACE = Stream(
    name="device.network.location_correlated",
    row=NetworkPlace,
    summary="Which network belongs to which place.",
    identity=("network",),
    is_derived=True,
    planned=FLOW,
    is_detail=True,
    kind="network place",
    title="{network} at {place}",
    body="{network}",
    keep_hot=HOT,
)

STREAMS = (WIFI, BLUETOOTH, WIFI_ENRICHED, NETWORK_PLACE)
