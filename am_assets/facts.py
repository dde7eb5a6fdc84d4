"""What Dagster shows of a stream and of a published day."""

from collections.abc import Mapping

from dagster import MetadataValue, TableColumn, TableSchema

from am_assets.process import Counts
from am_assets.schemas.columns import columns
from am_assets.streams.stream import Stream
from resources.lake import Published

Metadata = Mapping[str, MetadataValue]


def stream_metadata(stream: Stream) -> Metadata:
    """Name, sensitivity and columns."""
    listed = [
        TableColumn(name=column.name, type=column.type.value, description=column.description)
        for column in columns(stream)
    ]
    return {
        "stream": MetadataValue.text(stream.name),
        "sensitivity": MetadataValue.text(stream.sensitivity.value),
        "dagster/column_schema": MetadataValue.table_schema(TableSchema(columns=listed)),
    }


def published_metadata(published: Published) -> Metadata:
    """Rows and bytes of the day in the lake, and the Delta version that holds it."""
    return {
        "dagster/row_count": MetadataValue.int(published.row_count),
        "bytes": MetadataValue.int(published.byte_count),
        "delta_version": MetadataValue.int(published.delta_version),
        "is_changed": MetadataValue.bool(published.is_changed),
    }


def counts_metadata(counts: Counts) -> Metadata:
    """How the items ended."""
    told = {
        "items_enqueued": MetadataValue.int(counts.enqueued),
        "items_done": MetadataValue.int(counts.done),
        "items_empty": MetadataValue.int(counts.empty),
        "items_failed": MetadataValue.int(counts.failed),
        "items_blocked": MetadataValue.int(counts.blocked),
        "rows_derived": MetadataValue.int(counts.derived),
    }
    reason = {"blocked_because": MetadataValue.text(counts.reason)} if counts.reason else {}
    return {**told, **reason}
