"""Markdown that follows from the registry, for the generated blocks of the documents."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from am_assets.streams.registry import Registry
from am_assets.streams.stream import Stream

HEADER = "| stream | what it holds | doors | hot for |\n| --- | --- | --- | --- |\n"
CATALOGUE_COLUMNS = (
    "stream",
    "table",
    "what it holds",
    "kind",
    "doors",
    "who writes",
    "who reads",
    "hot for",
    "sensitivity",
)
SUMMARY_COLUMNS = ("domain", "raw", "derived", "planned", "among them")
KINDS = ("raw", "derived", "planned")
NAMED = 3  # streams that a domain's line of the summary names


def stream_table(streams: Iterable[Stream]) -> str:
    """One row a stream, in the order of the registry."""
    return HEADER + "".join(stream_row(stream) for stream in streams)


def stream_row(stream: Stream) -> str:
    """A stream's row: name, summary, how it comes in, how long it stays in the database."""
    return f"| `{stream.name}` | {stream.summary} | {_doors(stream)} | {stream.keep_hot.days} d |\n"


def stream_kind(stream: Stream) -> str:
    """raw, derived, or planned: derived, but nothing makes it yet."""
    if stream.is_derived:
        return "planned" if stream.planned else "derived"
    return "raw"


def catalogue(registry: Registry, *, readers: Mapping[str, Sequence[str]]) -> str:
    """All that is declared, by domain, as Markdown; `readers` = enrichments by source stream."""
    counts = Counter(stream_kind(stream) for stream in registry.values())
    told = ", ".join(f"{counts[kind]} {kind}" for kind in KINDS)
    sections = [f"{len(registry)} streams: {told}.\n"]
    for domain, streams in _by_domain(registry).items():
        rows = [_catalogue_row(stream, readers.get(stream.name, ())) for stream in streams]
        sections.append(f"## {domain}\n\n{_table(CATALOGUE_COLUMNS, rows)}")
    return "\n".join(sections)


def summary_table(registry: Registry) -> str:
    """One row a domain: how many streams of each kind, and the first few of them."""
    rows = []
    for domain, streams in _by_domain(registry).items():
        counts = Counter(stream_kind(stream) for stream in streams)
        some = ", ".join(f"`{stream.name}`" for stream in streams[:NAMED])
        rows.append([domain, *(str(counts[kind]) for kind in KINDS), some])
    return _table(SUMMARY_COLUMNS, rows)


def _by_domain(registry: Registry) -> dict[str, list[Stream]]:
    """Streams by the first part of their names, in the order of the registry."""
    domains: dict[str, list[Stream]] = {}
    for stream in registry.values():
        domains.setdefault(stream.name.partition(".")[0], []).append(stream)
    return domains


def _catalogue_row(stream: Stream, readers: Sequence[str]) -> list[str]:
    return [
        f"`{stream.name}`",
        f"`{stream.table}`",
        stream.summary,
        stream_kind(stream),
        _doors(stream),
        _writer(stream),
        "<br>".join(f"`{reader}`" for reader in readers) or "–",
        f"{stream.keep_hot.days} d",
        stream.sensitivity.value,
    ]


def _writer(stream: Stream) -> str:
    if stream.planned:
        return f"`{stream.planned}`, to come"
    return f"`{stream.table}`" if stream.is_derived else stream.sent_by


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _doors(stream: Stream) -> str:
    if stream.is_derived:
        return "made by AM"
    paths = [
        f"`{'WS' if door.protocol == 'websocket' else 'POST'} {door.path}`" for door in stream.doors
    ]
    return "<br>".join(paths) or f"`POST /v1/streams/{stream.name}`"
