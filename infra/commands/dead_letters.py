"""`am dead-letters`: what could not become rows, why, and another chance for it."""

import asyncio
from typing import Annotated
from uuid import UUID

import psycopg
import typer
from psycopg import AsyncConnection
from psycopg.rows import class_row

from am_assets.streams.registry import REGISTRY
from ingest_api.replay import OPEN, Replayed, StoredLetter, replay
from ingest_api.settings import Settings
from ingest_api.stage import landing_stage
from resources.blobs import BlobStore

app = typer.Typer(no_args_is_help=True, help="Elements that could not become rows.")
Ids = Annotated[list[UUID] | None, typer.Argument(help="All open ones where none is named.")]


@app.command("list")
def list_() -> None:
    """One line each: id, device, stream, reason."""
    for letter in _find(None):
        typer.echo(
            f"{letter.dead_letter_id}  {letter.user_id}/{letter.device_id}  {letter.stream}  "
            f"{letter.code}: {letter.reason}"
        )


@app.command()
def show(dead_letter_id: UUID) -> None:
    """Print one payload as it was sent."""
    letters = _find([dead_letter_id])
    if not letters:
        raise typer.BadParameter("no open dead letter has this id: see `am dead-letters list`")
    (letter,) = letters
    payload = letter.payload
    if payload is None:
        payload = BlobStore(Settings().connections()).get(letter.payload_key or "")
    typer.echo(payload)


@app.command("replay")
def replay_(ids: Ids = None) -> None:
    """Try again, through the stage that refused them; exit code 1 while some are refused."""
    results = asyncio.run(_replay(ids))
    for result in results:
        outcome = "taken" if result.is_taken else f"still refused: {result.reason}"
        typer.echo(f"{result.dead_letter_id}  {outcome}")
    raise typer.Exit(0 if all(result.is_taken for result in results) else 1)


def _find(ids: list[UUID] | None) -> list[StoredLetter]:
    with psycopg.connect(Settings().connections().database_url) as connection:
        cursor = connection.cursor(row_factory=class_row(StoredLetter))
        return cursor.execute(OPEN, {"ids": ids}).fetchall()


async def _replay(ids: list[UUID] | None) -> list[Replayed]:
    settings = Settings()
    connections = settings.connections()
    async with landing_stage(settings, connections) as stage:
        connected = AsyncConnection.connect(connections.database_url, autocommit=True)
        async with await connected as connection:
            return await replay(
                connection,
                stage=stage,
                blobs=BlobStore(connections),
                registry=REGISTRY,
                ids=ids or None,
                secrets=settings.owntracks_secrets,
            )
