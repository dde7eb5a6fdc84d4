"""`am import`: an export into this stack, checked before anything is written."""

from pathlib import Path
from typing import Annotated

import typer

from infra.commands.backup import Bars, refusing
from infra.commands.printing import telling
from infra.errors import ExportError
from ingest_api.settings import Settings

app = typer.Typer(help="Take an export into this stack.")


@app.command()
def import_(
    source: Annotated[Path, typer.Argument(metavar="DIR", help="What `am export` wrote.")],
    user: Annotated[
        str | None, typer.Option(help="Whose it has to be; refused if it is not.")
    ] = None,
) -> None:
    """Take in rows, blobs, memories and the ledger; run again, it changes nothing."""
    from am_assets.streams.registry import REGISTRY  # noqa: PLC0415 (heavy)
    from infra.export_folder import ExportFolder  # noqa: PLC0415
    from infra.importing import Import  # noqa: PLC0415
    from resources.blobs import BlobError  # noqa: PLC0415

    with refusing(BlobError), telling(), Bars() as bars:
        _require_folder(source)
        folder = ExportFolder(source.expanduser().resolve())
        job = Import(Settings().connections(), REGISTRY, folder, bars.show)
        done = job.run(user_id=user)
    typer.echo(
        f"{done.user_id}: {done.row_count} rows of {done.day_count} days and {done.blob_count} "
        "blobs came in; all of the export is here, as it was"
    )


def _require_folder(source: Path) -> None:
    """Raises: ExportError for what can be no export."""
    if not source.exists():
        raise ExportError(f"{source} does not exist.")
    if source.is_file():
        raise ExportError(
            f"{source} is a file, and `am import` takes the folder that `am export` wrote. Other "
            "programs' files go to the doors of the API: JSON of a stream to POST "
            "/v1/streams/<stream>, and each app's own format to its adapter (docs/apps.md)."
        )
