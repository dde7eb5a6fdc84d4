"""What cameras and screens show."""

from datetime import timedelta
from typing import Any

from pydantic import Field

from am_assets.streams.stream import Blob, Door, Media, Row, Sensitivity, Stream

# 1 × 1 px, so that the example of the catalogue is a real picture.
EXAMPLE_PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgABSK+kcQAAAABJRU5ErkJggg=="
)


class Picture(Row):
    """One picture; width and height are measured from the bytes."""

    width_px: int = Field(gt=0, description="As stored, before any rotation the file asks for.")
    height_px: int = Field(gt=0, description="As stored, before any rotation the file asks for.")
    camera_type: str | None = Field(default=None, description="front, rear or screen.")
    metadata: dict[str, Any] | None = Field(default=None, description="As the client sent it.")


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
    blob=PICTURE_BLOB,
    doors=(Door(path="/images/screenshot"),),
    aliases=PICTURE_ALIASES,
    keep_hot=timedelta(days=90),
    sensitivity=Sensitivity.SECRET,
)

STREAMS = (PHOTO, SCREENSHOT)
