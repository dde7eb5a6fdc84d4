"""What AM answers to a message: the words that existing clients read, and the counts."""

from collections.abc import Mapping
from typing import Any

from ingest_api.batch import DeadLetter
from ingest_api.elements import NewRow
from ingest_api.writer import Receipt

SERVICE = "am"
MAX_LISTED = 100  # dead letters in one answer; the counts tell of all


def answer(receipt: Receipt, *, is_single: bool, trace_id: str | None) -> dict[str, Any]:
    """The body of a 200: all is committed, as rows or as dead letters that say why.

    `status` is success, partial (some elements are dead letters) or quarantined (all are).
    """
    outcomes = receipt.batch.outcomes
    return {
        "status": _status(receipt),
        "message_id": _message_id(outcomes[0]) if is_single and outcomes else None,
        "topic": _topic(receipt),
        "trace_id": trace_id,
        "services_encountered": [SERVICE],
        **_counts(receipt),
        "dead_letters": _listed(receipt),
    }


def _status(receipt: Receipt) -> str:
    if receipt.rejected == 0:
        return "success"
    return "partial" if receipt.stored + receipt.duplicate else "quarantined"


def _counts(receipt: Receipt) -> Mapping[str, int]:
    """Received = stored + duplicate + rejected; the other three are older clients' words."""
    received = receipt.batch.received
    return {
        "received": received,
        "stored": receipt.stored,
        "duplicate": receipt.duplicate,
        "rejected": receipt.rejected,
        "total": received,
        "processed": received - receipt.rejected,
        "failed": receipt.rejected,
    }


def _listed(receipt: Receipt) -> list[dict[str, Any]]:
    letters = [
        {
            "index": index,
            "id": str(outcome.dead_letter_id),
            "code": outcome.code.value,
            "reason": outcome.reason,
        }
        for index, outcome in receipt.batch.placed
        if isinstance(outcome, DeadLetter)
    ]
    return letters[:MAX_LISTED]


def _message_id(outcome: NewRow | DeadLetter) -> str:
    if isinstance(outcome, DeadLetter):
        return str(outcome.dead_letter_id)
    return str(outcome.extra.get("message_id") or outcome.event_id)


def _topic(receipt: Receipt) -> str | None:
    names = {line.stream for line in receipt.lines}
    return names.pop() if len(names) == 1 else None
