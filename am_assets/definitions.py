"""The only place where Dagster objects are put together. Loading it connects to nothing."""

from collections.abc import Mapping, Sequence

from dagster import (
    AssetsDefinition,
    AssetSelection,
    AutomationConditionSensorDefinition,
    DefaultSensorStatus,
    Definitions,
    ResourceDefinition,
    in_process_executor,
)

from am_assets.checks.conservation import conservation_check
from am_assets.checks.contract import contract_check
from am_assets.derived.asset import derived_asset
from am_assets.derived.catalog import ENRICHMENTS
from am_assets.derived.enrichment import Enrichment
from am_assets.out.asset import day_digest_asset
from am_assets.out.trino_tables import trino_assets
from am_assets.process import Tools
from am_assets.raw.asset import raw_asset
from am_assets.streams.registry import REGISTRY, Registry
from am_assets.streams.stream import Stream
from am_assets.upkeep.catalog import upkeep_assets
from ingest_api.settings import Settings
from sensors.landing import landing_sensor
from sensors.schedules import upkeep_schedules
from sensors.unfinished import unfinished_sensor

AUTOMATION_TICK_S = 3


def tools_from_environment() -> Tools:
    """The tools of the stack that the `AM_…` variables name.

    Raises: ingest_api.settings.StackNotFoundError.
    """
    settings = Settings()
    return Tools.at(settings.connections(), settings.late_compute())


def build_defs(
    registry: Registry = REGISTRY,
    *,
    enrichments: Sequence[Enrichment] = ENRICHMENTS,
    resources: Mapping[str, object] | None = None,
) -> Definitions:
    """All assets, checks and sensors of a registry.

    `resources` replaces those of the environment (`tools`: a Tools), for tests.
    """
    settings = Settings()
    upkeep = upkeep_assets(
        rules=settings.blob_rules(),
        home=settings.home,
        backups=settings.backup_dir,
        keep_hot=settings.keep_hot(),
    )
    return Definitions(
        assets=[
            *(raw_asset(stream) for stream in registry.raw),
            *(derived_asset(enrichment) for enrichment in enrichments),
            day_digest_asset(),
            *_trino_assets(),
            *upkeep,
        ],
        asset_checks=[
            make(stream)
            for stream in (*registry.raw, *_outputs(enrichments))
            for make in (contract_check, conservation_check)
        ],
        sensors=[
            landing_sensor(registry),
            automation_sensor(),
            unfinished_sensor(registry, enrichments),
        ],
        schedules=upkeep_schedules(upkeep),
        resources=dict(resources or {"tools": _tools_resource()}),
        # A run is one or a few small steps: a process for each would cost more than they do.
        executor=in_process_executor,
    )


def _trino_assets() -> list[AssetsDefinition]:
    settings = Settings()
    return trino_assets(
        settings.trino_url, user=settings.trino_user, attach=settings.home / "attach"
    )


def automation_sensor() -> AutomationConditionSensorDefinition:
    """Asks every few seconds what follows from what was updated."""
    return AutomationConditionSensorDefinition(
        "automation",
        target=AssetSelection.all(),
        minimum_interval_seconds=AUTOMATION_TICK_S,
        default_status=DefaultSensorStatus.RUNNING,
        # A run a day: a backfill would wait for the daemon that looks at those every half minute.
        emit_backfills=False,
    )


def _outputs(enrichments: Sequence[Enrichment]) -> list[Stream]:
    return [enrichment.output for enrichment in enrichments if enrichment.output]


def _tools_resource() -> ResourceDefinition:
    return ResourceDefinition(lambda _: tools_from_environment())


defs = build_defs()
