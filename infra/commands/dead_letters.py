"""`am dead-letters`: what could not become rows, why, and another chance for it."""

import asyncio
from datetime import timedelta
from typing import Annotated
from uuid import UUID

import psycopg
import typer
from psycopg.rows import class_row
from psycopg_pool import AsyncConnectionPool

from am_assets.streams.registry import REGISTRY
from ingest_api.landing import LandingStage, Zones
from ingest_api.limits import blob_limit
from ingest_api.own_blobs import OwnBlobs
from ingest_api.replay import OPEN, Replayed, StoredLetter, replay
from ingest_api.settings import Settings
from ingest_api.writer import Writer
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
    blobs, writer = BlobStore(connections), Writer(connections.database_url)
    async with AsyncConnectionPool(
        connections.database_url, min_size=1, max_size=4, open=False
    ) as pool:
        await writer.start()
        stage = LandingStage(
            zones=Zones(pool),
            blobs=blobs,
            own_blobs=OwnBlobs(
                pool=pool, blobs=blobs, registry=REGISTRY, limit=blob_limit(settings)
            ),
            writer=writer,
            max_future=timedelta(seconds=settings.max_future_skew_s),
        )
        async with pool.connection() as connection:
            results = await replay(
                connection, stage=stage, blobs=blobs, registry=REGISTRY, ids=ids or None
            )
        await writer.stop()
    return results
