"""Where configuration enters: the `AM_…` variables and the embedded stack's own file.

Everything else is given its values; nothing below this module reads the environment.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from resources.connections import Connections

if TYPE_CHECKING:
    from resources.compute import ModelChoice
    from resources.late_compute import LateCompute

STACK_FILE = "stack.json"


class StackNotFoundError(Exception):
    """No setting names a part and no embedded stack has been started in this home."""


class Settings(BaseSettings):
    """All `AM_…` variables. A database or store that is named here is not started by AM."""

    model_config = SettingsConfigDict(env_prefix="AM_", frozen=True, extra="ignore")

    home: Path = Field(default=Path(".am"), description="Where the embedded stack lives.")
    api_host: str = "127.0.0.1"
    api_port: int = 8000
    dagster_port: int = 3000
    api_max_body_mb: int = Field(default=64, description="Larger bodies are answered 413.")
    max_future_skew_s: int = Field(default=86_400, description="Later rows are dead letters.")
    database_url: str | None = None
    s3_endpoint: str | None = None
    s3_access_key: str | None = None
    s3_secret_key: str | None = None
    s3_bucket: str = "am-data"
    lake_uri: str | None = None
    vectors_uri: str | None = None
    compute: Literal["local", "ray"] = "local"
    ray_address: str | None = None
    trino_url: str | None = None
    models_dir: Path = Path("models/weights")
    models_profile: Literal["tiny", "full"] = "tiny"
    models_overrides: dict[str, str] = Field(
        default_factory=dict,
        description='JSON, task to model: {"speech_recognition": "faster-whisper-large-v3"}.',
    )
    llm_url: str | None = None
    llm_model: str | None = None

    def connections(self) -> Connections:
        """Where the database and the stores are: the settings first, then `stack.json`.

        Raises: StackNotFoundError when a part is named by neither.
        """
        embedded = self._embedded()
        bucket = self.s3_bucket
        try:
            return Connections(
                database_url=self.database_url or embedded["database_url"],
                s3_endpoint=self.s3_endpoint or embedded["s3_endpoint"],
                s3_access_key=self.s3_access_key or embedded["s3_access_key"],
                s3_secret_key=self.s3_secret_key or embedded["s3_secret_key"],
                s3_bucket=bucket,
                lake_uri=self.lake_uri or f"s3://{bucket}/lake",
                vectors_uri=self.vectors_uri or f"s3://{bucket}/vectors",
            )
        except KeyError as missing:
            raise StackNotFoundError(
                f"{missing} is neither set as AM_… nor found in {self.home / STACK_FILE}: "
                "run `am up` first, or point AM_HOME at a running stack."
            ) from missing

    def model_choice(self) -> "ModelChoice":
        """Which model does which task.

        Raises: ValueError for a task that there is not.
        """
        # Models and numpy: too much for a command that only wants an address.
        from models.catalog import Task  # noqa: PLC0415
        from resources.compute import ModelChoice  # noqa: PLC0415

        overrides = {Task(task): model for task, model in self.models_overrides.items()}
        return ModelChoice(self.models_profile, self.models_dir, overrides)

    def late_compute(self) -> "LateCompute":
        """Where models run; connected, and the models loaded, when the first is asked for."""
        from resources.compute import connect_compute  # noqa: PLC0415 - see above
        from resources.late_compute import LateCompute  # noqa: PLC0415

        choice = self.model_choice()
        return LateCompute(
            lambda: connect_compute(self.compute, choice, ray_address=self.ray_address)
        )

    def _embedded(self) -> dict[str, Any]:
        path = self.home / STACK_FILE
        if not path.exists():
            return {}
        found: dict[str, Any] = json.loads(path.read_text())
        return found
