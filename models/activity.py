"""What a body does: features of a window of acceleration, the protocol, and a small classifier.

The features know nothing of how the sensor is held (every turn of it gives the same numbers), of
gravity (a constant vector changes nothing) and, above `MIN_RATE_HZ`, of the sampling rate: they are
taken from the part of the signal below 4 Hz, which every wearable samples.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from models.model import Model, file_version

Features = NDArray[np.float64]

MIN_RATE_HZ = 8.0  # twice the highest frequency looked at
MIN_WINDOW_S = 2.0  # shorter windows can't tell 0.5 Hz from nothing
TOP_HZ = 4.0
BANDS_HZ = ((0.3, 1.0), (1.0, 1.8), (1.8, 2.6), (2.6, TOP_HZ))
PEAK_HALF_WIDTH_HZ = 0.3  # one cadence is never quite steady
FLOOR_M_S2 = 0.01  # below the noise of any phone: keeps the logarithm of perfect stillness finite

FEATURE_NAMES = (
    "log_rms",  # ln of the m/s² of all axes together
    "log_largest_axis",  # ln of the standard deviation along the principal axes, m/s²
    "log_middle_axis",
    "log_smallest_axis",
    "log_median_magnitude",  # ln of m/s²
    "peak_to_rms",  # 95 % quantile of the magnitude over the rms, no unit
    "share_0_1_hz",  # share of the power in each band
    "share_1_2_hz",
    "share_2_3_hz",
    "share_3_4_hz",
    "centre_hz",  # mean frequency, each weighed with its power
    "peak_share",  # largest share of the power within 0.3 Hz of one frequency
    "entropy",  # of the spectrum, 0 (one tone) … 1 (white)
)
MODEL_FILE = Path(__file__).with_name("activity_basicmotions.json")


@dataclass(frozen=True)
class Activity:
    """The likeliest label of a window and its softmax probability (0…1).

    Labels of the packaged model: `still`, `walking`, `running`, `racket_sport`.
    """

    label: str
    confidence: float


class ActivityClassifier(Model, Protocol):
    """Names what the wearer did in windows of acceleration."""

    def classify(self, features: Features) -> list[Activity]:
        """One activity a row of `features` (windows, features), as `window_features` makes them.

        Raises: ValueError for another number of features, or numbers that are not finite.
        """
        ...


class LogisticClassifier:
    """Multinomial logistic regression over the window features, in a few kB of JSON.

    Trained by `infra/training/activity.py` on the TRAIN half of BasicMotions (four students with a
    watch, 10 Hz, acceleration without gravity). Right in 98.8 % of its TEST half: 79 of 80 windows
    of 5 s, hop 4 s. The same four people may be in both halves, there is no phone in the data, and
    whatever is none of the four labels still gets one: read it as a hint, not as a fact.
    """

    model_id = "basicmotions-logistic"

    def __init__(
        self, labels: Sequence[str], scale: tuple[Features, Features], weights: Features
    ) -> None:
        """`scale` is mean and spread a feature; `weights` (features + 1, labels), bias last."""
        self._labels = tuple(labels)
        self._mean, self._spread = scale
        self._weights = weights
        self.model_version = ""

    @classmethod
    def load(cls, path: Path = MODEL_FILE) -> "LogisticClassifier":
        """Read a trained model.

        Raises: ValueError for one that was trained on other features.
        """
        stored: dict[str, Any] = json.loads(path.read_text())
        if tuple(stored["features"]) != FEATURE_NAMES:
            raise ValueError(f"{path.name} was trained on other features: train it again")
        scale = np.array(stored["mean"]), np.array(stored["spread"])
        model = cls(stored["labels"], scale, np.array(stored["weights"]))
        model.model_version = file_version(path)
        return model

    def classify(self, features: Features) -> list[Activity]:
        """One activity a row; see the protocol."""
        chances = self.probabilities(features)
        best = chances.argmax(axis=1)
        return [
            Activity(self._labels[label], float(row[label]))
            for row, label in zip(chances, best, strict=True)
        ]

    def probabilities(self, features: Features) -> Features:
        """Softmax over the labels, shape (windows, labels)."""
        if features.ndim != 2 or features.shape[1] != len(FEATURE_NAMES):
            raise ValueError(f"features have shape {features.shape}, not (n, {len(FEATURE_NAMES)})")
        if not np.isfinite(features).all():
            raise ValueError("features must be finite")
        standard = (features - self._mean) / self._spread
        return softmax(standard @ self._weights[:-1] + self._weights[-1])


def softmax(scores: Features) -> Features:
    """Probabilities along the last axis; large scores don't overflow."""
    powers: Features = np.exp(scores - scores.max(axis=-1, keepdims=True))
    chances: Features = powers / powers.sum(axis=-1, keepdims=True)
    return chances


