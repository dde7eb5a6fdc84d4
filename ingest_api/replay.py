"""Giving dead letters another chance: through the same stage that refused them."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import class_row

from am_assets.schemas.columns import BLOB
from am_assets.streams.registry import Registry, UnknownStreamError
from ingest_api.batch import ElementRouter, to_stream
from ingest_api.bodies import read_json
from ingest_api.border import translating
from ingest_api.errors import MalformedBodyError, Reason
from ingest_api.landing import Arrival, LandingStage
from ingest_api.mixed_doors import route_of
from ingest_api.tokens import Principal
from resources.blobs import BlobStore

NOBODY = UUID(int=0)  # a replay is the owner's, not a token's
OPEN = """
SELECT dead_letter_id, user_id, device_id, stream, door, code, reason, payload, payload_key
FROM am.dead_letter WHERE state = 'open' AND (%(ids)s::uuid[] IS NULL
    OR dead_letter_id = ANY(%(ids)s::uuid[])) ORDER BY received_at
"""
DONE = "UPDATE am.dead_letter SET state = 'replayed', replayed_at = now() WHERE dead_letter_id = %s"


@dataclass(frozen=True)
class StoredLetter:
    """A dead letter as the database keeps it."""

    dead_letter_id: UUID
    user_id: str
    device_id: str
    stream: str
    door: str
    code: str
    reason: str
    payload: bytes | None
    payload_key: str | None


@dataclass(frozen=True)
class Replayed:
    """What became of one dead letter: `is_taken`, or still refused, and why."""

    dead_letter_id: UUID
    is_taken: bool
    reason: str


async def replay(
    connection: AsyncConnection,
    *,
    stage: LandingStage,
    blobs: BlobStore,
    registry: Registry,
    ids: Sequence[UUID] | None,
) -> list[Replayed]:
    """Try open dead letters again, all of them or those in `ids`; what is taken is marked so.

    Raises: UnavailableError, psycopg.Error.
    """
    cursor = connection.cursor(row_factory=class_row(StoredLetter))
    letters = await (await cursor.execute(OPEN, {"ids": ids})).fetchall()
    return [
        await _replay_one(connection, letter, stage=stage, blobs=blobs, registry=registry)
        for letter in letters
    ]


async def _replay_one(
    connection: AsyncConnection,
    letter: StoredLetter,
    *,
    stage: LandingStage,
    blobs: BlobStore,
    registry: Registry,
) -> Replayed:
    try:
        element = payload_of(letter, registry=registry, blobs=blobs)
        route = _route(letter, registry)
    except (MalformedBodyError, UnknownStreamError) as error:
        return Replayed(letter.dead_letter_id, is_taken=False, reason=str(error))
    principal = Principal(NOBODY, letter.user_id, None, frozenset())
    receipt = await stage.land(
        Arrival(
            elements=[element],
            route=route,
            door=f"replay {letter.door}",
            principal=principal,
            device_id=letter.device_id,
        )
    )
    if receipt.rejected:
        return Replayed(
            letter.dead_letter_id,
            is_taken=False,
            reason=receipt.batch.dead_letters[0].reason,
        )
    await connection.execute(DONE, (letter.dead_letter_id,))
    return Replayed(letter.dead_letter_id, is_taken=True, reason="")


def payload_of(letter: StoredLetter, *, registry: Registry, blobs: BlobStore) -> Any:
    """The element as it was sent; a refused row's bytes are fetched from where they lie.

    Raises: MalformedBodyError when it was no JSON; NotFoundError, UnavailableError.
    """
    with translating():
        text = letter.payload or blobs.get(letter.payload_key or "")
    element = read_json(text)
    if letter.code != Reason.REFUSED:
        return element
    blob = registry[letter.stream].blob
    if blob is not None:
        with translating():
            content = blobs.get(element["blob_key"])
        element[blob.field] = base64.b64encode(content).decode()
    measured = {column.name for column in BLOB} if blob else set()
    return {name: value for name, value in element.items() if name not in measured}


def _route(letter: StoredLetter, registry: Registry) -> ElementRouter:
    """A row that the database refused is a row of its stream already, whatever its door was."""
    mixed = route_of(letter.door.removeprefix("replay "), registry)
    if mixed is None or letter.code == Reason.REFUSED:
        return to_stream(registry[letter.stream])
    return mixed
