"""Text on screens is read; a broken image spoils only itself."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFont

from infra.demo.score import character_accuracy, screen_accuracy
from models.errors import UnreadableInputError
from models.text_reading import PaddleReader, Reading, TextLine, reading_order
from tests.models.media import MEDIA, page, png

LINES = [
    "Dear Ana, the train leaves at 07:45 from platform 3.",
    "Invoice 2026-118: 1,249.50 EUR due on 2026-12-01",
    "git commit --amend --no-edit && make check",
    "Meeting moved to Thursday (room B-204), bring the printed plans",
    "The quick brown fox jumps over the lazy dog",
    "user@example.org wrote: see https://example.org/a?b=c",
]
SCREENS: dict[str, list[str]] = json.loads((MEDIA / "screens" / "truth.json").read_text())


@pytest.fixture(scope="module")
def reader() -> PaddleReader:
    return PaddleReader.load("tiny")


def read(reader: PaddleReader, image: bytes) -> Reading:
    (found,) = reader.read([image])
    assert isinstance(found, Reading)
    return found


def test_a_rendered_page_is_read_with_97_percent_of_its_characters(reader: PaddleReader) -> None:
    found = read(reader, page(LINES))
    assert character_accuracy("\n".join(LINES), found.text) >= 0.97


@pytest.mark.parametrize("name", SCREENS)
def test_a_screenshot_is_read_with_97_percent_of_its_characters(
    reader: PaddleReader, name: str
) -> None:
    found = read(reader, (MEDIA / "screens" / f"{name}.png").read_bytes())
    assert screen_accuracy(SCREENS[name], found.text.splitlines()) >= 0.97


def test_boxes_lie_inside_the_image_and_text_is_the_lines_in_order(reader: PaddleReader) -> None:
    found = read(reader, page(LINES))
    assert (found.width_px, found.height_px) == (1280, 720)
    assert found.text == "\n".join(line.text for line in found.lines)
    for line in found.lines:
        assert 0 <= line.left_px < line.right_px <= 1280
        assert 0 <= line.top_px < line.bottom_px <= 720
        assert 0 < line.confidence <= 1


def test_what_is_no_image_fails_alone(reader: PaddleReader) -> None:
    whole = page(LINES[:1])
    found = reader.read([b"", b"no image", whole, whole[:300]])
    assert [type(answer) for answer in found] == [
        UnreadableInputError,
        UnreadableInputError,
        Reading,
        UnreadableInputError,
    ]
    assert all(str(answer) for answer in found if isinstance(answer, UnreadableInputError))


def test_an_image_that_claims_to_be_huge_is_refused_before_it_is_decoded(
    reader: PaddleReader,
) -> None:
    (found,) = reader.read([png(Image.new("1", (20_000, 10_000)))])
    assert isinstance(found, UnreadableInputError)


def test_an_image_without_text_has_no_lines(reader: PaddleReader) -> None:
    found = read(reader, png(Image.new("RGB", (320, 200), "navy")))
    assert (found.lines, found.text) == ((), "")


def test_a_photo_that_its_camera_marked_as_turned_is_read_upright(reader: PaddleReader) -> None:
    upright = Image.new("RGB", (900, 300), "white")
    font = ImageFont.load_default(size=48)
    ImageDraw.Draw(upright).text((40, 100), "Platform 3 is closed", font=font, fill="black")
    turned = upright.rotate(90, expand=True)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned clockwise by 90 degrees
    found = read(reader, png(turned, exif=exif))
    assert (found.width_px, found.height_px) == (900, 300)
    assert found.text == "Platform 3 is closed"


def box(text: str, left_px: float, top_px: float, width_px: float = 200) -> TextLine:
    return TextLine(text, 1.0, left_px, top_px, left_px + width_px, top_px + 20)


def test_columns_are_read_one_after_the_other_below_the_headline() -> None:
    lines = [
        box("right 1", 400, 50),
        box("left 2", 0, 80),
        box("headline", 0, 0, 600),
        box("right 2", 400, 80),
        box("left 1", 0, 50),
    ]
    expected = ["headline", "left 1", "left 2", "right 1", "right 2"]
    assert [line.text for line in reading_order(lines)] == expected


BOXES = st.builds(box, st.text(max_size=3), st.integers(0, 900), st.integers(0, 900))


@given(st.lists(BOXES, max_size=30))
def test_ordering_loses_no_line_and_is_stable(lines: list[TextLine]) -> None:
    ordered = reading_order(lines)
    assert sorted(map(repr, ordered)) == sorted(map(repr, lines))
    assert reading_order(ordered) == ordered


@given(st.lists(st.integers(0, 100), unique=True, max_size=20))
def test_one_column_is_read_from_the_top(rows: list[int]) -> None:
    ordered = reading_order([box(str(row), row % 7, row * 30) for row in rows])
    assert all(above.top_px < below.top_px for above, below in pairwise(ordered))
