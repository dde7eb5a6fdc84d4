"""One moment over HTTP: itself, everything round it, and where it came from."""

from dataclasses import asdict
from datetime import timedelta
from typing import Annotated, Any
from urllib.parse import quote
from uuid import UUID

from fastapi import APIRouter, Query

from ingest_api.audit import Tallied
from ingest_api.errors import NotFoundError
from ingest_api.routers.asking import Reader, Stores, answering
from resources.lineage import Source, Step, trace
from resources.timeline import read_around

router = APIRouter(tags=["asking"])


@router.get("/v1/moments/{moment_id}")
def moment(
    moment_id: str,
    principal: Reader,
    stores: Stores,
    tally: Tallied,
    minutes: Annotated[float, Query(gt=0, le=60, description="Before and after.")] = 5,
) -> dict[str, Any]:
    """The moment, its lineage from the row it was made of back to what a device sent, and all else
    that happened then, by kind: `total` of each, and the nearest of them.
    """
    with answering():
        found = stores.searcher.moment(moment_id, user_id=principal.user_id)
        if found is None:
            raise NotFoundError(f"there is no moment {moment_id!r}")
        source = Source(found.source_stream, UUID(found.source_event_id))
        span, registry = timedelta(minutes=minutes), stores.registry
        with stores.whole.reader(principal.user_id) as reader:
            steps = trace(reader, registry, source, near=found.ts)
            around = read_around(reader, found.ts, span=span, registry=registry)
    tally.count = 1 + sum(len(lane.entries) for lane in around.values())
    return {
        "moment": asdict(found),
        "lineage": [_shown(step) for step in steps],
        "around": {kind: asdict(lane) for kind, lane in around.items()},
    }


def blob_url(key: str) -> str:
    """Where a blob is to be had."""
    return f"/v1/blobs/{quote(key)}"


def _shown(step: Step) -> dict[str, Any]:
    url = blob_url(step.blob_key) if step.blob_key else None
    return {**asdict(step), "blob_url": url}
