"""The pages of an export that people read: what is in it, and how to read it without AM."""

from collections import defaultdict
from dataclasses import dataclass, field
from html import escape

from am_assets.streams.registry import Registry
from infra.export_folder import Entry, Manifest

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem;
  color: #1c1c1c; background: #fff }
table { border-collapse: collapse; width: 100%; margin: 1rem 0 2rem }
th, td { text-align: left; padding: .35rem .6rem; border-bottom: 1px solid #ddd;
  vertical-align: top }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
code { background: #f2f2f2; padding: .1rem .3rem }
.warn { border-left: 4px solid #b00; padding: .5rem 1rem; background: #fdf1f1 }
@media (prefers-color-scheme: dark) { body { color: #e6e6e6; background: #181818 }
  td, th { border-color: #3a3a3a } code { background: #2a2a2a } .warn { background: #341c1c } }
"""
HOW = """
<p>Every table is here twice: as CSV, which any spreadsheet opens, and as Parquet, which keeps the
types. Times are UTC; <code>tz_offset_min</code> is how far the local clock was ahead. What each
column means is in <code>schema/</code>, as JSON Schema. Blobs (sound, pictures, files) are in
<code>blobs/</code> as they were sent; the column <code>blob_sha256</code> of a row is the name of
its file there.</p>
<p>With DuckDB: <code>SELECT * FROM 'rows/device.sensor.gps.raw/*.parquet'</code>. With Python:
<code>pandas.read_parquet("rows/device.sensor.gps.raw")</code>.
Back into AM: <code>am import THIS-FOLDER</code>.</p>
<p><code>manifest.json</code> names every file with its SHA-256, its number of rows, and a checksum
of the rows of each day that does not depend on their order.</p>
"""
README = """Everything that AM keeps about {user}, written down on {made}.

Open index.html: it says what is here. In short:

  rows/<stream>/<day>.csv      what happened, by stream and UTC day (.parquet: the same, typed)
  tables/                      devices, the ledger of what arrived (landing), what could not be
                               read (dead_letter, with payloads), what was processed (work_item),
                               who read what (audit), and whatever else AM knows
  moments/                     what search finds, with its vectors
  day_digests.csv              each day in short
  blobs/<stream>/<day>/        sound, pictures and files, as they were sent, not encrypted
  schema/                      what the columns mean
  manifest.json                SHA-256, rows and checksums of it all

{rows} rows, {blobs} blobs. Nothing here is encrypted: keep it where nobody else reads it.
"""


@dataclass
class _Sum:
    rows: int = 0
    days: int = 0
    first: str = "9999"
    last: str = ""
    files: list[Entry] = field(default_factory=list)


def pages(manifest: Manifest, registry: Registry) -> dict[str, str]:
    """The files by name. Self-contained: they refer to nothing outside the export."""
    return {"index.html": _index(manifest, registry), "README.txt": _readme(manifest)}


def _readme(manifest: Manifest) -> str:
    return README.format(
        user=manifest.user_id,
        made=manifest.made_at,
        rows=sum(entry.row_count or 0 for entry in manifest.of("rows")),
        blobs=len(manifest.of("blob")),
    )


def _index(manifest: Manifest, registry: Registry) -> str:
    title = f"Everything about {escape(manifest.user_id)}"
    parts = [
        '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{title}</title><style>{STYLE}</style></head><body><h1>{title}</h1>",
        f"<p>Written down on {escape(manifest.made_at)} by AM {escape(manifest.am_version)}.</p>",
        _missing(manifest),
        "<h2>How to read it</h2>",
        HOW,
        "<h2>Streams</h2>",
        _streams(manifest, registry),
        "<h2>Other tables</h2>",
        _tables(manifest),
        f"<h2>Blobs</h2><p>{len(manifest.of('blob'))} files, "
        f"{sum(entry.byte_count or 0 for entry in manifest.of('blob')):,} bytes.</p>",
        _left_out(manifest),
        "</body></html>\n",
    ]
    return "\n".join(part for part in parts if part)


def _streams(manifest: Manifest, registry: Registry) -> str:
    sums: dict[str, _Sum] = defaultdict(_Sum)
    for entry in manifest.of("rows"):
        one = sums[entry.stream or ""]
        one.rows += entry.row_count or 0
        one.days += 1
        one.first = min(one.first, entry.first_ts or one.first)
        one.last = max(one.last, entry.last_ts or one.last)
    lines = [
        f'<tr><td><a href="rows/{escape(name)}/">{escape(name)}</a></td>'
        f"<td>{escape(registry[name].summary)}</td>"
        f'<td class="n">{one.rows:,}</td><td class="n">{one.days:,}</td>'
        f"<td>{_minute(one.first)}</td><td>{_minute(one.last)}</td>"
        f'<td><a href="schema/{escape(name)}.json">schema</a></td></tr>'
        for name, one in sorted(sums.items())
    ]
    head = (
        '<tr><th>stream</th><th>what it is</th><th class="n">rows</th><th class="n">days</th>'
        "<th>first (UTC)</th><th>last (UTC)</th><th></th></tr>"
    )
    return f"<table>{head}{''.join(lines)}</table>"


def _tables(manifest: Manifest) -> str:
    entries = [*manifest.of("table"), *manifest.of("moments"), *manifest.of("digests")]
    lines = [
        f'<tr><td>{_link(entry)}</td><td class="n">{entry.row_count or 0:,}</td></tr>'
        for entry in entries
    ]
    head = '<tr><th>table</th><th class="n">rows</th></tr>'
    return f"<table>{head}{''.join(lines)}</table>"


def _link(entry: Entry) -> str:
    path = next((name for name in entry.files if name.endswith(".csv")), entry.path)
    return f'<a href="{escape(path)}">{escape(entry.name)}</a>'


def _missing(manifest: Manifest) -> str:
    if not manifest.missing_blobs:
        return ""
    lines = "".join(f"<li>{escape(line)}</li>" for line in manifest.missing_blobs)
    return f'<div class="warn"><p>These blobs could not be read:</p><ul>{lines}</ul></div>'


def _left_out(manifest: Manifest) -> str:
    if not manifest.left_out:
        return ""
    lines = "".join(
        f"<tr><td>{escape(name)}</td><td>{escape(why)}</td></tr>"
        for name, why in sorted(manifest.left_out.items())
    )
    return f"<h2>Not in here</h2><table>{lines}</table>"


def _minute(text: str) -> str:
    return escape(text[:16].replace("T", " "))
