"""Working off an enrichment's items: the one loop that assets, `am process` and workers share.

No Dagster here: an asset, a command and a resident worker call the same functions.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from functools import cached_property
from typing import Any

from am_assets.derived.catalog import ENRICHMENTS
from am_assets.derived.enrichment import (
    Derived,
    Enrichment,
    Failed,
    Found,
    Item,
    NothingFound,
    Outcome,
    derived_id,
)
from am_assets.items import BlobReader, Fetched, Gone, ItemSource, Removed
from am_assets.moments_sink import Made, MomentSink
from am_assets.streams.registry import REGISTRY, Registry
from am_assets.streams.stream import Stream
from models.catalog import Task
from models.errors import ModelUnavailableError, UnreadableInputError
from models.model import Model
from resources.blobs import BlobStore
from resources.compute import Compute
from resources.connections import Connections
from resources.hot import HotStore
from resources.lake import Lake, Published, left_days
from resources.retention import HeldError, Retention, UnsettledError
from resources.vectors import VectorStore
from resources.whole import WholeStore
from resources.work import DAY, Claimed, Settled, State, WorkQueue, WorkSession
from resources.work_items import Recent

LOADERS: Mapping[Task, Callable[[Compute], Model]] = {
    Task.VOICE_ACTIVITY: lambda compute: compute.voice_activity(),
    Task.SPEECH_RECOGNITION: lambda compute: compute.speech_recognition(),
    Task.TEXT_READING: lambda compute: compute.text_reading(),
    Task.TEXT_EMBEDDING: lambda compute: compute.text_embedding(),
    Task.ACTIVITY: lambda compute: compute.activity(),
}


@dataclass(frozen=True)
class Tools:
    """The resources that processing needs."""

    hot: HotStore
    lake: Lake
    work: WorkQueue
    blobs: BlobReader
    compute: Compute
    registry: Registry = field(default_factory=lambda: REGISTRY, repr=False)

    @classmethod
    def at(
        cls, connections: Connections, compute: Compute, *, registry: Registry = REGISTRY
    ) -> "Tools":
        """The tools of one stack. Connects to nothing."""
        url = connections.database_url
        blobs = BlobStore(connections)
        return cls(HotStore(url), Lake(connections), WorkQueue(url), blobs, compute, registry)

    @property
    def database_url(self) -> str:
        """Of the database that everything is in."""
        return self.hot.database_url

    @cached_property
    def whole(self) -> WholeStore:
        """The hot store and the days that have left it, as one."""
        return WholeStore(self.lake.connections)


@dataclass(frozen=True)
class Counts:
    """What a call of `process` did. `enqueued` = became pending; `derived` counts rows.

    `reopened`: streams and days that had left the hot store and came back for it.
    """

    enqueued: int = 0
    done: int = 0
    empty: int = 0
    failed: int = 0
    blocked: int = 0
    derived: int = 0
    reason: str | None = None
    reopened: tuple[tuple[Stream, date], ...] = ()

    def plus(self, settled: Sequence[Settled]) -> "Counts":
        """These and the ends of some more items."""
        ends = [one.state for one in settled]
        return replace(
            self,
            done=self.done + ends.count(State.DONE),
            empty=self.empty + ends.count(State.EMPTY),
            failed=self.failed + ends.count(State.FAILED),
            blocked=self.blocked + ends.count(State.BLOCKED),
            derived=self.derived + sum(one.row_count for one in settled),
            reason=next((s.reason for s in settled if s.state is State.BLOCKED), self.reason),
        )


@dataclass(frozen=True)
class Progress:
    """What `process_pending` tells after each enrichment and day."""

    enrichment: str
    day: date
    counts: Counts


def process(
    enrichment: Enrichment,
    day: date,
    tools: Tools,
    *,
    run_id: str,
    recent: Recent | None = None,
    limit: int | None = None,
) -> Counts:
    """Do what an enrichment has to do on a UTC day. Doing it again changes nothing.

    `recent` leaves the rest to others; a `limit` makes it one batch of at most so many items.
    Days that have left the hot store come back where they are needed, but not for what is recent:
    who sent rows of such a day is in no hurry.
    Items whose model is unavailable end as blocked and an item that is at fault as failed; any
    other error ends the call, with its items free again.
    Raises: psycopg.Error, resources.blobs.BlobUnreachableError, and whatever is wrong in the code.
    """
    with tools.work.session() as session:
        away = _away(session, enrichment.sources, day, day)
        if away and (recent or not tools.work.open_days(enrichment, day=day)):
            return Counts()
        _bring_back(away, tools, run_id=run_id)
        counts = Counts(enqueued=session.enqueue(enrichment, day, recent=recent), reopened=away)
        if not session.count_open(enrichment, day, recent=recent):
            return counts
        lacking = missing_model(enrichment, tools.compute)
        if lacking is not None:
            blocked = session.block(enrichment, day, reason=lacking)
            return replace(counts, blocked=blocked, reason=lacking)
        session.unblock(enrichment, day)
        written = [enrichment.output] if enrichment.output else []
        away = _away(session, written, day - DAY, day + DAY)
        _bring_back(away, tools, run_id=run_id)
        counts = replace(counts, reopened=(*counts.reopened, *away))
        shift = _Shift(enrichment, day, tools, session, run_id, recent)
        return _work_off(shift, counts, limit=limit)


def process_pending(
    tools: Tools,
    *,
    day: date | None = None,
    enrichments: Sequence[Enrichment] = ENRICHMENTS,
    run_id: str = "am process",
    on_progress: Callable[[Progress], None] = lambda _: None,
) -> list[Progress]:
    """Work off one day, or all days on which there is something to do, and publish them.

    Enrichments follow their sources. Raises: as `process` and `Lake.publish`.
    """
    publish_raw(tools, day=day, run_id=run_id)
    told: list[Progress] = []
    for enrichment in enrichments:
        for open_day in [day] if day else days_to_do(enrichment, tools):
            counts = process(enrichment, open_day, tools, run_id=run_id)
            publish_output(enrichment, open_day, tools, run_id=run_id)
            leave_again(counts, tools, run_id=run_id)
            told.append(Progress(enrichment.name, open_day, counts))
            on_progress(told[-1])
    return told


def days_to_do(enrichment: Enrichment, tools: Tools) -> list[date]:
    """Days with items to do, and those of which others have left the publishing; oldest first."""
    outputs = [enrichment.output] if enrichment.output else []
    unpublished = {one.day for one in tools.lake.days_behind(outputs)}
    return sorted(unpublished | {one.day for one in tools.work.open_days(enrichment)})


def publish_raw(tools: Tools, *, day: date | None, run_id: str) -> list[Published]:
    """Publish the raw days that are behind the ledger; all of them where `day` is None."""
    return [
        tools.lake.publish(tools.registry[behind.stream], behind.day, run_id=run_id)
        for behind in tools.lake.days_behind(tools.registry.raw)
        if day in (None, behind.day)
    ]


def publish_output(
    enrichment: Enrichment, day: date, tools: Tools, *, run_id: str
) -> list[Published]:
    """Publish the day of what an enrichment made, and the neighbouring days it wrote into.

    What begins in one day's last recording may be said in the next.
    """
    if enrichment.output is None:
        return []
    near = timedelta(days=1)
    stale = tools.lake.stale_days(enrichment.output, begin=day - near, end=day + near)
    return [
        tools.lake.publish(enrichment.output, one, run_id=run_id) for one in sorted({day, *stale})
    ]


def missing_model(enrichment: Enrichment, compute: Compute) -> str | None:
    """Why the enrichment's model cannot be used now; None where it can, or none is needed."""
    if enrichment.task is None:
        return None
    try:
        _ = LOADERS[enrichment.task](compute).model_version  # loads it, on a cluster as well
    except ModelUnavailableError as error:
        return str(error)
    return None


