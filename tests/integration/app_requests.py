"""What other apps send: for each adapter requests that together reach every stream it writes to.

All of it happens on one day, so that one publication shows it; sound without a time of its own
happens when it comes.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from am_assets.streams.image import EXAMPLE_PNG

THEN = datetime(2026, 3, 1, 7, 30, tzinfo=UTC)
STAMP = int(THEN.timestamp())
ISO = THEN.isoformat()
HEALTH_EXPORT_TIME = f"{THEN:%Y-%m-%d %H:%M:%S} +0000"
POINT = {"lat": 48.1, "lon": 11.5, "acc": 12, "alt": 519, "vel": 10, "batt": 85, "bs": 2}
PLACE = {"lat": "48.1", "lon": "11.5", "accuracy": "5"}


@dataclass(frozen=True)
class AppCall:
    """One request; `told` is what httpx is given besides."""

    path: str
    method: str = "POST"
    told: Mapping[str, Any] = field(default_factory=dict)


def _overland(**changes: Any) -> dict[str, Any]:
    properties = {
        "timestamp": ISO,
        "speed": 4,
        "horizontal_accuracy": 30,
        "battery_state": "charging",
        "battery_level": 0.8,
        "device_id": "iphone",
        "wifi": "home",
        **changes,
    }
    place = {"type": "Point", "coordinates": [11.5, 48.1]}
    return {"type": "Feature", "geometry": place, "properties": properties}


def _logged(name: str, **values: Any) -> dict[str, Any]:
    return {"name": name, "time": STAMP * 10**9, "values": values, "accuracy": 3}


def _metric(name: str, units: str, **sample: Any) -> dict[str, Any]:
    when = {"date": HEALTH_EXPORT_TIME, "startDate": HEALTH_EXPORT_TIME}
    return {"name": name, "units": units, "data": [{**when, **sample}]}


def _json(path: str, content: Any) -> AppCall:
    return AppCall(path, told={"json": content})


def _query(path: str, **query: str) -> AppCall:
    return AppCall(path, method="GET", told={"params": query})


def _watched(**data: str) -> list[dict[str, Any]]:
    return [{"timestamp": ISO, "duration": 12.5, "data": data}]


WORKOUT = {
    "id": "4f5c0b1e-6d9f-4f0e-8a53-0d0f6c5f3c11",
    "name": "Running",
    "start": HEALTH_EXPORT_TIME,
    "end": HEALTH_EXPORT_TIME,
    "route": [{"latitude": 48.1, "longitude": 11.5, "timestamp": HEALTH_EXPORT_TIME}],
}
OTLP_POINT = {"timeUnixNano": str(STAMP * 10**9), "asDouble": 41.5, "attributes": []}
OTLP = {
    "resourceMetrics": [
        {
            "resource": {"attributes": [{"key": "host.name", "value": {"stringValue": "lap"}}]},
            "scopeMetrics": [
                {"metrics": [{"name": "temperature", "gauge": {"dataPoints": [OTLP_POINT]}}]}
            ],
        }
    ]
}
OCTETS = {"Content-Type": "application/octet-stream"}
SOUND = bytes(range(256)) * 125  # a second at 16 kHz
INFLUX_LINE = f"cpu,host=laptop usage_user=1.5 {STAMP * 10**9}".encode()

REQUESTS: Mapping[str, Sequence[AppCall]] = {
    "owntracks": (
        _json(
            "/owntracks/pub",
            {
                **POINT,
                "_type": "location",
                "tst": STAMP,
                "conn": "w",
                "SSID": "home",
                "poi": "café",
                "image": EXAMPLE_PNG,
            },
        ),
        _json(
            "/owntracks/pub",
            {"_type": "transition", "tst": STAMP, "event": "enter", "desc": "Home", **POINT},
        ),
        _json("/owntracks/pub", {"_type": "status", "tst": STAMP, "android": {"hib": 1}}),
        _json("/owntracks/pub", {"_type": "steps", "tst": STAMP, "steps": 1234}),
    ),
    "overland": (
        _json(
            "/overland",
            {
                "locations": [_overland(), _overland(action="visit", arrival_date=ISO)],
                "trip": {"distance": 120, "mode": "walk"},
            },
        ),
    ),
    "gpslogger": (_query("/gpslogger", **PLACE, timestamp=str(STAMP), batt="77", ischarging="no"),),
    "traccar": (
        _query("/traccar", **PLACE, timestamp=str(STAMP), id="car", batt="87", charge="true"),
        _query("/traccar", id="car", timestamp=str(STAMP), notificationToken="push-me"),
    ),
    "phonetrack": (
        _query(
            "/phonetrack/index.php/apps/phonetrack/logGet/x/nexus", **PLACE, timestamp=str(STAMP)
        ),
    ),
    "ulogger": (
        AppCall(
            "/ulogger/client/index.php",
            told={"data": {"action": "addtrack", "track": "morning"}},
        ),
        AppCall(
            "/ulogger/client/index.php",
            told={
                "data": {"action": "addpos", **PLACE, "time": str(STAMP), "trackid": "1"},
                "files": {"image": ("a.png", base64.b64decode(EXAMPLE_PNG), "image/png")},
            },
        ),
    ),
    "opengts": (
        _query(
            "/opengts",
            id="gts",
            gprmc="$GPRMC,073000.00,A,4717.112671,N,00833.914843,E,10.0,77.52,010326,,,A*57",
        ),
    ),
    "colota": (_json("/colota", {**POINT, "tst": STAMP, "device_id": "fairphone"}),),
    "sensor-logger": (
        _json(
            "/sensor-logger",
            {
                "deviceId": "d-1",
                "payload": [
                    _logged("accelerometer", x=0.1, y=-0.2, z=9.8),
                    _logged("gyroscope", x=1, y=2, z=3),
                    _logged("magnetometer", x=20, y=-4, z=41),
                    _logged("barometer", pressure=1013.25),
                    _logged("light", lux=320),
                    _logged("location", latitude=1, longitude=2),
                    _logged("battery", batteryLevel=0.55, batteryState="charging"),
                    _logged("heartrate", bpm=61),
                    _logged("bluetooth", id="AA:BB", rssi=-61),
                    _logged("network", type="wifi", ssid="garden", bssid="f0:9f"),
                    _logged("annotation", text="coffee"),
                    _logged("microphone", dBFS=-33.5),
                ],
            },
        ),
    ),
    "health-auto-export": (
        _json(
            "/health-auto-export",
            {
                "data": {
                    "metrics": [
                        _metric("heart_rate", "count/min", Avg=61.5),
                        _metric("step_count", "count", qty=12),
                        _metric("blood_oxygen_saturation", "%", qty=97),
                        _metric("blood_pressure", "mmHg", systolic=120, diastolic=80),
                        _metric("sleep_analysis", "hr", qty=0.5, value="Core"),
                        _metric("vo2_max", "ml/(kg·min)", qty=41),
                    ],
                    "workouts": [WORKOUT],
                }
            },
        ),
    ),
    "health-connect": (
        _json(
            "/health-connect",
            {
                "steps": [{"count": 50, "start_time": ISO, "end_time": ISO}],
                "heart_rate": [{"bpm": 62, "time": ISO}],
                "oxygen_saturation": [{"percentage": 98, "time": ISO}],
                "blood_pressure": [{"systolic": 120, "diastolic": 80, "time": ISO}],
                "weight": [{"kilograms": 70.5, "time": ISO}],
                "sleep": [
                    {
                        "session_end_time": ISO,
                        "duration_seconds": 1800,
                        "stages": [{"stage": "deep", "start_time": ISO, "duration_seconds": 1800}],
                    }
                ],
            },
        ),
    ),
    "influx": tuple(
        AppCall(path, told={"content": INFLUX_LINE}) for path in ("/influx/api/v2/write", "/write")
    ),
    "otlp": (_json("/otlp", OTLP),),
    "omi": (
        AppCall("/omi?sample_rate=16000&uid=U", told={"content": SOUND, "headers": OCTETS}),
        _json(
            "/omi?uid=U",
            {
                "id": "c-1",
                "started_at": ISO,
                "transcript_segments": [],
                "structured": {"title": "Morning"},
            },
        ),
    ),
    "activitywatch": tuple(
        _json(f"/activitywatch/api/0/buckets/{bucket}_mbp/events", _watched(**data))
        for bucket, data in (
            ("aw-watcher-window", {"app": "Firefox", "title": "Sourdough"}),
            ("aw-watcher-afk", {"status": "not-afk"}),
            ("aw-watcher-web-firefox", {"url": "https://a.example/", "title": "A"}),
            ("aw-watcher-vim", {"file": "/b/oven.py", "project": "bread"}),
        )
    ),
    "events": (
        _query("/events/mood", value="7", ts=str(STAMP), device_id="w"),
        _json("/events/digital.notes.raw", [{"content": "Feed the starter.", "ts": STAMP}]),
    ),
}
"""By adapter. Paths are without a token, which goes into a header."""


def root_call(root: str, call: AppCall) -> AppCall:
    """The same request at one of the adapter's further paths."""
    return AppCall(root.replace("{name}", "mood"), method=call.method, told=call.told)
