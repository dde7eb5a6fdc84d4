"""`POST /v1/pair`: a device gets its token by a code that its owner made with `am pair`."""

from typing import Annotated

from fastapi import APIRouter, Request, status
from pydantic import BaseModel, ConfigDict, Field

from ingest_api.envelope import MAX_DEVICE_ID
from ingest_api.pairing import pair
from ingest_api.refusals import refusals
from ingest_api.services import Services
from ingest_api.tokens import Scope

router = APIRouter(tags=["pairing"])
Text = Annotated[str, Field(min_length=1, max_length=MAX_DEVICE_ID, pattern=r"^[^\x00]+$")]


class Pairing(BaseModel):
    """What a device says to be let in."""

    model_config = ConfigDict(extra="forbid")

    code: str = Field(min_length=1, max_length=64, description="As `am pair` has printed it.")
    device_id: Text = Field(description="What the device will call itself in every message.")
    name: Text | None = Field(default=None, description="What its owner calls it.")


class Welcome(BaseModel):
    """The device's token, which is shown this once."""

    token: str
    user_id: str
    device_id: str
    scopes: list[Scope]


@router.post(
    "/v1/pair",
    status_code=status.HTTP_201_CREATED,
    responses=refusals(404, 408, 413, 422, 503),
)
async def pair_device(request: Request, pairing: Pairing) -> Welcome:
    """Exchange a code for a token that may write for this device. A code works once, for 7 days."""
    services: Services = request.app.state.services
    paired = await pair(
        services.pool, code=pairing.code, device_id=pairing.device_id, name=pairing.name
    )
    return Welcome(
        token=paired.token,
        user_id=paired.user_id,
        device_id=paired.device_id,
        scopes=[Scope.WRITE],
    )
