"""What really happened in a demo day: what every enrichment should find again."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

from infra.demo.message import Message


@dataclass(frozen=True, kw_only=True)
class Place:
    """Somewhere the owner stays: WGS 84 degrees."""

    name: str
    latitude: float
    longitude: float


@dataclass(frozen=True, kw_only=True)
class Spoken:
    """The words of one audio chunk; the chunk spans start to end."""

    start: datetime
    end: datetime
    text: str
    device_id: str
    message_id: str


@dataclass(frozen=True, kw_only=True)
class Screen:
    """The text of one screenshot, line by line as the page laid it out."""

    ts: datetime
    page: str
    lines: tuple[str, ...]
    message_id: str


@dataclass(frozen=True, kw_only=True)
class Photo:
    """What is on one photo."""

    ts: datetime
    subject: str
    message_id: str


@dataclass(frozen=True, kw_only=True)
class Activity:
    """A stretch in which the wearer did one thing: still, walking, running or racket_sport."""

    start: datetime
    end: datetime
    label: str
    device_id: str


@dataclass(frozen=True, kw_only=True)
class Visit:
    """A stay at a place, and with whom; `is_generated` where the fixes that show it are."""

    place: Place
    start: datetime
    end: datetime
    is_generated: bool
    people: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Trip:
    """A way from one place to another; the distance is summed from fix to fix."""

    name: str
    start: datetime
    end: datetime
    distance_m: float
    is_generated: bool


@dataclass(frozen=True, kw_only=True)
class Sleep:
    """A stretch of sleep, as far as it lies in the day."""

    start: datetime
    end: datetime


@dataclass(frozen=True, kw_only=True)
class Question:
    """Something the owner may search for, and the messages that answer it."""

    query: str
    message_ids: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Truth:
    """All of it, for one day. `counts` are messages a stream; `generated` are message ids."""

    spoken: tuple[Spoken, ...]
    quiet_ids: tuple[str, ...]
    screens: tuple[Screen, ...]
    photos: tuple[Photo, ...]
    activities: tuple[Activity, ...]
    visits: tuple[Visit, ...]
    trips: tuple[Trip, ...]
    sleeps: tuple[Sleep, ...]
    questions: tuple[Question, ...]
    counts: dict[str, int]
    generated: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class DemoDay:
    """One day of the owner's clock: the messages in the order of time, the truth about them."""

    day: date
    zone: ZoneInfo
    messages: list[Message]
    truth: Truth


def counts_by_utc_day(messages: Iterable[Message]) -> dict[tuple[date, str], int]:
    """Messages a UTC day and stream: what a ledger of whole UTC days must show."""
    return dict(
        Counter((message.ts.astimezone(UTC).date(), message.stream) for message in messages)
    )


@dataclass
class Findings:
    """Collects a day's truth while the day is being written."""

    spoken: list[Spoken] = field(default_factory=list)
    quiet_ids: list[str] = field(default_factory=list)
    screens: list[Screen] = field(default_factory=list)
    photos: list[Photo] = field(default_factory=list)
    activities: list[Activity] = field(default_factory=list)
    visits: list[Visit] = field(default_factory=list)
    trips: list[Trip] = field(default_factory=list)
    sleeps: list[Sleep] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)

    def ask(self, query: str, *answers: Message) -> None:
        """Note a search that these messages answer."""
        ids = tuple(answer.message_id for answer in answers)
        self.questions.append(Question(query=query, message_ids=ids))

    def about(self, messages: Iterable[Message]) -> Truth:
        """The truth about these messages, every list in the order of time."""
        kept = list(messages)
        return Truth(
            spoken=tuple(sorted(self.spoken, key=lambda item: item.start)),
            quiet_ids=tuple(self.quiet_ids),
            screens=tuple(sorted(self.screens, key=lambda item: item.ts)),
            photos=tuple(sorted(self.photos, key=lambda item: item.ts)),
            activities=tuple(sorted(self.activities, key=lambda item: item.start)),
            visits=tuple(sorted(self.visits, key=lambda item: item.start)),
            trips=tuple(sorted(self.trips, key=lambda item: item.start)),
            sleeps=tuple(sorted(self.sleeps, key=lambda item: item.start)),
            questions=tuple(self.questions),
            counts=dict(sorted(Counter(message.stream for message in kept).items())),
            generated=frozenset(m.message_id for m in kept if m.is_generated),
        )
