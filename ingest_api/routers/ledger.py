"""The ledger over HTTP: what arrived, and whether it adds up."""

from dataclasses import asdict
from datetime import UTC, date, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query

from ingest_api.audit import Tallied
from ingest_api.routers.asking import Reader, Stores, answering
from resources.ledger import Line, read_ledger

router = APIRouter(tags=["asking"])


@router.get("/v1/ledger")
def ledger(
    principal: Reader,
    stores: Stores,
    tally: Tallied,
    day: Annotated[date | None, Query(description="UTC; today without it.")] = None,
) -> dict[str, Any]:
    """Received = stored + duplicate + rejected, per device, stream and day; and the rows there are,
    wherever they are by now.
    """
    asked = day or datetime.now(UTC).date()
    with answering(), stores.whole.reader(principal.user_id) as reader:
        found = read_ledger(reader, stores.registry, day=asked)
    tally.count = len(found.lines)
    return {
        "day": asked,
        "is_adding_up": found.is_adding_up,
        "lines": [_shown(line) for line in found.lines],
        "totals": asdict(found.totals),
    }


def _shown(line: Line) -> dict[str, Any]:
    return {**asdict(line.sums), "rows": line.rows, "is_adding_up": line.is_adding_up}
