"""The commands that ask: `am sql`, `am search`, `am day`, `am ledger`.

Each is an application of its own (`sql_app`, …), to be mounted by its name. What was asked for goes
to standard output; what there is to say about it, to standard error.
"""

import csv
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import psycopg
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from am_assets.streams.registry import REGISTRY
from ingest_api.settings import Settings, StackNotFoundError
from resources.hot import HotStore

if TYPE_CHECKING:
    from am_assets.out.day import DayDigest, Text
    from resources.ledger import Ledger
    from resources.search import Answer, Searcher

sql_app = typer.Typer(help="Ask the lake and the database in SQL.")
search_app = typer.Typer(help="Find moments by words and meaning.")
day_app = typer.Typer(help="Print one day's digest.")
ledger_app = typer.Typer(help="Show that the counts add up.")

NOT_FOR_TERMINALS = 200  # wide enough for a line of a file
User = Annotated[str | None, typer.Option("--user", help="Whose; the only one if there is one.")]
AsJson = Annotated[bool, typer.Option("--json", help="For programs.")]


class RefusedError(Exception):
    """A question that got no answer; the message says why."""


class Engine(StrEnum):
    """Who runs the SQL."""

    DUCKDB = "duckdb"
    TRINO = "trino"


class Format(StrEnum):
    """How rows are printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


@sql_app.command()
def sql(
    text: Annotated[str, typer.Argument(help="hot.am.<table>, lake.am.<table>, lake.am.timeline")],
    engine: Annotated[Engine, typer.Option()] = Engine.DUCKDB,
    form: Annotated[Format, typer.Option("--format")] = Format.TABLE,
    user: Annotated[str | None, typer.Option(help="Only this user's rows; else all.")] = None,
    timeout_s: Annotated[float, typer.Option("--timeout", min=0.1, help="Seconds.")] = 60.0,
) -> None:
    """Answer one question in SQL; nothing can be changed by it."""
    with _telling():
        settings = Settings()
        if engine is Engine.TRINO:
            _refuse_trino(settings)
        names, rows = _ask_duck(settings, text, user=user, timeout_s=timeout_s)
    if form is Format.JSON:
        found = [dict(zip(names, row, strict=True)) for row in rows]
        typer.echo(json.dumps(found, default=_plain, ensure_ascii=False, indent=2))
    elif form is Format.CSV:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerows([names, *([_cell(value, null="") for value in row] for row in rows)])
    else:
        _print_table(names, rows)


@search_app.command()
def search(  # noqa: PLR0913, PLR0917 - each is an option of the command
    text: Annotated[str, typer.Argument(help="In your own words.")],
    kind: Annotated[str | None, typer.Option(help="speech, screen text, note, clipboard")] = None,
    begin: Annotated[
        str | None, typer.Option("--from", help="ISO 8601; UTC unless it says.")
    ] = None,
    end: Annotated[str | None, typer.Option("--to", help="Likewise; not included.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=200)] = 10,
    user: User = None,
    is_json: AsJson = False,
) -> None:
    """Print the best moments first."""
    from resources.vectors import SearchRequest  # noqa: PLC0415 (only this command needs it)

    with _telling():
        settings = Settings()
        request = SearchRequest(
            user_id=_user(settings, user),
            text=text,
            kind=kind,
            begin=instant(begin) if begin else None,
            end=instant(end) if end else None,
            limit=limit,
        )
        answer = _searcher(settings).search(request)
    if is_json:
        typer.echo(json.dumps(asdict(answer), default=_plain, ensure_ascii=False, indent=2))
    else:
        _print_answer(answer)


@day_app.command()
def day(
    wanted: Annotated[str, typer.Argument(metavar="YYYY-MM-DD", help="As your clock had it.")],
    user: User = None,
    is_json: AsJson = False,
) -> None:
    """Print what is known of one day."""
    from am_assets.out.day_digest import as_json, day_digest  # noqa: PLC0415 (see above)

    with _telling():
        settings = Settings()
        hot, owner = _hot(settings), _user(settings, user)
        made = day_digest(hot, REGISTRY, owner, _day(wanted), now=datetime.now(UTC))
    if is_json:
        found = {"user_id": owner, **as_json(made)}
        typer.echo(json.dumps(found, ensure_ascii=False, indent=2))
    else:
        _print_day(owner, made)


@ledger_app.command()
def ledger(
    wanted: Annotated[str | None, typer.Option("--day", help="UTC; all days without it.")] = None,
    is_json: AsJson = False,
) -> None:
    """Print what arrived and what became of it; exit code 1 unless it adds up."""
    from resources.ledger import read_ledger  # noqa: PLC0415 (see above)

    with _telling(), _hot(Settings()).snapshot() as snapshot:
        asked, today = _day(wanted) if wanted else None, datetime.now(UTC).date()
        found = read_ledger(snapshot.connection, REGISTRY, day=asked, today=today)
    if is_json:
        typer.echo(json.dumps(_ledger_json(found), default=_plain, indent=2))
    else:
        _print_ledger(found)
    raise typer.Exit(0 if found.is_adding_up else 1)


def instant(text: str) -> datetime:
    """A date or a time; UTC where it names no zone. Raises: typer.BadParameter."""
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no date or time like 2026-05-04T12:00Z") from error
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no day like 2026-05-04") from error


def _hot(settings: Settings) -> HotStore:
    return HotStore(settings.connections().database_url)


def _user(settings: Settings, named: str | None) -> str:
    """The one that was named, or the only one there is."""
    from am_assets.out.day_digest import users_of  # noqa: PLC0415 (see above)

    if named is not None:
        return named
    known = users_of(_hot(settings))
    if len(known) != 1:
        whom = ", ".join(known) or "nobody: nothing has arrived yet"
        raise typer.BadParameter(f"say whose with --user; there is {whom}")
    return known[0]


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


def _searcher(settings: Settings) -> "Searcher":
    from models.catalog import Task  # noqa: PLC0415 (see above)
    from resources.compute import ModelChoice, connect_compute  # noqa: PLC0415 (see above)
    from resources.late_compute import LateCompute  # noqa: PLC0415 (see above)
    from resources.search import Searcher  # noqa: PLC0415 (see above)

    choice = ModelChoice(settings.models_profile, settings.models_dir)
    compute = LateCompute(
        lambda: connect_compute(settings.compute, choice, ray_address=settings.ray_address)
    )
    model_id = choice.spec(Task.TEXT_EMBEDDING).model_id
    return Searcher(settings.connections(), compute, model_id=model_id)


@contextmanager
def _telling() -> Iterator[None]:
    """Turn what is expected to go wrong into one message and exit code 1."""
    try:
        yield
    except (StackNotFoundError, RefusedError, psycopg.OperationalError) as error:
        typer.echo(str(error).strip(), err=True)
        raise typer.Exit(1) from error


def _console() -> Console:
    console = Console()
    return console if console.is_terminal else Console(width=NOT_FOR_TERMINALS)


def _print_table(names: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str = "") -> None:
    table = Table(title=title or None, title_justify="left")
    for name in names:
        table.add_column(escape(name), overflow="fold")
    for row in rows:
        table.add_row(*(escape(_cell(value, null="NULL")) for value in row))
    _console().print(table)


def _cell(value: Any, *, null: str) -> str:
    if value is None:
        return null
    return value.isoformat(sep=" ") if isinstance(value, datetime) else str(value)


def _plain(value: object) -> object:
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bytes):
        return value.hex()
    return str(value)


def _print_answer(answer: "Answer") -> None:
    if answer.note:
        typer.echo(answer.note, err=True)
    rows = [
        (hit.ts.replace(microsecond=0), hit.kind, hit.text, hit.place or "", hit.app or "")
        for hit in answer.hits
    ]
    _print_table(["time (UTC)", "kind", "text", "place", "app"], rows)


def _print_day(user: str, made: "DayDigest") -> None:
    console, local = _console(), made.local
    hours = (local.end - local.begin) / timedelta(hours=1)
    console.print(f"[bold]{local.day:%A, %d %B %Y}[/bold], {escape(user)}, {hours:g} h")
    if local.note:
        console.print(local.note)
    if made.is_empty:
        console.print("Nothing arrived.")
    for title, texts in (
        ("Said", made.said),
        ("Read", made.read),
        ("Notes", made.notes),
        ("Copied", made.clipboard),
    ):
        _print_lines(console, title, _text_lines(made, texts))
    _print_lines(console, "Did", [f"{t.name} {_long(t.seconds)}" for t in made.activities])
    _print_lines(console, "Was at", _stay_lines(made))
    _print_lines(console, "Apps", [f"{t.name} {_long(t.seconds)}" for t in made.apps])
    _print_lines(console, "Heart", _heart_lines(made))
    _print_lines(console, "Rows", [f"{name} {count}" for name, count in made.counts.items()])
    gaps = [f"{local.clock(g.begin):%H:%M}–{local.clock(g.end):%H:%M}" for g in made.gaps]
    _print_lines(console, "Nothing from", gaps)


def _print_lines(console: Console, title: str, lines: Sequence[str]) -> None:
    if lines:
        console.print(f"\n[bold]{title}[/bold]")
    for line in lines:
        console.print(f"  {escape(line)}", highlight=False)


def _text_lines(made: "DayDigest", texts: "Sequence[Text]") -> list[str]:
    return [
        f"{made.local.clock(text.ts):%H:%M}  {f'{text.origin}: ' if text.origin else ''}"
        f"{' '.join(text.text.split())}"
        for text in texts
    ]


def _stay_lines(made: "DayDigest") -> list[str]:
    clock = made.local.clock
    return [
        f"{clock(stay.visit.enter):%H:%M}–{clock(stay.visit.leave):%H:%M}  "
        f"{stay.place or f'{stay.visit.latitude:.4f}, {stay.visit.longitude:.4f}'}"
        for stay in made.stays
    ]


def _heart_lines(made: "DayDigest") -> list[str]:
    heart = made.heart
    if heart is None:
        return []
    spread = f"{heart.min_bpm:g} to {heart.max_bpm:g} bpm, {heart.mean_bpm:.0f} in the mean"
    return [f"{spread}, {heart.reading_count} readings"]


def _long(seconds: float) -> str:
    hours, rest = divmod(round(seconds), 3600)
    return f"{hours} h {rest // 60:02} min" if hours else f"{rest // 60} min {rest % 60:02} s"


def _ledger_json(found: "Ledger") -> dict[str, Any]:
    lines = [
        {**asdict(line.sums), "rows": line.rows, "is_adding_up": line.is_adding_up}
        for line in found.lines
    ]
    return {
        "is_adding_up": found.is_adding_up,
        "lines": lines,
        "totals": asdict(found.totals),
    }


def _print_ledger(found: "Ledger") -> None:
    names = ["day", "user", "device", "stream", "received", "stored", "duplicate", "rejected"]
    rows = [
        (
            *(line.sums.day, line.sums.user_id, line.sums.device_id, line.sums.stream),
            *(line.sums.received, line.sums.stored, line.sums.duplicate, line.sums.rejected),
            "-" if line.rows is None else line.rows,
            "yes" if line.is_adding_up else "NO",
        )
        for line in found.lines
    ]
    _print_table([*names, "rows", "adds up"], rows)
    total = found.totals
    typer.echo(
        f"{total.received} received = {total.stored} stored + {total.duplicate} duplicate "
        f"+ {total.rejected} rejected; {total.rows} of {total.stored_in_reach} rows are there"
    )
