"""Real weights and real recordings for the tests of models."""

import io
import wave
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from infra.weights import pull
from models.voice_activity import SAMPLE_RATE_HZ, Waveform

ROOT = Path(__file__).parents[2]
WEIGHTS = ROOT / "models" / "weights"
MEDIA = ROOT / "infra" / "demo" / "media"

SAID = {
    "austen-0870": "And Mr John Dashwood had then leisure to consider how much there might be "
    "prudently in his power to do for them",
    "austen-0880": "He was not an ill disposed young man",
    "austen-0890": "unless to be rather cold hearted and rather selfish is to be ill disposed",
    "austen-0920": "had he married a more amiable woman he might have been made still more "
    "respectable than he was",
    "austen-0930": "he might even have been made amiable himself",
}


@cache
def tiny_weights() -> Path:
    """The models folder with the tiny profile in it, pulled at the first call."""
    pull(WEIGHTS, "tiny")
    return WEIGHTS


@cache
def sound(name: str) -> Waveform:
    """A recording of the demo, mono at 16 kHz."""
    with wave.open(str(MEDIA / "audio" / f"{name}.wav")) as file:
        assert (file.getframerate(), file.getnchannels()) == (SAMPLE_RATE_HZ, 1)
        samples = np.frombuffer(file.readframes(file.getnframes()), dtype=np.int16)
    return samples.astype(np.float32) / 32_768


def silence(seconds: float) -> Waveform:
    """Digital silence."""
    return np.zeros(round(seconds * SAMPLE_RATE_HZ), dtype=np.float32)


def noise(seconds: float) -> Waveform:
    """White noise, always the same."""
    samples = np.random.default_rng(7).normal(0, 0.1, round(seconds * SAMPLE_RATE_HZ))
    return samples.astype(np.float32)


def page(lines: list[str], *, size_px: int = 22) -> bytes:
    """A PNG of 1280 x 720 pixels with one line of black text below the other."""
    image = Image.new("RGB", (1280, 720), "white")
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(size=size_px)
    for row, line in enumerate(lines):
        draw.text((40, 30 + row * 2 * size_px), line, font=font, fill="black")
    return png(image)


def png(image: Image.Image, **saved: object) -> bytes:
    """Encoded."""
    content = io.BytesIO()
    image.save(content, "PNG", **saved)
    return content.getvalue()
