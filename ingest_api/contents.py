"""Small JSON bodies that are no messages: read whole, and refused with 422 where they are wrong."""

from collections.abc import Mapping
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from ingest_api.bodies import read_body, read_json
from ingest_api.elements import readable
from ingest_api.errors import IngestError, RejectedError

Model = TypeVar("Model", bound=BaseModel)
MAX_BYTES = 1 << 20


class BadContentError(IngestError):
    """The content can't be kept as it is; the message names the fields."""

    status = 422


async def read_small(request: Request) -> Any:
    """The JSON of a body. Raises: MalformedBodyError, TooLargeError."""
    return read_json(await read_body(request, limit=MAX_BYTES))


def read_model(model: type[Model], content: Any, **told: Any) -> Model:
    """The content as the model has it; what is `told` elsewhere goes before it.

    Raises: BadContentError.
    """
    try:
        fields: Mapping[str, Any] = {**readable(content), **told}
        return model.model_validate(fields)
    except RejectedError as error:
        raise BadContentError(str(error)) from error
    except ValidationError as error:
        problems = error.errors(include_input=False, include_url=False)
        told_of = (f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in problems)
        raise BadContentError("; ".join(told_of)) from error


def json_body(model: type[BaseModel]) -> dict[str, Any]:
    """What OpenAPI says of such a body."""
    schema = {"application/json": {"schema": model.model_json_schema()}}
    return {"requestBody": {"required": True, "content": schema}}
