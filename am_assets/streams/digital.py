"""What people copy, write down and have before their eyes."""

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue, StringConstraints

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

    content: Annotated[str, StringConstraints(pattern=r"\S")] = Field(
        description="The text, as sent; blanks alone are none."
    )
    title: str | None = Field(default=None, description="The note's heading.")
    note_type: str = Field(default="text", description="text or markdown.")
    tags: list[str] | None = Field(default=None, description="Words the owner filed it under.")
    language: str | None = Field(default=None, description="ISO 639-1, as the client claims.")


class ScreenContent(Row):
    """The text on a screen, as the system's accessibility service tells it."""

    text_content: str = Field(description="All of it, in the order of the screen; may be empty.")
    app_package: str | None = Field(default=None, description="Of the app in front.")
    app_name: str | None = Field(default=None, description="As people know it.")
    activity_name: str | None = Field(default=None, description="The app's own name of the view.")
    screen_title: str | None = Field(default=None, description="Of the window.")
    text_elements: list[JsonValue] | None = Field(
        default=None, description="As sent: texts, or objects with text and place."
    )
    word_count: int | None = Field(default=None, ge=0, description="As the client counted.")
    character_count: int | None = Field(default=None, ge=0, description="As the client counted.")
    metadata: dict[str, Any] | None = Field(default=None, description="As the client sent it.")


class Activity(Row):
    """What a person does with a program, as a watcher of that program tells it."""

    activity_type: str = Field(
        min_length=1, description="app.editor.activity, …: the watcher's own name of the kind."
    )
    project: str | None = Field(default=None, description="Of an editor: what it belongs to.")
    file: str | None = Field(default=None, description="Of an editor: the file in front.")
    language: str | None = Field(default=None, description="Of that file.")
    duration_s: float | None = Field(default=None, ge=0, description="As far as it has come.")
    data: dict[str, Any] | None = Field(default=None, description="All of it, as sent.")


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

SCREEN_TEXT = Stream(
    name="digital.screen_text.raw",
    row=ScreenContent,
    summary="Text on phone screens, as the accessibility service tells it.",
    identity=("app_package", "activity_name", "screen_title", "text_content"),
    kind="screen text",
    title="{app_name}: {screen_title}",
    body="{text_content}",
    example={
        "text_content": "Sourdough\nBake at 220 °C for 40 minutes",
        "app_package": "org.mozilla.firefox",
        "app_name": "Firefox",
        "activity_name": "HomeActivity",
        "screen_title": "Sourdough",
        "text_elements": ["Sourdough", "Bake at 220 °C for 40 minutes"],
        "word_count": 8,
        "character_count": 38,
    },
    doors=(Door(path="/digital/screen-text"),),
    sent_by="phone",
    sensitivity=Sensitivity.SECRET,
)

ACTIVITY = Stream(
    name="digital.activity.raw",
    row=Activity,
    summary="What is done in editors and other programs that have a watcher.",
    identity=("activity_type", "data", "project", "file", "language"),
    kind="activity",
    title="{activity_type}",
    body="{file}",
    example={
        "activity_type": "app.editor.activity",
        "project": "bread",
        "file": "/home/ada/bread/oven.py",
        "language": "python",
        "duration_s": 42.5,
    },
    sent_by="editor, desktop",
    grows="duration_s",
    sensitivity=Sensitivity.SECRET,
)

STREAMS = (CLIPBOARD, NOTE, SCREEN_TEXT, ACTIVITY)
