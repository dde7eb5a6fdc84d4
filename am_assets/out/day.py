"""One local day of one person, in facts: pure functions from tables to a digest.

The owner's day is cut at local midnight, by the offsets that the devices themselves sent; so it has
23 or 25 hours where clocks change, and others on the road. Nothing here reads a store or a clock.
"""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from resources.hot import Span
from resources.places import Visit, visits

Row = Mapping[str, Any]
MIN_GAP = timedelta(hours=1)
HOUR, MINUTE, DAY = timedelta(hours=1), timedelta(minutes=1), timedelta(days=1)
FURTHEST = timedelta(hours=14)  # no zone's midnight is farther from UTC's
UNKNOWN_ZONE = "no device sent its offset from UTC: the day is the UTC day"


@dataclass(frozen=True)
class Offsets:
    """Local time minus UTC as devices sent it, by UTC hour: the most frequent of each hour."""

    hours: tuple[datetime, ...]
    minutes: tuple[int, ...]

    @classmethod
    def of(cls, seen: Iterable[tuple[datetime, int, int]]) -> "Offsets":
        """From (hour, offset in minutes, how often), in any order."""
        votes: dict[datetime, Counter[int]] = defaultdict(Counter)
        for hour, minutes, count in seen:
            votes[hour.replace(minute=0, second=0, microsecond=0)][minutes] += count
        best = {
            hour: max(counts.items(), key=lambda vote: (vote[1], vote[0]))[0]
            for hour, counts in votes.items()
        }
        hours = tuple(sorted(best))
        return cls(hours, tuple(best[hour] for hour in hours))

    def at(self, ts: datetime) -> timedelta:
        """The last offset known then; before the first that one; zero where none is known."""
        if not self.hours:
            return timedelta(0)
        place = max(0, bisect_right(self.hours, ts) - 1)
        return timedelta(minutes=self.minutes[place])

    def midnight(self, day: date) -> datetime:
        """The instant at which the local day begins, in UTC.

        Found by going there twice, as the offset may change on the way.
        """
        utc = Span.of_day(day).begin
        first = utc - self.at(utc)
        return utc - self.at(first)


@dataclass(frozen=True)
class LocalDay:
    """A day and the stretch of time it is. `note` says what was assumed; None: nothing."""

    day: date
    begin: datetime
    end: datetime
    offset: timedelta
    note: str | None

    @classmethod
    def of(cls, day: date, offsets: Offsets) -> "LocalDay":
        """The day between its two midnights, each by the offset of its time."""
        begin, end = offsets.midnight(day), offsets.midnight(day + DAY)
        note = None if offsets.hours else UNKNOWN_ZONE
        return cls(day, begin, end, offsets.at(begin), note)

    def clock(self, ts: datetime) -> datetime:
        """An instant as the clock showed it in the morning's zone; naive, to be shown only."""
        return (ts + self.offset).replace(tzinfo=None)


@dataclass(frozen=True)
class DayRows:
    """What a digest is made of: tables in `row_schema` that cover the day, and may cover more.

    `presence`: columns stream, minute (UTC), count; one row a stream and minute with any rows.
    """

    transcripts: pa.Table
    screen_texts: pa.Table
    activities: pa.Table
    fixes: pa.Table
    app_events: pa.Table
    heart_rates: pa.Table
    notes: pa.Table
    clipboard: pa.Table
    presence: pa.Table


@dataclass(frozen=True)
class Text:
    """Something said, read, written or copied. `origin`: a heading or an app, where known."""

    ts: datetime
    text: str
    origin: str | None = None


@dataclass(frozen=True)
class Duration:
    """How long something went on, over all its stretches."""

    name: str
    seconds: float


@dataclass(frozen=True)
class Stay:
    """A visit inside the day. `place` None = no town is near, or nobody was asked."""

    visit: Visit
    place: str | None


@dataclass(frozen=True)
class HeartRates:
    """Over the day's readings; the mean is theirs, not that of time."""

    min_bpm: float
    mean_bpm: float
    max_bpm: float
    reading_count: int


@dataclass(frozen=True)
class Gap:
    """A stretch of at least an hour from which nothing came, of any stream."""

    begin: datetime
    end: datetime


@dataclass(frozen=True)
class DayDigest:
    """One local day. `heart` None = nothing was measured."""

    local: LocalDay
    said: tuple[Text, ...]
    read: tuple[Text, ...]
    notes: tuple[Text, ...]
    clipboard: tuple[Text, ...]
    activities: tuple[Duration, ...]
    stays: tuple[Stay, ...]
    apps: tuple[Duration, ...]
    heart: HeartRates | None
    counts: Mapping[str, int]
    gaps: tuple[Gap, ...]
    row_count: int = field(default=0)

    @property
    def is_empty(self) -> bool:
        """Whether nothing came that day."""
        return self.row_count == 0


def digest(
    local: LocalDay, rows: DayRows, *, until: datetime, places: Mapping[Visit, str] | None = None
) -> DayDigest:
    """All facts of the day. `until`: what is later has not happened yet, and is no gap.

    `places` names visits; those it lacks have no name.
    """
    counts = count_rows(_within(rows.presence, local, column="minute"))
    names = places or {}
    return DayDigest(
        local=local,
        said=_texts(_within(rows.transcripts, local), "text"),
        read=_texts(_within(rows.screen_texts, local), "text"),
        notes=_texts(_within(rows.notes, local), "content", origin="title"),
        clipboard=_texts(_within(rows.clipboard, local), "content_text", origin="source_app"),
        activities=activity_times(rows.activities, local),
        stays=tuple(Stay(visit, names.get(visit)) for visit in day_visits(rows.fixes, local)),
        apps=app_times(rows.app_events, local),
        heart=heart_rates(_within(rows.heart_rates, local)),
        counts=counts,
        gaps=gaps(_minutes(rows.presence), local, until=until),
        row_count=sum(counts.values()),
    )


