"""How a refusal is described in the OpenAPI document."""

from typing import Any

from pydantic import BaseModel, Field

MEANINGS = {
    400: "The request can't be understood.",
    401: "No token, or one that is unknown or revoked.",
    403: "The token lacks the scope.",
    404: "There is nothing by that name, or it is somebody else's.",
    408: "The body did not come in time.",
    409: "Not possible in the state that things are in.",
    413: "More bytes than allowed; the answer names the setting.",
    416: "The range lies behind the end.",
    422: "A parameter, or the bytes' hash, is not what it should be.",
    429: "The token has used up its share; Retry-After says when it has some again.",
    503: "AM can't do it now; nothing was stored. Retry-After says when to try again.",
    504: "The database went away in mid-commit. Send it again: that is safe, and tells.",
}


class Refusal(BaseModel):
    """Why a request was not taken."""

    status: str = Field(examples=["error"])
    detail: str = Field(description="One sentence to act on.")
    trace_id: str | None


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route that may answer with these; 422 keeps FastAPI's own form."""
    return {
        status: {"description": MEANINGS[status], **({} if status == 422 else {"model": Refusal})}
        for status in statuses
    }
