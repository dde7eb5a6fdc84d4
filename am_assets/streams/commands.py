"""The command plane: what the agent or another device asks of a device, and what it answers.

Rows are a record for audit. Nothing here executes anything; a device obeys what is allow-listed.
"""

from datetime import timedelta
from typing import Any, Literal

from pydantic import Field

from am_assets.streams.stream import Row, Sensitivity, Stream

HOT = timedelta(days=30)
PLANE = "command plane"
DEVICE = "the device that was asked"


class Command(Row):
    """One request to a device."""

    command_id: str = Field(min_length=1, description="The answer carries the same.")
    source_device_id: str | None = Field(
        default=None, description="Who asks; null = the agent or the owner."
    )
    target_device_id: str = Field(min_length=1, description="Who is asked.")
    command_type: str | None = Field(default=None, description="As the sender names it.")
    payload: dict[str, Any] | None = Field(default=None, description="What to do, as sent.")
    timeout_s: float = Field(default=30, gt=0, description="After which nobody waits any more.")
    status: str = Field(default="pending", description="At the time it was sent.")


class Keystrokes(Command):
    """A request to type."""

    keystrokes: list[str] | None = Field(default=None, description="Keys in order.")
    modifiers: list[str] | None = Field(default=None, description="shift, ctrl, alt, meta.")


class ScreenRequest(Command):
    """A request for a picture of a screen."""

    display_id: str | None = Field(default=None, description="Which screen; null = the main one.")
    region: dict[str, Any] | None = Field(default=None, description="x, y, width, height in px.")
    include_cursor: bool | None = Field(default=None, description="Whether the cursor is shown.")


class Response(Row):
    """A device's answer to a command."""

    command_id: str = Field(min_length=1, description="Of the command that is answered.")
    status: Literal["success", "error", "timeout"] = Field(description="How it went.")
    result: dict[str, Any] | None = Field(default=None, description="What came of it, as sent.")
    error_message: str | None = Field(default=None, description="Why it failed.")
    execution_time_ms: float | None = Field(default=None, ge=0, description="How long it took.")


class Broadcast(Row):
    """Something that one device shows all others of its owner."""

    source_device_id: str | None = Field(
        default=None, description="Where it began; null = the device of this row."
    )
    payload: dict[str, Any] = Field(description="Clipboard, file or app state, as sent.")


def _command(what: str, row: type[Command], summary: str, example: dict[str, Any]) -> Stream:
    return Stream(
        name=f"device.command.{what}",
        row=row,
        summary=summary,
        identity=("command_id",),
        kind="command",
        title=f"{what} to {{target_device_id}}: {{status}}",
        example={"command_id": "c-1", "target_device_id": "desktop", **example},
        aliases={"timeout_seconds": "timeout_s"},
        sent_by=PLANE,
        keep_hot=HOT,
        sensitivity=Sensitivity.SECRET,
    )


def _response(what: str, summary: str, example: dict[str, Any]) -> Stream:
    return Stream(
        name=f"device.response.{what}",
        row=Response,
        summary=summary,
        identity=("command_id", "status"),
        kind="response",
        title=f"{what}: {{status}}",
        body="{error_message}",
        example={"command_id": "c-1", "status": "success", **example},
        sent_by=DEVICE,
        keep_hot=HOT,
        sensitivity=Sensitivity.SECRET,
    )


def _broadcast(what: str, summary: str, payload: dict[str, Any]) -> Stream:
    return Stream(
        name=f"device.sync.{what}.broadcast",
        row=Broadcast,
        summary=summary,
        identity=("payload",),
        kind="sync",
        title=f"{what} shared",
        is_detail=True,
        example={"payload": payload},
        sent_by=PLANE,
        keep_hot=HOT,
        sensitivity=Sensitivity.SECRET,
    )


COMMANDS = (
    _command(
        "keystroke.send",
        Keystrokes,
        "Requests to type on another device.",
        {"keystrokes": ["h", "i"], "modifiers": [], "timeout_seconds": 30},
    ),
    _command(
        "mouse.send",
        Command,
        "Requests to move or click the mouse of another device.",
        {"payload": {"x": 10, "y": 20, "action": "click"}},
    ),
    _command(
        "clipboard.send",
        Command,
        "Requests to put something on another device's clipboard.",
        {"payload": {"content_text": "bake at 220 °C"}},
    ),
    _command(
        "file.transfer",
        Command,
        "Requests to send a file to another device.",
        {"payload": {"path": "notes/bread.md"}},
    ),
    _command(
        "screen.capture",
        ScreenRequest,
        "Requests for a screenshot.",
        {"display_id": "1", "include_cursor": False},
    ),
    _command(
        "audio.send",
        Command,
        "Requests to play a sound on another device.",
        {"payload": {"text": "dinner is ready"}},
    ),
    _command(
        "shell.execute",
        Command,
        "Requests to run a command line.",
        {"payload": {"command": "uptime"}},
    ),
    _command(
        "app.launch",
        Command,
        "Requests to start an app.",
        {"payload": {"app_identifier": "org.mozilla.firefox"}},
    ),
    _command(
        "app.close",
        Command,
        "Requests to end an app.",
        {"payload": {"app_identifier": "org.mozilla.firefox"}},
    ),
)

RESPONSES = (
    _response("command.status", "How a command went.", {"execution_time_ms": 12}),
    _response("file.transfer", "How a file's transfer went.", {"result": {"bytes": 2048}}),
    _response("screen.capture", "Which screenshot was taken.", {"result": {"event_id": "e-7"}}),
    _response("shell.output", "What a command line printed.", {"result": {"stdout": "up 3 days"}}),
    _response("error", "Why a command failed.", {"status": "error", "error_message": "no display"}),
)

BROADCASTS = (
    _broadcast("clipboard", "Clipboards shown to all devices.", {"content_text": "bake at 220 °C"}),
    _broadcast("files", "Files shown to all devices.", {"path": "notes/bread.md", "bytes": 2048}),
    _broadcast("state", "States of apps shown to all devices.", {"app": "reader", "page": 12}),
)

STREAMS = (*COMMANDS, *RESPONSES, *BROADCASTS)