def window_features(xyz: Features, rate_hz: float) -> Features:
    """Features of one window of acceleration, in the order of `FEATURE_NAMES`.

    `xyz` is (samples, 3) in m/s², evenly spaced at the measured `rate_hz`, with or without gravity.

    Raises: ValueError for a rate below `MIN_RATE_HZ`, less than `MIN_WINDOW_S`, or a number that is
    not finite.
    """
    _check(xyz, rate_hz)
    frequencies, spectrum = _low_spectrum(xyz, rate_hz)
    motion = _motion(spectrum, samples=len(xyz), rate_hz=rate_hz)
    return np.concatenate([_sizes(motion), _shape(frequencies, spectrum)])


def _check(xyz: Features, rate_hz: float) -> None:
    if xyz.ndim != 2 or xyz.shape[1] != 3:
        raise ValueError(f"acceleration has shape {xyz.shape}, not (samples, 3)")
    if not rate_hz >= MIN_RATE_HZ:
        raise ValueError(f"{rate_hz} Hz is below {MIN_RATE_HZ} Hz")
    if len(xyz) / rate_hz < MIN_WINDOW_S:
        raise ValueError(f"{len(xyz) / rate_hz:.2f} s is below {MIN_WINDOW_S} s")
    if not np.isfinite(xyz).all():
        raise ValueError("acceleration must be finite")


def _low_spectrum(xyz: Features, rate_hz: float) -> tuple[Features, NDArray[np.complex128]]:
    """Frequencies up to `TOP_HZ`, and what each axis holds there; gravity is taken out.

    A straight line a axis goes with the mean: gravity drifts slowly while the sensor turns.
    """
    from scipy.signal import detrend  # noqa: PLC0415 (heavy)

    moving = detrend(xyz, axis=0, type="linear")
    frequencies: Features = np.fft.rfftfreq(len(xyz), 1 / rate_hz).astype(np.float64)
    kept = frequencies <= TOP_HZ
    spectrum: NDArray[np.complex128] = np.fft.rfft(moving, axis=0)[kept] / len(xyz)
    return frequencies[kept], spectrum


def _motion(spectrum: NDArray[np.complex128], *, samples: int, rate_hz: float) -> Features:
    """The signal below `TOP_HZ`, (samples, 3) in m/s², at the same number of Hz for every rate."""
    kept = max(round(samples / rate_hz * MIN_RATE_HZ * 2), 2 * len(spectrum))
    motion: Features = np.fft.irfft(spectrum, n=kept, axis=0) * kept
    return motion


def _sizes(motion: Features) -> Features:
    """How strongly it moves: the first six features."""
    magnitude = np.linalg.norm(motion, axis=1)
    rms = float(np.sqrt(np.mean(magnitude**2)))
    axes = np.linalg.eigvalsh(motion.T @ motion / len(motion))[::-1]
    variances = np.array([rms**2, *axes, float(np.median(magnitude)) ** 2])
    # The floor is inside the logarithm, so that rounding errors of stillness stay small.
    strengths = np.log(np.maximum(variances, 0.0) + FLOOR_M_S2**2) / 2
    peak = float(np.quantile(magnitude, 0.95)) / (rms + FLOOR_M_S2)
    return np.array([*strengths, peak])


def _shape(frequencies: Features, spectrum: NDArray[np.complex128]) -> Features:
    """At which frequencies it moves: the last seven features; all near zero in stillness."""
    power = (np.abs(spectrum) ** 2).sum(axis=1)
    power[frequencies < BANDS_HZ[0][0]] = 0.0
    share = power / (power.sum() + FLOOR_M_S2**2)
    bands = [share[(frequencies >= low) & (frequencies < high)].sum() for low, high in BANDS_HZ]
    near = np.abs(frequencies[:, None] - frequencies[None, :]) <= PEAK_HALF_WIDTH_HZ
    present = share[share > 0]
    entropy = -(present * np.log(present)).sum() / np.log(len(share))
    return np.array([*bands, share @ frequencies, (near @ share).max(), entropy])