def leave_again(counts: Counts, tools: Tools, *, run_id: str) -> None:
    """Take out what came back for a call of `process`, now that it is published.

    So that a year that is computed anew is never in the hot store all at once. What others still
    need, or are writing to, stays until retention comes by.
    Raises: psycopg.Error, resources.lake.ReceiptError.
    """
    retention = Retention(tools.lake.connections, tools.registry)
    for stream, day in counts.reopened:
        with suppress(HeldError, UnsettledError):
            retention.leave(stream, day, run_id=run_id)


def _away(
    session: WorkSession, streams: Iterable[Stream], begin: date, end: date
) -> tuple[tuple[Stream, date], ...]:
    by_name = {stream.name: stream for stream in streams}
    found = left_days(session.connection, by_name.values(), begin=begin, end=end)
    return tuple((by_name[name], day) for name, day in found)


def _bring_back(away: Iterable[tuple[Stream, date]], tools: Tools, *, run_id: str) -> None:
    for stream, day in away:
        tools.lake.reopen(stream, day, run_id=run_id)


@dataclass(frozen=True)
class _Shift:
    """One worker's work on one day."""

    enrichment: Enrichment
    day: date
    tools: Tools
    session: WorkSession
    run_id: str
    recent: Recent | None


_Ended = tuple[Claimed, Fetched, Outcome | Gone | Removed]


