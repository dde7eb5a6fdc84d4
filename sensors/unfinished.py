"""What should be done and is not: asked again, so that nothing depends on an event being seen.

The other sensors act on changes. A run that was killed, a store that was down for an hour, a model
that has come back leave no change to see; they leave days that are behind, and this sensor looks
for those.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import groupby

from dagster import (
    AssetKey,
    AssetSelection,
    DefaultSensorStatus,
    RunRequest,
    SensorDefinition,
    SensorEvaluationContext,
    SensorResult,
    sensor,
)

from am_assets.derived.asset import derived_key
from am_assets.derived.enrichment import Enrichment
from am_assets.partitions import FIRST_DAY
from am_assets.process import Tools
from am_assets.raw.asset import raw_key
from am_assets.streams.registry import Registry
from resources.compute import Compute
from sensors.runs import REQUESTED_BY, busy_days

NAME = "unfinished"
TICK_S = 30
PATIENCE = timedelta(seconds=60)  # the ordinary way takes some 20 s
RECENT_LINES = 20_000  # of the ledger: older days are only behind if they were left so
DAYS_A_TICK = 20
FIRST_PAUSE = timedelta(minutes=1)
MAX_TRIES = 8  # with the pause doubled each time: for more than four hours


@dataclass(frozen=True)
class Finding:
    """An asset whose day is behind. `since` is when anything of it last moved."""

    day: date
    asset: tuple[str, ...]
    since: datetime

    @property
    def name(self) -> str:
        """By which it is remembered."""
        return f"{self.day}/{'/'.join(self.asset)}"


@dataclass(frozen=True)
class Tried:
    """How often it was asked for as it is now, and when last."""

    since: datetime
    tries: int
    last: datetime

    @property
    def next(self) -> datetime:
        """Not before then."""
        return self.last + FIRST_PAUSE * (1 << (self.tries - 1))


Memory = Mapping[str, Tried]


@dataclass(frozen=True)
class Request:
    """One run: a day and the assets of it that are behind."""

    day: date
    assets: tuple[tuple[str, ...], ...]
    run_key: str


@dataclass(frozen=True)
class Decision:
    """What to request, and what to remember of it."""

    requests: tuple[Request, ...]
    memory: Memory


def decide(
    findings: Iterable[Finding], memory: Memory, *, busy: Iterable[date], now: datetime
) -> Decision:
    """Ask for what has not moved for a while, newest days first, again after longer and longer.

    A day with any run in flight waits for its end. What has moved since it was asked for starts
    counting anew; what is no longer behind is forgotten.
    """
    known = {one.name: one for one in findings}
    kept = {
        name: tried
        for name, tried in memory.items()
        if name in known and known[name].since == tried.since
    }
    blocked = set(busy)
    due = [one for one in known.values() if one.day not in blocked and _is_due(one, kept, now)]
    days = sorted({one.day for one in due}, reverse=True)[:DAYS_A_TICK]
    chosen = sorted((one for one in due if one.day in days), key=lambda one: (one.day, one.asset))
    tried = {one.name: _tried_again(one, kept.get(one.name), now) for one in chosen}
    requests = [
        _request(day, list(group), tried) for day, group in groupby(chosen, lambda o: o.day)
    ]
    return Decision(tuple(requests), {**kept, **tried})


def find_unfinished(
    tools: Tools, registry: Registry, enrichments: Sequence[Enrichment]
) -> list[Finding]:
    """Raw days that are behind the ledger, and days on which an enrichment has something to do.

    That is also to publish what the hot worker, or a run that was killed, derived.
    Items that wait for a model count once the model is there.
    """
    raw = [
        Finding(one.day, tuple(raw_key(registry[one.stream]).path), one.since)
        for one in tools.lake.days_behind(registry.raw, recent_lines=RECENT_LINES)
    ]
    derived = [
        Finding(one.day, tuple(derived_key(enrichment).path), one.since)
        for enrichment in enrichments
        for one in tools.work.open_days(enrichment, recent_lines=RECENT_LINES)
        if not one.is_blocked or has_model(enrichment, tools.compute)
    ]
    unpublished = [
        Finding(one.day, tuple(derived_key(enrichment).path), one.since)
        for enrichment in enrichments
        if enrichment.output
        for one in tools.lake.days_behind([enrichment.output])
    ]
    return [one for one in (*raw, *unpublished, *derived) if one.day >= FIRST_DAY]


def has_model(enrichment: Enrichment, compute: Compute) -> bool:
    """Whether the model is there, as far as can be told without loading it."""
    states = {state.task: state.is_available for state in compute.models_state()}
    return enrichment.task is None or states[enrichment.task]


def unfinished_sensor(registry: Registry, enrichments: Sequence[Enrichment]) -> SensorDefinition:
    """The sensor that asks again."""

    @sensor(
        name=NAME,
        target=AssetSelection.all(),
        minimum_interval_seconds=TICK_S,
        default_status=DefaultSensorStatus.RUNNING,
        required_resource_keys={"tools"},
        description="Asks again for days that are behind and that nothing is at work on.",
    )
    def unfinished(context: SensorEvaluationContext) -> SensorResult:
        now = datetime.now(UTC)
        findings = find_unfinished(context.resources.tools, registry, enrichments)
        decision = decide(
            [one for one in findings if one.day <= now.date()],
            memory_from_text(context.cursor),
            busy=busy_days(context.instance),
            now=now,
        )
        return SensorResult(
            run_requests=[_run_request(one) for one in decision.requests],
            cursor=memory_to_text(decision.memory),
        )

    return unfinished


def memory_from_text(text: str | None) -> Memory:
    """What `memory_to_text` wrote; None = nothing."""
    found = json.loads(text) if text else {}
    return {
        name: Tried(datetime.fromisoformat(since), tries, datetime.fromisoformat(last))
        for name, (since, tries, last) in found.items()
    }


def memory_to_text(memory: Memory) -> str:
    """As JSON."""
    return json.dumps(
        {name: [m.since.isoformat(), m.tries, m.last.isoformat()] for name, m in memory.items()}
    )


def _is_due(finding: Finding, memory: Memory, now: datetime) -> bool:
    tried = memory.get(finding.name)
    if tried is None:
        return now - finding.since >= PATIENCE
    return tried.tries < MAX_TRIES and now >= tried.next


def _tried_again(finding: Finding, before: Tried | None, now: datetime) -> Tried:
    return Tried(finding.since, 1 + (before.tries if before else 0), now)


def _request(day: date, findings: Sequence[Finding], tried: Memory) -> Request:
    assets = tuple(one.asset for one in findings)
    tries = [(one.name, one.since.isoformat(), tried[one.name].tries) for one in findings]
    digest = hashlib.sha256(json.dumps(tries).encode()).hexdigest()[:16]
    return Request(day, assets, f"{NAME}:{day}:{digest}")


def _run_request(request: Request) -> RunRequest:
    return RunRequest(
        run_key=request.run_key,
        partition_key=request.day.isoformat(),
        asset_selection=[AssetKey(list(asset)) for asset in request.assets],
        tags={REQUESTED_BY: NAME},
    )
