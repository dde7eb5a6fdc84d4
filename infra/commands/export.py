"""`am export`: everything about one user, in files that need no AM to be read."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from infra.commands.backup import Bars, refusing
from infra.commands.printing import User, owner_of, telling
from ingest_api.settings import Settings

app = typer.Typer(help="Write down everything about one user.")


@app.command()
def export(
    to: Annotated[Path, typer.Option("--to", help="An empty folder, or one of an export.")],
    user: User = None,
) -> None:
    """Write rows, blobs, memories and the ledger; run again, it goes on and renews what changed."""
    from am_assets.streams.registry import REGISTRY  # noqa: PLC0415 (heavy)
    from infra.export import Export  # noqa: PLC0415
    from infra.export_folder import ExportFolder  # noqa: PLC0415
    from resources.blobs import BlobError  # noqa: PLC0415

    folder = ExportFolder(to.expanduser().resolve())
    with refusing(BlobError), telling(), Bars() as bars:
        settings = Settings()
        whose = owner_of(settings, user)
        job = Export(settings.connections(), REGISTRY, whose, folder, bars.show)
        manifest = job.run(now=datetime.now(UTC))
    rows = sum(entry.row_count or 0 for entry in manifest.of("rows"))
    blobs = len(manifest.of("blob"))
    if not any(entry.row_count or entry.byte_count for entry in manifest.entries):
        typer.echo(f"there is nothing of {whose} here: look at the name", err=True)
        raise typer.Exit(1)
    typer.echo(f"{folder.root}: {rows} rows and {blobs} blobs of {whose}; open index.html")
    for line in manifest.missing_blobs:
        typer.echo(f"NOT THERE  {line}", err=True)
    if manifest.missing_blobs:
        raise typer.Exit(1)
