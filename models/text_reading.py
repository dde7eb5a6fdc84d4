"""What an image says (OCR): the protocol, PP-OCR on a CPU and Surya on a GPU."""

import io
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from operator import attrgetter
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, Protocol

from models.errors import UnreadableInputError
from models.model import Model, file_version, package_version

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = 100_000_000  # a 100 MP photo; what claims to be larger would fill the memory
UNKNOWN_FORMAT = "not an image of a known format"
EXIF_ORIENTATION = 0x0112
COLUMN_GAP_HEIGHTS = 1.5  # columns are this many line heights apart; words are less
LEFT_RIGHT = attrgetter("left_px", "right_px")
TOP_BOTTOM = attrgetter("top_px", "bottom_px")


@dataclass(frozen=True)
class TextLine:
    """One line of text; `confidence` is the engine's 0…1, the box in pixels from the top left."""

    text: str
    confidence: float
    left_px: float
    top_px: float
    right_px: float
    bottom_px: float


@dataclass(frozen=True)
class Reading:
    """All text of one upright image; `lines` are in reading order, `text` is one of them a row.

    An image without text is an empty text and no lines.
    """

    width_px: int
    height_px: int
    lines: tuple[TextLine, ...]
    text: str


class TextReader(Model, Protocol):
    """Reads the text in images."""

    def read(self, images: Sequence[bytes]) -> list[Reading | UnreadableInputError]:
        """One answer an encoded image (PNG, JPEG, WebP …), in the same order.

        An image that can't be decoded is answered by the error, so that its neighbours are read.
        """
        ...


class PaddleReader:
    """PP-OCRv6 (Apache-2.0) inside the faster-paddle package.

    `tiny` read a rendered 1080p screenshot in 0.4 s with 99.6 % of its characters right, `small`
    in 1.7 s with 99.9 %, on 2 CPU cores.
    """

    def __init__(self, engine: Any, *, model_id: str) -> None:  # the package has no types
        self._engine = engine
        self.model_id = model_id
        self.model_version = package_version("faster-paddle")

    @classmethod
    def load(cls, size: str = "tiny", *, threads: int = 2) -> "PaddleReader":
        """Open the packaged weights of one size: `tiny` or `small`."""
        from faster_paddle import OcrEngine  # noqa: PLC0415 (heavy)

        return cls(OcrEngine(size, threads=threads), model_id=f"pp-ocrv6-{size}")

    def read(self, images: Sequence[bytes]) -> list[Reading | UnreadableInputError]:
        """One answer an image; see the protocol."""
        return [self._read(image) for image in images]

    def _read(self, image: bytes) -> Reading | UnreadableInputError:
        try:
            upright, width_px, height_px = _upright(image)
            found = self._engine.ocr(upright)
        except UnreadableInputError as error:
            return error
        except RuntimeError as error:  # the engine's only error: its decoder's
            return UnreadableInputError(str(error))
        return _reading(width_px, height_px, map(_paddle_line, found["bounds"].values()))


class SuryaReader:
    """Surya (weights: open for research and small companies), from a folder, best on a GPU.

    The folder holds `text_detection` and `text_recognition`, as Surya 0.17 caches them.
    """

    model_id = "surya-ocr"

    def __init__(self, recognize: Any, detect: Any, *, version: str) -> None:  # no types
        self._recognize = recognize
        self._detect = detect
        self.model_version = version

    @classmethod
    def load(cls, folder: Path) -> "SuryaReader":
        """Load both networks of a folder.

        Raises: ImportError without surya-ocr 0.17, OSError for a folder without the weights.
        """
        from surya.detection import DetectionPredictor
        from surya.foundation import FoundationPredictor
        from surya.recognition import RecognitionPredictor

        recognition = folder / "text_recognition"
        foundation = FoundationPredictor(checkpoint=str(recognition))
        detect = DetectionPredictor(checkpoint=str(folder / "text_detection"))
        version = file_version(recognition / "model.safetensors")
        return cls(RecognitionPredictor(foundation), detect, version=version)

    def read(self, images: Sequence[bytes]) -> list[Reading | UnreadableInputError]:
        """One answer an image, all readable ones in one batch; see the protocol."""
        opened = [_open_or_error(image) for image in images]
        readable = [image for image in opened if not isinstance(image, UnreadableInputError)]
        pages = self._recognize(readable, det_predictor=self._detect, math_mode=False)
        answers = iter(
            [
                _reading(image.width, image.height, map(_surya_line, page.text_lines))
                for image, page in zip(readable, pages, strict=True)
            ]
        )
        return [
            image if isinstance(image, UnreadableInputError) else next(answers) for image in opened
        ]


