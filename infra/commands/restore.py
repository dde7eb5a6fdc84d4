"""`am restore`: a backup into an empty AM_HOME, or into a scratch home, to see whether it works."""

import json
import signal
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.filesize import decimal

from infra.commands.backup import Bars, passphrase_of, refusing
from infra.commands.printing import telling
from infra.home import Home
from infra.signing import KEY_FILE, public_key
from ingest_api.settings import Settings

if TYPE_CHECKING:
    from infra.restore import Compared

app = typer.Typer(help="Put a backup into an empty AM_HOME.")


@app.command()
def restore(  # noqa: PLR0913, PLR0917 - a command's options are its arguments
    source: Annotated[
        Path | None, typer.Option("--from", help="The backups' folder; else AM_BACKUP_DIR.")
    ] = None,
    name: Annotated[
        str | None, typer.Option("--generation", help="One of them; the newest without it.")
    ] = None,
    passphrase_file: Annotated[
        Path | None, typer.Option(help="Its first line opens the keys.")
    ] = None,
    keys: Annotated[Path | None, typer.Option(help="The folder that the keys were put in.")] = None,
    database: Annotated[
        str | None,
        typer.Option(
            "--database", help="An empty database of a server of yours, instead of the embedded."
        ),
    ] = None,
    is_drill: Annotated[
        bool, typer.Option("--drill", help="Into a scratch home, compared and removed.")
    ] = False,
    scratch: Annotated[
        Path | None, typer.Option(help="Where the drill's home is made; else in TMPDIR.")
    ] = None,
    is_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """Restore, and compare every table's rows and every object's bytes with the backup."""
    from infra.backup_folder import BackupFolder  # noqa: PLC0415 (heavy)
    from infra.restore import Restore, keys_in  # noqa: PLC0415

    settings = Settings()
    root = source or settings.backup_dir
    if root is None:
        raise typer.BadParameter("name the folder of the backups: --from, or AM_BACKUP_DIR")
    if is_drill and database:
        raise typer.BadParameter("a drill uses the embedded servers: leave --database out")
    with refusing(), telling(), Bars() as bars:
        folder = BackupFolder(root.expanduser().resolve())
        chosen = folder.generation(name)
        if is_drill:
            signal.signal(signal.SIGTERM, signal.default_int_handler)  # its servers end with it
            key = _own_key(settings.home)
            job = Restore(folder, chosen)
            compared = job.rehearse(near=scratch, known_key=key, progress=bars.show)
        else:
            found = keys_in(chosen, passphrase=passphrase_of(passphrase_file), folder=keys)
            job = Restore(folder, chosen, found, database)
            compared = job.into(Home.at(settings.home), progress=bars.show)
    _tell(compared, is_json=is_json)


def _own_key(home: Path) -> str | None:
    """The public key of this home; None where it has never signed anything."""
    return public_key(home) if (home / KEY_FILE).exists() else None


def _tell(compared: "Compared", *, is_json: bool) -> None:
    if is_json:
        typer.echo(json.dumps(asdict(compared)))
    else:
        typer.echo(
            f"{compared.generation}: {compared.row_count} rows in {compared.table_count} tables, "
            f"{compared.object_count} objects ({decimal(compared.byte_count)})"
        )
    for fault in compared.faults:
        typer.echo(f"NOT AS IT WAS  {fault}", err=True)
    if compared.faults:
        raise typer.Exit(1)
