"""The fields of apps that put them into the query, into a form or into a flat JSON object."""

from typing import Any

from ingest_api.adapters.adapter import AppRequest
from ingest_api.bodies import read_json
from ingest_api.errors import MalformedBodyError


def parameters(request: AppRequest) -> dict[str, Any]:
    """All fields of a request; the body's win over the query's.

    Raises: MalformedBodyError for JSON that is broken, or no object.
    """
    content = body_fields(request)
    if not isinstance(content, dict):
        raise MalformedBodyError("the body must be a form or a JSON object")
    return {**request.query, **content}


def body_fields(request: AppRequest) -> Any:
    """The body's JSON, or its form's fields; `curl` calls JSON a form too.

    Raises: MalformedBodyError.
    """
    text = request.body.strip()
    if not text:
        return {}
    if text[:1] in (b"{", b"["):
        return read_json(text)
    if b"=" not in text:
        raise MalformedBodyError("the body is neither a form nor a JSON object")
    return request.form
