"""`am demo`: a day goes in through the public doors, is processed by Dagster, and is looked at."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Annotated

import httpx
import psycopg
import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from am_assets.derived.catalog import ENRICHMENTS
from am_assets.streams.registry import REGISTRY
from infra.demo.day import real_day
from infra.demo.findings import find, score
from infra.demo.message import Message
from infra.demo.month import generated_month
from infra.demo.report import print_answers, print_findings, print_scores, print_where
from infra.demo.send import SendReport, send
from infra.demo.truth import DemoDay
from infra.stack import Stack
from ingest_api.settings import Settings
from ingest_api.tokens import Scope, create_token
from resources.connections import Connections
from resources.lake import Lake
from resources.work import WorkQueue

OWNER = "ivo"
CONCURRENCY = 8
POLL_S = 1.0
RUNNING = "SELECT DISTINCT enrichment, day FROM am.work_item WHERE state = 'running' ORDER BY 1, 2"
LATER = (
    "Nothing is lost: Dagster goes on with it, and slowly where the machine is busy. "
    "`am demo` again stores nothing twice, waits for the rest and shows what was found."
)
console = Console()
app = typer.Typer(help="Send one real day through the public doors and have it processed.")


@app.command()
def demo(
    days: Annotated[int, typer.Option(min=1, help="1: a recorded day. More: a made-up life.")] = 1,
    seed: Annotated[int, typer.Option(help="The same seed makes the same days.")] = 1,
    patience_min: Annotated[int, typer.Option(min=1, help="Give up waiting after this.")] = 15,
) -> None:
    """Exit code 1 where something was refused, or is not processed in time."""
    settings = Settings()
    Stack(settings.home).start(lambda part, what: console.print(f"{part:16} {what}", style="dim"))
    base_url = settings.api_url
    connections = settings.connections()
    chosen = _days(days, seed=seed, yesterday=datetime.now(UTC).date() - timedelta(days=1))
    token = _token(connections)
    report = _send([m for day in chosen for m in day.messages], base_url=base_url, token=token)
    if report.failures:
        console.print(f"refused: {report.failures[0].answer}", style="red")
        raise typer.Exit(1)
    days_sent = {m.ts.astimezone(UTC).date() for day in chosen for m in day.messages}
    backlog = Backlog(connections, days=frozenset(days_sent))
    _await(backlog, deadline=time.monotonic() + 60 * patience_min)
    _show(chosen, connections=connections, base_url=base_url, token=token)
    print_where(console, settings, token=token, day=chosen[-1].day)


def _days(count: int, *, seed: int, yesterday: date) -> Sequence[DemoDay]:
    if count == 1:
        return [real_day(yesterday, seed=seed)]
    return generated_month(count, seed=seed, end=yesterday).days


def _token(connections: Connections) -> str:
    with psycopg.connect(connections.database_url) as connection:
        scopes = frozenset({Scope.WRITE, Scope.READ})
        return create_token(connection, user_id=OWNER, device_id="*", scopes=scopes)


def _send(messages: Sequence[Message], *, base_url: str, token: str) -> SendReport:
    columns = (TextColumn("sending"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("sending", total=len(messages))
        report = asyncio.run(
            send(
                messages,
                base_url=base_url,
                token=token,
                concurrency=CONCURRENCY,
                on_progress=lambda done, _: bar.update(task, completed=done),
            )
        )
    console.print(f"{report.accepted} of {report.sent} messages are committed")
    return report


@dataclass(frozen=True)
class Backlog:
    """What is not processed or not published yet, of some UTC days; of all where none are named.

    A device that sends all the time keeps today open for ever.
    """

    connections: Connections
    days: frozenset[date] | None = None

    def open(self) -> list[str]:
        """One line an enrichment, or a day to publish, with something to do or being done."""
        return self._look() or self._look()  # what moved on during the first look is in the second

    def _look(self) -> list[str]:
        with psycopg.connect(self.connections.database_url) as connection:
            running = connection.execute(RUNNING).fetchall()
        queue, lake = WorkQueue(self.connections.database_url), Lake(self.connections)
        behind = lake.days_behind(REGISTRY.values())
        found = [(day, f"{name} {day} at work") for name, day in running]
        found += [(one.day, f"{one.stream} {one.day} to publish") for one in behind]
        for work in ENRICHMENTS:
            found += [(one.day, f"{work.name} {one.day}") for one in queue.open_days(work)]
        return [line for day, line in found if self.days is None or day in self.days]


def _await(backlog: Backlog, *, deadline: float) -> None:
    """Watch Dagster's runs work it off."""
    begin = time.monotonic()
    with console.status("Dagster takes over") as status:
        while lines := backlog.open():
            if time.monotonic() > deadline:
                console.print("not done in time:", *lines, sep="\n  ", style="red")
                console.print(LATER)
                raise typer.Exit(1)
            seconds = time.monotonic() - begin
            status.update(f"{seconds:4.0f} s  {len(lines)} to do, such as {lines[0]}")
            time.sleep(POLL_S)
    console.print(f"processed by Dagster in {time.monotonic() - begin:.0f} s")


def _show(days: Sequence[DemoDay], *, connections: Connections, base_url: str, token: str) -> None:
    with psycopg.connect(connections.database_url) as connection:
        for day in days:
            found = find(connection, user_id=OWNER, truth=day.truth)
            if len(days) == 1:
                print_findings(console, found, zone=day.zone)
            if day.truth.spoken or day.truth.screens:
                console.print(f"{day.day}, against what really happened", style="bold")
                print_scores(console, score(found, day.truth))
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=base_url, headers=headers, timeout=60) as client:
        print_answers(console, client, connections, user_id=OWNER, day=days[-1])
