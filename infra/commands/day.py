"""`am day`: one day's digest."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape

from am_assets.streams.registry import REGISTRY
from infra.commands.printing import (
    AsJson,
    User,
    day_of,
    owner_of,
    plain_console,
    telling,
    whole_store,
)
from ingest_api.settings import Settings

if TYPE_CHECKING:
    from am_assets.out.day import DayDigest, Text

app = typer.Typer(help="Print one day's digest.")


@app.command()
def day(
    wanted: Annotated[str, typer.Argument(metavar="YYYY-MM-DD", help="As your clock had it.")],
    user: User = None,
    is_json: AsJson = False,
) -> None:
    """Print what is known of one day."""
    from am_assets.out.day_digest import as_json, day_digest  # noqa: PLC0415 (see above)

    with telling():
        settings = Settings()
        whole, owner = whole_store(settings), owner_of(settings, user)
        made = day_digest(whole, REGISTRY, owner, day_of(wanted), now=datetime.now(UTC))
    if is_json:
        found = {"user_id": owner, **as_json(made)}
        typer.echo(json.dumps(found, ensure_ascii=False, indent=2))
    else:
        _print_day(owner, made)


def _print_day(user: str, made: "DayDigest") -> None:
    console, local = plain_console(), made.local
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
