"""Giving dead letters another chance: through the same stage that refused them."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from psycopg import AsyncConnection
from psycopg.rows import class_row
from pydantic import SecretStr

from am_assets.schemas.columns import BLOB
from am_assets.streams.registry import Registry, UnknownStreamError
from ingest_api.adapters.adapter import Adapter, AppRequest
from ingest_api.adapters.catalog import ADAPTERS
from ingest_api.app_requests import again, arrival, understood
from ingest_api.batch import UNKNOWN_STREAM, ElementRouter, to_stream
from ingest_api.bodies import read_json
from ingest_api.border import translating
from ingest_api.errors import MalformedBodyError, Reason
from ingest_api.landing import Arrival, LandingStage
from ingest_api.mixed_doors import route_of
from ingest_api.tokens import Principal
from resources.blobs import BlobStore

NOBODY = UUID(int=0)  # a replay is the owner's, not a token's
OPEN = """
SELECT dead_letter_id, user_id, device_id, stream, door, code, reason, payload, payload_key,
    request, received_at
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
    request: Mapping[str, Any] | None
    received_at: datetime


@dataclass(frozen=True)
class Replayed:
    """What became of one dead letter: `is_taken`, or still refused, and why."""

    dead_letter_id: UUID
    is_taken: bool
    reason: str


@dataclass(frozen=True)
class _Source:
    """What a letter is read with."""

    registry: Registry
    blobs: BlobStore
    secrets: Mapping[str, SecretStr]


async def replay(
    connection: AsyncConnection,
    *,
    stage: LandingStage,
    blobs: BlobStore,
    registry: Registry,
    ids: Sequence[UUID] | None,
    secrets: Mapping[str, SecretStr] | None = None,
) -> list[Replayed]:
    """Try open dead letters again, all of them or those in `ids`; what is taken is marked so.

    A body that an app's adapter could not read is read by that adapter once more; `secrets` are the
    users' own keys for what is encrypted, by user id.

    Raises: UnavailableError, psycopg.Error.
    """
    cursor = connection.cursor(row_factory=class_row(StoredLetter))
    letters = await (await cursor.execute(OPEN, {"ids": ids})).fetchall()
    source = _Source(registry, blobs, secrets or {})
    return [await _replay_one(connection, letter, stage=stage, source=source) for letter in letters]


async def _replay_one(
    connection: AsyncConnection, letter: StoredLetter, *, stage: LandingStage, source: _Source
) -> Replayed:
    try:
        brought = _arrival(letter, source)
    except (MalformedBodyError, UnknownStreamError) as error:
        return Replayed(letter.dead_letter_id, is_taken=False, reason=str(error))
    receipt = await stage.land(brought)
    refused = {refusal.dead_letter_id: refusal for refusal in receipt.batch.dead_letters}
    if letter.dead_letter_id in refused:
        reason = refused[letter.dead_letter_id].reason
        return Replayed(letter.dead_letter_id, is_taken=False, reason=reason)
    if refused and not (receipt.stored or receipt.duplicate):
        reason = next(iter(refused.values())).reason
        return Replayed(letter.dead_letter_id, is_taken=False, reason=reason)
    await connection.execute(DONE, (letter.dead_letter_id,))
    return Replayed(letter.dead_letter_id, is_taken=True, reason="")


def _arrival(letter: StoredLetter, source: _Source) -> Arrival:
    """The letter at the landing stage once more.

    Raises: MalformedBodyError, UnknownStreamError, NotFoundError, UnavailableError.
    """
    adapter = ADAPTERS.get(letter.door.removeprefix("replay ").strip("/"))
    if adapter is not None and letter.stream == UNKNOWN_STREAM and letter.request is not None:
        return _read_again(letter, adapter, source)
    return Arrival(
        elements=[payload_of(letter, registry=source.registry, blobs=source.blobs)],
        route=_route(letter, source.registry),
        door=f"replay {letter.door}",
        principal=Principal(NOBODY, letter.user_id, None, frozenset()),
        device_id=letter.device_id,
        request=letter.request,
    )


def _read_again(letter: StoredLetter, adapter: Adapter, source: _Source) -> Arrival:
    """A body that the adapter could not read, or a part of one, by the adapter as it is now."""
    facts = letter.request or {}
    secret = source.secrets.get(letter.user_id)
    like = AppRequest(
        received_at=letter.received_at, secret=secret.get_secret_value() if secret else None
    )
    received = understood(again(_payload(letter, source.blobs), facts, like), adapter)
    if not received.items:
        raise MalformedBodyError(f"{adapter.app}'s adapter finds nothing in it")
    principal = Principal(NOBODY, letter.user_id, facts["device_id"], frozenset())
    brought = arrival(
        received, principal=principal, registry=source.registry, device_id=letter.device_id
    )
    return replace(brought, door=f"replay {letter.door}")


def payload_of(letter: StoredLetter, *, registry: Registry, blobs: BlobStore) -> Any:
    """The element as it was sent; a refused row's bytes are fetched from where they lie.

    Raises: MalformedBodyError when it was no JSON; NotFoundError, UnavailableError.
    """
    element = read_json(_payload(letter, blobs))
    if letter.code != Reason.REFUSED:
        return element
    blob = registry[letter.stream].blob
    if blob is not None:
        with translating():
            content = blobs.get(element["blob_key"])
        element[blob.field] = base64.b64encode(content).decode()
    measured = {column.name for column in BLOB} if blob else set()
    return {name: value for name, value in element.items() if name not in measured}


def _payload(letter: StoredLetter, blobs: BlobStore) -> bytes:
    with translating():
        return letter.payload or blobs.get(letter.payload_key or "")


def _route(letter: StoredLetter, registry: Registry) -> ElementRouter:
    """A row that the database refused is a row of its stream already, whatever its door was."""
    mixed = route_of(letter.door.removeprefix("replay "), registry)
    if mixed is None or letter.code == Reason.REFUSED:
        return to_stream(registry[letter.stream])
    return mixed
