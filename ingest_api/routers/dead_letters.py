"""What could not become rows: the owner's dead letters, with their reasons."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Request
from psycopg.rows import dict_row

from ingest_api.audit import Tallied
from ingest_api.auth import require
from ingest_api.services import Services
from ingest_api.tokens import Principal, Scope

router = APIRouter(tags=["dead letters"])

LIST = """
SELECT dead_letter_id, device_id, stream, day, door, code, reason, times_seen, state,
    received_at, last_seen_at, coalesce(length(payload), 0) AS payload_bytes
FROM am.dead_letter WHERE user_id = %s AND state = %s ORDER BY received_at DESC LIMIT %s
"""


@router.get("/v1/dead-letters")
async def dead_letters(
    request: Request,
    principal: Annotated[Principal, Depends(require(Scope.READ))],
    tally: Tallied,
    state: Literal["open", "replayed"] = "open",
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> list[dict[str, Any]]:
    """The newest dead letters, without their payloads."""
    services: Services = request.app.state.services
    async with services.pool.connection() as connection:
        cursor = connection.cursor(row_factory=dict_row)
        found = await (await cursor.execute(LIST, (principal.user_id, state, limit))).fetchall()
    tally.count = len(found)
    return found
