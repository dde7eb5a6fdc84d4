"""The collector's files: read once, hashed, so that a browser knows when one has changed."""

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from PIL import Image, ImageDraw

FOLDER = Path(__file__).parent / "web" / "collector"
PAGE = ""  # the page's own name below /collect/
WORKER = "worker.js"  # a browser keeps it apart from the files that it keeps for others
RELEASE = "release.js"
TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".webmanifest": "application/manifest+json",
}
# Apple's home screen, Android's, its splash; the last may be cut to any shape.
ICONS = {"icon-180.png": 180, "icon-192.png": 192, "icon-512.png": 512, "icon-cut.png": 512}
CUT = "icon-cut.png"
GROUND, DRAWN = "#0f4c5c", "#f4f1de"
FINER = 4  # drawn so many times larger, then made smaller: edges become smooth


@dataclass(frozen=True)
class Asset:
    """One file as it is served."""

    content: bytes = field(repr=False)
    media_type: str

    @property
    def etag(self) -> str:
        """Another content, another tag."""
        return f'"{hashlib.sha256(self.content).hexdigest()[:32]}"'


@cache
def collector_assets() -> Mapping[str, Asset]:
    """All files by their names below /collect/, as they were when the first was asked for."""
    files = {
        PAGE if path.name == "index.html" else path.name: Asset(
            path.read_bytes(), TYPES[path.suffix]
        )
        for path in sorted(FOLDER.iterdir())
        if path.suffix in TYPES
    }
    icons = {
        name: Asset(icon(size, is_cut=name == CUT), "image/png") for name, size in ICONS.items()
    }
    assets = {**files, **icons}
    return {**assets, RELEASE: Asset(release(assets), TYPES[".js"])}


def release(assets: Mapping[str, Asset]) -> bytes:
    """A module that names all files and their common version. Pure.

    The service worker imports it: where any file changes it does too, so that browsers fetch all
    of them anew, and never mix two versions.
    """
    tags = "".join(f"{name}{asset.etag}" for name, asset in sorted(assets.items()))
    version = hashlib.sha256(tags.encode()).hexdigest()[:12]
    kept = [f"./{name}" for name in sorted({*assets, RELEASE} - {WORKER})]
    return (
        f"export const VERSION = {json.dumps(version)};\nexport const FILES = {json.dumps(kept)};\n"
    ).encode()


def icon(size: int, *, is_cut: bool) -> bytes:
    """AM's sign as PNG, `size` pixels wide: a dot that two waves come to. Pure.

    Where a system cuts icons to its own shape the ground fills the square, and the sign is smaller.
    """
    side = size * FINER
    image = Image.new("RGBA", (side, side), GROUND if is_cut else "#0000")
    draw = ImageDraw.Draw(image)
    if not is_cut:
        draw.rounded_rectangle((0, 0, side - 1, side - 1), radius=side * 0.22, fill=GROUND)
    unit = side * (0.30 if is_cut else 0.36)
    for part in (0.62, 1.0):
        width = round(unit * 0.16)
        for begin in (-50, 130):
            draw.arc(_box(side, unit * part), begin, begin + 100, fill=DRAWN, width=width)
    draw.ellipse(_box(side, unit * 0.26), fill=DRAWN)
    written = io.BytesIO()
    image.resize((size, size), Image.Resampling.BOX).save(written, "PNG", optimize=True)
    return written.getvalue()


def _box(side: int, radius: float) -> tuple[float, float, float, float]:
    """The square round a circle in the middle."""
    middle = side / 2
    return (middle - radius, middle - radius, middle + radius, middle + radius)
