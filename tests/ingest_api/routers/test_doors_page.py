"""The page that tells of all doors, and the document that it is made of."""

import re
from collections.abc import Iterator
from html import unescape
from typing import Any

import httpx
import pytest


@pytest.fixture
def document(base_url: str) -> dict[str, Any]:
    """The OpenAPI document as clients read it."""
    found: dict[str, Any] = httpx.get(f"{base_url}/openapi.json", timeout=60).json()
    return found


def references(part: Any) -> Iterator[str]:
    """All references below a part of the document."""
    if isinstance(part, dict):
        yield from (value for name, value in part.items() if name == "$ref")
    inner = part.values() if isinstance(part, dict) else part if isinstance(part, list) else ()
    for one in inner:
        yield from references(one)


def test_every_reference_of_the_document_leads_somewhere(document: dict[str, Any]) -> None:
    found = set(references(document))
    assert {one for one in found if one.startswith("#/components/schemas/")} == found
    named = {one.removeprefix("#/components/schemas/") for one in found}
    assert named <= set(document["components"]["schemas"])


def test_the_page_shows_every_door_and_needs_no_other_server(
    base_url: str, document: dict[str, Any]
) -> None:
    answer = httpx.get(f"{base_url}/docs", timeout=60)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    shown = set(map(unescape, re.findall(r"</b> <code>(.*?)</code>", answer.text)))
    assert shown == set(document["paths"])
    assert "A 2xx from AM means" in answer.text
    assert re.findall(r'<script|(?:src|href)="[a-z]*:', answer.text) == []
    assert answer.headers["content-security-policy"].startswith("default-src 'self';")
