"""What an enrichment is: a pure function from items to outcomes, with a name and a version.

The shell around it (`am_assets.process`) fetches, stores and counts; nothing here does any I/O.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

import pyarrow as pa

from am_assets.streams.stream import Row, Stream
from models.catalog import Task
from models.model import Model
from resources.compute import Compute
from resources.work_items import Unit


@dataclass(frozen=True)
class Item:
    """One thing to work on.

    A ROW item has `row` (its columns by name, JSON parsed) and, where the enrichment asks for it,
    `blob` and its `media_type`; an HOUR item has `rows`, in the source's `row_schema`, sorted by
    time; a SEQUENCE item has one ROW item a row as its `parts`, by time, and else is the first of
    them. `tz_offset_min` and `trace_id` are those of the (last) row; null = unknown.
    """

    item_id: UUID
    user_id: str
    device_id: str
    ts: datetime
    stream: str
    row: Mapping[str, Any] = field(default_factory=dict)
    rows: pa.Table | None = None
    parts: tuple["Item", ...] = ()
    blob: bytes | None = field(default=None, repr=False)
    blob_key: str | None = None
    media_type: str | None = None
    tz_offset_min: int | None = None
    trace_id: str | None = None


@dataclass(frozen=True)
class Derived:
    """One row to store. `key` tells it from the item's other rows, today and at any later run."""

    ts: datetime
    values: Row
    key: str
    confidence: float | None = None


@dataclass(frozen=True)
class Maker:
    """What made a row: a model and its weights, or a rule and its version."""

    model_id: str
    model_version: str

    @classmethod
    def of(cls, model: Model) -> "Maker":
        """The maker that a loaded model is."""
        return cls(model.model_id, model.model_version)


@dataclass(frozen=True)
class Found:
    """The item gave rows."""

    rows: Sequence[Derived]
    maker: Maker


@dataclass(frozen=True)
class NothingFound:
    """The item was processed, and there is nothing in it."""


@dataclass(frozen=True)
class Failed:
    """The item itself is at fault; processing it again gives the same."""

    reason: str


Outcome = Found | NothingFound | Failed
Run = Callable[[Sequence[Item], Compute], list[Outcome]]


@dataclass(frozen=True, kw_only=True)
class Enrichment:
    """How rows of one kind are derived. `run` gives one outcome an item, in the same order.

    `output` None = the rows are moments, which the vector store keeps. `overlap` is how far an
    hour looks into the next hour of the same day. `task` None = no model is needed.
    """

    name: str
    output: Stream | None
    sources: tuple[Stream, ...]
    version: int
    unit: Unit
    summary: str
    run: Run
    task: Task | None = None
    batch: int = 16
    overlap: timedelta = timedelta(0)
    needs_blob: bool = False


def derived_id(item: Item, name: str, key: str) -> UUID:
    """The id of a derived row: the same at every run."""
    return uuid5(item.item_id, f"{name}\x1f{key}")


def found_or_nothing(rows: Sequence[Derived], maker: Maker) -> Outcome:
    """`Found` where there is a row, else `NothingFound`."""
    return Found(rows, maker) if rows else NothingFound()
