"""Moments for tests: real columns, vectors chosen so that nearness is known."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from am_assets.schemas.moments import moment_id, moment_schema

DIMENSION = 4
NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
SPEECH = "media.text.transcribed.words"
NOTE = "digital.notes.raw"


def moment(text: str, **changes: Any) -> dict[str, Any]:
    """One moment of ann's phone at noon, but for `changes`."""
    row = {
        "user_id": "ann",
        "device_id": "phone",
        "ts": NOON,
        "end_ts": None,
        "kind": "speech",
        "text": text,
        "source_stream": SPEECH,
        "source_event_id": "e1",
        "chunk_index": 0,
        "blob_key": None,
        "latitude": None,
        "longitude": None,
        "place": None,
        "app": None,
        "model_id": "letters",
        "model_version": "1",
        "enrichment_version": 1,
        "run_id": "test",
        "vector": letters(text),
        **changes,
    }
    made = moment_id(row["source_stream"], row["source_event_id"], row["chunk_index"])
    return {"moment_id": made, **row}


def letters(text: str) -> list[float]:
    """A vector in which texts of like letters are near: shares of b, c, d, and all others."""
    counts = [text.count(letter) for letter in "bcd"]
    others = len(text) - sum(counts) + 1
    length = sum(count**2 for count in (*counts, others)) ** 0.5
    return [count / length for count in (*counts, others)]


def table(rows: Sequence[dict[str, Any]]) -> pa.Table:
    """The rows as `VectorStore.replace` takes them."""
    return pa.Table.from_pylist(list(rows), schema=moment_schema(DIMENSION))
