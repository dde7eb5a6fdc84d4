"""A row that was understood and that the database refuses all the same becomes a dead letter."""

import json
from uuid import uuid5

from am_assets.schemas.row_ids import NAMESPACE
from ingest_api.batch import DeadLetter
from ingest_api.elements import NewRow, plain
from ingest_api.errors import Reason


def refuse(row: NewRow, *, door: str, reason: str) -> DeadLetter:
    """Keep the row's content; a blob it had is in the object store under the row's `blob_key`."""
    payload = {
        "device_id": row.envelope.device_id,
        "ts": row.envelope.ts,
        "event_id": row.event_id,
        "tz_offset_min": row.envelope.instant.tz_offset_min,
        **row.extra,
        **row.values,
    }
    return DeadLetter(
        dead_letter_id=uuid5(NAMESPACE, f"{row.user_id}\n{row.stream.name}\n{row.event_id}"),
        user_id=row.user_id,
        device_id=row.envelope.device_id,
        stream=row.stream.name,
        day=row.day,
        door=door,
        code=Reason.REFUSED,
        reason=reason,
        payload=json.dumps(payload, default=plain).encode(),
    )
