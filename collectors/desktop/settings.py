"""The collector's settings file and folders, after the XDG rules.

`$XDG_CONFIG_HOME/am/collect.toml` is the owner's; beside it lies `collect.token`, which the
collector writes and nobody else can read. The spool is under `$XDG_STATE_HOME/am/collect/`.
"""

import re
import socket
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from collectors.desktop.errors import SettingsError
from collectors.desktop.exclusions import Exclusions, compiled

MIB = 1 << 20
SOURCES = (
    "window",
    "idle",
    "lock",
    "machine",
    "clipboard",
    "screenshots",
    "battery",
    "network",
    "wifi",
    "apps",
)


def _expression(text: str) -> str:
    try:
        compiled(text)
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}") from error
    return text


Pattern = Annotated[str, Field(min_length=1), AfterValidator(_expression)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SourceSettings(_Part):
    """One source: whether it runs, and how often it looks. None = the source's own pace."""

    enabled: bool = True
    interval_s: float | None = Field(default=None, gt=0)


class ExcludeSettings(_Part):
    """What is never to be collected: regular expressions, upper and lower case alike."""

    apps: list[Pattern] = Field(default=[], description="WM_CLASS, or a program's name.")
    titles: list[Pattern] = Field(default=[], description="Of windows.")
    urls: list[Pattern] = Field(default=[], description="In titles and in what is copied.")
    clipboard: list[Pattern] = Field(default=[], description="In what is copied.")
    password_apps: bool = True
    private_windows: bool = True
    secrets: bool = True
    card_numbers: bool = True
    locked_screen: bool = True

    def rules(self) -> Exclusions:
        """The same as rules."""
        return Exclusions(
            apps=tuple(compiled(pattern) for pattern in self.apps),
            titles=tuple(compiled(pattern) for pattern in self.titles),
            urls=tuple(compiled(pattern) for pattern in self.urls),
            clipboard=tuple(compiled(pattern) for pattern in self.clipboard),
            has_password_apps=self.password_apps,
            has_private_windows=self.private_windows,
            has_secrets=self.secrets,
            has_card_numbers=self.card_numbers,
            has_locked_screen=self.locked_screen,
        )


class ScreenshotSettings(_Part):
    """When a screenshot is one more, and how it is stored."""

    change: float = Field(default=0.01, gt=0, le=1, description="Share of the screen that changed.")
    settle_s: float = Field(
        default=2,
        ge=0,
        description="It is kept in memory so long, and thrown away if by then "
        "something excluded has come up.",
    )
    format: Literal["webp", "png"] = "webp"
    quality: int = Field(default=80, ge=1, le=100, description="Of WebP.")
    max_side_px: int = Field(default=4096, ge=64)


class SpoolSettings(_Part):
    """How much may wait on this machine."""

    limit_mb: float = Field(default=2048, gt=0)
    screenshots_until: float = Field(
        default=0.8, gt=0, le=1, description="Share of the limit from which no more are taken."
    )


class CollectSettings(_Part):
    """The whole settings file; every part may be left out."""

    url: str | None = Field(default=None, pattern=r"^https?://")
    device: str | None = Field(default=None, min_length=1, max_length=128)
    idle_after_s: float = Field(default=180, gt=0)
    send_every_s: float = Field(default=5, gt=0, description="What is new is sent together.")
    sources: dict[Literal[*SOURCES], SourceSettings] = {}  # type: ignore[valid-type] # one list
    screenshots: ScreenshotSettings = ScreenshotSettings()
    spool: SpoolSettings = SpoolSettings()
    exclude: ExcludeSettings = ExcludeSettings()

    def source(self, name: str) -> SourceSettings:
        """One source's settings."""
        return self.sources.get(name, SourceSettings())


@dataclass(frozen=True)
class Folders:
    """Where the collector's files are."""

    config: Path
    state: Path

    @classmethod
    def of(cls, environment: Mapping[str, str], *, home: Path) -> "Folders":
        """As XDG has it; a path that is not absolute counts as none."""
        return cls(
            config=_xdg(environment.get("XDG_CONFIG_HOME"), home / ".config") / "am",
            state=_xdg(environment.get("XDG_STATE_HOME"), home / ".local/state") / "am/collect",
        )

    @property
    def settings(self) -> Path:
        """The owner's file."""
        return self.config / "collect.toml"

    @property
    def access(self) -> Path:
        """Address, token and device, as pairing left them."""
        return self.config / "collect.token"

    @property
    def unit(self) -> Path:
        """The service of the user's own systemd."""
        return self.config.parent / "systemd/user/am-collect.service"

    @property
    def spool(self) -> Path:
        """What waits to be sent."""
        return self.state / "spool.sqlite"


def _xdg(value: str | None, default: Path) -> Path:
    return Path(value) if value and Path(value).is_absolute() else default


def read_settings(path: Path, *, is_required: bool = False) -> CollectSettings:
    """The settings file; where there is none, what holds without one.

    Raises: SettingsError naming the field and what is wrong with it.
    """
    if not is_required and not path.exists():
        return CollectSettings()
    try:
        return parse_settings(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, SettingsError) as error:
        raise SettingsError(f"{path}: {error}") from error


def parse_settings(text: str) -> CollectSettings:
    """Settings from TOML. Raises: tomllib.TOMLDecodeError, SettingsError. Pure."""
    try:
        return CollectSettings.model_validate(tomllib.loads(text))
    except ValidationError as error:
        raise SettingsError("; ".join(_sentence(found) for found in error.errors())) from error


def _sentence(found: Mapping[str, Any]) -> str:
    where = ".".join(str(part) for part in found["loc"] if part != "[key]")
    if found["type"] == "extra_forbidden":
        return f"{where}: there is no such setting"
    return f"{where}: {found['msg']}"


def default_device() -> str:
    """This machine's name, as AM is to know it."""
    return f"desktop-{socket.gethostname() or 'unnamed'}"[:128]
