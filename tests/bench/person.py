"""A generated person's days, with the noise that real sensors have, as the JSON that clients send.

Readings are what converters give: an accelerometer of 16 bits over ± 8 g whose values are 32-bit
floats, printed as the doubles that phones make of them; positions of seven decimals that wander;
times with jitter. No client names an id of its own, and none sends more than it must: the JSON is
as small as it can be.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

import numpy as np

ACCELEROMETER = "device.sensor.accelerometer.raw"
GPS = "device.sensor.gps.raw"
HEART_RATE = "device.health.heartrate.raw"
POWER = "device.state.power.raw"
APPS = "os.events.app_lifecycle.raw"
CLIPBOARD = "digital.clipboard.raw"
NOTES = "digital.notes.raw"
STREAMS = (ACCELEROMETER, GPS, HEART_RATE, POWER, APPS, CLIPBOARD, NOTES)

PHONE = "0b8f3c0e-6a52-4ef1-9d59-0c6b7f6f4a3e"
WATCH = "wearable_4f0a5f9e-7a57-4a4e-8f0e-1f2f0d9a6c11"
DAY_S = 86_400
G_M_S2 = 9.80665
LSB_M_S2 = np.float32(16 * G_M_S2 / 2**16)  # ± 8 g in 16 bits
APP_NAMES = tuple(f"com.example.app{n:02}" for n in range(40))
SYLLABLES = ("ka", "le", "mi", "to", "ru", "sen", "da", "vor", "li", "pe", "an", "str", "og", "ne")
Fields = dict[str, Any]
Numbers = np.ndarray[Any, np.dtype[np.float64]]


@dataclass(frozen=True)
class Person:
    """Who is generated, whole but for the accelerations.

    Of these, 50 a second, there are `motion_min` minutes at once on every `motion_every`th day: a
    part of the days as they would be, not all days thinner.
    """

    seed: int = 1
    motion_min: int = 60
    motion_every: int = 6

    def messages(self, stream: str, day: date) -> Sequence[Fields]:
        """A UTC day of one stream, in the order of time."""
        rng = np.random.default_rng([self.seed, day.toordinal(), STREAMS.index(stream)])
        begin = datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()
        makers = {
            ACCELEROMETER: lambda: _accelerations(rng, begin, self.motion_min_of(day)),
            GPS: lambda: _fixes(rng, begin),
            HEART_RATE: lambda: _beats(rng, begin),
            POWER: lambda: _charges(rng, begin),
            APPS: lambda: _app_events(rng, begin),
            CLIPBOARD: lambda: _texts(rng, begin, 30, words=12, field="content_text"),
            NOTES: lambda: _texts(rng, begin, 12, words=120, field="content"),
        }
        return list(makers[stream]())

    def motion_min_of(self, day: date) -> int:
        """Minutes of accelerations on a day."""
        return 0 if day.toordinal() % self.motion_every else self.motion_min


def _accelerations(rng: np.random.Generator, begin: float, minutes: int) -> Iterator[Fields]:
    """From eight o'clock on in turns: on the table, walking with it in the pocket, in the hand."""
    per_stretch = minutes * 60 * 50 // 10
    for number in range(10):
        start = begin + 28_800 + number * per_stretch / 50
        seconds = start + np.arange(per_stretch) / 50 + rng.normal(0, 4e-4, per_stretch)
        axes = [_quantised(axis) for axis in _motion(rng, per_stretch, number % 3)]
        for at, x, y, z in zip(np.sort(seconds).tolist(), *axes, strict=True):
            yield {
                "device_id": PHONE,
                "timestamp": _iso(at, "microseconds"),
                "x": x,
                "y": y,
                "z": z,
            }


def _motion(rng: np.random.Generator, count: int, kind: int) -> list[Numbers]:
    """Three axes, gravity included, in m/s²."""
    seconds = np.arange(count) / 50
    noise = [rng.normal(0, 0.025, count) for _ in range(3)]
    if kind == 0:
        return [0.12 + noise[0], -0.31 + noise[1], G_M_S2 + noise[2]]
    if kind == 1:
        step = 2 * np.pi * rng.uniform(1.7, 2.0) * seconds
        sway = [rng.normal(0, 0.6, count) + 1.4 * np.sin(step * k + k) for k in (1, 2, 0.5)]
        return [1.1 + sway[0], 9.2 + 2 * sway[1], 2.4 + sway[2]]
    drift = [np.cumsum(rng.normal(0, 0.01, count)) for _ in range(3)]
    return [1 + drift[0] + noise[0], 4 + drift[1] + noise[1], 8.6 + drift[2] + noise[2]]


def _quantised(axis: Numbers) -> list[float]:
    steps = np.clip(np.round(axis / LSB_M_S2), -(2**15), 2**15 - 1).astype(np.float32)
    return [float(value) for value in (steps * LSB_M_S2).tolist()]


