"""Where configuration enters: the `AM_…` variables and the embedded stack's own file.

Everything else is given its values; nothing below this module reads the environment.
"""

import json
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from resources.connections import Connections
from resources.master_keys import FileMasterKey, GivenMasterKey, LocalKey, MasterKey

if TYPE_CHECKING:
    from resources.blob_plan import BlobRules
    from resources.compute import ModelChoice
    from resources.lake_copies import LakeCopies
    from resources.late_compute import LateCompute

STACK_FILE = "stack.json"
MASTER_KEY_FILE = "master.key"
COPIES = Path("cache", "lake")  # of the lake's files, for questions


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
    api_max_blob_mb: int = Field(default=512, description="Of a blob that is sent directly.")
    api_max_part_mb: int = Field(default=64, description="Of a part of a resumable upload.")
    api_max_control_mb: int = Field(default=1, description="Of a body that carries no data.")
    api_max_concurrent: int = Field(default=256, description="Requests at once; more get 503.")
    api_max_pending_mb: int = Field(
        default=128, description="Of bodies in memory at once; more wait, then get 503."
    )
    api_pending_wait_s: float = Field(default=10, description="So long a body waits for room.")
    api_max_sockets: int = Field(default=1_000, description="WebSockets at once; more get 503.")
    api_ws_max_mb: int = Field(default=32, description="Of one WebSocket frame.")
    api_replicas: int = Field(
        default=1, ge=1, description="APIs behind one address; each gives a token its part."
    )
    api_requests_per_s: float = Field(default=2_000, description="Of one token; 0 = no limit.")
    api_request_burst: int = Field(default=20_000, description="Saved up while a token rests.")
    api_mb_per_s: float = Field(default=128, description="Bodies of one token; 0 = no limit.")
    api_mb_burst: int = Field(default=4_096, description="Saved up while a token rests.")
    api_head_timeout_s: float = Field(default=10, description="For all headers of a request.")
    api_body_idle_s: float = Field(default=15, description="Between two pieces of a body.")
    api_body_timeout_s: float = Field(default=900, description="For a whole body.")
    api_send_idle_s: float = Field(default=60, description="For a client that reads no answer.")
    api_access_log: bool = Field(default=False, description="One line a request, without secrets.")
    api_proxies: str = Field(default="", description="Addresses whose X-Forwarded-For is true.")
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(), description="Web pages that may ask, separated by commas; none by default."
    )
    tls_cert: Path | None = Field(default=None, description="PEM; with it the API speaks TLS.")
    tls_key: Path | None = Field(default=None, description="PEM, of the certificate.")
    is_tls: bool = Field(default=True, description="False: no TLS, whatever was set before.")
    s3_public_endpoint: str | None = Field(
        default=None, description="The object store as clients see it, for presigned uploads."
    )
    socket_ping_s: float = Field(
        default=5.0, gt=0, description="Between two pings; clients leave after 15 s without one."
    )
    max_future_skew_s: int = Field(default=86_400, description="Later rows are dead letters.")
    database_url: str | None = None
    s3_endpoint: str | None = None
    s3_access_key: str | None = None
    s3_secret_key: str | None = None
    s3_bucket: str = "am-data"
    lake_uri: str | None = None
    vectors_uri: str | None = None
    master_key_file: Path | None = Field(
        default=None, description="Wraps the keys of blobs; master.key in the home by default."
    )
    master_key: SecretStr | None = Field(
        default=None, description="The same as a value, 32 bytes in base64; then there is no file."
    )
    master_keys_old: SecretStr | None = Field(
        default=None, description="Earlier values, by commas, until the keys are rewrapped."
    )
    master_key_provider: str | None = Field(
        default=None, description="package.module:function that gives a MasterKey (a service's)."
    )
    compute: Literal["local", "ray"] = "local"
    ray_address: str | None = None
    keep_hot_days: int = Field(
        default=0, ge=0, description="Days of each stream stay in the database at least so long."
    )
    hot_worker: bool = Field(default=True, description="off: only Dagster's runs process.")
    trino_url: str | None = None
    trino_user: str = Field(default="am", description="As whom `am sql --engine trino` asks.")
    sql_processes: int = Field(default=2, ge=1, description="Questions of POST /v1/sql at once.")
    sql_timeout_s: float = Field(default=30, gt=0, description="The longest a question may run.")
    sql_max_rows: int = Field(default=100_000, ge=1, description="Of one answer.")
    sql_max_mb: int = Field(default=64, ge=1, description="Of one answer.")
    sql_copies_gb: float = Field(
        default=1, ge=0, description="Of the lake's files, kept near for questions; 0 = none."
    )
    sql_memory_mb: int = Field(default=1024, ge=256, description="Of one question.")
    models_dir: Path = Path("models/weights")
    models_profile: Literal["tiny", "full"] = "tiny"
    models_overrides: dict[str, str] = Field(
        default_factory=dict,
        description='JSON, task to model: {"speech_recognition": "faster-whisper-large-v3"}.',
    )
    blob_budget_gb: float | None = Field(
        default=None,
        gt=0,
        description="Of 10^9 bytes, for blobs; above it, repeated screenshots and silence go.",
    )
    blob_keep_days: dict[str, float | None] = Field(
        default_factory=dict,
        description="JSON, stream to days that silence stays, null = for ever: "
        '{"device.audio.raw": 30}.',
    )
    owntracks_secrets: dict[str, SecretStr] = Field(
        default_factory=dict, description='JSON, user to encryption key: {"ada": "…"}.'
    )
    mqtt_url: SecretStr | None = Field(
        default=None, description="mqtt://user:password@host:1883: OwnTracks' messages come there."
    )
    mqtt_users: dict[str, str] = Field(
        default_factory=dict, description='JSON, name in the topic to user: {"jane": "ada"}.'
    )
    mqtt_client_id: str = Field(default="am", description="Names AM's session at the broker.")
    backup_dir: Path | None = Field(
        default=None, description="The backups' folder; the newest one is rehearsed weekly."
    )
    llm_url: str | None = None
    llm_model: str | None = None

    @field_validator("backup_dir")
    @classmethod
    def _whole_path(cls, value: Path | None) -> Path | None:
        """The stack's parts work in folders of their own."""
        return value and value.expanduser().absolute()

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _split(cls, value: Any) -> Any:
        """Commas or JSON."""
        if not isinstance(value, str):
            return value
        if value.startswith("["):
            return json.loads(value)
        return tuple(origin.strip() for origin in value.split(",") if origin.strip())

    @model_validator(mode="after")
    def _has_both_tls_files(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("AM_TLS_CERT and AM_TLS_KEY belong together: set both or none")
        return self

    def tls_files(self) -> tuple[Path, Path] | None:
        """Certificate and key: the settings first, then those the stack was started with before.

        None: the API speaks plain HTTP.
        """
        if not self.is_tls:
            return None
        if self.tls_cert and self.tls_key:
            return self.tls_cert.resolve(), self.tls_key.resolve()
        embedded = self._embedded()
        if embedded.get("tls_cert") and embedded.get("tls_key"):
            return Path(embedded["tls_cert"]), Path(embedded["tls_key"])
        return None

    @property
    def api_url(self) -> str:
        """Where the API listens, as this machine reaches it."""
        scheme = "https" if self.tls_files() else "http"
        return f"{scheme}://{self.api_host}:{self.api_port}"

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
                master_key=self.master(),
            )
        except KeyError as missing:
            raise StackNotFoundError(
                f"{missing} is neither set as AM_… nor found in {self.home / STACK_FILE}: "
                "run `am up` first, or point AM_HOME at a running stack."
            ) from missing

    def master(self) -> MasterKey:
        """The master key that is set, else the file; nothing is read of the latter yet.

        Raises: MasterKeyError where a variable holds no key.
        """
        if self.master_key_provider:
            module, _, name = self.master_key_provider.partition(":")
            made: MasterKey = getattr(import_module(module), name)()
            return made
        if self.master_key is None:
            return FileMasterKey((self.master_key_file or self.home / MASTER_KEY_FILE).absolute())
        old = self.master_keys_old.get_secret_value() if self.master_keys_old else ""
        return GivenMasterKey(
            LocalKey.of_text(self.master_key.get_secret_value(), where="AM_MASTER_KEY"),
            tuple(LocalKey.of_text(t, where="AM_MASTER_KEYS_OLD") for t in old.split(",") if t),
        )

    def model_choice(self) -> "ModelChoice":
        """Which model does which task.

        Raises: ValueError for a task that there is not.
        """
        # Models and numpy: too much for a command that only wants an address.
        from models.catalog import Task  # noqa: PLC0415
        from resources.compute import ModelChoice  # noqa: PLC0415

        overrides = {Task(task): model for task, model in self.models_overrides.items()}
        return ModelChoice(self.models_profile, self.models_dir, overrides)

    def keep_hot(self) -> timedelta:
        """How long days stay in the database at least."""
        return timedelta(days=self.keep_hot_days)

    def blob_rules(self) -> "BlobRules":
        """How long blobs stay."""
        from resources.blob_plan import BlobRules  # noqa: PLC0415 (see above)

        budget = self.blob_budget_gb
        return BlobRules(
            budget_bytes=None if budget is None else round(budget * 1e9),
            keep={
                name: None if days is None else timedelta(days=days)
                for name, days in self.blob_keep_days.items()
            },
        )

    def lake_copies(self) -> "LakeCopies | None":
        """Where questions keep the lake's files near; None = nowhere."""
        from resources.lake_copies import LakeCopies  # noqa: PLC0415 (see above)

        if not self.sql_copies_gb or not self.home.exists():
            return None
        return LakeCopies(self.home / COPIES, round(self.sql_copies_gb * 1e9))

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
