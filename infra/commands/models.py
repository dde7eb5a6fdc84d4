"""`am models`: fetch weights, and say which are there. A thin shell round `infra/weights.py`."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.filesize import decimal
from rich.progress import BarColumn, DownloadColumn, TaskID, TextColumn
from rich.progress import Progress as Bars
from rich.table import Table

from infra.weights import Presence, WeightsError, WeightState, list_weights, pull
from ingest_api.settings import Settings
from models.catalog import Profile

app = typer.Typer(no_args_is_help=True, help="The AI models' weights.")

ProfileOption = Annotated[
    Profile | None, typer.Option("--profile", help="Default: AM_MODELS_PROFILE.")
]
DirOption = Annotated[
    Path | None, typer.Option("--models-dir", help="Default: AM_MODELS_DIR.", file_okay=False)
]
VerifyOption = Annotated[
    bool, typer.Option("--verify", help="Hash what is there again, don't trust the stamps.")
]
COLOURS = {Presence.PRESENT: "green", Presence.MISSING: "yellow", Presence.CORRUPT: "red"}


@app.command("pull")
def pull_command(
    profile: ProfileOption = None, models_dir: DirOption = None, verify: VerifyOption = False
) -> None:
    """Download the weights of a profile; what is there and verified stays."""
    settings = Settings()
    console = Console(stderr=True)
    try:
        with ByteBars(console) as bars:
            states = pull(
                models_dir or settings.models_dir,
                profile or settings.models_profile,
                bars.show,
                is_thorough=verify,
            )
    except WeightsError as error:
        console.print(f"[red]{error}[/red]", highlight=False, soft_wrap=True)
        raise typer.Exit(1) from error
    _print(states, console)


@app.command("list")
def list_command(
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
    models_dir: DirOption = None,
    verify: VerifyOption = False,
) -> None:
    """Say for each model whether its weights are present, missing or corrupt."""
    states = list_weights(models_dir or Settings().models_dir, is_thorough=verify)
    if as_json:
        typer.echo(json.dumps([asdict(state) for state in states], indent=2))
    else:
        _print(states, Console())


class ByteBars:
    """One bar on the terminal for each file that is being fetched."""

    def __init__(self, console: Console) -> None:
        columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn()
        self._bars = Bars(*columns, console=console)
        self._ids: dict[str, TaskID] = {}

    def __enter__(self) -> "ByteBars":
        self._bars.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._bars.stop()

    def show(self, what: str, done: int, total: int) -> None:
        """Move the bar of `what`; both numbers are bytes."""
        if what not in self._ids:
            self._ids[what] = self._bars.add_task(what, total=total)
        self._bars.update(self._ids[what], completed=done)


def _print(states: list[WeightState], console: Console) -> None:
    table = Table("model", "task", "profiles", "state", "size", "licence")
    for state in states:
        colour = COLOURS[state.state]
        table.add_row(
            state.model_id,
            state.task,
            ", ".join(state.profiles),
            f"[{colour}]{state.state}[/{colour}]",
            decimal(state.size_bytes),
            state.licence,
        )
    console.print(table)
    for state in states:
        if state.state is not Presence.PRESENT:
            where = f"{state.model_id} goes to {state.folder}, from {state.source}"
            console.print(where, highlight=False, soft_wrap=True)
