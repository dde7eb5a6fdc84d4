"""Every operation of the OpenAPI document, with made-up requests that fit it and that do not: none
is answered 5xx.
"""

from typing import Any
from unittest import SkipTest

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.generation.case import Case

from tests.ingest_api.conftest import ClientFor
from tests.ingest_api.security.every_route import filled

EXAMPLES = 5
STREAMS = "/v1/streams/"  # one door a stream, all made by the same code …
FEW = 5  # … so that a few stand for all
JUNK = (
    b"",
    b"null",
    b"7",
    b"[]",
    b"[[]]",
    b'{"a":',
    b'{"\\u0000": NaN}',
    b"\xff\xfe",
    b"[" * 5_000,
)
BOUNDED = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
NEW = {
    "/v1/blobs/{sha256}": {"put"},
    "/v1/blobs": {"post"},
    "/v1/blobs/missing": {"post"},
    "/v1/blobs/presign": {"post"},
    "/v1/blobs/uploads": {"post"},
    "/v1/blobs/uploads/{upload_id}": {"get", "delete"},
    "/v1/blobs/uploads/{upload_id}/{part}": {"put"},
    "/v1/blobs/uploads/{upload_id}/complete": {"post"},
    "/v1/pair": {"post"},
}


@pytest.fixture
def document(base_url: str) -> dict[str, Any]:
    """The document as clients read it."""
    found: dict[str, Any] = httpx.get(f"{base_url}/openapi.json", timeout=60).json()
    return found


def operations(document: dict[str, Any]) -> list[tuple[str, str]]:
    """Path and method of each."""
    return [
        (path, method.upper()) for path, methods in document["paths"].items() for method in methods
    ]


def of_other_streams(document: dict[str, Any]) -> set[tuple[str, str]]:
    """The doors of all streams but a few, which are made by the same code."""
    streams = [one for one in operations(document) if one[0].startswith(STREAMS)]
    return set(streams[FEW:])


class Made:
    """Made-up requests to some operations, and what was answered."""

    def __init__(self, base_url: str, bearer: str, document: dict[str, Any]) -> None:
        self._call: dict[str, Any] = {
            "base_url": base_url,
            "headers": {"Authorization": bearer},
            "timeout": 30,
        }
        self._schema = schemathesis.openapi.from_dict(document)
        self.asked: set[tuple[str, str]] = set()
        self.failed: list[str] = []

    def ask(self, path: str, method: str, mode: GenerationMode) -> None:
        """Ask one operation a few times."""

        @BOUNDED
        @given(case=self._schema[path][method].as_strategy(generation_mode=mode))
        def ask(case: Case[Any]) -> None:
            answer = case.call(**self._call)
            self.asked.add((case.path, case.method))
            if answer.status_code >= 500:
                self.failed.append(f"{answer.status_code} {case.as_curl_command()[:600]}")

        try:
            ask()
        except (SkipTest, Unsatisfiable):  # the tool finds nothing in it that could be wrong
            self._send_junk(path, method)

    def _send_junk(self, path: str, method: str) -> None:
        """Bodies that fit no schema."""
        headers = {**self._call["headers"], "Content-Type": "application/json"}
        for junk in JUNK:
            url = self._call["base_url"] + filled(path)
            answer = httpx.request(method, url, content=junk, headers=headers, timeout=30)
            self.asked.add((path, method))
            if answer.status_code >= 500:
                self.failed.append(f"{answer.status_code} {method} {url} {junk[:60]!r}")


@pytest.fixture
def made(document: dict[str, Any], base_url: str, client_for: ClientFor, user: str) -> Made:
    return Made(base_url, client_for(user).headers["authorization"], document)


@pytest.mark.slow
@pytest.mark.parametrize("mode", GenerationMode)
def test_no_made_up_request_is_answered_5xx(
    mode: GenerationMode, document: dict[str, Any], made: Made
) -> None:
    wanted = set(operations(document)) - of_other_streams(document)
    for path, method in sorted(wanted):
        made.ask(path, method, mode)
    assert made.failed == []
    assert made.asked == wanted


@pytest.mark.slow
@pytest.mark.parametrize("mode", GenerationMode)
def test_no_made_up_message_to_any_stream_is_answered_5xx(
    mode: GenerationMode, document: dict[str, Any], made: Made
) -> None:
    wanted = of_other_streams(document)
    for path, method in sorted(wanted):
        made.ask(path, method, mode)
    assert made.failed == []
    assert made.asked == wanted


def test_every_new_door_tells_how_it_refuses(document: dict[str, Any]) -> None:
    for path, methods in NEW.items():
        for method in methods:
            operation = document["paths"][path][method]
            assert {"413", "422", "503"} <= set(operation["responses"]), path
            assert operation["description"], path
            answers = operation["responses"]
            refused = answers["503"]["content"]["application/json"]["schema"]
            assert refused == {"$ref": "#/components/schemas/Refusal"}
