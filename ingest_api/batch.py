"""What one request brings: rows, dead letters, and the ledger lines that account for both. Pure."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from functools import cached_property
from itertools import chain
from typing import Any
from uuid import UUID, uuid5

import pyarrow as pa

from am_assets.schemas.row_ids import NAMESPACE
from am_assets.streams.stream import Stream
from ingest_api.elements import NewRow, plain, read_element
from ingest_api.envelope import Sender
from ingest_api.errors import NamedBlobError, Reason, RejectedError
from ingest_api.rules import rules_of
from ingest_api.sheets import Account, Sheet, read_sheet
from ingest_api.sources import ListSource, NotColumnsError, Source, TableSource

MAX_NAME = 128
ENOUGH_FOR_COLUMNS = 16  # elements; below, looking at each is quicker
UNKNOWN_DEVICE = "unknown"
UNKNOWN_STREAM = "unknown"


@dataclass(frozen=True, kw_only=True)
class DeadLetter:
    """An element that could not become a row, kept whole.

    `payload` is JSON in ASCII, or the line as it came where it was none. `request` is what of the
    request besides it an app's adapter has to know to read it once more.
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
    request: Mapping[str, Any] | None = field(default=None, repr=False)


@dataclass(frozen=True, kw_only=True)
class Batch:
    """All elements of one request: each is a row or a dead letter.

    `outcomes` are those that were read one by one, in order; `places` are their positions in the
    request where that is not all of it. The others are rows of `sheets`; `one_by_one` gives the
    same batch without any.
    """

    batch_id: UUID
    door: str
    outcomes: Sequence[NewRow | DeadLetter]
    sheets: Sequence[Sheet] = ()
    places: Sequence[int] | None = None
    one_by_one: Callable[[], "Batch"] | None = field(default=None, repr=False)

    @property
    def received(self) -> int:
        """How many elements."""
        return len(self.outcomes) + sum(map(len, self.sheets))

    @property
    def placed(self) -> Iterator[tuple[int, NewRow | DeadLetter]]:
        """What was read one by one, with its position in the request."""
        return zip(self.places or range(len(self.outcomes)), self.outcomes, strict=True)

    @cached_property
    def rows(self) -> list[NewRow]:
        """The elements that can be stored."""
        return [outcome for outcome in self.outcomes if isinstance(outcome, NewRow)]

    @cached_property
    def devices(self) -> dict[tuple[str, str], int | None]:
        """Whose rows there are, by user and device, with the last offset from UTC that is known."""
        offsets: dict[tuple[str, str], int | None] = {}
        told = chain(
            (((row.user_id, row.envelope.device_id), row.tz_offset_min) for row in self.rows),
            (
                ((sheet.user_id, device_id), offset)
                for sheet in self.sheets
                for device_id, offset in sheet.offsets_min.items()
            ),
        )
        for key, offset in told:
            if offset is not None or key not in offsets:
                offsets[key] = offset
        return offsets

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
    """What one batch brought for one stream, device and day.

    Received is stored + duplicate + rejected; `grown` are the duplicates that told their event
    longer than it was known.
    """

    user_id: str
    device_id: str
    stream: str
    day: date
    stored: int
    duplicate: int
    rejected: int
    grown: int = 0

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


@dataclass(frozen=True)
class ToStream:
    """What leads every element to one stream."""

    stream: Stream

    def __call__(self, element: Any) -> tuple[Stream, Any]:
        """The element as it came."""
        return self.stream, element


def to_stream(stream: Stream) -> ToStream:
    """The router of a door that serves this stream."""
    return ToStream(stream)


def read_many(
    elements: Sequence[Any] | pa.Table, *, route: ElementRouter, sender: Sender, batch_id: UUID
) -> Batch:
    """The same batch as `read_batch` gives, by whole columns where that is possible and quicker."""
    source = _source(elements, route)
    if source is None or not isinstance(route, ToStream):
        rows = elements.to_pylist() if isinstance(elements, pa.Table) else elements
        return read_batch(rows, route=route, sender=sender, batch_id=batch_id)
    sheet, left = read_sheet(source, stream=route.stream, sender=sender)
    rest = source.elements(left)
    batch = read_batch(rest, route=route, sender=sender, batch_id=batch_id)
    if sheet is None:
        return batch

    def one_by_one() -> Batch:
        whole = source.elements(range(len(source)))
        return read_batch(whole, route=route, sender=sender, batch_id=batch_id)

    return replace(batch, sheets=[sheet], places=left, one_by_one=one_by_one)


def fit_columns(elements: Sequence[Any] | pa.Table, route: ElementRouter) -> bool:
    """Whether they are many and of one stream whose rows are understood column by column."""
    are_many = len(elements) >= ENOUGH_FOR_COLUMNS
    return are_many and isinstance(route, ToStream) and rules_of(route.stream) is not None


def _source(elements: Sequence[Any] | pa.Table, route: ElementRouter) -> Source | None:
    """None where columns are of no use, or the elements can't be laid side by side."""
    if not fit_columns(elements, route):
        return None
    try:
        return TableSource(elements) if isinstance(elements, pa.Table) else ListSource(elements)
    except NotColumnsError:
        return None


def _read_one(element: Any, *, route: ElementRouter, sender: Sender) -> NewRow | DeadLetter:
    name = UNKNOWN_STREAM
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
        request=sender.request,
    )


def ledger(
    batch: Batch,
    *,
    is_stored: Mapping[int, bool],
    has_grown: Collection[int] = (),
    stored: Sequence[Mapping[Account, int]] = (),
) -> list[LedgerLine]:
    """The lines that account for a batch: what was not stored or rejected was a duplicate.

    `is_stored` tells of each row among the outcomes, by its index, whether it is new; `has_grown`
    names the duplicates that raised what was known of their event; `stored` tells of each sheet how
    many rows are new, by device and day.
    """
    counts: dict[tuple[str, str, str, date], Counter[str]] = {}
    for index, outcome in enumerate(batch.outcomes):
        count = counts.setdefault(_account(outcome), Counter())
        count[_fate(outcome, is_stored.get(index))] += 1
        count["grown"] += index in has_grown
    for sheet, new in zip(batch.sheets, stored, strict=True):
        for (device_id, day), number in sheet.counts.items():
            key = (sheet.user_id, device_id, sheet.stream.name, day)
            count = counts.setdefault(key, Counter())
            count["stored"] += new.get((device_id, day), 0)
            count["duplicate"] += number - new.get((device_id, day), 0)
    return [
        LedgerLine(
            user_id=user_id,
            device_id=device_id,
            stream=stream,
            day=day,
            stored=count["stored"],
            duplicate=count["duplicate"],
            rejected=count["rejected"],
            grown=count["grown"],
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
