"""What `am demo` prints: what was found, how well, and where to look on."""

from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from itertools import groupby

import httpx
import psycopg
from rich.console import Console
from rich.table import Table

from am_assets.streams.registry import REGISTRY
from infra.demo.findings import Done, Findings, Heard, Read, Scores
from infra.demo.truth import DemoDay
from ingest_api.settings import Settings
from resources.connections import Connections
from resources.duck import connect, query
from resources.hot import Span
from resources.places import name_places, visits
from resources.whole import WholeStore

LINES_A_SCREEN = 3
GPS = REGISTRY["device.sensor.gps.raw"]
QUESTION = "SELECT kind, count(*) AS events FROM lake.am.timeline GROUP BY kind ORDER BY 2 DESC"
LEDGER = """
SELECT sum(received), sum(stored), sum(duplicate), sum(rejected) FROM am.landing WHERE user_id = %s
"""


def print_findings(console: Console, findings: Findings, *, zone: tzinfo) -> None:
    """The sentences, the screens' first lines, the activities."""
    console.print(_said(findings.heard, zone))
    console.print(_read(findings.read, zone))
    console.print(_done(findings.done, zone))


def print_scores(console: Console, scores: Scores) -> None:
    """Against the known truth."""
    if scores.word_error_rate is not None:
        console.print(f"words wrong       {scores.word_error_rate:6.1%}  of the known speech")
    if scores.character_accuracy is not None:
        console.print(f"characters right  {scores.character_accuracy:6.1%}  of the known screens")
    if scores.activity_accuracy is not None:
        console.print(f"activities right  {scores.activity_accuracy:6.1%}  of the known windows")


def print_answers(
    console: Console, client: httpx.Client, connections: Connections, *, user_id: str, day: DemoDay
) -> None:
    """Places, a search, a question in SQL, the ledger: through the doors a person would use."""
    midnight = datetime.combine(day.day, time(), tzinfo=day.zone)
    begin, end = midnight.astimezone(UTC), (midnight + timedelta(days=1)).astimezone(UTC)
    console.print(_places(connections, begin, end, user_id=user_id, zone=day.zone))
    if day.truth.questions:
        console.print(_search(client, day.truth.questions[0].query, zone=day.zone))
    console.print(_sql(connections, user_id=user_id))
    print_ledger(console, connections, user_id=user_id)


def print_ledger(console: Console, connections: Connections, *, user_id: str) -> None:
    """Whether the counts add up."""
    with psycopg.connect(connections.database_url) as connection:
        row = connection.execute(LEDGER, (user_id,)).fetchone()
    assert row is not None
    received, stored, duplicate, rejected = row
    console.print(
        f"ledger            {received} received = {stored} stored + {duplicate} duplicate "
        f"+ {rejected} rejected"
    )


def print_where(console: Console, settings: Settings, *, token: str, day: date) -> None:
    """Addresses, and a token to use them with."""
    api = settings.api_url
    begin, end = f"{day}T00:00:00Z", f"{day + timedelta(days=1)}T00:00:00Z"
    console.print(
        f"""
The API           {api}/docs
The Dagster UI    http://127.0.0.1:{settings.dagster_port}
The timeline      curl -H 'Authorization: Bearer {token}' \\
                    '{api}/v1/timeline?from={begin}&to={end}'

Next: am day {day} · am search "…" · am sql "…" · am status · am down""",
        soft_wrap=True,
    )


def _places(
    connections: Connections, begin: datetime, end: datetime, *, user_id: str, zone: tzinfo
) -> Table:
    fixes = WholeStore(connections).read(GPS, Span(begin, end, user_id=user_id))
    stays = visits(fixes)
    names = name_places([(stay.latitude, stay.longitude) for stay in stays])
    table = _table("Where the day was spent", "from", "to", "place")
    labelled = [
        (place.label if place else f"{stay.latitude:.4f}, {stay.longitude:.4f}", stay)
        for stay, place in zip(stays, names, strict=True)
    ]
    for label, group in groupby(labelled, key=lambda pair: pair[0]):
        (_, first), *_ = rest = list(group)  # stays at one place after another are one line
        leave = rest[-1][1].leave
        table.add_row(
            f"{first.enter.astimezone(zone):%H:%M}", f"{leave.astimezone(zone):%H:%M}", label
        )
    return table


def _search(client: httpx.Client, question: str, *, zone: tzinfo) -> Table:
    answer = client.get("/v1/search", params={"q": question, "limit": 3})
    answer.raise_for_status()
    table = _table(f"Search: {question}", "when", "kind", "words")
    for hit in answer.json()["hits"]:
        when = datetime.fromisoformat(hit["ts"]).astimezone(zone)
        table.add_row(f"{when:%H:%M:%S}", hit["kind"], hit["text"][:200])
    return table


def _sql(connections: Connections, *, user_id: str) -> Table:
    connection = connect(connections, REGISTRY, user_id=user_id)
    rows = query(connection, QUESTION).to_pylist()
    table = _table(f"SQL: {QUESTION}", "kind", "events")
    for row in rows:
        table.add_row(row["kind"], str(row["events"]))
    return table


def _said(heard: Sequence[Heard], zone: tzinfo) -> Table:
    table = _table("What was said", "when", "words", "sure")
    for part in heard:
        table.add_row(f"{part.ts.astimezone(zone):%H:%M:%S}", part.text, f"{part.confidence:.0%}")
    return table


def _read(read: Iterable[Read], zone: tzinfo) -> Table:
    table = _table("What stood on screens", "when", "first lines", "lines")
    for part in read:
        first = " · ".join(part.lines[:LINES_A_SCREEN])
        table.add_row(f"{part.ts.astimezone(zone):%H:%M:%S}", first, str(len(part.lines)))
    return table


def _done(done: Iterable[Done], zone: tzinfo) -> Table:
    table = _table("What was done", "from", "to", "activity", "sure")
    for part in done:
        table.add_row(
            f"{part.start.astimezone(zone):%H:%M:%S}",
            f"{part.end.astimezone(zone):%H:%M:%S}",
            part.label,
            f"{part.confidence:.0%}",
        )
    return table


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold")
    for column in columns:
        table.add_column(column)
    return table
