"""One real day: recorded sounds, photos, tracks, motion and heart rates, put on one day's clock.

The owner, Ivo, lives in Višnjan in Istria. In the morning he drives round the village, then
walks to Žbevnica with Mia and Tomo, plays badminton and reads. Recorded times are moved so that
the clock on the wall is the recording's; the distances in time between readings are kept.
What no recording covers is generated and marked. All of it lies between 03:30 and 22:45 of the
owner's clock, so that it is one day in local time and in UTC, and no change of clocks falls in.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np

from infra.demo import media, payloads
from infra.demo.media import Fix
from infra.demo.message import (
    ACCELEROMETER,
    AUDIO,
    CLIPBOARD,
    GPS,
    HEART_RATE,
    LAPTOP,
    NOTE,
    PHONE,
    PHOTO,
    SCREENSHOT,
    WATCH,
    Door,
    Message,
    Scribe,
    batch,
    rest,
)
from infra.demo.routine import AppUse, Battery, Pulse, Span, beat, drain, stay, use_all
from infra.demo.truth import (
    Activity,
    DemoDay,
    Findings,
    Photo,
    Place,
    Screen,
    Sleep,
    Spoken,
    Trip,
    Visit,
)

ZONE = ZoneInfo("Europe/Zagreb")
# The day's first and last instant, on the owner's clock.
DAWN, NIGHTFALL = "03:30", "22:45"

# Where the recorded drive begins and ends.
HOME = Place(name="home, Visnjan", latitude=45.27343, longitude=13.71411)
# Where the recorded walk begins and ends.
TRAILHEAD = Place(name="car park, Brest", latitude=45.452526, longitude=14.018205)
HALL = Place(name="sports hall, Visnjan", latitude=45.27655, longitude=13.72085)

# A recorded pause at least this long, this near, is a stay.
PAUSE = timedelta(minutes=10)
PAUSE_M = 120.0

# Single samples by the old door, the rest in arrays.
SINGLE_SAMPLES = 20


@dataclass(frozen=True)
class Diary:
    """What the parts of the day write into: messages, truth, chance, and the clock."""

    scribe: Scribe
    findings: Findings
    rng: np.random.Generator

    def at(self, clock: str) -> datetime:
        """An instant of the day from the owner's clock."""
        return self.scribe.local(clock)

    def span(self, start: str, end: str) -> Span:
        """A stretch of the day from the owner's clock."""
        return self.at(start), self.at(end)


def real_day(day: date, *, seed: int) -> DemoDay:
    """The real day, put on `day`: the same arguments give the same messages, ids included."""
    diary = Diary(
        Scribe(day=day, seed=seed, zone=ZONE),
        Findings(),
        np.random.default_rng([seed, day.toordinal()]),
    )
    for write in PARTS:
        write(diary)
    messages = diary.scribe.in_order()
    return DemoDay(day=day, zone=ZONE, messages=messages, truth=diary.findings.about(messages))


# -- sounds, pictures, words -----------------------------------------------------------------------


def hear(diary: Diary, name: str, ts: datetime, *, door: Door) -> Message:
    """Send a clip from the phone and note what is said in it."""
    clip = media.clip(name)
    own = payloads.audio(clip, file_id=f"{diary.scribe.day.isoformat()}-{name}.wav")
    # Only the near silence is made; every other clip is a recording.
    is_generated = name == "near-silence"
    message = diary.scribe.write(ts, AUDIO, PHONE, own, door=door, is_generated=is_generated)
    if clip.words is None:
        diary.findings.quiet_ids.append(message.message_id)
    else:
        spoken = Spoken(
            start=ts,
            end=ts + clip.duration,
            text=clip.words,
            device_id=PHONE.device_id,
            message_id=message.message_id,
        )
        diary.findings.spoken.append(spoken)
    return message


def read_aloud(diary: Diary, start: datetime) -> list[Message]:
    """The audiobook, heard over the phone's socket: five clips, each as soon as the last ends."""
    heard = []
    for name in (name for name in media.WORDS if name.startswith("austen")):
        heard.append(hear(diary, name, start, door=PHONE.audio_socket))
        start += media.clip(name).duration
    return heard


def write_sounds(diary: Diary) -> None:
    """An alarm clock, an audiobook, a command, birds, a card game, silence."""
    hear(diary, "alarm-clock", diary.at("06:30"), door=rest(AUDIO))
    book = read_aloud(diary, diary.at("09:30"))
    diary.findings.ask("the ill disposed young man", book[1])
    hear(diary, "go-forward", diary.at("10:31"), door=rest(AUDIO))
    hear(diary, "birds", diary.at("12:20"), door=rest(AUDIO))
    card = hear(diary, "card-seven", diary.at("19:20"), door=rest(AUDIO))
    diary.findings.ask("seven of clubs", card)
    hear(diary, "near-silence", diary.at("22:00"), door=rest(AUDIO))


