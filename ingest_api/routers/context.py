"""`GET /ai/context`: what an assistant is told of a user before it is asked anything."""

from datetime import UTC, datetime

from fastapi import APIRouter

from ingest_api.audit import Tallied
from ingest_api.context import Context, read_context
from ingest_api.routers.asking import Reader, Stores, answering

router = APIRouter(tags=["asking"])


@router.get("/ai/context")
def context(principal: Reader, stores: Stores, tally: Tallied) -> Context:
    """The newest row of each of your streams, how many rows there are, and the same in words."""
    with answering(), stores.hot.reader(principal.user_id) as connection:
        found = read_context(connection, stores.registry, now=datetime.now(UTC))
    tally.count = found.summary.populated_tables
    return found
