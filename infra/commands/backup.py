"""`am backup`: everything of this stack into a folder; a second time only what is new."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from infra.commands.printing import telling
from infra.errors import StackError
from ingest_api.settings import Settings

app = typer.Typer(help="Keep everything of this stack in another folder.")


@app.command()
def backup(
    to: Annotated[
        Path | None, typer.Option("--to", help="The backups' folder; else AM_BACKUP_DIR.")
    ] = None,
    keep: Annotated[
        int | None, typer.Option(min=1, help="Remove all older than so many; else keep all.")
    ] = None,
    passphrase_file: Annotated[
        Path | None,
        typer.Option(help="Its first line seals the keys into the backup."),
    ] = None,
    keys_to: Annotated[
        Path | None, typer.Option(help="Or: the folder, elsewhere, that the keys go to.")
    ] = None,
) -> None:
    """Take a backup of the running stack."""
    from infra.backup import Backup, KeyPlace  # noqa: PLC0415 (heavy)
    from infra.backup_folder import BackupFolder  # noqa: PLC0415

    settings = Settings()
    folder = to or settings.backup_dir
    if folder is None:
        raise typer.BadParameter("name the folder: --to, or AM_BACKUP_DIR")
    with refusing(), telling(), Bars() as bars:
        keys = KeyPlace(passphrase_of(passphrase_file), keys_to)
        job = Backup(settings, BackupFolder(folder.expanduser().resolve()), keys)
        taken = job.take(now=datetime.now(UTC), keep=keep, progress=bars.show)
    typer.echo(
        f"{taken.generation.folder}: {taken.object_count} objects, {taken.copied_count} of them "
        f"new; {taken.removed_count} old backups removed"
    )
    if not taken.generation.manifest["keys"]["has_master_key"]:
        typer.echo("the master key is not in it: keep it where you have it from", err=True)


class Bars:
    """One bar on the terminal for each kind of work."""

    def __init__(self) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        self._bars = Progress(*columns, console=Console(stderr=True))

    def __enter__(self) -> "Bars":
        self._bars.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._bars.stop()

    def show(self, what: str, done: int, total: int) -> None:
        """Move the bar of `what`."""
        known = {task.description: task.id for task in self._bars.tasks}
        task = known[what] if what in known else self._bars.add_task(what, total=total)
        self._bars.update(task, completed=done, total=total)


@contextmanager
def refusing(*others: type[Exception]) -> Iterator[None]:
    """Turn what AM refuses, and these errors, into one message and exit code 1."""
    try:
        yield
    except StackError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    except others as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error


def passphrase_of(path: Path | None) -> str | None:
    """The first line of a file. Raises: typer.BadParameter where there is none."""
    if path is None:
        return None
    try:
        lines = path.read_text().splitlines()
    except OSError as cause:
        raise typer.BadParameter(f"{path} cannot be read: {cause.strerror}") from cause
    if not lines or not lines[0]:
        raise typer.BadParameter(f"the first line of {path} is empty: it is the passphrase")
    return lines[0]
