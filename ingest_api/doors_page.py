"""The page at `/docs`: every door with its schema, made of the OpenAPI document.

It is one file without a script and needs no other server: a page about a person's own data tells
nobody that it is read, and it opens without the internet.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from itertools import groupby
from typing import Any

Document = Mapping[str, Any]
METHODS = ("get", "post", "put", "patch", "delete")
STYLE = """
:root{color-scheme:light dark;--line:#8884;--soft:#8881;--quiet:#777}
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:0 auto;padding:1rem}
h2{margin:2rem 0 .5rem;text-transform:capitalize}
details{border:1px solid var(--line);border-radius:.5rem;margin:.4rem 0;padding:.4rem .8rem}
summary{cursor:pointer;overflow-wrap:anywhere}
b{display:inline-block;min-width:3.8rem;font:600 .8rem ui-monospace,monospace}
code,pre{font:.85rem ui-monospace,monospace}
pre{background:var(--soft);padding:.6rem;overflow:auto;border-radius:.4rem}
small,td:nth-child(2){color:var(--quiet)}
.wide{overflow-x:auto}table{border-collapse:collapse;width:100%}
td{border-top:1px solid var(--line);padding:.25rem .6rem .25rem 0;vertical-align:top}
"""


def doors_page(document: Document) -> str:
    """The page in HTML. `document` is an OpenAPI document, whose references are looked up in it."""
    info = document["info"]
    doors = sorted(_doors(document), key=lambda door: door[0])
    links = (f'<a href="#{_anchor(tag)}">{escape(tag)}</a>' for tag in _tags(doors))
    head = f"<h1>{escape(info['title'])}</h1><p>{escape(info['description'])}</p>"
    how = (
        "<p>Send a token with every request: <code>Authorization: Bearer am_…</code>, "
        "<code>X-API-Key</code>, or as the Basic password. <code>am key create</code> makes one. "
        'Programs read <a href="/openapi.json">/openapi.json</a>.</p>'
    )
    sections = (
        f'<h2 id="{_anchor(tag)}">{escape(tag)}</h2>' + "".join(shown for _, shown in group)
        for tag, group in groupby(doors, key=lambda door: door[0])
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(info['title'])}: the doors</title><style>{STYLE}</style>"
        f"{head}{how}<p>{' · '.join(links)}</p>{''.join(sections)}</html>"
    )


def _doors(document: Document) -> Iterator[tuple[str, str]]:
    """Each door as its tag and its HTML."""
    for path, methods in document["paths"].items():
        for method in (name for name in METHODS if name in methods):
            door = methods[method]
            tag = door.get("tags", ["others"])[0]
            yield tag, _door(document, f"<b>{method.upper()}</b> <code>{escape(path)}</code>", door)


def _door(document: Document, address: str, door: Document) -> str:
    summary = escape(door.get("summary", ""))
    about = f"<p>{escape(door['description'])}</p>" if door.get("description") else ""
    query = _table(
        (one["name"], one["in"], one.get("description", ""), one.get("required", False))
        for one in door.get("parameters", ())
    )
    body = "".join(
        _body(document, kind, content.get("schema", {}))
        for kind, content in door.get("requestBody", {}).get("content", {}).items()
    )
    return (
        f"<details><summary>{address} <small>{summary}</small></summary>"
        f"{about}{query}{body}</details>"
    )


def _body(document: Document, kind: str, schema: Document) -> str:
    one = _one(document, schema)
    needed = one.get("required", ())
    fields = _table(
        (name, _type(document, field), field.get("description", ""), name in needed)
        for name, field in one.get("properties", {}).items()
    )
    examples = "".join(
        f"<pre>{escape(json.dumps(example, indent=2, ensure_ascii=False))}</pre>"
        for example in one.get("examples", ())[:1]
    )
    return f"<p>Body, <code>{escape(kind)}</code>:</p>{fields}{examples}"


def _one(document: Document, schema: Document) -> Document:
    """The schema of a single object; of alternatives the first."""
    if "$ref" in schema:
        found: Any = document
        for name in schema["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        return _one(document, found)
    return _one(document, schema["anyOf"][0]) if "anyOf" in schema else schema


def _type(document: Document, schema: Document) -> str:
    """A few words, such as `string or null`."""
    if "$ref" in schema:
        return _type(document, _one(document, schema))
    if "anyOf" in schema:
        return " or ".join(dict.fromkeys(_type(document, one) for one in schema["anyOf"]))
    if "enum" in schema:
        return " · ".join(map(str, schema["enum"]))
    named = schema.get("type", "anything")
    text = named if isinstance(named, str) else " or ".join(named)
    return f"{text} ({schema['format']})" if "format" in schema else text


def _table(rows: Iterable[tuple[str, str, str, bool]]) -> str:
    """Name, type, words; what has to be there is marked."""
    lines = "".join(
        f"<tr><td><code>{escape(name)}</code>{'*' if is_needed else ''}"
        f"<td>{escape(kind)}<td>{escape(words)}"
        for name, kind, words, is_needed in rows
    )
    return f'<div class="wide"><table>{lines}</table></div>' if lines else ""


def _tags(doors: Iterable[tuple[str, str]]) -> Iterable[str]:
    return dict.fromkeys(tag for tag, _ in doors)


def _anchor(tag: str) -> str:
    return escape(tag.replace(" ", "-"))