def see(diary: Diary, name: str, ts: datetime) -> Message:
    """Send a photo from the phone."""
    own = payloads.image(media.photo(name), camera_type="rear", metadata={"source": "camera_app"})
    message = diary.scribe.write(ts, PHOTO, PHONE, own, is_generated=False)
    diary.findings.photos.append(Photo(ts=ts, subject=name, message_id=message.message_id))
    return message


def show(diary: Diary, page: str, ts: datetime, *, app: str) -> Message:
    """Send a screenshot of the laptop and note the text on it."""
    picture = media.screen(page)
    own = payloads.image(picture, camera_type="screen", metadata={"app": app})
    message = diary.scribe.write(ts, SCREENSHOT, LAPTOP, own, is_generated=False)
    screen = Screen(ts=ts, page=page, lines=picture.lines, message_id=message.message_id)
    diary.findings.screens.append(screen)
    return message


def write_pictures(diary: Diary) -> None:
    """Five photos and five screenshots, and what they answer."""
    for name, clock in PHOTOS:
        see(diary, name, diary.at(clock))
    shown = {page: show(diary, page, diary.at(clock), app=app) for page, clock, app in SCREENS}
    diary.findings.ask("when and where do we meet for the hike", shown["mail"])
    diary.findings.ask("who brings the paper map", shown["table"])
    diary.findings.ask("who found the blue thermos", shown["chat"])
    diary.findings.ask("longest pause of the walk", shown["terminal"])


def write_words(diary: Diary) -> None:
    """Notes and clipboard: they speak of the same people, places and things as the screens."""
    for clock, text, app in COPIED:
        own = payloads.clipboard(text, source_app=app)
        diary.scribe.write(diary.at(clock), CLIPBOARD, LAPTOP, own)
    notes = [
        diary.scribe.write(diary.at(clock), NOTE, device, payloads.note(title, text, tags=tags))
        for clock, device, title, text, tags in NOTES
    ]
    diary.findings.ask("what did I forget at the summit", notes[1])


# -- places and motion -----------------------------------------------------------------------------


def moved(fixes: Sequence[Fix], diary: Diary) -> list[Fix]:
    """A recorded track on the day's clock: one shift for all, so the first wall clock is kept."""
    first = fixes[0].ts.astimezone(ZONE)
    # Through UTC: two times of one zone are subtracted by the wall clock, whatever the season.
    shift = diary.at(first.time().isoformat()) - fixes[0].ts
    return [Fix(f.ts + shift, f.latitude, f.longitude, f.altitude_m) for f in fixes]


def distance_m(a: Fix, b: Fix) -> float:
    """Distance of two near fixes, on a flat piece of earth."""
    north = (b.latitude - a.latitude) * 111_320.0
    east = (b.longitude - a.longitude) * 111_320.0 * float(np.cos(np.radians(a.latitude)))
    return float(np.hypot(north, east))


def pauses(fixes: Sequence[Fix]) -> list[tuple[Fix, Fix]]:
    """Neighbouring fixes between which the logger rested: PAUSE apart or more, in one spot."""
    return [
        (a, b) for a, b in pairwise(fixes) if b.ts - a.ts >= PAUSE and distance_m(a, b) <= PAUSE_M
    ]


def rested(a: Fix, b: Fix) -> Visit:
    """The stay between two fixes of the walk: at its start, or at the spot itself."""
    start = Fix(a.ts, TRAILHEAD.latitude, TRAILHEAD.longitude, a.altitude_m)
    is_start = distance_m(a, start) <= PAUSE_M
    spot = Place(name="rest on the ridge", latitude=a.latitude, longitude=a.longitude)
    return Visit(
        place=TRAILHEAD if is_start else spot,
        start=a.ts,
        end=b.ts,
        is_generated=False,
        people=("Mia", "Tomo"),
    )


def trip(name: str, fixes: Sequence[Fix]) -> Trip:
    """How long and how far a recorded track goes."""
    return Trip(
        name=name,
        start=fixes[0].ts,
        end=fixes[-1].ts,
        distance_m=sum(distance_m(a, b) for a, b in pairwise(fixes)),
        is_generated=False,
    )


