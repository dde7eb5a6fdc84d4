"""Which blobs may go, and why: pure functions over what is known of them.

Two kinds may go by themselves: those in which nothing was found, and pictures between two that look
the same. Everything else stays, however full the store is.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

# Of the 256 bits of a look. Measured on screenshots of 1920 × 1080 px: another time on the clock
# changes up to 2, a cursor 1, four new lines of text 3 to 9, a page scrolled by 40 px 13 to 36.
MAX_DISTANCE = 2


class Ground(StrEnum):
    """Why a blob may go."""

    NEAR_DUPLICATE = "near_duplicate"
    WITHOUT_FINDING = "without_finding"


# What goes first when a budget is exceeded.
BUDGET_ORDER = (Ground.NEAR_DUPLICATE, Ground.WITHOUT_FINDING)


@dataclass(frozen=True)
class BlobRules:
    """What the owner decided. `budget_bytes` None = no budget.

    `keep`: by stream, how long what nothing was found in stays, instead of what the registry says;
    None = for ever.
    """

    budget_bytes: int | None = None
    keep: Mapping[str, timedelta | None] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Hold:
    """What must not be removed: one user's blobs, of a stream (None = all), of a stretch of time.

    `begin` is included, `end` is not; None = without limit.
    """

    hold_id: UUID
    user_id: str
    stream: str | None
    begin: datetime | None
    end: datetime | None
    reason: str

    def covers(self, user_id: str, stream: str, begin: datetime, end: datetime) -> bool:
        """Whether any of what happened from `begin` until `end`, both included, is held."""
        return (
            self.user_id == user_id
            and self.stream in (None, stream)
            and (self.begin is None or end >= self.begin)
            and (self.end is None or begin < self.end)
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """One blob that may go. `begin` and `end` are those of what it shows or lets hear.

    `due_at`: when it goes in any case; None = only for a budget. `kept_key`: the picture that stays
    in its place.
    """

    user_id: str
    stream: str
    blob_key: str
    byte_count: int
    begin: datetime
    end: datetime
    ground: Ground
    reason: str
    due_at: datetime | None = None
    kept_key: str | None = None

    @property
    def key(self) -> tuple[str, str]:
        """What tells it from all others."""
        return self.user_id, self.blob_key


@dataclass(frozen=True)
class Plan:
    """What goes, in that order, and what would go but for a hold.

    `used_bytes` is what is stored now; `over_bytes` what is too much even after that.
    """

    removals: tuple[Candidate, ...]
    held: tuple[Candidate, ...]
    used_bytes: int
    budget_bytes: int | None
    over_bytes: int

    @property
    def freed_bytes(self) -> int:
        """What the removals are, together."""
        return _bytes(self.removals)


@dataclass(frozen=True)
class Shot:
    """One picture that a device took; `look` None = not known, and so like no other.

    `is_read`: what there is to read in it was read.
    """

    source: tuple[str, str]  # user and device
    ts: datetime
    blob_key: str
    size: tuple[int, int]
    look: bytes | None
    is_read: bool


def make_plan(
    candidates: Iterable[Candidate],
    *,
    holds: Sequence[Hold],
    now: datetime,
    used_bytes: int,
    budget_bytes: int | None,
) -> Plan:
    """What goes now: all that is due, and as much of the rest as the budget asks for.

    Oldest first within each kind; the same plan in whatever order the candidates come.
    """
    known = {one.key: one for one in sorted(candidates, key=_age, reverse=True)}
    ordered = sorted(known.values(), key=_age)
    free = [one for one in ordered if not is_held(one, holds)]
    due = [one for one in free if one.due_at is not None and one.due_at <= now]
    waiting = [one for one in free if one.due_at is None or one.due_at > now]
    left = used_bytes - _bytes(due)
    removals = [*due, *_for_budget(waiting, left, budget_bytes)]
    return Plan(
        removals=tuple(removals),
        held=tuple(one for one in ordered if is_held(one, holds)),
        used_bytes=used_bytes,
        budget_bytes=budget_bytes,
        over_bytes=_over(used_bytes - _bytes(removals), budget_bytes),
    )


def is_held(candidate: Candidate, holds: Iterable[Hold]) -> bool:
    """Whether a hold is on it."""
    one = candidate
    return any(hold.covers(one.user_id, one.stream, one.begin, one.end) for hold in holds)


def repeats(shots: Iterable[Shot]) -> dict[str, str]:
    """Keys of pictures that may go, each with the key of the one that stays for it.

    A run is what one device took one after the other as long as it looks like the run's first. Its
    first and its last stay, and whatever nobody has read yet.
    """
    ordered = sorted(shots, key=lambda shot: (shot.source, shot.ts, shot.blob_key))
    going: dict[str, str] = {}
    staying: set[str] = set()
    for run in _runs(ordered):
        for shot in run:
            if shot not in (run[0], run[-1]) and shot.is_read:
                going[shot.blob_key] = run[0].blob_key
            else:
                staying.add(shot.blob_key)
    return {key: kept for key, kept in going.items() if key not in staying}


def is_alike(one: Shot, other: Shot) -> bool:
    """Whether two pictures of one device look the same but for a clock or a cursor."""
    if one.look is None or other.look is None:
        return False
    if (one.source, one.size) != (other.source, other.size):
        return False
    return distance(one.look, other.look) <= MAX_DISTANCE


def distance(one: bytes, other: bytes) -> int:
    """How many bits differ."""
    return (int.from_bytes(one, "big") ^ int.from_bytes(other, "big")).bit_count()


def _runs(ordered: Iterable[Shot]) -> Iterator[list[Shot]]:
    run: list[Shot] = []
    for shot in ordered:
        if run and not is_alike(run[0], shot):
            yield run
            run = []
        run.append(shot)
    if run:
        yield run


def _for_budget(
    waiting: Sequence[Candidate], left: int, budget_bytes: int | None
) -> Iterator[Candidate]:
    by_ground: dict[Ground, list[Candidate]] = defaultdict(list)
    for one in waiting:
        by_ground[one.ground].append(one)
    for one in (one for ground in BUDGET_ORDER for one in by_ground[ground]):
        if not _over(left, budget_bytes):
            return
        left -= one.byte_count
        yield one


def _over(byte_count: int, budget_bytes: int | None) -> int:
    return 0 if budget_bytes is None else max(0, byte_count - budget_bytes)


def _bytes(candidates: Iterable[Candidate]) -> int:
    return sum(one.byte_count for one in candidates)


def _age(one: Candidate) -> tuple[datetime, str, str, str]:
    return one.begin, one.user_id, one.blob_key, one.ground
