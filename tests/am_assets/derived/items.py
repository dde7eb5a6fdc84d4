"""Items made by hand, for tests of pure functions."""

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from am_assets.derived.enrichment import Item

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def item(**values: Any) -> Item:
    """An item of Ada's phone at noon."""
    facts: dict[str, Any] = {
        "item_id": UUID(int=1),
        "user_id": "ada",
        "device_id": "phone",
        "ts": NOON,
        "stream": "device.audio.raw",
    }
    return Item(**{**facts, **values})