def day_visits(fixes: pa.Table, local: LocalDay) -> list[Visit]:
    """Visits that lie in the day or reach into it, whole."""
    return [
        visit for visit in visits(fixes) if visit.leave > local.begin and visit.enter < local.end
    ]


def activity_times(spans: pa.Table, local: LocalDay) -> tuple[Duration, ...]:
    """How long each activity went on within the day, the longest first.

    What two devices tell at once counts once.
    """
    stretches: dict[str, list[tuple[datetime, datetime]]] = defaultdict(list)
    for row in spans.select(["ts", "end_ts", "activity"]).to_pylist():
        begin, end = max(row["ts"], local.begin), min(row["end_ts"], local.end)
        if begin < end:
            stretches[row["activity"]].append((begin, end))
    return _longest_first({name: covered(parts) for name, parts in stretches.items()})


def covered(stretches: Sequence[tuple[datetime, datetime]]) -> timedelta:
    """How much time stretches cover together, overlaps once."""
    total, reached = timedelta(0), None
    for begin, end in sorted(stretches):
        start = begin if reached is None else max(begin, reached)
        total += max(timedelta(0), end - start)
        reached = end if reached is None else max(reached, end)
    return total


def app_times(events: pa.Table, local: LocalDay) -> tuple[Duration, ...]:
    """How long each app was in front within the day, the longest first.

    From an app's `foreground` to its own next event or the next app's `foreground` on that device.
    What is not known to have ended counts nothing.
    """
    total: dict[str, timedelta] = defaultdict(timedelta)
    names: dict[str, str] = {}
    by_device: dict[str, list[Row]] = defaultdict(list)
    for row in sorted(events.to_pylist(), key=lambda row: (row["ts"], str(row["event_id"]))):
        by_device[row["device_id"]].append(row)
        names[row["app_identifier"]] = row["app_name"] or row["app_identifier"]
    for device_events in by_device.values():
        for app, begin, end in _in_front(device_events):
            inside = min(end, local.end) - max(begin, local.begin)
            total[names[app]] += max(timedelta(0), inside)
    return _longest_first({name: time for name, time in total.items() if time})


def _in_front(events: Sequence[Row]) -> list[tuple[str, datetime, datetime]]:
    """(app, from, to) of one device's events in the order of time."""
    found = []
    front: str | None = None
    since: datetime | None = None
    for row in events:
        app, kind = row["app_identifier"], row["event_type"]
        if kind == "launch" or (kind != "foreground" and app != front):
            continue  # a launch may be in the background; others end without having been in front
        if front is not None and since is not None and not (kind == "foreground" and app == front):
            found.append((front, since, row["ts"]))
            front = None
        if kind == "foreground" and front is None:
            front, since = app, row["ts"]
    return found


def heart_rates(readings: pa.Table) -> HeartRates | None:
    """Least, mean and most; None without a reading."""
    if not readings.num_rows:
        return None
    beats = readings["bpm"]
    spread = pc.min_max(beats)
    return HeartRates(
        min_bpm=spread["min"].as_py(),
        mean_bpm=pc.mean(beats).as_py(),
        max_bpm=spread["max"].as_py(),
        reading_count=readings.num_rows,
    )


def count_rows(presence: pa.Table) -> dict[str, int]:
    """Rows of each stream that has any, by name."""
    sums = presence.group_by("stream").aggregate([("count", "sum")]).to_pylist()
    return {row["stream"]: row["count_sum"] for row in sorted(sums, key=lambda row: row["stream"])}


def gaps(minutes: Iterable[datetime], local: LocalDay, *, until: datetime) -> tuple[Gap, ...]:
    """Stretches of an hour or more between minutes with rows; none behind `until`."""
    end = min(local.end, until)
    inside = sorted({minute for minute in minutes if local.begin <= minute < end})
    edges = [local.begin - MINUTE, *inside, end]
    stretches = pairwise(edges)
    return tuple(
        Gap(earlier + MINUTE, later)
        for earlier, later in stretches
        if later - (earlier + MINUTE) >= MIN_GAP
    )


def _minutes(presence: pa.Table) -> list[datetime]:
    return [row["minute"] for row in presence.select(["minute"]).to_pylist()]


def _within(table: pa.Table, local: LocalDay, *, column: str = "ts") -> pa.Table:
    instant = table.schema.field(column).type
    late = pc.greater_equal(table[column], pa.scalar(local.begin, instant))
    early = pc.less(table[column], pa.scalar(local.end, instant))
    return table.filter(pc.and_(late, early))


def _texts(table: pa.Table, column: str, *, origin: str | None = None) -> tuple[Text, ...]:
    """In the order of time; what has no text is left out."""
    rows = sorted(table.to_pylist(), key=lambda row: (row["ts"], str(row["event_id"])))
    return tuple(
        Text(row["ts"], row[column], row[origin] if origin else None) for row in rows if row[column]
    )


def _longest_first(times: Mapping[str, timedelta]) -> tuple[Duration, ...]:
    ordered = sorted(times.items(), key=lambda item: (-item[1], item[0]))
    return tuple(Duration(name, time.total_seconds()) for name, time in ordered)
