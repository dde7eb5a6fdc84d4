"""What people copy and write down."""

from datetime import timedelta
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from am_assets.streams.stream import Door, Row, Sensitivity, Stream


class Clipboard(Row):
    """One thing that was copied."""

    content_type: Literal["text", "image", "file", "url", "mixed"] = Field(
        default="text", description="What was copied."
    )
    content_text: str | None = Field(default=None, description="The text, where there is one.")
    content_data: str | None = Field(default=None, description="Other content, as sent.")
    source_app: str | None = Field(default=None, description="Where it was copied from.")


class Note(Row):
    """One note, as it was when it was saved."""

    content: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)] = Field(
        description="The text, without blanks around it."
    )
    title: str | None = Field(default=None, description="The note's heading.")
    note_type: str = Field(default="text", description="text or markdown.")
    tags: list[str] | None = Field(default=None, description="Words the owner filed it under.")
    language: str | None = Field(default=None, description="ISO 639-1, as the client claims.")


CLIPBOARD = Stream(
    name="digital.clipboard.raw",
    row=Clipboard,
    summary="What was copied to the clipboard.",
    identity=("content_type", "content_text", "content_data"),
    kind="clipboard",
    title="Copied from {source_app}",
    body="{content_text}",
    example={"content_type": "text", "content_text": "bake at 220 °C", "source_app": "firefox"},
    doors=(Door(path="/digital/clipboard"),),
    keep_hot=timedelta(days=30),
    sensitivity=Sensitivity.SECRET,
)

NOTE = Stream(
    name="digital.notes.raw",
    row=Note,
    summary="Notes the owner wrote.",
    identity=("title", "content"),
    kind="note",
    title="{title}",
    body="{content}",
    example={"title": "Bread", "content": "Feed the starter tonight.", "tags": ["kitchen"]},
    doors=(
        Door(path="/notes/digital"),
        Door(path="/notes/upload"),
        Door(path="/notes/batch", many=True),
    ),
    keep_hot=timedelta(days=365),
    sensitivity=Sensitivity.SECRET,
)

STREAMS = (CLIPBOARD, NOTE)