def _work_off(shift: _Shift, counts: Counts, *, limit: int | None) -> Counts:
    source = ItemSource(shift.tools.whole, shift.tools.blobs, shift.tools.registry)
    enrichment, session = shift.enrichment, shift.session
    most = enrichment.batch if limit is None else min(limit, enrichment.batch)
    while claimed := session.claim(enrichment, shift.day, most, recent=shift.recent):
        try:
            settled = _settle_all(shift, claimed, source.fetch(enrichment, claimed))
            session.finish(enrichment, settled, run_id=shift.run_id)
        except Exception as error:  # whatever it is: others may claim the items at once
            session.release(enrichment, claimed, reason=repr(error))
            raise
        counts = counts.plus(settled)
        if limit is not None or any(one.state is State.BLOCKED for one in settled):
            break
    return counts


def _settle_all(
    shift: _Shift, claimed: Sequence[Claimed], fetched: Sequence[Fetched]
) -> list[Settled]:
    items = [one for one in fetched if isinstance(one, Item)]
    try:
        outcomes = iter(_run(shift, items))
        ends = [next(outcomes) if isinstance(one, Item) else one for one in fetched]
        store = _settle_rows if shift.enrichment.output else _settle_moments
        return store(shift, list(zip(claimed, fetched, ends, strict=True)))
    except ModelUnavailableError as error:
        return [Settled(item, State.BLOCKED, str(error)) for item in claimed]


def _run(shift: _Shift, items: Sequence[Item]) -> list[Outcome]:
    """One outcome an item; one that breaks its batch is found by running each alone."""
    if not items:
        return []
    try:
        outcomes = shift.enrichment.run(items, shift.tools.compute)
    except UnreadableInputError as error:
        if len(items) == 1:
            return [Failed(error.reason)]
        return [outcome for item in items for outcome in _run(shift, [item])]
    if len(outcomes) != len(items):
        raise AssertionError(f"{shift.enrichment.name}: {len(outcomes)} outcomes of {len(items)}")
    return outcomes


def _settle_rows(shift: _Shift, ended: Sequence[_Ended]) -> list[Settled]:
    return [
        Settled(
            claimed,
            *_state_of(end),
            rows=[_derived_row(shift, item, row, end) for row in end.rows]
            if isinstance(item, Item) and isinstance(end, Found)
            else (),
            keeps_rows=isinstance(end, Removed),
        )
        for claimed, item, end in ended
    ]


def _settle_moments(shift: _Shift, ended: Sequence[_Ended]) -> list[Settled]:
    made = [
        Made(
            claimed,
            item if isinstance(item, Item) else None,
            end if isinstance(end, Found) else None,
        )
        for claimed, item, end in ended
    ]
    sink = moment_sink(shift.tools)
    sink.replace(made, version=shift.enrichment.version, run_id=shift.run_id)
    return [
        Settled(
            claimed, *_state_of(end), derived_count=len(end.rows) if isinstance(end, Found) else 0
        )
        for claimed, _, end in ended
    ]


def moment_sink(tools: Tools) -> MomentSink:
    """Where moments of the embedder in use go. Raises: ModelUnavailableError."""
    embedder, connections = tools.compute.text_embedding(), tools.lake.connections
    store = VectorStore(connections, model_id=embedder.model_id, dimension=embedder.dimension)
    return MomentSink(store, embedder.dimension, tools.whole, tools.registry)


def _state_of(end: Outcome | Gone | Removed) -> tuple[State, str | None]:
    match end:
        case Found():
            return State.DONE, None
        case NothingFound():
            return State.EMPTY, None
        case Gone(reason) | Removed(reason):
            return State.EMPTY, reason
        case Failed(reason):
            return State.FAILED, reason


def _derived_row(shift: _Shift, item: Item, row: Derived, found: Found) -> dict[str, Any]:
    """The whole row: envelope, lineage, own columns."""
    output = shift.enrichment.output
    assert output is not None
    return {
        "user_id": item.user_id,
        "device_id": item.device_id,
        "ts": row.ts,
        "tz_offset_min": item.tz_offset_min,
        "event_id": derived_id(item, output.name, row.key),
        "trace_id": item.trace_id,
        "schema_version": output.schema_version,
        "source_stream": item.stream,
        "source_event_id": item.item_id,
        "blob_key": item.blob_key,
        "model_id": found.maker.model_id,
        "model_version": found.maker.model_version,
        "enrichment_version": shift.enrichment.version,
        "run_id": shift.run_id,
        "confidence": row.confidence,
        **row.values.model_dump(),
    }
