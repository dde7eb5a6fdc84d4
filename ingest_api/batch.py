"""What one request brings: rows, dead letters, and the ledger lines that account for both. Pure."""

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any
from uuid import UUID, uuid5

from am_assets.streams.stream import Stream
from ingest_api.elements import NewRow, read_element
from ingest_api.envelope import NAMESPACE, Sender
from ingest_api.errors import NamedBlobError, Reason, RejectedError

MAX_NAME = 128
UNKNOWN_DEVICE = "unknown"


@dataclass(frozen=True, kw_only=True)
class DeadLetter:
    """An element that could not become a row, kept whole.

    `payload` is JSON in ASCII, or the line as it came where it was none.
    """

    dead_letter_id: UUID
    user_id: str
    device_id: str
    stream: str
    day: date
    door: str
    code: Reason
    reason: str
    payload: bytes = field(repr=False)
    named_blob: str | None = None  # the SHA-256 of the blob that it lacks


@dataclass(frozen=True, kw_only=True)
class Batch:
    """All elements of one request, in order: each is a row or a dead letter."""

    batch_id: UUID
    door: str
    outcomes: Sequence[NewRow | DeadLetter]

    @property
    def rows(self) -> list[NewRow]:
        """The elements that can be stored."""
        return [outcome for outcome in self.outcomes if isinstance(outcome, NewRow)]

    @property
    def dead_letters(self) -> list[DeadLetter]:
        """The elements that can't."""
        return [outcome for outcome in self.outcomes if isinstance(outcome, DeadLetter)]

    @property
    def named_blobs(self) -> set[str]:
        """The blobs that elements name and that were not at hand, by SHA-256."""
        return {letter.named_blob for letter in self.dead_letters if letter.named_blob}


@dataclass(frozen=True, kw_only=True)
class LedgerLine:
    """What one batch brought for one stream, device and day: received is the sum of the rest."""

    user_id: str
    device_id: str
    stream: str
    day: date
    stored: int
    duplicate: int
    rejected: int

    @property
    def received(self) -> int:
        """How many elements."""
        return self.stored + self.duplicate + self.rejected


ElementRouter = Callable[[Any], tuple[Stream, Any]]


def read_batch(
    elements: Iterable[Any], *, route: ElementRouter, sender: Sender, batch_id: UUID
) -> Batch:
    """Understand every element on its own, so that none spoils its neighbours.

    `route` names an element's stream and gives the element as that stream wants it; it may raise
    RejectedError too.
    """
    outcomes = [_read_one(element, route=route, sender=sender) for element in elements]
    return Batch(batch_id=batch_id, door=sender.door, outcomes=outcomes)


def to_stream(stream: Stream) -> ElementRouter:
    """The router of a door that serves one stream."""
    return lambda element: (stream, element)


def _read_one(element: Any, *, route: ElementRouter, sender: Sender) -> NewRow | DeadLetter:
    name = "unknown"
    try:
        stream, content = route(element)
        name = stream.name
        return read_element(content, stream=stream, sender=sender)
    except RejectedError as error:
        return dead_letter(element, stream=name, sender=sender, error=error)


def dead_letter(element: Any, *, stream: str, sender: Sender, error: RejectedError) -> DeadLetter:
    """Keep an element that was refused. The same element always gets the same id."""
    payload = element if isinstance(element, bytes) else json.dumps(element, default=plain).encode()
    device_id = _claimed_device(element, sender=sender)
    digest = hashlib.sha256(payload).hexdigest()
    return DeadLetter(
        dead_letter_id=uuid5(NAMESPACE, "\n".join((sender.user_id, device_id, stream, digest))),
        user_id=sender.user_id,
        device_id=device_id,
        stream=stream,
        day=sender.received_at.date(),
        door=sender.door,
        code=error.code,
        reason=str(error),
        payload=payload,
        named_blob=error.sha256 if isinstance(error, NamedBlobError) else None,
    )


def plain(value: Any) -> str:
    """How values that JSON lacks are written into a payload: times as ISO, bytes as base64."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return str(value)


def ledger(batch: Batch, *, is_stored: Mapping[int, bool]) -> list[LedgerLine]:
    """The lines that account for a batch; `is_stored` tells of each row, by position, whether it is
    new. A row that is not there was a duplicate.
    """
    counts: dict[tuple[str, str, str, date], Counter[str]] = {}
    for index, outcome in enumerate(batch.outcomes):
        counts.setdefault(_account(outcome), Counter())[_fate(outcome, is_stored.get(index))] += 1
    return [
        LedgerLine(
            user_id=user_id,
            device_id=device_id,
            stream=stream,
            day=day,
            stored=count["stored"],
            duplicate=count["duplicate"],
            rejected=count["rejected"],
        )
        for (user_id, device_id, stream, day), count in sorted(counts.items())
    ]


def _account(outcome: NewRow | DeadLetter) -> tuple[str, str, str, date]:
    if isinstance(outcome, DeadLetter):
        return outcome.user_id, outcome.device_id, outcome.stream, outcome.day
    return outcome.user_id, outcome.envelope.device_id, outcome.stream.name, outcome.day


def _fate(outcome: NewRow | DeadLetter, is_new: bool | None) -> str:
    if isinstance(outcome, DeadLetter):
        return "rejected"
    return "stored" if is_new else "duplicate"


def _claimed_device(element: Any, *, sender: Sender) -> str:
    """The device a refused element names, as far as a database can hold that name."""
    named = element.get("device_id") if isinstance(element, Mapping) else None
    if not isinstance(named, str) or not named or "\x00" in named:
        named = sender.default_device_id or sender.bound_device_id or UNKNOWN_DEVICE
    return named[:MAX_NAME]
