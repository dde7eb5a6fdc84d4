"""`am sql`: one question over `hot.am.<table>`, `lake.am.<table>` and `am.<table>`, or one of the
library's.
"""

import csv
import json
import sys
from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
import typer

from am_assets.streams.registry import REGISTRY
from infra.commands.printing import RefusedError, cell, plain, print_table, telling
from infra.query_library import QueryLibraryError, library
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


WRITTEN = (".parquet", ".csv", ".json", ".arrow")


@app.command()
def sql(  # noqa: PLR0913, PLR0917 - a command's options are its arguments
    text: Annotated[
        str | None, typer.Argument(help="am.<table>, am.timeline; hot.am.… and lake.am.… alone")
    ] = None,
    engine: Annotated[Engine, typer.Option()] = Engine.DUCKDB,
    form: Annotated[Format, typer.Option("--format")] = Format.TABLE,
    user: Annotated[str | None, typer.Option(help="Only this user's rows; else all.")] = None,
    timeout_s: Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds.")] = 60.0,
    to: Annotated[
        Path | None, typer.Option(help=f"Write it to a file, by its ending: {', '.join(WRITTEN)}.")
    ] = None,
    name: Annotated[str | None, typer.Option("--query", help="One of the library's.")] = None,
    given: Annotated[list[str] | None, typer.Option("--param", help="name=value")] = None,
    is_listing: Annotated[bool, typer.Option("--list", help="Show the library.")] = False,
) -> None:
    """Answer one question in SQL; nothing can be changed by it."""
    if is_listing:
        _print_library()
        return
    if to is not None and to.suffix.lower() not in WRITTEN:
        raise typer.BadParameter(f"--to writes {', '.join(WRITTEN)}; {to.name} is none of these")
    asked = _asked(text, name, given or [])
    with telling():
        settings = Settings()
        if engine is Engine.TRINO:
            found = _ask_trino(settings, asked, user=user, timeout_s=timeout_s)
        else:
            found = _ask_duck(settings, asked, user=user, timeout_s=timeout_s)
    if to is None:
        _print(found, form)
    else:
        write(found, to)
        typer.echo(f"{found.num_rows} rows in {to}", err=True)


def write(found: pa.Table, path: Path) -> None:
    """Write an answer in the format that the file's ending names."""
    from pyarrow import feather, parquet  # noqa: PLC0415 (heavy)

    ending = path.suffix.lower()
    if ending == ".parquet":
        parquet.write_table(found, path, compression="zstd")
    elif ending == ".arrow":
        feather.write_feather(found, str(path), compression="zstd")
    elif ending == ".csv":
        with path.open("w", newline="") as file:
            _write_csv(file, *_rows(found))
    else:
        path.write_text(_json(*_rows(found)) + "\n")


def _asked(text: str | None, name: str | None, given: Sequence[str]) -> str:
    if (text is None) == (name is None):
        raise typer.BadParameter("give a question, or --query NAME of the library: `am sql --list`")
    if text is not None:
        if given:
            raise typer.BadParameter("--param fills a --query of the library")
        return text
    assert name is not None
    known = library()
    if name not in known:
        raise typer.BadParameter(f"there is no {name!r} in the library: `am sql --list`")
    try:
        return known[name].sql(dict(_pair(pair) for pair in given))
    except QueryLibraryError as error:
        raise typer.BadParameter(str(error)) from error


def _pair(text: str) -> tuple[str, str]:
    name, is_there, value = text.partition("=")
    if not is_there:
        raise typer.BadParameter(f"--param wants name=value, not {text!r}")
    return name, value


def _print_library() -> None:
    rows = [
        (
            query.name,
            query.question,
            ", ".join(f"{p.name}={p.default or '…'}" for p in query.parameters),
        )
        for query in library().values()
    ]
    print_table(("query", "question", "parameters"), rows)


def _print(found: pa.Table, form: Format) -> None:
    names, rows = _rows(found)
    if form is Format.JSON:
        typer.echo(_json(names, rows))
    elif form is Format.CSV:
        _write_csv(sys.stdout, names, rows)
    else:
        print_table(names, rows)


def _rows(found: pa.Table) -> tuple[list[str], list[tuple[Any, ...]]]:
    columns = [column.to_pylist() for column in found.columns]
    return found.column_names, list(zip(*columns, strict=True))


def _json(names: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    found = [dict(zip(names, row, strict=True)) for row in rows]
    return json.dumps(found, default=plain, ensure_ascii=False, indent=2)


def _write_csv(file: Any, names: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerows([names, *([cell(value, null="") for value in row] for row in rows)])


def _ask_duck(settings: Settings, text: str, *, user: str | None, timeout_s: float) -> pa.Table:
    from resources import duck  # noqa: PLC0415 (heavy)
    from resources.duck_names import mentions_of  # noqa: PLC0415

    # A home keeps its extensions; a bare client of somebody else's stores has none to keep them in.
    folder = settings.home / "duckdb" if settings.home.exists() else None
    options = duck.DuckOptions(
        extension_directory=folder,
        attach=settings.home / "attach",
        copies=settings.lake_copies(),
        timeout_s=timeout_s,
    )
    has_hot = mentions_of(text, REGISTRY).needs_hot
    limits = duck.Limits(timeout_s=timeout_s)
    place = settings.connections()
    try:
        with duck.connect(
            place, REGISTRY, user_id=user, has_hot=has_hot, options=options
        ) as opened:
            return duck.query(opened, text, limits=limits)
    except duck.DuckError as error:
        raise RefusedError(str(error)) from error


def _ask_trino(settings: Settings, text: str, *, user: str | None, timeout_s: float) -> pa.Table:
    from resources.trino import Trino, TrinoError  # noqa: PLC0415 (heavy)

    if settings.trino_url is None:
        raise typer.BadParameter("--engine trino needs AM_TRINO_URL, the address of a coordinator")
    try:
        asked_as = user or settings.trino_user
        return Trino(settings.trino_url, user=asked_as).query(text, timeout_s=timeout_s)
    except TrinoError as error:
        raise RefusedError(str(error)) from error