def reading_order(lines: Sequence[TextLine]) -> tuple[TextLine, ...]:
    """The same lines as a person reads them: columns from left to right, each from the top.

    The page is cut where a wide empty strip runs from top to bottom; where there is none, at its
    tallest empty strip from left to right; and so on inside each piece.
    """
    ordered: list[TextLine] = []
    pending = [list(lines)]
    while pending:
        block = pending.pop()
        pieces = _cut(block)
        if len(pieces) > 1:
            pending.extend(reversed(pieces))
        else:
            ordered.extend(sorted(block, key=lambda line: (line.top_px, line.left_px)))
    return tuple(ordered)


def _cut(block: Sequence[TextLine]) -> list[list[TextLine]]:
    if len(block) < 2:
        return [list(block)]
    column_gap_px = COLUMN_GAP_HEIGHTS * median(line.bottom_px - line.top_px for line in block)
    columns = _split(block, LEFT_RIGHT, least_px=column_gap_px)
    if len(columns) > 1:
        return columns
    rows = _split(block, TOP_BOTTOM, least_px=None)
    return rows if len(rows) > 1 else _split(block, LEFT_RIGHT, least_px=None)


def _split(
    block: Sequence[TextLine], axis: "attrgetter[tuple[float, float]]", *, least_px: float | None
) -> list[list[TextLine]]:
    """Pieces between empty strips of at least that size; null: of the largest size there is."""
    along = sorted(block, key=axis)
    reach = list(accumulate((axis(line)[1] for line in along), max))
    gaps = [axis(line)[0] - end for line, end in zip(along[1:], reach, strict=False)]
    limit = max(gaps) if least_px is None else least_px
    pieces = [[along[0]]]
    for line, gap in zip(along[1:], gaps, strict=True):
        if gap >= limit and gap > 0:
            pieces.append([])
        pieces[-1].append(line)
    return pieces


def _paddle_line(bound: dict[str, Any]) -> TextLine:
    left, top = bound["topLeftCoord"]
    right, bottom = bound["bottomRightCoord"]
    box = float(left), float(top), float(right), float(bottom)
    return TextLine(bound["text"], float(bound["confidence"]), *box)


def _surya_line(line: Any) -> TextLine:
    return TextLine(line.text, float(line.confidence), *(float(edge) for edge in line.bbox))


def _reading(width_px: int, height_px: int, lines: Iterable[TextLine]) -> Reading:
    ordered = reading_order([line for line in lines if line.text.strip()])
    return Reading(width_px, height_px, ordered, "\n".join(line.text for line in ordered))


def _open_or_error(image: bytes) -> "Image.Image | UnreadableInputError":
    try:
        return _decoded(image)
    except UnreadableInputError as error:
        return error


def _upright(image: bytes) -> tuple[bytes, int, int]:
    """The image as a viewer shows it (encoded), its width and height in pixels.

    Only a photo that its camera marked as turned is encoded anew.
    """
    opened = _opened(image)
    if not _is_turned(opened):
        return image, opened.width, opened.height
    turned = _decoded(image)
    encoded = io.BytesIO()
    turned.save(encoded, "PNG", compress_level=1)
    return encoded.getvalue(), turned.width, turned.height


def _is_turned(opened: "Image.Image") -> bool:
    if opened.format == "PNG" and "exif" not in opened.info:
        return False  # asking for its EXIF data would decode all of it
    with _decoding():
        return bool(opened.getexif().get(EXIF_ORIENTATION, 1) != 1)


def _opened(image: bytes) -> "Image.Image":
    """Header only: cheap, and enough to refuse what is no image or is too large."""
    import pi_heif  # noqa: PLC0415 (heavy)
    from PIL import Image  # noqa: PLC0415 (heavy)

    pi_heif.register_heif_opener()  # an iPhone's photos
    with _decoding():
        opened = Image.open(io.BytesIO(image))
    if opened.width * opened.height > MAX_PIXELS:
        raise UnreadableInputError(f"{opened.width} x {opened.height} pixels are too many")
    return opened


def _decoded(image: bytes) -> "Image.Image":
    from PIL import ImageOps  # noqa: PLC0415 (heavy)

    opened = _opened(image)
    with _decoding():
        return ImageOps.exif_transpose(opened).convert("RGB")


@contextmanager
def _decoding() -> Iterator[None]:
    """The border at which Pillow's errors become ours."""
    from PIL import UnidentifiedImageError  # noqa: PLC0415 (heavy)
    from PIL.Image import DecompressionBombError  # noqa: PLC0415 (heavy)

    try:
        yield
    except UnidentifiedImageError as error:  # its own text holds an address in memory
        raise UnreadableInputError(UNKNOWN_FORMAT) from error
    except (OSError, ValueError, SyntaxError, DecompressionBombError) as error:
        raise UnreadableInputError(str(error)) from error
