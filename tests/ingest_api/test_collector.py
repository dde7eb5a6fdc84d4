"""How the collector's files are served, and what may happen on their page."""

import io
import re
from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ingest_api.collector import FOLDER, ICONS, RELEASE, WORKER, Asset, collector_assets, release

NAMES = st.sampled_from(["", "a.js", "b.css", WORKER])
FILES = st.dictionaries(NAMES, st.binary(max_size=20), min_size=1)


def assets(files: dict[str, bytes]) -> dict[str, Asset]:
    return {name: Asset(content, "text/plain") for name, content in files.items()}


@given(FILES, FILES)
def test_the_version_changes_exactly_when_a_file_does(
    files: dict[str, bytes], others: dict[str, bytes]
) -> None:
    is_same = release(assets(files)) == release(assets(others))
    assert is_same == (files == others)


def test_every_file_but_the_worker_itself_is_kept_for_offline_use() -> None:
    named = re.findall(r'"\./([^"]*)"', collector_assets()[RELEASE].content.decode())
    assert set(named) == set(collector_assets()) - {WORKER}


@pytest.mark.parametrize("path", sorted(FOLDER.iterdir()), ids=lambda path: path.name)
def test_every_file_is_served_as_what_it_is_and_only_fetched_anew_when_it_has_changed(
    base_url: str, path: Path
) -> None:
    name = "" if path.name == "index.html" else path.name
    answer = httpx.get(f"{base_url}/collect/{name}")
    assert (answer.status_code, answer.content) == (200, path.read_bytes())
    assert answer.headers["cache-control"] == "no-cache"
    again = httpx.get(
        f"{base_url}/collect/{name}", headers={"If-None-Match": answer.headers["etag"]}
    )
    assert (again.status_code, again.content) == (304, b"")


def test_no_inline_script_and_no_other_server_is_allowed(base_url: str) -> None:
    headers = httpx.get(f"{base_url}/collect/").headers
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["connect-src"] == policy["style-src"] == "'self'"
    assert (policy["base-uri"], policy["frame-ancestors"]) == ("'none'", "'none'")
    assert (headers["x-content-type-options"], headers["referrer-policy"]) == (
        "nosniff",
        "no-referrer",
    )


def test_no_file_writes_markup_or_names_another_server() -> None:
    for path in FOLDER.iterdir():
        text = path.read_text()
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|eval\(|document\.write", text)
        assert set(re.findall(r"https?://[\w.]+", text)) == set(), path.name


@pytest.mark.parametrize(("name", "size"), ICONS.items())
def test_icons_are_squares_of_their_size(base_url: str, name: str, size: int) -> None:
    answer = httpx.get(f"{base_url}/collect/{name}")
    with Image.open(io.BytesIO(answer.content)) as image:
        assert (answer.headers["content-type"], image.size) == ("image/png", (size, size))
    assert len(answer.content) < 30_000


@pytest.mark.parametrize("name", ["nosuch.js", "../main.py", "..%2fmain.py", "index.html"])
def test_nothing_but_the_page_is_served(base_url: str, name: str) -> None:
    assert httpx.get(f"{base_url}/collect/{name}").status_code in (404, 401)


def test_without_its_slash_the_page_is_found_too(base_url: str) -> None:
    answer = httpx.get(f"{base_url}/collect", follow_redirects=True)
    assert (answer.status_code, str(answer.url)) == (200, f"{base_url}/collect/")
    assert httpx.head(f"{base_url}/collect/").status_code == 200
