"""`am sql`: one question over `hot.am.<table>` and `lake.am.<table>`."""

import csv
import json
import sys
from enum import StrEnum
from typing import Annotated, Any

import typer

from am_assets.streams.registry import REGISTRY
from infra.commands.printing import RefusedError, cell, plain, print_table, telling
from ingest_api.settings import Settings

app = typer.Typer(help="Ask the lake and the database in SQL.")


class Engine(StrEnum):
    """Who runs the SQL."""

    DUCKDB = "duckdb"
    TRINO = "trino"


class Format(StrEnum):
    """How rows are printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


@app.command()
def sql(
    text: Annotated[str, typer.Argument(help="hot.am.<table>, lake.am.<table>, lake.am.timeline")],
    engine: Annotated[Engine, typer.Option()] = Engine.DUCKDB,
    form: Annotated[Format, typer.Option("--format")] = Format.TABLE,
    user: Annotated[str | None, typer.Option(help="Only this user's rows; else all.")] = None,
    timeout_s: Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds.")] = 60.0,
) -> None:
    """Answer one question in SQL; nothing can be changed by it."""
    with telling():
        settings = Settings()
        if engine is Engine.TRINO:
            _refuse_trino(settings)
        names, rows = _ask_duck(settings, text, user=user, timeout_s=timeout_s)
    if form is Format.JSON:
        found = [dict(zip(names, row, strict=True)) for row in rows]
        typer.echo(json.dumps(found, default=plain, ensure_ascii=False, indent=2))
    elif form is Format.CSV:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerows([names, *([cell(value, null="") for value in row] for row in rows)])
    else:
        print_table(names, rows)


def _ask_duck(
    settings: Settings, text: str, *, user: str | None, timeout_s: float
) -> tuple[list[str], list[tuple[Any, ...]]]:
    from resources import duck  # noqa: PLC0415 (heavy)

    # A home keeps its extensions; a bare client of somebody else's stores has none to keep them in.
    folder = settings.home / "duckdb" if settings.home.exists() else None
    options = duck.DuckOptions(extension_directory=folder, timeout_s=timeout_s)
    needs, place = duck.needs_of(text, REGISTRY), settings.connections()
    try:
        with duck.connect(place, REGISTRY, user_id=user, needs=needs, options=options) as opened:
            found = duck.query(opened, text, timeout_s=timeout_s)
    except duck.DuckError as error:
        raise RefusedError(str(error)) from error
    columns = [column.to_pylist() for column in found.columns]
    return found.column_names, list(zip(*columns, strict=True))


def _refuse_trino(settings: Settings) -> None:
    if settings.trino_url is None:
        raise typer.BadParameter("--engine trino needs AM_TRINO_URL, the address of a coordinator")
    raise typer.BadParameter(
        "this version of AM can't ask Trino yet; ask it with its own client, "
        f"at {settings.trino_url}, in the same SQL"
    )
