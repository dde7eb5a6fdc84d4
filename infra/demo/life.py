"""Plans a life of some weeks: when the owner sleeps, where they are, whom they meet and why.

Only plans: `month` writes the messages. Times are minutes after midnight on the owner's clock.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from infra.demo.day import HALL, HOME
from infra.demo.routine import apart_m
from infra.demo.truth import Place

OFFICE = Place(name="office, Porec", latitude=45.22690, longitude=13.60540)
HARBOUR = Place(name="harbour cafe, Porec", latitude=45.22720, longitude=13.59330)
LIBRARY = Place(name="library, Porec", latitude=45.22905, longitude=13.59880)
MARKET = Place(name="market, Porec", latitude=45.22480, longitude=13.59700)
VINEYARD = Place(name="vineyard, Vizinada", latitude=45.33330, longitude=13.76390)
OUTINGS = (HARBOUR, LIBRARY, MARKET, VINEYARD, HALL)

PEOPLE = ("Mia", "Tomo", "Ana")
THINGS = (
    "torque wrench", "blue thermos", "camping stove", "drill", "paper map", "head torch",
    "tripod", "bicycle pump", "sleeping bag", "chess clock", "bread tin", "label printer",
)  # fmt: skip

DRIVE_M_MIN = 780.0
PARKING_MIN = 4
DAY_MIN = 24 * 60
SATURDAY = 5
LONGEST_LOAN = 8


@dataclass(frozen=True, kw_only=True)
class Stop:
    """A stay from minute to minute, and with whom."""

    place: Place
    start: int
    end: int
    person: str | None = None


@dataclass(frozen=True, kw_only=True)
class Loan:
    """A thing that changes hands on this day: lent to somebody, or given back."""

    thing: str
    person: str
    place: Place
    is_return: bool


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One day: asleep until `wake` and from `bed` on; `stops` cover the day but for the drives."""

    day: date
    wake: int
    bed: int
    stops: tuple[Stop, ...]
    loan: Loan | None

    @property
    def outing(self) -> Stop | None:
        """The stay that is neither home nor work."""
        return next((s for s in self.stops if s.place not in {HOME, OFFICE}), None)

    @property
    def is_workday(self) -> bool:
        """Whether the owner went to the office."""
        return any(stop.place is OFFICE for stop in self.stops)


def drive_min(a: Place, b: Place) -> int:
    """Minutes from door to door."""
    return PARKING_MIN + round(apart_m(a, b) / DRIVE_M_MIN)


def plan_life(days: int, *, seed: int, end: date) -> list[Plan]:
    """Plans for `days` days, the last of which is `end`."""
    rng = np.random.default_rng([seed, end.toordinal(), days])
    loans = dict(_loans(days, rng))
    first = end - timedelta(days=days - 1)
    return [_plan(first + timedelta(days=n), loans.get(n), rng) for n in range(days)]


def _loans(days: int, rng: np.random.Generator) -> Iterator[tuple[int, Loan]]:
    """Who borrows what when: things come back within LONGEST_LOAN days, or are out at the end."""
    things = [str(thing) for thing in rng.permutation(THINGS)]
    free = set(range(days))
    for thing in things[: 1 + days // 5]:
        person = str(rng.choice(PEOPLE))
        earliest = 0
        for is_return in (False, True):
            possible = sorted(day for day in free if earliest <= day < earliest + LONGEST_LOAN)
            if not (possible if is_return else free):
                break
            day = int(rng.choice(possible if is_return else sorted(free)))
            free.remove(day)
            earliest = day + 1
            place = OUTINGS[int(rng.integers(len(OUTINGS)))]
            yield day, Loan(thing=thing, person=person, place=place, is_return=is_return)


def _plan(day: date, loan: Loan | None, rng: np.random.Generator) -> Plan:
    is_weekend = day.weekday() >= SATURDAY
    wake = int(rng.integers(445, 530) if is_weekend else rng.integers(375, 400))
    bed = int(rng.integers(1350, 1420))
    away = _outing(loan, rng)
    begin = int(rng.integers(600, 660) if is_weekend else rng.integers(460, 475))
    legs = ([] if is_weekend else [(OFFICE, int(rng.integers(500, 530)), None)]) + away
    return Plan(day=day, wake=wake, bed=bed, stops=_stops(legs, begin), loan=loan)


def _outing(loan: Loan | None, rng: np.random.Generator) -> list[tuple[Place, int, str | None]]:
    minutes = int(rng.integers(60, 110))
    if loan:
        return [(loan.place, minutes, loan.person)]
    place = OUTINGS[int(rng.integers(len(OUTINGS)))]
    return [(place, minutes, None)] if rng.random() < 0.5 else []


def _stops(legs: list[tuple[Place, int, str | None]], begin: int) -> tuple[Stop, ...]:
    """From home at `begin`, each leg for its minutes, and home again until midnight."""
    stops = [Stop(place=HOME, start=0, end=begin if legs else DAY_MIN)]
    for place, minutes, person in legs:
        start = stops[-1].end + drive_min(stops[-1].place, place)
        stops.append(Stop(place=place, start=start, end=start + minutes, person=person))
    if legs:
        start = stops[-1].end + drive_min(stops[-1].place, HOME)
        stops.append(Stop(place=HOME, start=start, end=DAY_MIN))
    return tuple(stops)