def write_tracks(diary: Diary) -> None:
    """The recorded drive, one fix a request, and the recorded walk, in arrays."""
    for name, door in (("drive", rest(GPS)), ("hike", batch(GPS))):
        fixes = moved(media.track(name), diary)
        for fix in fixes:
            own = payloads.recorded_fix(fix)
            diary.scribe.write(fix.ts, GPS, PHONE, own, door=door, is_generated=False)
        diary.findings.visits += [rested(a, b) for a, b in pauses(fixes)]
        diary.findings.trips.append(trip(name, fixes))


def write_stays(diary: Diary) -> None:
    """Fixes at home and at the hall; on the way to the walk and back the phone kept none."""
    for place, start, end in STAYS:
        span = diary.span(start, end)
        stay(diary.scribe, PHONE, place, span, step=timedelta(minutes=10), rng=diary.rng)
        visit = Visit(place=place, start=span[0], end=span[1], is_generated=True)
        diary.findings.visits.append(visit)
    sleep = Sleep(start=diary.at(DAWN), end=diary.at("06:30"))
    diary.findings.sleeps.append(sleep)


def move(
    diary: Diary, label: str, start: datetime, *, singles: int = 0, count: int | None = None
) -> None:
    """Recorded series of a motion, end to end, from the watch; the first few one by one.

    All of them, or the first `count` samples.
    """
    step = timedelta(seconds=1) / media.MOTION_RATE_HZ
    samples = media.motion(label)[:count]
    for number, sample in enumerate(samples):
        door = rest(ACCELEROMETER) if number < singles else batch(ACCELEROMETER)
        own = payloads.acceleration(sample)
        ts = start + number * step
        diary.scribe.write(ts, ACCELEROMETER, WATCH, own, door=door, is_generated=False)
    activity = Activity(
        start=start,
        end=start + len(samples) * step,
        label=media.ACTIVITIES[label],
        device_id=WATCH.device_id,
    )
    diary.findings.activities.append(activity)


def write_motion(diary: Diary) -> None:
    """Waiting at the trailhead, walking, then warming up and playing in the hall."""
    for label, clock, singles in MOTIONS:
        move(diary, label, diary.at(clock), singles=singles)


# -- heart, batteries, apps ------------------------------------------------------------------------


def write_heart(diary: Diary) -> None:
    """Two recordings, in arrays, and in between a generated reading every five minutes."""
    for name, clock in HEARTS:
        start = diary.at(clock)
        for reading in media.heart(name):
            ts = start + timedelta(seconds=reading.second)
            own = payloads.heart_rate(reading.bpm)
            door = batch(HEART_RATE)
            diary.scribe.write(ts, HEART_RATE, WATCH, own, door=door, is_generated=False)
    for start_clock, end_clock, mean, spread in PULSES:
        span = diary.span(start_clock, end_clock)
        pulse = Pulse(span=span, mean_bpm=mean, spread_bpm=spread)
        beat(diary.scribe, WATCH, pulse, step=timedelta(minutes=5), rng=diary.rng)


def write_batteries(diary: Diary) -> None:
    """Phone and watch all day, the laptop while it is open."""
    night = diary.span(DAWN, "06:31")
    evening = diary.span("22:15", NIGHTFALL)
    for device, drain_percent_min, minutes in ((PHONE, 0.075, 10), (WATCH, 0.05, 30)):
        battery = Battery(
            device=device,
            span=diary.span(DAWN, NIGHTFALL),
            charging=(night, evening),
            start_percent=round(float(diary.rng.uniform(70, 85)), 1),
            drain_percent_min=drain_percent_min,
        )
        drain(diary.scribe, battery, step=timedelta(minutes=minutes))
    for start, end in (("08:00", "09:25"), ("16:30", "17:15"), ("19:30", "21:00")):
        laptop = Battery(
            device=LAPTOP,
            span=diary.span(start, end),
            charging=(),
            start_percent=round(float(diary.rng.uniform(60, 95)), 1),
            drain_percent_min=0.2,
            lid_closed=False,
        )
        drain(diary.scribe, laptop, step=timedelta(minutes=15))


def write_apps(diary: Diary) -> None:
    """What was in front on laptop and phone."""
    for device, uses in ((LAPTOP, LAPTOP_APPS), (PHONE, PHONE_APPS)):
        apps = [
            AppUse(start=diary.at(start), end=diary.at(end), identifier=app, name=name)
            for start, end, app, name in uses
        ]
        use_all(diary.scribe, device, apps)


PARTS: tuple[Callable[[Diary], None], ...] = (
    write_sounds,
    write_pictures,
    write_words,
    write_tracks,
    write_stays,
    write_motion,
    write_heart,
    write_batteries,
    write_apps,
)

