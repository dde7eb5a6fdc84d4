"""`am process`: work off pending items now, in this process, without Dagster."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from am_assets.process import Progress

DAY = ["%Y-%m-%d"]
app = typer.Typer(help="Work off pending items now, without Dagster, and publish the days.")


@app.command()
def process(
    day: Annotated[
        datetime | None, typer.Option(formats=DAY, help="One UTC day; else all with work to do.")
    ] = None,
    enrichment: Annotated[
        str | None, typer.Option(help="One enrichment, by its table or stream name; else all.")
    ] = None,
) -> None:
    """Exit code 1 where an item failed or its model is missing."""
    # Heavy, and needed by this command alone.
    from am_assets.definitions import tools_from_environment  # noqa: PLC0415
    from am_assets.derived.catalog import (  # noqa: PLC0415
        ENRICHMENTS,
        UnknownEnrichmentError,
        find_enrichment,
    )
    from am_assets.process import process_pending  # noqa: PLC0415

    try:
        chosen = [find_enrichment(enrichment)] if enrichment else ENRICHMENTS
    except UnknownEnrichmentError as error:
        raise typer.BadParameter(str(error)) from error
    told = process_pending(
        tools_from_environment(),
        day=day.date() if day else None,
        enrichments=chosen,
        on_progress=_say,
    )
    if any(one.counts.failed or one.counts.blocked for one in told):
        raise typer.Exit(1)


def _say(progress: "Progress") -> None:
    """One line, where anything was done."""
    counts = progress.counts
    ends = {
        "done": counts.done,
        "empty": counts.empty,
        "failed": counts.failed,
        "blocked": counts.blocked,
    }
    said = ", ".join(f"{count} {name}" for name, count in ends.items() if count)
    if said:
        reason = f" ({counts.reason})" if counts.reason else ""
        rows = f"{counts.derived} rows"
        typer.echo(f"{progress.day}  {progress.enrichment:<40} {said}; {rows}{reason}")
