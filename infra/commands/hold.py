"""`am hold`: what must not be removed, by retention, a budget or an erasure."""

import json
from dataclasses import asdict
from datetime import date, datetime, timedelta
from typing import Annotated
from uuid import UUID

import psycopg
import typer

from am_assets.streams.registry import REGISTRY
from infra.commands.printing import AsJson, instant, plain, print_table, telling
from ingest_api.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Keep what must not be removed.")
From = Annotated[str | None, typer.Option("--from", help="A day or a time; UTC.")]
To = Annotated[str | None, typer.Option("--to", help="A day, itself included, or a time.")]


@app.command()
def add(
    user: Annotated[str, typer.Option(help="Whose data.")],
    reason: Annotated[str, typer.Option(help="Why; it stays on record.")],
    stream: Annotated[str | None, typer.Option(help="One stream; all without it.")] = None,
    begin: From = None,
    end: To = None,
) -> None:
    """Hold data; prints the hold's id. Nothing under it goes from then on."""
    from resources.blob_retention import add_hold  # noqa: PLC0415 (heavy)

    if not reason.strip():
        raise typer.BadParameter("say why with --reason")
    if stream is not None and stream not in REGISTRY:
        raise typer.BadParameter(f"there is no stream called {stream!r}")
    since, until = instant(begin) if begin else None, after(end) if end else None
    if since and until and since >= until:
        raise typer.BadParameter("--from must be before --to")
    with telling(), psycopg.connect(Settings().connections().database_url) as connection:
        hold_id = add_hold(
            connection, user_id=user, reason=reason, stream=stream, begin=since, end=until
        )
    typer.echo(hold_id)


@app.command("list")
def list_(is_json: AsJson = False) -> None:
    """Show all holds that are on."""
    from resources.blob_retention import live_holds  # noqa: PLC0415 (heavy)

    with telling(), psycopg.connect(Settings().connections().database_url) as connection:
        found = live_holds(connection)
    if is_json:
        typer.echo(json.dumps([asdict(hold) for hold in found], default=plain, indent=2))
        return
    rows = [
        (
            *(hold.hold_id, hold.user_id, hold.stream or "all"),
            *(hold.begin or "ever", hold.end or "ever", hold.reason),
        )
        for hold in found
    ]
    print_table(["hold", "user", "stream", "from", "until before", "why"], rows)


@app.command()
def remove(hold_id: UUID) -> None:
    """Let go of a hold; that it was on stays on record."""
    from resources.blob_retention import release_hold  # noqa: PLC0415 (heavy)

    with telling(), psycopg.connect(Settings().connections().database_url) as connection:
        if not release_hold(connection, hold_id):
            raise typer.BadParameter(f"there is no hold {hold_id}: see `am hold list`")


def after(text: str) -> datetime:
    """Where a hold that ends with a day or a time stops. Raises: typer.BadParameter."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return instant(text)
    return instant(day.isoformat()) + timedelta(days=1)
