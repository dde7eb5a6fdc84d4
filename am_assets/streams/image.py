"""What cameras and screens show: pictures, frames of recordings, films."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from pydantic import Field

from am_assets.streams.stream import Blob, Door, Media, Row, Sensitivity, Stream

# 1 × 1 px, so that the example of the catalogue is a real picture.
EXAMPLE_PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
)

# 1 s of a dark square, 16 × 16 px, two frames.
EXAMPLE_WEBM = (
    "GkXfo59ChoEBQveBAULygQRC84EIQoKEd2VibUKHgQJChYECGFOAZwEAAAAAAAHSEU2bdLpNu4tTq4QVSalmU6yBoU27"
    "i1OrhBZUrmtTrIHYTbuMU6uEElTDZ1OsggEbTbuMU6uEHFO7a1OsggG87AEAAAAAAABZAAAAAAAAAAAAAAAAAAAAAAAA"
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
    "AAAVSalmsirXsYMPQkBNgI1MYXZmNjIuMTIuMTAyV0GNTGF2ZjYyLjEyLjEwMkSJiECPQAAAAAAAFlSua76uAQAAAAAA"
    "ADXXgQFzxYiaLe5KUy5QrpyBACK1nIN1bmSIgQCGhVZfVlA4g4EBI+ODhB3NZQDghrCBELqBEBJUw2fYc3OgY8CAZ8ia"
    "RaOHRU5DT0RFUkSHjUxhdmY2Mi4xMi4xMDJzc7JjwItjxYiaLe5KUy5QrmfIoUWjiERVUkFUSU9ORIeTMDA6MDA6MDEu"
    "MDAwMDAwMDAwAB9DtnW/54EAo6OBAACAEAIAnQEqEAAQAABHCIWFiIWEiAICAAwNYAD+/vl3AKOVgQH0ALEBAAUQrAAY"
    "ABhYL/QACAAAHFO7a5G7j7OBALeK94EB8YIBePCBAw=="
)


class Picture(Row):
    """One picture; width and height are measured from the bytes."""

    width_px: int = Field(gt=0, description="As stored, before any rotation the file asks for.")
    height_px: int = Field(gt=0, description="As stored, before any rotation the file asks for.")
    camera_type: str | None = Field(default=None, description="front, rear or screen.")
    metadata: dict[str, Any] | None = Field(default=None, description="As the client sent it.")


class ScreenFrame(Picture):
    """One keyframe of a screen recording."""

    frame_number: int | None = Field(default=None, ge=0, description="Within the recording.")
    fps: float | None = Field(default=None, gt=0, description="Of the recording, in Hz.")


class Film(Row):
    """One film; size and length are measured from the bytes."""

    width_px: int = Field(gt=0, description="Of its pictures.")
    height_px: int = Field(gt=0, description="Of its pictures.")
    duration_ms: int = Field(ge=0, description="Length of the film in the blob.")
    fps: float | None = Field(default=None, gt=0, description="As the client claims, in Hz.")
    claimed_duration_s: float | None = Field(default=None, description="As the client claims.")
    capture_location: dict[str, Any] | None = Field(default=None, description="As sent.")


PICTURE_BLOB = Blob(
    field="image_data",
    aliases=("data",),
    media=Media.IMAGE,
    facts=("width_px", "height_px"),
)
PICTURE_ALIASES = {"width": "width_px", "height": "height_px"}

PHOTO = Stream(
    name="device.image.camera.raw",
    row=Picture,
    summary="Photos, as the camera stored them.",
    identity=("blob_sha256",),
    kind="photo",
    title="Photo, {width_px} × {height_px}",
    example={"image_data": EXAMPLE_PNG, "format": "png", "camera_type": "rear"},
    blob=PICTURE_BLOB,
    doors=(Door(path="/images/upload"),),
    aliases=PICTURE_ALIASES,
    keep_hot=timedelta(days=90),
)

SCREENSHOT = Stream(
    name="device.image.screenshot.raw",
    row=Picture,
    summary="Screenshots of phones and computers.",
    identity=("blob_sha256",),
    is_resent_with_new_time=True,
    kind="screenshot",
    title="Screenshot, {width_px} × {height_px}",
    example={"image_data": EXAMPLE_PNG, "format": "png", "camera_type": "screen"},
    blob=replace(PICTURE_BLOB, is_repetitive=True),
    doors=(Door(path="/images/screenshot"),),
    aliases=PICTURE_ALIASES,
    keep_hot=timedelta(days=90),
    sensitivity=Sensitivity.SECRET,
)

SCREEN_FRAME = Stream(
    name="device.video.screen.raw",
    row=ScreenFrame,
    summary="Keyframes of screen recordings.",
    identity=("blob_sha256", "frame_number"),
    kind="screen recording",
    title="Frame, {width_px} × {height_px}",
    is_detail=True,
    example={
        "frame_data": EXAMPLE_PNG,
        "format": "png",
        "frame_number": 120,
        "width": 1,
        "height": 1,
        "fps": 0.1,
    },
    blob=Blob(
        field="frame_data",
        aliases=("image_data", "data"),
        media=Media.IMAGE,
        facts=("width_px", "height_px"),
    ),
    aliases=PICTURE_ALIASES,
    sent_by="desktop",
    keep_hot=timedelta(days=90),
    sensitivity=Sensitivity.SECRET,
)

FILM = Stream(
    name="device.video.clip.raw",
    row=Film,
    summary="Films, as cameras and screen recorders stored them.",
    identity=("blob_sha256",),
    is_resent_with_new_time=True,
    kind="film",
    title="Film, {duration_ms} ms, {width_px} × {height_px}",
    example={
        "video_data": EXAMPLE_WEBM,
        "format": "webm",
        "duration": 1.0,
        "width": 16,
        "height": 16,
        "fps": 2,
    },
    blob=Blob(
        field="video_data",
        aliases=("data",),
        media=Media.VIDEO,
        facts=("width_px", "height_px", "duration_ms"),
    ),
    doors=(Door(path="/images/video"),),
    aliases={**PICTURE_ALIASES, "duration": "claimed_duration_s"},
    sent_by="phone, desktop",
    keep_hot=timedelta(days=90),
    sensitivity=Sensitivity.SECRET,
)

STREAMS = (PHOTO, SCREENSHOT, SCREEN_FRAME, FILM)
