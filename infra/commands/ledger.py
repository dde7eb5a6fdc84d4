"""`am ledger`: what arrived, what became of it, and whether it adds up."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from am_assets.streams.registry import REGISTRY
from infra.commands.printing import AsJson, day_of, plain, print_table, telling, whole_store
from ingest_api.settings import Settings

if TYPE_CHECKING:
    from resources.ledger import Ledger

app = typer.Typer(help="Show that the counts add up.")


@app.command()
def ledger(
    wanted: Annotated[str | None, typer.Option("--day", help="UTC; all days without it.")] = None,
    is_json: AsJson = False,
) -> None:
    """Print what arrived and what became of it; exit code 1 unless it adds up."""
    from resources.ledger import read_ledger  # noqa: PLC0415 (see above)

    with telling(), whole_store(Settings()).snapshot() as reader:
        found = read_ledger(reader, REGISTRY, day=day_of(wanted) if wanted else None)
    if is_json:
        typer.echo(json.dumps(_ledger_json(found), default=plain, indent=2))
    else:
        _print_ledger(found)
    raise typer.Exit(0 if found.is_adding_up else 1)


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
    print_table([*names, "rows", "adds up"], rows)
    total = found.totals
    typer.echo(
        f"{total.received} received = {total.stored} stored + {total.duplicate} duplicate "
        f"+ {total.rejected} rejected; {total.rows} of {total.stored_in_reach} rows are there"
    )
