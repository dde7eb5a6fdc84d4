"""What the asking commands share: whose data, what is printed how, and errors as one line.

What was asked for goes to standard output; what there is to say about it, to standard error.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import psycopg
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from infra.expected import words_for
from ingest_api.settings import Settings, StackNotFoundError
from resources.hot import HotStore
from resources.master_keys import MasterKeyError

if TYPE_CHECKING:
    from resources.whole import WholeStore

NOT_FOR_TERMINALS = 200  # wide enough for a line of a file
User = Annotated[str | None, typer.Option("--user", help="Whose; the only one if there is one.")]
AsJson = Annotated[bool, typer.Option("--json", help="For programs.")]


class RefusedError(Exception):
    """A question that got no answer; the message says why."""


@contextmanager
def telling() -> Iterator[None]:
    """Turn what is expected to go wrong into one message and exit code 1."""
    try:
        yield
    except (
        StackNotFoundError,
        RefusedError,
        MasterKeyError,
        psycopg.OperationalError,
    ) as error:
        typer.echo(words_for(error) or str(error).strip(), err=True)
        raise typer.Exit(1) from error


def instant(text: str) -> datetime:
    """A date or a time; UTC where it names no zone. Raises: typer.BadParameter."""
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no date or time like 2026-05-04T12:00Z") from error
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def day_of(text: str) -> date:
    """A day as it is written. Raises: typer.BadParameter."""
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} is no day like 2026-05-04") from error


def hot_store(settings: Settings) -> HotStore:
    """The stack's rows, as far as they are in the database. Raises: StackNotFoundError."""
    return HotStore(settings.connections().database_url)


def whole_store(settings: Settings) -> "WholeStore":
    """The stack's rows, wherever they are. Raises: StackNotFoundError."""
    from resources.whole import WholeStore  # noqa: PLC0415 (loads the lake's libraries)

    return WholeStore(settings.connections())


def owner_of(settings: Settings, named: str | None) -> str:
    """The one that was named, or the only one there is."""
    from am_assets.out.day_digest import users_of  # noqa: PLC0415 (see above)

    if named is not None:
        return named
    known = users_of(hot_store(settings))
    if len(known) != 1:
        whom = ", ".join(known) or "nobody: nothing has arrived yet"
        raise typer.BadParameter(f"say whose with --user; there is {whom}")
    return known[0]


def plain_console() -> Console:
    """Standard output; wide where it goes into a file."""
    console = Console()
    return console if console.is_terminal else Console(width=NOT_FOR_TERMINALS)


def print_table(names: Sequence[str], rows: Iterable[Sequence[Any]], *, title: str = "") -> None:
    """Rows under their names."""
    table = Table(title=title or None, title_justify="left")
    for name in names:
        table.add_column(escape(name), overflow="fold")
    for row in rows:
        table.add_row(*(escape(cell(value, null="NULL")) for value in row))
    plain_console().print(table)


def cell(value: Any, *, null: str) -> str:
    """A value in a table."""
    if value is None:
        return null
    return value.isoformat(sep=" ") if isinstance(value, datetime) else str(value)


def plain(value: object) -> object:
    """What JSON lacks: times as ISO, spans as seconds, bytes as hexadecimal."""
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bytes):
        return value.hex()
    return str(value)
