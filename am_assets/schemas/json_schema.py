"""JSON Schema (Draft 2020-12) of what a client may send to a stream."""

from typing import Any

from am_assets.streams.stream import Stream

DIALECT = "https://json-schema.org/draft/2020-12/schema"
INSTANT = {
    "anyOf": [{"type": "string", "format": "date-time"}, {"type": "number"}],
    "description": "ISO 8601, or a number of seconds, milli-, micro- or nanoseconds since 1970.",
}


def message_schema(stream: Stream) -> dict[str, Any]:
    """The schema of one message: envelope, columns, and every alias a client may use instead.

    Unknown properties are allowed: they are kept in `extra`.
    """
    own = stream.row.model_json_schema()
    envelope = _envelope()
    properties = {**envelope, **own.get("properties", {}), **_blob(stream)}
    for alias, column in stream.aliases.items():
        if alias in envelope:  # the front door reads it too, and says what it has to be
            continue
        properties[alias] = {**properties[column], "description": f"Another name of {column}."}
    return {
        "$schema": DIALECT,
        "$id": f"urn:am:{stream.name}:{stream.schema_version}",
        "title": stream.name,
        "description": stream.summary,
        "type": "object",
        "properties": properties,
        "allOf": [_one_of(names) for names in _required(stream, own)],
        "additionalProperties": True,
        "examples": [dict(stream.example)] if stream.example else [],
        **({"$defs": own["$defs"]} if "$defs" in own else {}),
    }


def _envelope() -> dict[str, Any]:
    text = {"type": ["string", "null"]}
    return {
        "device_id": {"type": "string", "maxLength": 128},
        "recorded_at": INSTANT,
        "timestamp": INSTANT,
        "ts": INSTANT,
        "tz_offset_min": {"type": ["integer", "null"]},
        "message_id": text,
        "event_id": text,
        "trace_id": text,
        "content_hash": text,
    }


def _blob(stream: Stream) -> dict[str, Any]:
    if stream.blob is None:
        return {}
    data = {"type": "string", "contentEncoding": "base64", "contentMediaType": stream.blob.media}
    return dict.fromkeys((stream.blob.field, *stream.blob.aliases), data)


def _required(stream: Stream, own: dict[str, Any]) -> list[tuple[str, ...]]:
    """Groups of names of which a message must hold at least one each."""
    measured = stream.blob.facts if stream.blob else ()
    groups = [
        (column, *(alias for alias, meant in stream.aliases.items() if meant == column))
        for column in own.get("required", [])
        if column not in measured
    ]
    if stream.blob:
        groups.append((stream.blob.field, *stream.blob.aliases))
    return [*groups, ("recorded_at", "timestamp", "ts")]


def _one_of(names: tuple[str, ...]) -> dict[str, Any]:
    return {"anyOf": [{"required": [name]} for name in names]}