# -- the day's plan, on the owner's clock ----------------------------------------------------------

PHOTOS = (
    ("coffee", "08:10"),
    ("cat", "08:30"),
    ("flower", "12:05"),
    ("gravel", "12:31"),
    ("astronaut", "18:35"),
)
SCREENS = (
    ("mail", "08:05", "Lantern Mail"),
    ("article", "08:20", "Firefox"),
    ("table", "08:45", "LibreOffice Calc"),
    ("terminal", "16:45", "Terminal"),
    ("chat", "20:05", "Chat"),
)
COPIED = (
    ("08:06", "We meet at 11:30 in Brest, at the car park below the church.", "Lantern Mail"),
    ("08:22", "https://ridgewalks.example/istria/zbevnica", "Firefox"),
    ("08:47", "Paper map 1:25000", "LibreOffice Calc"),
    ("16:46", "python track_stats.py zbevnica.gpx", "Terminal"),
    ("20:06", "Same court next week? I can book court 3 again for 17:30", "Chat"),
)
NOTES = (
    (
        "08:15",
        LAPTOP,
        "Zbevnica today",
        "Meet Mia and Tomo at 11:30 in Brest. Bring the blue thermos and find the paper map. "
        "Back at the cars by 15:30, badminton on court 3 at 17:30.",
        ["hike", "mia", "tomo"],
    ),
    (
        "15:25",
        PHONE,
        "Thermos",
        "Left the blue thermos on the bench at the summit shelter of Zbevnica. Ask Tomo.",
        ["hike", "todo"],
    ),
    (
        "18:50",
        PHONE,
        "Badminton",
        "Lost to Tomo, 17 to 21. His backhand serve is the problem.",
        ["badminton", "tomo"],
    ),
    (
        "20:10",
        LAPTOP,
        "Tomo has the thermos",
        "Tomo found the thermos by the shelter. I owe him a coffee at the harbour in Porec. "
        "Mia books court 3 again for next week.",
        ["tomo", "mia"],
    ),
)
STAYS = (
    (HOME, DAWN, "07:15"),
    (HOME, "07:30", "10:30"),
    (HOME, "16:20", "17:20"),
    (HALL, "17:28", "18:55"),
    (HOME, "19:05", NIGHTFALL),
)
MOTIONS = (
    ("Standing", "11:34:00", SINGLE_SAMPLES),
    ("Walking", "11:52:00", 0),
    ("Running", "17:33:00", 0),
    ("Badminton", "17:45:00", 0),
)
# The recording at the wheel covers the recorded drive.
HEARTS = (("drive", "07:14"), ("rest", "20:30"))
PULSES = (
    (DAWN, "06:30", 54, 2),
    ("06:30", "07:14", 70, 5),
    ("07:30", "11:48", 68, 5),
    ("11:48", "15:20", 112, 9),
    ("15:20", "17:30", 78, 6),
    ("17:30", "18:50", 141, 11),
    ("18:50", "20:30", 76, 5),
    ("21:35", NIGHTFALL, 62, 3),
)
LAPTOP_APPS = (
    ("08:00", "08:12", "net.lantern.Mail", "Lantern Mail"),
    ("08:12", "08:16", "org.gnome.Notes", "Notes"),
    ("08:18", "08:40", "org.mozilla.firefox", "Firefox"),
    ("08:41", "09:10", "org.libreoffice.calc", "LibreOffice Calc"),
    ("16:35", "17:12", "org.gnome.Terminal", "Terminal"),
    ("19:35", "20:09", "org.example.chat", "Chat"),
    ("20:09", "20:14", "org.gnome.Notes", "Notes"),
)
PHONE_APPS = (
    ("06:30", "06:32", "com.android.deskclock", "Clock"),
    ("06:40", "06:58", "net.lantern.mail", "Lantern Mail"),
    ("08:09", "08:11", "com.android.camera", "Camera"),
    ("08:29", "08:31", "com.android.camera", "Camera"),
    ("09:29", "09:31", "org.librivox.player", "Audiobook"),
    ("10:30", "10:33", "net.osmand", "Maps"),
    ("12:04", "12:06", "com.android.camera", "Camera"),
    ("12:30", "12:32", "com.android.camera", "Camera"),
    ("15:24", "15:27", "org.gnome.notes", "Notes"),
    ("18:34", "18:36", "com.android.camera", "Camera"),
    ("18:49", "18:52", "org.gnome.notes", "Notes"),
    ("21:40", "22:05", "org.librivox.player", "Audiobook"),
)
