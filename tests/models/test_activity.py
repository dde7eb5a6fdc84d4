"""Activities are told apart, however the sensor is held and how fast it samples."""

import csv
import gzip
import json
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.spatial.transform import Rotation

from models.activity import (
    FEATURE_NAMES,
    MIN_RATE_HZ,
    MODEL_FILE,
    Features,
    LogisticClassifier,
    softmax,
    window_features,
)
from tests.models.media import MEDIA

RATE_HZ = 10.0
LABELS = {
    "Standing": "still",
    "Walking": "walking",
    "Running": "running",
    "Badminton": "racket_sport",
}
SIGNALS = arrays(np.float64, (50, 3), elements=st.floats(-30, 30, allow_subnormal=False))
DIRECTIONS = st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda d: np.linalg.norm(d) > 0.1)


def recordings() -> list[tuple[str, Features]]:
    with gzip.open(MEDIA / "motion" / "basic-motions-test.csv.gz", "rt") as file:
        rows = list(csv.DictReader(file))
    return [
        (LABELS[label], np.array([[float(row[axis]) for axis in "xyz"] for row in series]))
        for (label, _), series in groupby(rows, key=lambda row: (row["label"], row["series"]))
    ]


def windows() -> list[tuple[str, Features]]:
    return [
        (label, xyz[start : start + 50])
        for label, xyz in recordings()
        for start in range(0, len(xyz) - 49, 40)
    ]


@pytest.fixture(scope="module")
def classifier() -> LogisticClassifier:
    return LogisticClassifier.load()


def accuracy(classifier: LogisticClassifier, pairs: list[tuple[str, Features]]) -> float:
    given = np.array([window_features(xyz, RATE_HZ) for _, xyz in pairs])
    found = classifier.classify(given)
    return float(np.mean([a.label == label for a, (label, _) in zip(found, pairs, strict=True)]))


def test_nine_of_ten_held_out_windows_are_right_and_the_stated_number_is_true(
    classifier: LogisticClassifier,
) -> None:
    pairs = windows()
    assert len(pairs) == 80
    measured = accuracy(classifier, pairs)
    assert measured >= 0.9
    assert measured == json.loads(MODEL_FILE.read_text())["test_accuracy"]


def test_gravity_and_the_way_the_sensor_is_held_change_no_answer(
    classifier: LogisticClassifier,
) -> None:
    turn = Rotation.from_euler("xyz", [40, -75, 110], degrees=True).as_matrix()
    held = [(label, xyz @ turn.T + np.array([0.0, 6.9, -6.9])) for label, xyz in windows()]
    assert accuracy(classifier, held) == accuracy(classifier, windows())


def test_a_phone_on_a_table_is_still(classifier: LogisticClassifier) -> None:
    noise = np.random.default_rng(3).normal([0.1, 0.2, 9.81], 0.02, (500, 3))
    (found,) = classifier.classify(window_features(noise, 100.0)[None, :])
    assert found.label == "still"
    assert found.confidence > 0.9


@given(SIGNALS, DIRECTIONS)
def test_a_constant_gravity_in_any_direction_changes_no_feature(
    xyz: Features, direction: tuple[float, float, float]
) -> None:
    gravity = 9.81 * np.array(direction) / np.linalg.norm(direction)
    assert window_features(xyz + gravity, RATE_HZ) == pytest.approx(
        window_features(xyz, RATE_HZ), abs=1e-6
    )


@given(SIGNALS)
def test_features_are_finite_and_shares_are_shares(xyz: Features) -> None:
    found = dict(zip(FEATURE_NAMES, window_features(xyz, RATE_HZ), strict=True))
    assert np.isfinite(list(found.values())).all()
    shares = [value for name, value in found.items() if name.startswith("share_")]
    assert all(-1e-9 <= share <= 1 + 1e-9 for share in shares)
    assert sum(shares) <= 1 + 1e-9
    assert 0 <= found["centre_hz"] <= 4


@pytest.mark.parametrize("rate_hz", [10.0, 25.0, 50.0, 99.3])
def test_the_same_motion_has_the_same_features_at_every_rate(rate_hz: float) -> None:
    def at(rate: float) -> Features:
        time_s = np.arange(round(5 * rate)) / rate
        up = 3 * np.sin(2 * np.pi * 1.8 * time_s) + np.sin(2 * np.pi * 3.4 * time_s)
        return window_features(np.stack([0.2 * up, up, np.zeros_like(up)], axis=1), rate)

    # The windows differ by up to a sample in length, hence the tolerance.
    assert at(rate_hz) == pytest.approx(at(10.0), abs=0.2)


@given(arrays(np.float64, (3, 4), elements=st.floats(-1e6, 1e6)))
def test_softmax_gives_probabilities(scores: Features) -> None:
    assert softmax(scores).sum(axis=1) == pytest.approx(np.ones(3))


def test_what_can_not_be_judged_is_refused(classifier: LogisticClassifier) -> None:
    still = np.zeros((50, 3))
    broken = still.copy()
    broken[7, 1] = np.nan
    for xyz, rate_hz in [
        (still, MIN_RATE_HZ - 1),
        (still, 100.0),
        (broken, RATE_HZ),
        (still[:, :2], RATE_HZ),
        (still, float("nan")),
    ]:
        with pytest.raises(ValueError, match=r"Hz|s is below|finite|shape"):
            window_features(xyz, rate_hz)
    with pytest.raises(ValueError, match="shape"):
        classifier.classify(np.zeros((1, 3)))
    with pytest.raises(ValueError, match="finite"):
        classifier.classify(np.full((1, len(FEATURE_NAMES)), np.nan))


def test_a_model_of_other_features_is_not_loaded(tmp_path: Path) -> None:
    stored = json.loads(MODEL_FILE.read_text())
    stored["features"].reverse()
    other = tmp_path / "other.json"
    other.write_text(json.dumps(stored))
    with pytest.raises(ValueError, match="other features"):
        LogisticClassifier.load(other)
