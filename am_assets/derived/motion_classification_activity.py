"""What the wearer did: each window classified, smoothed, and equal neighbours joined."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from am_assets.derived.device_sensor_accelerometer_windowed import HOP, WINDOW
from am_assets.derived.enrichment import Derived, Enrichment, Item, Maker, NothingFound, Outcome
from am_assets.derived.enrichment import found_or_nothing as found
from am_assets.streams.motion import ACTIVITY, WINDOWS, ActivitySpan
from models.activity import Activity, ActivityClassifier
from models.catalog import Task
from resources.compute import Compute
from resources.work_items import Unit

MAX_STEP = 2 * HOP  # one missing window is bridged, two are a pause


@dataclass(frozen=True)
class Labelled:
    """One window and what it was taken for."""

    ts: datetime
    label: str
    confidence: float


def smooth(windows: Sequence[Labelled]) -> list[str]:
    """A label a window: that of two of its three (itself and the neighbours next in time).

    Where no two agree, and beside a pause, a window keeps its own.
    """
    return [_majority(windows, place) for place in range(len(windows))]


def spans(windows: Sequence[Labelled]) -> list[Derived]:
    """Join neighbours of the same label. `windows` are in order of time, each time once.

    A span ends where the next begins, or with its last window. Its confidence is the mean of the
    windows that were themselves taken for it.
    """
    groups: list[list[int]] = []
    labels = smooth(windows)
    for place, label in enumerate(labels):
        is_next = place > 0 and labels[place - 1] == label and _are_next(windows, place)
        if is_next:
            groups[-1].append(place)
        else:
            groups.append([place])
    return [_span([windows[p] for p in g], labels[g[0]], _end(windows, g[-1])) for g in groups]


def run(items: Sequence[Item], compute: Compute) -> list[Outcome]:
    """Classify hours of windows. Windows without features (too low a rate) are left out."""
    classifier = compute.activity()
    return [_outcome(item, classifier) for item in items]


def labelled(windows: pa.Table, classifier: ActivityClassifier) -> list[Labelled]:
    """The windows that have features, in order of time, classified."""
    rows: list[dict[str, Any]] = windows.sort_by("ts").to_pylist()
    usable = [(row["ts"], numbers) for row in rows if (numbers := json.loads(row["features"]))]
    if not usable:
        return []
    found = classifier.classify(np.array([numbers for _, numbers in usable], dtype=np.float64))
    return [_label(ts, activity) for (ts, _), activity in zip(usable, found, strict=True)]


def _outcome(item: Item, classifier: ActivityClassifier) -> Outcome:
    assert item.rows is not None
    windows = labelled(item.rows.select(["ts", "features"]), classifier)
    return found(spans(windows), Maker.of(classifier)) if windows else NothingFound()


def _label(ts: datetime, activity: Activity) -> Labelled:
    return Labelled(ts, activity.label, min(activity.confidence, 1.0))


def _are_next(windows: Sequence[Labelled], place: int) -> bool:
    return windows[place].ts - windows[place - 1].ts <= MAX_STEP


def _majority(windows: Sequence[Labelled], place: int) -> str:
    own = windows[place].label
    if not 0 < place < len(windows) - 1:
        return own
    trio = windows[place - 1 : place + 2]
    if any(after.ts - before.ts > MAX_STEP for before, after in pairwise(trio)):
        return own
    label, votes = Counter(window.label for window in trio).most_common(1)[0]
    return label if votes > 1 else own


def _end(windows: Sequence[Labelled], last: int) -> datetime:
    own_end = windows[last].ts + WINDOW
    return min(own_end, windows[last + 1].ts) if last + 1 < len(windows) else own_end


def _span(windows: Sequence[Labelled], label: str, end: datetime) -> Derived:
    begin = windows[0].ts
    sure = [window.confidence for window in windows if window.label == label]
    values = ActivitySpan(
        activity=label,
        end_ts=end,
        duration_ms=(end - begin) // timedelta(milliseconds=1),
        window_count=len(windows),
    )
    return Derived(begin, values, begin.isoformat(), sum(sure) / len(sure) if sure else None)


ENRICHMENT = Enrichment(
    name=ACTIVITY.table,
    output=ACTIVITY,
    sources=(WINDOWS,),
    version=1,
    unit=Unit.HOUR,
    task=Task.ACTIVITY,
    summary="Tells from acceleration what the wearer did.",
    run=run,
    batch=8,
)
