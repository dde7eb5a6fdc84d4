"""`am retention`: which old days may leave the database for the lake, and their leaving."""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from am_assets.streams.registry import REGISTRY
from infra.commands.printing import AsJson, plain, print_table, telling
from ingest_api.settings import Settings

if TYPE_CHECKING:
    from resources.retention import Candidate, Departures

app = typer.Typer(help="Let old days leave the database; the lake keeps them.")


@app.command()
def retention(
    is_dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only tell which days would leave.")
    ] = False,
    is_json: AsJson = False,
) -> None:
    """Let every day leave that is due, as the assets do at night. Nothing is lost by it.

    Exit code 1 where a day could not leave.
    """
    from resources.retention import Retention  # noqa: PLC0415 (loads the lake's libraries)

    today = datetime.now(UTC).date()
    with telling():
        settings = Settings()
        days = Retention(settings.connections(), REGISTRY, settings.keep_hot())
        if is_dry_run:
            _print_candidates(days.candidates(today), is_json=is_json)
            return
        done = days.leave_due(today, run_id="am retention")
    _print_departures(done, is_json=is_json)
    raise typer.Exit(1 if done.failed else 0)


def _print_candidates(found: "list[Candidate]", *, is_json: bool) -> None:
    if is_json:
        typer.echo(json.dumps([asdict(one) for one in found], default=plain, indent=2))
        return
    if found:
        lines = [(x.day, x.stream, x.row_count, x.held_by or "would leave") for x in found]
        print_table(["day", "stream", "rows", ""], lines)
    due = [one for one in found if one.held_by is None]
    rows = sum(one.row_count for one in due)
    typer.echo(f"{len(due)} days would leave, {rows:,} rows; {len(found) - len(due)} wait")


def _print_departures(done: "Departures", *, is_json: bool) -> None:
    if is_json:
        typer.echo(json.dumps(_told(done), default=plain, indent=2))
        return
    if done.left:
        lines = [(one.day, one.stream, one.row_count) for one in done.left]
        print_table(["day", "stream", "rows"], lines)
    for reason in done.waiting.values():
        typer.echo(f"stays for now: {reason}")
    for (stream, day), reason in done.failed.items():
        typer.echo(f"could not leave: {stream} of {day}: {reason}", err=True)
    rows = sum(one.row_count for one in done.left)
    typer.echo(f"{len(done.left)} days left the database, {rows:,} rows")


def _told(done: "Departures") -> dict[str, Any]:
    def listed(reasons: Any) -> list[dict[str, Any]]:
        return [{"stream": name, "day": day, "why": why} for (name, day), why in reasons.items()]

    return {
        "left": [asdict(one) for one in done.left],
        "waiting": listed(done.waiting),
        "failed": listed(done.failed),
    }
