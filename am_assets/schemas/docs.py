"""Markdown that follows from the registry, for the generated blocks of the documents."""

from collections.abc import Iterable

from am_assets.streams.stream import Stream

HEADER = "| stream | what it holds | doors | hot for |\n| --- | --- | --- | --- |\n"


def stream_table(streams: Iterable[Stream]) -> str:
    """One row a stream, in the order of the registry."""
    return HEADER + "".join(stream_row(stream) for stream in streams)


def stream_row(stream: Stream) -> str:
    """A stream's row: name, summary, how it comes in, how long it stays in the database."""
    return f"| `{stream.name}` | {stream.summary} | {_doors(stream)} | {stream.keep_hot.days} d |\n"


def _doors(stream: Stream) -> str:
    if stream.is_derived:
        return "made by AM"
    paths = [
        f"`{'WS' if door.protocol == 'websocket' else 'POST'} {door.path}`" for door in stream.doors
    ]
    return "<br>".join(paths) or f"`POST /v1/streams/{stream.name}`"
