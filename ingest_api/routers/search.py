"""Search over HTTP: one user's moments, by meaning and by words."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from ingest_api.audit import Tallied
from ingest_api.routers.asking import Reader, Stores, answering
from resources.vectors import MAX_LIMIT, SearchRequest

router = APIRouter(tags=["asking"])


class Question(BaseModel):
    """What is looked for, and among which moments."""

    model_config = ConfigDict(extra="forbid")

    q: str = Field(min_length=1, max_length=1000, description="In your own words.")
    kind: str | None = Field(default=None, description="speech, screen text, note, clipboard")
    begin: AwareDatetime | None = Field(default=None, alias="from", description="Included.")
    end: AwareDatetime | None = Field(default=None, alias="to", description="Not included.")
    limit: int = Field(default=20, ge=1, le=MAX_LIMIT)
    app: str | None = Field(default=None, description="Part of the app's name.")
    place: str | None = Field(default=None, description="Part of the place's name.")
    device: str | None = Field(default=None, description="The device's id.")


@router.get("/v1/search")
def search(
    principal: Reader, stores: Stores, tally: Tallied, question: Annotated[Question, Query()]
) -> dict[str, Any]:
    """The best moments first.

    `mode` is `hybrid`, or `words` where the embedding model is not there: then `note` says what to
    do, and only moments that hold one of the words are found.
    """
    asked = SearchRequest(
        user_id=principal.user_id,
        text=question.q,
        kind=question.kind,
        begin=question.begin,
        end=question.end,
        device_id=question.device,
        app=question.app,
        place=question.place,
        limit=question.limit,
    )
    with answering():
        found = stores.searcher.search(asked)
    tally.count = len(found.hits)
    return asdict(found)
