"""Every operation of the OpenAPI document, with made-up requests: none is answered 5xx."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.generation.case import Case

from tests.ingest_api.conftest import ClientFor

EXAMPLES = 5
STREAMS = "/v1/streams/device."  # one door a stream, all made by the same code …
FEW = 5  # … so that a few stand for all
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
    found: dict[str, Any] = httpx.get(f"{base_url}/openapi.json").json()
    return found


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Path and method of each, a few of the streams' doors among them."""
    streams = [path for path in document["paths"] if path.startswith(STREAMS)]
    for path, methods in document["paths"].items():
        if path not in streams[FEW:]:
            yield from ((path, method.upper()) for method in methods)


def test_no_made_up_request_is_answered_5xx(
    document: dict[str, Any], base_url: str, client_for: ClientFor, user: str
) -> None:
    headers = dict(client_for(user).headers)
    schema = schemathesis.openapi.from_dict(document)
    asked: set[str] = set()
    failed: list[str] = []
    for path, method in operations(document):

        @BOUNDED
        @given(case=schema[path][method].as_strategy())
        def ask(case: Case[Any]) -> None:
            answer = case.call(
                base_url=base_url,
                headers={"Authorization": headers["authorization"]},
                timeout=30,
            )
            asked.add(f"{case.method} {case.path}")
            if answer.status_code >= 500:
                failed.append(f"{answer.status_code} {case.as_curl_command()[:600]}")

        ask()
    assert failed == []
    assert len(asked) > 40


def test_every_new_door_tells_how_it_refuses(document: dict[str, Any]) -> None:
    for path, methods in NEW.items():
        for method in methods:
            operation = document["paths"][path][method]
            assert {"413", "422", "503"} <= set(operation["responses"]), path
            assert operation["description"], path
            answers = operation["responses"]
            refused = answers["503"]["content"]["application/json"]["schema"]
            assert refused == {"$ref": "#/components/schemas/Refusal"}
