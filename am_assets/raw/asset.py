"""The factory of raw assets: the day as received, published to Delta."""

from datetime import date, timedelta

from dagster import (
    AssetExecutionContext,
    AssetKey,
    AssetsDefinition,
    Backoff,
    FreshnessPolicy,
    MaterializeResult,
    RetryPolicy,
    asset,
)

from am_assets.facts import published_metadata, stream_metadata
from am_assets.partitions import DAYS
from am_assets.process import Tools
from am_assets.streams.stream import Stream

LAYER = "raw"
AGAIN = RetryPolicy(max_retries=3, delay=2, backoff=Backoff.EXPONENTIAL)
# A device that is left at home is no fault; one that has been silent for a week may be.
FRESH = FreshnessPolicy.time_window(warn_window=timedelta(days=2), fail_window=timedelta(days=7))


def raw_key(stream: Stream) -> AssetKey:
    """The asset of a raw stream."""
    return AssetKey([LAYER, stream.table])


def raw_asset(stream: Stream) -> AssetsDefinition:
    """The asset that publishes a raw stream's days."""

    @asset(
        key=raw_key(stream),
        group_name=LAYER,
        partitions_def=DAYS,
        description=stream.summary,
        kinds={"postgres", "deltalake"},
        metadata=stream_metadata(stream),
        pool=stream.table,
        required_resource_keys={"tools"},
        retry_policy=AGAIN,
        freshness_policy=FRESH,
    )
    def publish(context: AssetExecutionContext) -> MaterializeResult[None]:
        tools: Tools = context.resources.tools
        day = date.fromisoformat(context.partition_key)
        published = tools.lake.publish(stream, day, run_id=context.run.run_id)
        return MaterializeResult(metadata=published_metadata(published))

    return publish
