"""How the collector is let in: the address, token and device it keeps, and pairing by a code."""

import os
from pathlib import Path

import httpx
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from collectors.desktop.errors import PairingError, SettingsError

TIMEOUT_S = 30


class Access(BaseModel):
    """Where to send, as whom, and by which token."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = Field(pattern=r"^https?://")
    token: str = Field(min_length=1, repr=False)
    device_id: str = Field(min_length=1, max_length=128)


def load_access(path: Path) -> Access | None:
    """What was kept; None = nothing yet. Raises: SettingsError."""
    try:
        return Access.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        # Not the error's own text: it would show the token.
        raise SettingsError(f"{path} can't be read: remove it and pair again") from error


def save_access(path: Path, access: Access) -> None:
    """Keep it for the owner's eyes alone: mode 0600, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_suffix(".new")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(access.model_dump_json())
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def pair(url: str, *, code: str, device_id: str) -> Access:
    """Exchange a code of `am pair` for a token. Raises: PairingError."""
    told = {"code": code, "device_id": device_id, "name": device_id}
    try:
        answer = httpx.post(f"{url.rstrip('/')}/v1/pair", json=told, timeout=TIMEOUT_S)
    except httpx.HTTPError as error:
        raise PairingError(f"{url} can't be reached: {error}") from error
    if not answer.is_success:
        raise PairingError(f"{url} answered {answer.status_code}: {reason(answer)}")
    welcome = answer.json()
    return Access(url=url, token=welcome["token"], device_id=welcome["device_id"])


def reason(answer: httpx.Response) -> str:
    """What a refusal says, short; AM says it as `detail`."""
    try:
        told = answer.json()
    except ValueError:
        told = answer.text
    detail = told.get("detail", told) if isinstance(told, dict) else told
    return str(detail)[:300]
