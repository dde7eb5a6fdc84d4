"""Pictures of the screen: how much two differ, and their encoding. Pure."""

import io
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from collectors.desktop.observation import Picture

CELLS = (128, 72)  # of the small picture that is compared; a line of text is seen in it
STEP = 12  # of 255: less is noise, or a cursor that blinks


def thumbnail(image: Image.Image) -> NDArray[np.int16]:
    """The picture in a few grey cells, each the mean of what it covers."""
    small = image.convert("L").resize(CELLS, Image.Resampling.BOX)
    return np.asarray(small, dtype=np.int16)


def changed_share(before: NDArray[np.int16], after: NDArray[np.int16]) -> float:
    """Which share of the cells differ, 0 to 1."""
    return float(np.mean(np.abs(after - before) > STEP))


def encoded(
    image: Image.Image, *, kind: Literal["webp", "png"], quality: int, max_side_px: int
) -> Picture:
    """The picture as a file, made smaller where a side is longer than that."""
    if max(image.size) > max_side_px:
        image = image.copy()
        image.thumbnail((max_side_px, max_side_px))
    buffer = io.BytesIO()
    image.convert("RGB").save(buffer, kind, quality=quality)
    return Picture(buffer.getvalue(), f"image/{kind}")
