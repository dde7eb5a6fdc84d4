"""What a stream is: the vocabulary in which the other modules of this folder declare.

Nothing that can be computed is declared: table names, SQL, Arrow and JSON Schemas, endpoints and
assets follow from these declarations in `am_assets.schemas` and beyond.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

NAME = re.compile(r"^[a-z0-9_]+(\.[a-z0-9_]+){2,4}$")


class Row(BaseModel):
    """The own columns of one stream: frozen, described, units in the names."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Sensitivity(StrEnum):
    """Who may ever see a stream's content: anybody, the owner, or the owner on demand."""

    PUBLIC = "public"
    PRIVATE = "private"
    SECRET = "secret"  # noqa: S105 - a level, not a password # nosec B105


class Media(StrEnum):
    """What a blob holds, and so how its facts are measured."""

    AUDIO = "audio"
    IMAGE = "image"
    VIDEO = "video"
    FILE = "file"


@dataclass(frozen=True, kw_only=True)
class Blob:
    """The field of a message that is bytes (base64 in JSON) and goes to the object store.

    `facts` names the columns that are measured from the bytes; what the client claims for them is
    kept in `extra` wherever it differs.

    Blobs stay for ever, but for two kinds. `found_in` is the derived stream that tells whether
    there is anything in one: where nothing was found it goes `keep_without_finding` after it was
    looked at (None = never). `is_repetitive`: of those that look alike, one after the other, the
    ones between may go when a budget is exceeded.
    """

    field: str
    aliases: tuple[str, ...] = ()
    media: Media
    facts: tuple[str, ...]
    found_in: str | None = None
    keep_without_finding: timedelta | None = None
    is_repetitive: bool = False


@dataclass(frozen=True, kw_only=True)
class Door:
    """A path that takes messages of one stream from clients that exist.

    `many` doors take an array. A socket's path carries `{device_id}`.
    """

    path: str
    many: bool = False
    protocol: Literal["http", "websocket"] = "http"


@dataclass(frozen=True, kw_only=True, eq=False)  # one object a stream: hashable, by identity
class Stream:
    """One named, typed series and all that is known about it.

    `title` and `body` are templates over the row's columns (`"{bpm} bpm"`), rendered in SQL for the
    timeline. `identity` are the columns that, with device and time, make a row what it is when the
    client names no id of its own; `is_resent_with_new_time` leaves the time out of that. `grows` is
    a number that a later telling of the same event may raise, never lower: the length of what still
    goes on. `sent_by` tells people who sends a raw stream; `planned` names the flow that will make
    a derived stream for which there is no enrichment yet.
    """

    name: str
    row: type[Row]
    summary: str
    identity: tuple[str, ...]
    kind: str
    title: str
    body: str | None = None
    example: Mapping[str, Any] = field(default_factory=dict)
    sent_by: str = "any client"
    is_derived: bool = False
    planned: str | None = None
    is_detail: bool = False
    is_resent_with_new_time: bool = False
    grows: str | None = None
    blob: Blob | None = None
    doors: tuple[Door, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)
    chunk_interval: timedelta = timedelta(days=7)
    compress_after: timedelta = timedelta(days=7)
    keep_hot: timedelta = timedelta(days=90)
    segment_by: tuple[str, ...] = ("user_id", "device_id")
    sensitivity: Sensitivity = Sensitivity.PRIVATE
    schema_version: int = 1

    def __post_init__(self) -> None:
        """Refuse a declaration that contradicts itself."""
        if not NAME.match(self.name):
            raise ValueError(f"{self.name!r} is not <category>.<source>.<datatype>.<stage>")
        if self.planned and not self.is_derived:
            raise ValueError(f"{self.name}: only what AM derives can be planned")
        unknown = set(self.aliases.values()) | set(self.identity)
        unknown |= {self.grows} if self.grows else set()
        unknown -= set(self.columns) | self._blob_columns()
        if unknown:
            raise ValueError(f"{self.name}: no column called {', '.join(sorted(unknown))}")

    @property
    def table(self) -> str:
        """The name in the other three places: table, Delta table, asset."""
        return self.name.replace(".", "_")

    @property
    def columns(self) -> tuple[str, ...]:
        """The row's own columns, in the order they are declared."""
        return tuple(self.row.model_fields)

    def _blob_columns(self) -> set[str]:
        return {"blob_sha256"} if self.blob else set()
