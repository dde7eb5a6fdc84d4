"""All adapters, in the order in which they are listed, and the table of `docs/apps.md`."""

from collections.abc import Mapping

from ingest_api.adapters import (
    activitywatch,
    colota,
    events,
    gpslogger,
    health_auto_export,
    health_connect,
    influx,
    omi,
    opengts,
    otlp,
    overland,
    owntracks,
    phonetrack,
    sensor_logger,
    traccar,
    ulogger,
)
from ingest_api.adapters.adapter import Adapter

ADAPTERS: Mapping[str, Adapter] = {
    adapter.name: adapter
    for adapter in (
        owntracks.ADAPTER,
        overland.ADAPTER,
        gpslogger.ADAPTER,
        traccar.ADAPTER,
        phonetrack.ADAPTER,
        ulogger.ADAPTER,
        opengts.ADAPTER,
        colota.ADAPTER,
        sensor_logger.ADAPTER,
        health_auto_export.ADAPTER,
        health_connect.ADAPTER,
        influx.ADAPTER,
        otlp.ADAPTER,
        omi.ADAPTER,
        activitywatch.ADAPTER,
        events.ADAPTER,
    )
}


def apps_table() -> str:
    """The apps, where each sends to, and what its data becomes, in Markdown."""
    head = ["| app | system | address | becomes |", "|---|---|---|---|"]
    return "\n".join([*head, *(_line(adapter) for adapter in ADAPTERS.values())])


def _line(adapter: Adapter) -> str:
    paths = ", ".join(f"`{path}`" for path in (f"/{adapter.name}/…", *adapter.roots))
    streams = ", ".join(f"`{name}`" for name in adapter.streams)
    return f"| {adapter.app} | {adapter.systems} | {paths} | {streams} |"
