"""A generated life: some weeks of home, work, commute, sleep, apps, notes and loans of things.

Everything is generated but for a few recorded sounds, screenshots and photos, and the motion,
which is recorded too, in short pieces. Who is where with whom is planned in `life`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise

import numpy as np

from infra.demo import media, payloads
from infra.demo.day import HALL, ZONE, Diary, hear, move, see, show
from infra.demo.life import DAY_MIN, OFFICE, Loan, Plan, Stop, plan_life
from infra.demo.message import (
    ACCELEROMETER,
    AUDIO,
    CLIPBOARD,
    GPS,
    HEART_RATE,
    LAPTOP,
    NOTE,
    PHONE,
    POWER,
    WATCH,
    Message,
    Scribe,
    rest,
)
from infra.demo.routine import (
    AppUse,
    Battery,
    Pulse,
    Span,
    Way,
    beat,
    drain,
    ride,
    stay,
    use_all,
)
from infra.demo.truth import DemoDay, Findings, Place, Sleep, Trip, Visit

# A month by single requests would be twenty thousand of them.
BATCHED = frozenset({GPS, ACCELEROMETER, HEART_RATE, POWER})
# 20 s of each motion a day: enough for a few windows.
SAMPLES = 200
ASLEEP_BPM, AWAKE_BPM, DRIVING_BPM, SPORT_BPM = 54.0, 69.0, 75.0, 132.0
LAPTOP_APPS = (
    ("org.gnome.TextEditor", "Editor"),
    ("org.mozilla.firefox", "Firefox"),
    ("net.lantern.Mail", "Lantern Mail"),
    ("org.gnome.Terminal", "Terminal"),
    ("org.libreoffice.calc", "LibreOffice Calc"),
)
PHONE_APPS = (
    ("net.lantern.mail", "Lantern Mail"),
    ("org.example.chat", "Chat"),
    ("org.librivox.player", "Audiobook"),
    ("net.osmand", "Maps"),
)


@dataclass(frozen=True)
class DemoMonth:
    """A life in days, the oldest first; each day is one of the owner's clock, midnight to midnight.

    A message of the early hours belongs to the UTC day before: `truth.counts_by_utc_day`.
    """

    days: tuple[DemoDay, ...]

    @property
    def messages(self) -> Iterator[Message]:
        """All messages in the order of time."""
        return (message for day in self.days for message in day.messages)


def generated_month(days: int, *, seed: int, end: date) -> DemoMonth:
    """A life of `days` days up to `end`; the same arguments give the same messages."""
    levels = {PHONE.device_id: 80.0, WATCH.device_id: 75.0}
    plans = plan_life(days, seed=seed, end=end)
    return DemoMonth(tuple(_write(plan, n, seed, levels) for n, plan in enumerate(plans)))


def _write(plan: Plan, number: int, seed: int, levels: dict[str, float]) -> DemoDay:
    """Write one day; `levels` are the batteries' at midnight and are carried on."""
    diary = Diary(
        Scribe(day=plan.day, seed=seed, zone=ZONE, batched=BATCHED),
        Findings(),
        np.random.default_rng([seed, plan.day.toordinal(), 1]),
    )
    write_places(diary, plan)
    write_body(diary, plan)
    write_power(diary, plan, levels)
    write_apps(diary, plan)
    write_words(diary, plan)
    write_recordings(diary, plan, number)
    messages = diary.scribe.in_order()
    return DemoDay(day=plan.day, zone=ZONE, messages=messages, truth=diary.findings.about(messages))


def minute(diary: Diary, minutes: float) -> datetime:
    """The instant, in UTC, at which the owner's clock shows so many minutes after midnight."""
    clock = datetime.combine(diary.scribe.day, time()) + timedelta(minutes=minutes)
    return clock.replace(tzinfo=ZONE).astimezone(UTC)


def span(diary: Diary, start: float, end: float) -> Span:
    """A stretch between two minutes of the day."""
    return minute(diary, start), minute(diary, end)


def write_places(diary: Diary, plan: Plan) -> None:
    """Fixes and visits of every stop, fixes and trips of the drives between them."""
    for stop in plan.stops:
        where = span(diary, stop.start, stop.end)
        stay(diary.scribe, PHONE, stop.place, where, step=timedelta(minutes=10), rng=diary.rng)
        people = (stop.person,) if stop.person else ()
        visit = Visit(
            place=stop.place, start=where[0], end=where[1], is_generated=True, people=people
        )
        diary.findings.visits.append(visit)
    for a, b in pairwise(plan.stops):
        _drive(diary, a, b)


def _drive(diary: Diary, a: Stop, b: Stop) -> None:
    when = span(diary, a.end, b.start)
    way = Way(origin=a.place, target=b.place, span=when)
    ride(diary.scribe, PHONE, way, rng=diary.rng)
    trip = Trip(
        name=f"{a.place.name} to {b.place.name}",
        start=when[0],
        end=when[1],
        distance_m=way.distance_m,
        is_generated=True,
    )
    diary.findings.trips.append(trip)


def write_body(diary: Diary, plan: Plan) -> None:
    """Sleep, heart rate every five minutes, and a little of each motion where it fits."""
    for start, end in ((0, plan.wake), (plan.bed, DAY_MIN)):
        asleep = span(diary, start, end)
        diary.findings.sleeps.append(Sleep(start=asleep[0], end=asleep[1]))
        _beat(diary, asleep, ASLEEP_BPM)
    awake = minute(diary, plan.wake)
    for stop in plan.stops:
        mean_bpm = SPORT_BPM if stop.place is HALL else AWAKE_BPM
        there = span(diary, stop.start, min(stop.end, plan.bed))
        _beat(diary, (max(there[0], awake), there[1]), mean_bpm)
    for a, b in pairwise(plan.stops):
        _beat(diary, span(diary, a.end, b.start), DRIVING_BPM)
    _move(diary, plan)


