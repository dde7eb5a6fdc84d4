"""The factory of derived assets: a thin shell around `process` for one enrichment and day."""

from collections.abc import Sequence
from datetime import date

from dagster import (
    AssetExecutionContext,
    AssetKey,
    AssetMaterialization,
    AssetsDefinition,
    MaterializeResult,
    asset,
)

from am_assets.automation import follow_each_day
from am_assets.derived.enrichment import Enrichment
from am_assets.facts import counts_metadata, published_metadata, stream_metadata
from am_assets.partitions import DAYS
from am_assets.process import Tools, leave_again, process, publish_output
from am_assets.raw.asset import AGAIN, raw_key
from am_assets.streams.stream import Stream
from resources.lake import Published

LAYER = "derived"
VECTORS, TABLE = frozenset({"lancedb"}), frozenset({"postgres", "deltalake"})


def derived_key(enrichment: Enrichment) -> AssetKey:
    """The asset of an enrichment."""
    return AssetKey([LAYER, enrichment.name])


def key_of(stream: Stream) -> AssetKey:
    """The asset of any stream."""
    return AssetKey([LAYER, stream.table]) if stream.is_derived else raw_key(stream)


def derived_asset(enrichment: Enrichment) -> AssetsDefinition:
    """The asset that works off an enrichment's items and publishes what they gave."""
    output = enrichment.output

    @asset(
        key=derived_key(enrichment),
        deps=[key_of(source) for source in enrichment.sources],
        group_name=LAYER,
        partitions_def=DAYS,
        description=enrichment.summary,
        code_version=str(enrichment.version),
        kinds=set(TABLE if output else VECTORS),
        metadata=stream_metadata(output) if output else {},
        pool=enrichment.name,
        required_resource_keys={"tools"},
        retry_policy=AGAIN,
        automation_condition=follow_each_day(),
    )
    def derive(context: AssetExecutionContext) -> MaterializeResult[None]:
        tools: Tools = context.resources.tools
        day = date.fromisoformat(context.partition_key)
        counts = process(enrichment, day, tools, run_id=context.run.run_id)
        published = publish_output(enrichment, day, tools, run_id=context.run.run_id)
        _tell_neighbours(context, published, day)
        leave_again(counts, tools, run_id=context.run.run_id)
        mine = [published_metadata(one) for one in published if one.day == day]
        return MaterializeResult(metadata={**counts_metadata(counts), **(mine[0] if mine else {})})

    return derive


def _tell_neighbours(
    context: AssetExecutionContext, published: Sequence[Published], day: date
) -> None:
    """Note the neighbouring days that got rows too, so that what is made from them follows."""
    for one in published:
        if one.day != day:
            context.log_event(
                AssetMaterialization(
                    context.asset_key,
                    partition=one.day.isoformat(),
                    metadata=published_metadata(one),
                )
            )