def _fixes(rng: np.random.Generator, begin: float) -> Iterator[Fields]:
    """One about every 10 s: at home, on the way, elsewhere, and back."""
    count = DAY_S // 10
    hours = np.arange(count) / 360
    away = np.clip((hours - 8) / 0.7, 0, 1) - np.clip((hours - 17) / 0.7, 0, 1)
    is_moving = (away > 0) & (away < 1)
    wander = [_wander(rng, count, 2.5e-5) for _ in range(2)]
    seconds = begin + 5 + np.arange(count) * 10 + rng.normal(0, 0.15, count)
    is_known = is_moving | (rng.uniform(0, 1, count) < 0.2)  # at rest phones mostly say 0
    speeds = np.where(is_moving, 13 + rng.normal(0, 3, count), np.abs(rng.normal(0, 0.2, count)))
    accuracies = np.where(is_moving, rng.gamma(9, 0.5, count), rng.gamma(6, 2.3, count))
    headings = np.where(is_moving, 74 + rng.normal(0, 12, count), rng.uniform(0, 360, count))
    for n, at in enumerate(np.sort(seconds).tolist()):
        yield {
            "device_id": PHONE,
            "timestamp": _iso(at, "milliseconds"),
            "latitude": round(45.2269 + 0.06 * away[n] + wander[0][n], 7),
            "longitude": round(13.5966 + 0.09 * away[n] + wander[1][n], 7),
            "altitude": round(12.5 + 30 * away[n] + 4e4 * wander[0][n], 1),
            "accuracy": float(np.float32(round(accuracies[n], 3))),
            "heading": float(np.float32(headings[n] % 360 * is_known[n])),
            "speed": float(np.float32(max(0.0, speeds[n]) * is_known[n])),
        }


def _wander(rng: np.random.Generator, count: int, step: float) -> Numbers:
    """Noise that remembers: each value is mostly the one before."""
    pushes, values = rng.normal(0, step, count), np.zeros(count)
    for n in range(1, count):
        values[n] = 0.97 * values[n - 1] + pushes[n]
    return values


def _beats(rng: np.random.Generator, begin: float) -> Iterator[Fields]:
    count = DAY_S // 5
    hours = np.arange(count) / 720
    level = 62 + 14 * np.clip(np.sin((hours - 7) / 17 * np.pi), 0, 1)
    rates = np.round(level + 40 * _wander(rng, count, 0.02)).astype(int)
    seconds = np.sort(begin + 2 + np.arange(count) * 5 + rng.normal(0, 0.05, count))
    sure = rng.choice([1.0, 0.75, 0.5], count, p=[0.8, 0.15, 0.05])
    for at, bpm, confidence in zip(seconds.tolist(), rates.tolist(), sure.tolist(), strict=True):
        yield {
            "device_id": WATCH,
            "timestamp": _iso(at, "milliseconds"),
            "bpm": bpm,
            "confidence": confidence,
        }


def _charges(rng: np.random.Generator, begin: float) -> Iterator[Fields]:
    for minute in range(DAY_S // 60):
        is_charging = minute < 6 * 60
        level = min(100, 40 + minute // 4) if is_charging else max(12, 100 - (minute - 360) // 14)
        yield {
            "device_id": PHONE,
            "timestamp": _iso(begin + minute * 60 + float(rng.uniform(0, 2)), "milliseconds"),
            "battery_level": level,
            "is_charging": is_charging,
            "power_source": "usb" if is_charging else "battery",
        }


def _app_events(rng: np.random.Generator, begin: float) -> Iterator[Fields]:
    """What is used often is used very often."""
    seconds = np.sort(rng.uniform(7 * 3600, 23 * 3600, 900))
    for number, at in enumerate(seconds.tolist()):
        app = APP_NAMES[min(int(rng.zipf(1.5)), len(APP_NAMES)) - 1]
        yield {
            "device_id": PHONE,
            "timestamp": _iso(begin + at, "milliseconds"),
            "app_identifier": app,
            "app_name": app.rsplit(".", 1)[-1].title(),
            "event_type": "foreground" if number % 2 == 0 else "background",
        }


def _texts(
    rng: np.random.Generator, begin: float, count: int, *, words: int, field: str
) -> Iterator[Fields]:
    """Made-up words, a few of them often and many of them rarely, as in any language."""
    vocabulary = _vocabulary()
    for at in np.sort(rng.uniform(7 * 3600, 23 * 3600, count)).tolist():
        chosen = np.minimum(rng.zipf(1.25, int(rng.integers(words // 2, 2 * words))), 4_000) - 1
        text = " ".join(vocabulary[n] for n in chosen)
        told: Mapping[str, Any] = {"content_type": "text"} if field == "content_text" else {}
        yield {
            "device_id": PHONE,
            "timestamp": _iso(begin + at, "milliseconds"),
            field: text,
            **told,
        }


def _vocabulary() -> Sequence[str]:
    rng = np.random.default_rng(3)
    return ["".join(rng.choice(SYLLABLES, int(rng.integers(1, 5)))) for _ in range(4_000)]


def _iso(seconds: float, digits: str) -> str:
    text = datetime.fromtimestamp(seconds, UTC).isoformat(timespec=digits)
    return text.replace("+00:00", "Z")