def _beat(diary: Diary, when: Span, mean_bpm: float) -> None:
    pulse = Pulse(span=when, mean_bpm=mean_bpm, spread_bpm=mean_bpm * 0.06)
    beat(diary.scribe, WATCH, pulse, step=timedelta(minutes=5), rng=diary.rng)


def _move(diary: Diary, plan: Plan) -> None:
    move(diary, "Standing", minute(diary, plan.wake + 15), count=SAMPLES)
    outing = plan.outing
    if outing and outing.place is HALL:
        move(diary, "Running", minute(diary, outing.start + 5), count=SAMPLES)
        move(diary, "Badminton", minute(diary, outing.start + 20), count=SAMPLES)
    elif outing:
        move(diary, "Walking", minute(diary, outing.start + 5), count=SAMPLES)


def write_power(diary: Diary, plan: Plan, levels: dict[str, float]) -> None:
    """Phone and watch charge while their owner sleeps; the level goes on at midnight."""
    charging = (span(diary, 0, plan.wake), span(diary, plan.bed, DAY_MIN))
    for device, drain_percent_min in ((PHONE, 0.065), (WATCH, 0.045)):
        battery = Battery(
            device=device,
            span=span(diary, 0, DAY_MIN),
            charging=charging,
            start_percent=levels[device.device_id],
            drain_percent_min=drain_percent_min,
        )
        levels[device.device_id] = drain(diary.scribe, battery, step=timedelta(minutes=15))


def write_apps(diary: Diary, plan: Plan) -> None:
    """The laptop at the office, the phone a few times a day while awake."""
    for stop in plan.stops:
        if stop.place is OFFICE:
            uses = _uses(diary, LAPTOP_APPS, stop.start + 5, stop.end - 5, longest=55)
            use_all(diary.scribe, LAPTOP, uses)
    uses = _uses(diary, PHONE_APPS, plan.wake + 2, plan.bed - 2, longest=12, pause=80)
    use_all(diary.scribe, PHONE, uses)


def _uses(
    diary: Diary,
    apps: tuple[tuple[str, str], ...],
    begin: int,
    finish: int,
    *,
    longest: int,
    pause: int = 3,
) -> list[AppUse]:
    """Apps one after the other, each for 2 to `longest` minutes, with pauses between."""
    uses = []
    begin += int(diary.rng.integers(pause))
    while (end := begin + int(diary.rng.integers(2, longest))) < finish:
        identifier, name = apps[int(diary.rng.integers(len(apps)))]
        start, stop = span(diary, begin, end)
        uses.append(AppUse(start=start, end=stop, identifier=identifier, name=name))
        begin = end + 1 + int(diary.rng.integers(pause))
    return uses


def write_words(diary: Diary, plan: Plan) -> None:
    """A loan, as a copied message and as a note, and the diary line of the evening."""
    if plan.loan and plan.outing:
        _write_loan(diary, plan.loan, plan.outing)
    note = payloads.note(f"Diary {plan.day.isoformat()}", diary_line(plan), tags=["diary"])
    diary.scribe.write(minute(diary, plan.bed - 10), NOTE, PHONE, note)


def _write_loan(diary: Diary, loan: Loan, stop: Stop) -> None:
    asked, noted = loan_words(loan)
    copied = payloads.clipboard(asked, source_app="Chat")
    diary.scribe.write(minute(diary, stop.start - 45), CLIPBOARD, PHONE, copied)
    own = payloads.note(loan.thing.capitalize(), noted, tags=["loan", loan.person.lower()])
    note = diary.scribe.write(minute(diary, stop.start + 30), NOTE, PHONE, own)
    done = "gave back" if loan.is_return else "borrowed"
    diary.findings.ask(f"who {done} the {loan.thing}", note)


def loan_words(loan: Loan) -> tuple[str, str]:
    """What the other wrote, and what the owner notes."""
    thing, person, place = loan.thing, loan.person, in_words(loan.place)
    if loan.is_return:
        asked = f"{person}: I am done with the {thing}, I bring it to the {place} today."
        return asked, f"{person} gave back the {thing} at the {place}."
    asked = f"{person}: can I borrow the {thing}? See you at the {place} today."
    return asked, f"Lent the {thing} to {person} at the {place}."


def in_words(place: Place) -> str:
    """A place as one writes it: market in Porec."""
    return place.name.replace(", ", " in ")


def diary_line(plan: Plan) -> str:
    """Where the owner was, and with whom, in one or two sentences."""
    work = "Worked at the office in Porec." if plan.is_workday else "No work today."
    stop = plan.outing
    if stop is None:
        return f"{work} A quiet day at home otherwise."
    company = f" with {stop.person}" if stop.person else ""
    return f"{work} Went to the {in_words(stop.place)}{company}."


def write_recordings(diary: Diary, plan: Plan, number: int) -> None:
    """A real sentence every fifth day, a real screenshot every sixth, a real photo every fourth."""
    sentences = [name for name in media.WORDS if name.startswith("austen")]
    if number % 5 == 2:
        name = sentences[number // 5 % len(sentences)]
        hear(diary, name, minute(diary, plan.wake + 20), door=rest(AUDIO))
    if number % 6 == 3:
        page, app = (("mail", "Lantern Mail"), ("chat", "Chat"))[number // 6 % 2]
        show(diary, page, minute(diary, plan.wake + 25), app=app)
    if number % 4 == 1:
        see(diary, ("coffee", "cat", "flower")[number // 4 % 3], minute(diary, plan.wake + 30))
