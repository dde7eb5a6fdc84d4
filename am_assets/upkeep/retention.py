"""The asset `upkeep/retention`: days that are old enough leave the hot store for the lake."""

from datetime import UTC, date, datetime, timedelta

from dagster import AssetExecutionContext, AssetsDefinition, Failure, MaterializeResult
from dagster import MetadataValue as Value

from am_assets.process import Tools
from am_assets.upkeep.asset import upkeep_asset
from resources.retention import Departures, Retention


def retention_asset(*, keep_at_least: timedelta = timedelta(0)) -> AssetsDefinition:
    """The asset; `keep_at_least` overrules streams that keep shorter."""

    @upkeep_asset(
        "retention",
        description="Old days leave the hot store, each after its copy in the lake was compared.",
        kinds={"postgres", "deltalake"},
    )
    def take_out(context: AssetExecutionContext) -> MaterializeResult[None]:
        tools: Tools = context.resources.tools
        retention = Retention(tools.lake.connections, tools.registry, keep_at_least)
        done = retention.leave_due(datetime.now(UTC).date(), run_id=context.run.run_id)
        for (stream, day), reason in done.waiting.items():
            context.log.info(f"{stream} of {day} stays for now: {reason}")
        if done.failed:
            raise Failure(told(done), metadata=_metadata(done), allow_retries=False)
        return MaterializeResult(metadata=_metadata(done))

    return take_out


def told(done: Departures) -> str:
    """Which days could not leave that should have, and why."""
    return "\n".join(_line(*key, reason) for key, reason in done.failed.items())


def _line(stream: str, day: date, reason: str) -> str:
    return reason if f"{stream} of {day}" in reason else f"{stream} of {day}: {reason}"


def _metadata(done: Departures) -> dict[str, Value]:
    return {
        "days_left": Value.int(len(done.left)),
        "rows_left": Value.int(sum(one.row_count for one in done.left)),
        "days": Value.json([f"{one.stream} {one.day}" for one in done.left]),
        "waiting": Value.json([f"{stream} {day}" for stream, day in done.waiting]),
        "failed": Value.json([f"{stream} {day}" for stream, day in done.failed]),
    }
