"""A clock that goes on leaves a screen as it looks; what is scrolled or another screen does not."""

import io
from collections.abc import Callable
from itertools import combinations
from pathlib import Path

import pytest
from PIL import Image, ImageChops, ImageDraw

import infra.demo
from resources.blob_plan import MAX_DISTANCE, distance
from resources.look import look_of

SCREENS = sorted((Path(infra.demo.__file__).parent / "media" / "screens").glob("*.png"))


def look_after(path: Path, change: Callable[[Image.Image], Image.Image]) -> bytes:
    written = io.BytesIO()
    with Image.open(path) as screen:
        change(screen.convert("RGB")).save(written, "PNG")
    look = look_of(written.getvalue())
    assert look is not None
    return look


def _with_clock(screen: Image.Image) -> Image.Image:
    draw = ImageDraw.Draw(screen)
    draw.rectangle((screen.width - 120, 4, screen.width - 60, 20), fill="white")
    draw.text((screen.width - 118, 6), "12:35", fill="black")
    return screen


def _scrolled(screen: Image.Image) -> Image.Image:
    return ImageChops.offset(screen, 0, -40)


@pytest.mark.parametrize("path", SCREENS, ids=lambda path: path.stem)
def test_another_time_looks_the_same_and_a_scrolled_page_does_not(path: Path) -> None:
    look = look_of(path.read_bytes())
    assert look is not None
    assert distance(look, look_after(path, _with_clock)) <= MAX_DISTANCE
    assert distance(look, look_after(path, _scrolled)) > MAX_DISTANCE


def test_different_screens_look_different() -> None:
    looks = [look_of(path.read_bytes()) for path in SCREENS]
    for one, other in combinations(looks, 2):
        assert one is not None
        assert other is not None
        assert distance(one, other) > 10 * MAX_DISTANCE


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n"])
def test_what_is_no_picture_has_no_look(content: bytes) -> None:
    assert look_of(content) is None
