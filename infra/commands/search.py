"""`am search`: moments by words and by meaning."""

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from infra.commands.printing import AsJson, User, instant, owner_of, plain, print_table, telling
from ingest_api.settings import Settings

if TYPE_CHECKING:
    from resources.search import Answer, Searcher

app = typer.Typer(help="Find moments by words and meaning.")


@app.command()
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

    with telling():
        settings = Settings()
        request = SearchRequest(
            user_id=owner_of(settings, user),
            text=text,
            kind=kind,
            begin=instant(begin) if begin else None,
            end=instant(end) if end else None,
            limit=limit,
        )
        answer = _searcher(settings).search(request)
    if is_json:
        typer.echo(json.dumps(asdict(answer), default=plain, ensure_ascii=False, indent=2))
    else:
        _print_answer(answer)


def _searcher(settings: Settings) -> "Searcher":
    from models.catalog import Task  # noqa: PLC0415 (see above)
    from resources.search import Searcher  # noqa: PLC0415 (see above)

    model_id = settings.model_choice().spec(Task.TEXT_EMBEDDING).model_id
    return Searcher(settings.connections(), settings.late_compute(), model_id=model_id)


def _print_answer(answer: "Answer") -> None:
    if answer.note:
        typer.echo(answer.note, err=True)
    rows = [
        (hit.ts.replace(microsecond=0), hit.kind, hit.text, hit.place or "", hit.app or "")
        for hit in answer.hits
    ]
    print_table(["time (UTC)", "kind", "text", "place", "app"], rows)
