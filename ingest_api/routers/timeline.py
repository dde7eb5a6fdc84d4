"""The timeline over HTTP: one user's events in a span, page by page."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from ingest_api.audit import Tallied
from ingest_api.routers.asking import Reader, Stores, answering
from resources.timeline import MAX_LIMIT, Cursor, Page, TimelineRequest, check, read_page

router = APIRouter(tags=["asking"])
DEFAULT_SPAN = timedelta(days=1)


class Span(BaseModel):
    """What of the timeline is wanted."""

    model_config = ConfigDict(extra="forbid")

    begin: AwareDatetime | None = Field(default=None, alias="from", description="Included.")
    end: AwareDatetime | None = Field(default=None, alias="to", description="Not included.")
    kinds: str | None = Field(
        default=None,
        description="Separated by commas; without it all but details such as heart rate.",
    )
    limit: int = Field(default=500, ge=1, le=MAX_LIMIT)
    cursor: str | None = Field(default=None, description="`next_cursor` of the page before.")

    def request(self, now: datetime) -> TimelineRequest:
        """The span with its defaults filled in. Raises: BadCursorError."""
        until = self.end or (self.begin + DEFAULT_SPAN if self.begin else now)
        return TimelineRequest(
            begin=self.begin or until - DEFAULT_SPAN,
            end=until,
            kinds=split(self.kinds),
            limit=self.limit,
            cursor=Cursor.decode(self.cursor) if self.cursor else None,
        )


@router.get("/v1/timeline")
def timeline(
    principal: Reader, stores: Stores, tally: Tallied, span: Annotated[Span, Query()]
) -> Page:
    """Your events from early to late. Without `from` or `to` a day, up to now without both."""
    with answering():
        asked = span.request(datetime.now(UTC))
        check(asked, stores.registry)
        with stores.whole.reader(principal.user_id) as reader:
            page = read_page(reader, asked, stores.registry)
    tally.count = len(page.entries)
    return page


def split(kinds: str | None) -> tuple[str, ...]:
    """Names between commas, without blanks around them; none for none."""
    return tuple(kind.strip() for kind in (kinds or "").split(",") if kind.strip())
