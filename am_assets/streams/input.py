"""What hands do: keys, mouse, touch. Nothing reveals more, so nothing sends it unasked."""

from datetime import timedelta
from typing import Any

from pydantic import Field

from am_assets.streams.stream import Row, Sensitivity, Stream

DAY = timedelta(days=1)


class KeyEvent(Row):
    """One key, pressed or let go."""

    key_code: int | None = Field(default=None, description="The system's own number of the key.")
    key_name: str = Field(min_length=1, description="The key, as the client names it.")
    action: str = Field(min_length=1, description="press, release or hold.")
    modifiers: list[str] | None = Field(default=None, description="shift, ctrl, alt, meta.")
    application_context: str | None = Field(default=None, description="The app in front.")


class MouseEvent(Row):
    """One movement, click or turn of the wheel."""

    x_px: float = Field(description="From the left of the screen.")
    y_px: float = Field(description="From the top of the screen.")
    action: str = Field(min_length=1, description="move, press, release, scroll.")
    button: str | None = Field(default=None, description="left, middle, right.")
    scroll: dict[str, Any] | None = Field(default=None, description="As sent: x and y steps.")


class TouchEvent(Row):
    """One finger on a screen."""

    touch_id: int | None = Field(default=None, description="Which finger of several.")
    x_px: float = Field(description="From the left of the screen.")
    y_px: float = Field(description="From the top of the screen.")
    pressure: float | None = Field(default=None, ge=0, description="As the system scales it.")
    action: str = Field(min_length=1, description="down, move, up, cancel.")
    gesture: str | None = Field(default=None, description="tap, swipe, pinch, …")


KEYBOARD = Stream(
    name="device.input.keyboard.raw",
    row=KeyEvent,
    summary="Keys pressed.",
    identity=("key_code", "key_name", "action"),
    kind="key",
    title="{key_name} {action}",
    is_detail=True,
    example={"key_code": 38, "key_name": "a", "action": "press", "modifiers": ["shift"]},
    chunk_interval=DAY,
    sensitivity=Sensitivity.SECRET,
)

MOUSE = Stream(
    name="device.input.mouse.raw",
    row=MouseEvent,
    summary="Movements and clicks of a mouse.",
    identity=("x_px", "y_px", "action", "button"),
    kind="mouse",
    title="{action} at {x_px}, {y_px}",
    is_detail=True,
    example={"x": 811, "y": 402, "button": "left", "action": "press"},
    aliases={"x": "x_px", "y": "y_px"},
    chunk_interval=DAY,
    sensitivity=Sensitivity.SECRET,
)

TOUCH = Stream(
    name="device.input.touch.raw",
    row=TouchEvent,
    summary="Fingers on a screen.",
    identity=("touch_id", "x_px", "y_px", "action"),
    kind="touch",
    title="{action} at {x_px}, {y_px}",
    is_detail=True,
    example={"touch_id": 0, "x": 540.5, "y": 1202.0, "pressure": 0.4, "action": "down"},
    aliases={"x": "x_px", "y": "y_px"},
    chunk_interval=DAY,
    sensitivity=Sensitivity.SECRET,
)

STREAMS = (KEYBOARD, MOUSE, TOUCH)
