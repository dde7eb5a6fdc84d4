"""Places: the names of coordinates, offline, and the visits that a track tells of."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import pyarrow as pa

NAME_SOURCE = "GeoNames (CC BY 4.0), nearest town or neighbourhood by its centre"
MAX_NAME_DISTANCE_M = 30_000.0  # farther than this the nearest town is not where one is
EARTH_RADIUS_M = 6_371_008.8
VISIT_RADIUS_M = 100.0
MIN_DWELL = timedelta(minutes=5)
MAX_SILENCE = timedelta(hours=1)  # a longer gap says nothing about where one was in it
MAX_ACCURACY_M = 150.0  # a fix that is less sure than this cannot tell a visit from a walk


@dataclass(frozen=True)
class Place:
    """The town or neighbourhood nearest to a point, and how far its centre is."""

    name: str
    country: str
    country_code: str
    distance_m: float
    source: str = NAME_SOURCE

    @property
    def label(self) -> str:
        """As moments and digests show it: `Poreč, Croatia`."""
        return f"{self.name}, {self.country}"


@dataclass(frozen=True)
class Fix:
    """One position. `accuracy_m` is the 68 % radius; None = the device gave none."""

    ts: datetime
    latitude: float
    longitude: float
    accuracy_m: float | None = None


@dataclass(frozen=True)
class Visit:
    """A stay: `leave` is the last fix there. Coordinates are the mean of its fixes."""

    device_id: str
    enter: datetime
    leave: datetime
    latitude: float
    longitude: float
    fix_count: int

    @property
    def dwell(self) -> timedelta:
        """How long it was."""
        return self.leave - self.enter


def name_places(points: Sequence[tuple[float, float]]) -> list[Place | None]:
    """A name for each (latitude, longitude), in order; None where no town is near, as at sea."""
    if not points:
        return []
    # Half a second, and only where names are wanted.
    import reverse_geocode  # type: ignore[import-untyped]  # ships no types  # noqa: PLC0415

    found = reverse_geocode.search(list(points))
    return [_place(point, town) for point, town in zip(points, found, strict=True)]


def visits(fixes: pa.Table) -> list[Visit]:
    """Stays of at least 5 minutes within 100 m, of each device, from early to late.

    `fixes` needs device_id, ts, latitude, longitude, accuracy_m, in any order. Fixes less sure than
    150 m are left out; those without an accuracy count. A gap of over an hour ends a stay.
    """
    devices: dict[str, list[Fix]] = {}
    names = ["device_id", "ts", "latitude", "longitude", "accuracy_m"]
    for row in fixes.select(names).to_pylist():
        fix = Fix(row["ts"], row["latitude"], row["longitude"], row["accuracy_m"])
        if fix.accuracy_m is None or fix.accuracy_m <= MAX_ACCURACY_M:
            devices.setdefault(row["device_id"], []).append(fix)
    found = [
        visit for device, track in devices.items() for visit in _visits_of(device, _sorted(track))
    ]
    return sorted(found, key=lambda visit: (visit.enter, visit.device_id))


def distance_m(a: tuple[float, float], b: tuple[float, float]) -> float:
    """Along the surface of the Earth, between two (latitude, longitude)."""
    (lat_a, lon_a), (lat_b, lon_b) = (tuple(map(math.radians, point)) for point in (a, b))
    half = math.sin((lat_b - lat_a) / 2) ** 2
    half += math.cos(lat_a) * math.cos(lat_b) * math.sin((lon_b - lon_a) / 2) ** 2
    return 2 * EARTH_RADIUS_M * math.asin(math.sqrt(min(1.0, half)))


def _place(point: tuple[float, float], town: dict[str, object]) -> Place | None:
    away = distance_m(point, (float(str(town["latitude"])), float(str(town["longitude"]))))
    if away > MAX_NAME_DISTANCE_M:
        return None
    return Place(str(town["city"]), str(town["country"]), str(town["country_code"]), away)


def _sorted(track: list[Fix]) -> list[Fix]:
    """By time; of fixes at one time the surest is kept, so that their order says nothing."""
    unsure = math.inf
    by_sureness = sorted(
        track,
        key=lambda fix: (
            fix.ts,
            unsure if fix.accuracy_m is None else fix.accuracy_m,
            fix.latitude,
            fix.longitude,
        ),
    )
    first: dict[datetime, Fix] = {}
    for fix in by_sureness:
        first.setdefault(fix.ts, fix)
    return list(first.values())


def _visits_of(device_id: str, track: list[Fix]) -> list[Visit]:
    found: list[Visit] = []
    begin = 0
    while begin < len(track):
        end = _end_of_stay(track, begin)
        if track[end - 1].ts - track[begin].ts >= MIN_DWELL:
            found.append(_visit(device_id, track[begin:end]))
            begin = end
        else:
            begin += 1
    return found


def _end_of_stay(track: list[Fix], begin: int) -> int:
    """Index behind the last fix of the stay that starts at `begin`.

    One stray fix does not end it when the next one is back.
    """
    end = begin + 1
    while end < len(track) and track[end].ts - track[end - 1].ts <= MAX_SILENCE:
        is_near = _is_near(track[begin], track[end])
        if not is_near and not (end + 1 < len(track) and _is_near(track[begin], track[end + 1])):
            break
        end += 1
    return end if _is_near(track[begin], track[end - 1]) else end - 1


def _is_near(anchor: Fix, fix: Fix) -> bool:
    """Whether two fixes may be of one place: within the radius, their own unsureness forgiven."""
    away = distance_m((anchor.latitude, anchor.longitude), (fix.latitude, fix.longitude))
    slack = math.hypot(anchor.accuracy_m or 0.0, fix.accuracy_m or 0.0)
    return away <= VISIT_RADIUS_M + slack


def _visit(device_id: str, stay: list[Fix]) -> Visit:
    anchor = stay[0]
    inside = [fix for fix in stay if _is_near(anchor, fix)]
    # Longitudes as differences from the first, so that the date line is no edge.
    east = [_wrapped(fix.longitude - anchor.longitude) for fix in inside]
    return Visit(
        device_id=device_id,
        enter=anchor.ts,
        leave=stay[-1].ts,
        latitude=sum(fix.latitude for fix in inside) / len(inside),
        longitude=_wrapped(anchor.longitude + sum(east) / len(east)),
        fix_count=len(inside),
    )


def _wrapped(degrees: float) -> float:
    """A longitude or a difference of two, from -180 to 180."""
    return degrees if -180 <= degrees <= 180 else (degrees + 180) % 360 - 180
