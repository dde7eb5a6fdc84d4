"""Web pages of others may ask nothing, unless their origin is named."""

import httpx
import pytest

from ingest_api.settings import Settings
from tests.ingest_api.security.conftest import Serve

PAGE = "https://page.example"
WISH = {
    "Origin": PAGE,
    "Access-Control-Request-Method": "GET",
    "Access-Control-Request-Headers": "authorization",
}


def test_no_page_is_let_in_by_default(serve: Serve) -> None:
    with serve() as url:
        asked = httpx.options(f"{url}/v1/timeline", headers=WISH)
        plain = httpx.get(f"{url}/healthz", headers={"Origin": PAGE})
    for answer in (asked, plain):
        assert not [name for name in answer.headers if name.startswith("access-control")]
    assert asked.status_code == 405


def test_a_named_origin_is_let_in_and_no_other(serve: Serve) -> None:
    with serve(cors_origins=(PAGE,)) as url:
        asked = httpx.options(f"{url}/v1/timeline", headers=WISH)
        other = httpx.options(f"{url}/v1/timeline", headers={**WISH, "Origin": f"{PAGE}.evil.com"})
        refused = httpx.get(f"{url}/v1/timeline", headers={"Origin": PAGE})
    assert asked.headers["access-control-allow-origin"] == PAGE
    assert "access-control-allow-origin" not in other.headers
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, PAGE)
    assert "access-control-allow-credentials" not in asked.headers


@pytest.mark.parametrize(
    ("text", "origins"),
    [
        ("", ()),
        (
            "https://a.example, https://b.example:8443 ,",
            ("https://a.example", "https://b.example:8443"),
        ),
        ('["https://a.example"]', ("https://a.example",)),
        ("[]", ()),
    ],
)
def test_origins_are_read_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, text: str, origins: tuple[str, ...]
) -> None:
    monkeypatch.setenv("AM_CORS_ORIGINS", text)
    assert Settings().cors_origins == origins
