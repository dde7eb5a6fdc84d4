"""Reads the shipped media: real sounds, photos, tracks, motion and heart rates, and their truth.

Where they come from and under which licence: `media/LICENSES.md`.
"""

import csv
import gzip
import io
import json
import wave
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path

from PIL import Image

FOLDER = Path(__file__).parent / "media"

# What is said in the clips, as their own transcriptions have it.
WORDS = {
    "austen-0870": (
        "and mister john dashwood had then leisure to consider how much there might be "
        "prudently in his power to do for them"
    ),
    "austen-0880": "he was not an ill disposed young man",
    "austen-0890": "unless to be rather cold hearted and rather selfish is to be ill disposed",
    "austen-0920": (
        "had he married a more a amiable woman he might have been made still more respectable "
        "than he was"
    ),
    "austen-0930": "he might even have been made amiable himself",
    "card-seven": "seven of clubs",
    "go-forward": "go forward ten meters",
}
# The motions of the recordings, in the words of the activity stream.
ACTIVITIES = {
    "Standing": "still",
    "Walking": "walking",
    "Running": "running",
    "Badminton": "racket_sport",
}
MOTION_RATE_HZ = 10


@dataclass(frozen=True)
class Clip:
    """A sound: a whole WAV file; `words` is None where nobody speaks."""

    name: str
    wav: bytes
    sample_rate_hz: int
    channels: int
    duration: timedelta
    words: str | None


@dataclass(frozen=True)
class Picture:
    """A photo or screenshot as a file of `format`; `lines` is the text on a screenshot."""

    name: str
    data: bytes
    format: str
    width_px: int
    height_px: int
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Fix:
    """A recorded position; `ts` is the instant of the recording, `altitude_m` above sea level."""

    ts: datetime
    latitude: float
    longitude: float
    altitude_m: float


@dataclass(frozen=True)
class Acceleration:
    """A recorded sample in m/s², without gravity."""

    x: float
    y: float
    z: float


@dataclass(frozen=True)
class Beat:
    """A recorded heart rate, so many seconds after the recording began."""

    second: int
    bpm: int


@cache
def clip(name: str) -> Clip:
    """A sound by name, such as `birds`."""
    wav = (FOLDER / f"audio/{name}.wav").read_bytes()
    with wave.open(io.BytesIO(wav)) as sound:
        rate = sound.getframerate()
        duration = timedelta(milliseconds=round(sound.getnframes() * 1000 / rate))
        return Clip(name, wav, rate, sound.getnchannels(), duration, WORDS.get(name))


@cache
def photo(name: str) -> Picture:
    """A photo by name, such as `cat`."""
    return _picture(FOLDER / f"photos/{name}.jpg", format_="jpeg")


@cache
def screen(name: str) -> Picture:
    """A screenshot by the name of its page, such as `mail`."""
    truth = json.loads((FOLDER / "screens/truth.json").read_text())
    return _picture(FOLDER / f"screens/{name}.png", format_="png", lines=tuple(truth[name]))


def _picture(path: Path, *, format_: str, lines: tuple[str, ...] = ()) -> Picture:
    data = path.read_bytes()
    with Image.open(io.BytesIO(data)) as image:
        return Picture(path.stem, data, format_, image.width, image.height, lines)


@cache
def track(name: str) -> tuple[Fix, ...]:
    """A recorded track: `drive` or `hike`."""
    rows = csv.DictReader((FOLDER / f"tracks/{name}.csv").read_text().splitlines())
    return tuple(
        Fix(
            datetime.fromisoformat(row["time"]),
            float(row["latitude"]),
            float(row["longitude"]),
            float(row["altitude_m"]),
        )
        for row in rows
    )


@cache
def motion(label: str) -> tuple[Acceleration, ...]:
    """All series of one label, one after the other, at MOTION_RATE_HZ."""
    text = gzip.decompress((FOLDER / "motion/basic-motions-test.csv.gz").read_bytes()).decode()
    rows = csv.DictReader(text.splitlines())
    return tuple(
        Acceleration(float(row["x"]), float(row["y"]), float(row["z"]))
        for row in rows
        if row["label"] == label
    )


@cache
def heart(name: str) -> tuple[Beat, ...]:
    """A recorded series of heart rates: `drive` or `rest`."""
    rows = csv.DictReader((FOLDER / f"heart/{name}.csv").read_text().splitlines())
    return tuple(Beat(int(row["second"]), int(row["bpm"])) for row in rows)
