"""The assets that keep Trino's catalogs: the lake's tables, the views, the owner's own files.

There are none of them where no coordinator is named.
"""

from collections.abc import Iterable
from pathlib import Path

from dagster import (
    AssetExecutionContext,
    AssetKey,
    AssetsDefinition,
    AutomationCondition,
    MaterializeResult,
    MetadataValue,
    asset,
)

from am_assets.process import Tools
from am_assets.schemas.postgres import SCHEMA
from resources import trino_catalog
from resources.attached_tables import snapshot_files
from resources.trino import Trino, TrinoError

LAYER = "out"
NIGHTLY = "0 3 * * *"
KNOWN = "already exists"  # Trino has no REGISTER IF NOT EXISTS


def trino_assets(url: str | None, *, user: str, attach: Path) -> list[AssetsDefinition]:
    """`out/trino_tables` and `out/memos_snapshot`; none without a coordinator's address."""
    if url is None:
        return []
    trino = Trino(url, user=user)
    return [tables_asset(trino), files_asset(trino, attach)]


def tables_asset(trino: Trino) -> AssetsDefinition:
    """The asset `out/trino_tables`."""

    @asset(
        key=AssetKey([LAYER, "trino_tables"]),
        group_name=LAYER,
        description="Trino knows every table of the lake and the views over both stores.",
        kinds={"trino"},
        required_resource_keys={"tools"},
        automation_condition=AutomationCondition.on_cron(NIGHTLY),
    )
    def keep(context: AssetExecutionContext) -> MaterializeResult[None]:
        tools: Tools = context.resources.tools
        made = tools.lake.ensure_tables(tools.registry.values())
        return MaterializeResult(
            metadata={
                "tables_made": MetadataValue.int(made),
                "tables_registered": MetadataValue.int(keep_tables(trino, tools)),
            }
        )

    return keep


def files_asset(trino: Trino, attach: Path) -> AssetsDefinition:
    """The asset `out/memos_snapshot`: the notes program's file, and all others that are there."""

    @asset(
        key=AssetKey([LAYER, "memos_snapshot"]),
        group_name=LAYER,
        description="The owner's own SQLite files as Delta tables that Trino knows.",
        kinds={"deltalake", "trino"},
        required_resource_keys={"tools"},
        automation_condition=AutomationCondition.on_cron(NIGHTLY),
    )
    def keep(context: AssetExecutionContext) -> MaterializeResult[None]:
        tools: Tools = context.resources.tools
        made = snapshot_files(tools.lake.connections, attach) if attach.is_dir() else []
        register(trino, ((one.table, one.uri) for one in made), schema=trino_catalog.ATTACHED)
        return MaterializeResult(
            metadata={
                "tables": MetadataValue.int(len(made)),
                "changed": MetadataValue.int(sum(one.is_changed for one in made)),
            }
        )

    return keep


def keep_tables(trino: Trino, tools: Tools) -> int:
    """Make Trino know all that there is; returns how many tables it did not know.

    Raises: TrinoError.
    """
    bucket = tools.lake.connections.s3_bucket
    for statement in trino_catalog.schemas(bucket):
        trino.run(statement)
    streams = list(tools.registry.values())
    places = ((stream.table, tools.lake.table_uri(stream)) for stream in streams)
    count = register(trino, places, schema=SCHEMA)
    for statement in trino_catalog.views(streams):
        trino.run(statement)
    return count


def register(trino: Trino, places: Iterable[tuple[str, str]], *, schema: str) -> int:
    """Make tables of the lake known; returns how many were not. Raises: TrinoError."""
    count = 0
    for table, location in places:
        try:
            trino.run(trino_catalog.register(table, location, schema=schema))
        except TrinoError as error:
            if KNOWN not in str(error):
                raise
        else:
            count += 1
    return count
