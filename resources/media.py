"""Sound as models hear it, whatever it was stored as."""

import io
import re
import struct
from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING

import numpy as np

from models.errors import UnreadableInputError
from models.voice_activity import SAMPLE_RATE_HZ, Waveform

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.container import InputContainer

RAW_PCM = re.compile(r"^audio/L16;rate=(\d+);channels=(\d+)$", re.IGNORECASE)
INT16_FULL_SCALE = 32_768.0
RIFF_HEADER = 12  # "RIFF", size, "WAVE"


def decode_sound(content: bytes, media_type: str | None) -> Waveform:
    """The blob as mono sound at 16 kHz: WAV, FLAC, MP3, Opus …, or raw 16-bit PCM.

    Raw PCM is little-endian, as `media_type` `audio/L16;rate=…;channels=…` tells; it is looked at
    only where the bytes have no header of their own.
    Raises: UnreadableInputError for what is no sound, or holds not one sample.
    """
    raw = RAW_PCM.match(media_type or "")
    if raw and content[:4] != b"RIFF":
        waveform = _from_pcm(content, rate_hz=int(raw[1]), channels=int(raw[2]))
    else:
        waveform = _from_container(unwrap_wav(content))
    if not waveform.size:
        raise UnreadableInputError("the recording holds no samples")
    return waveform


def unwrap_wav(content: bytes) -> bytes:
    """The inner recording of a WAV file whose sound is a WAV file again; else the same bytes."""
    start = _data_start(content)
    while start is not None and _is_wav(content[start : start + RIFF_HEADER]):
        content = content[start:]
        start = _data_start(content)
    return content


def _is_wav(header: bytes) -> bool:
    return header[:4] == b"RIFF" and header[8:12] == b"WAVE"


def _data_start(content: bytes) -> int | None:
    """Where the `data` chunk of a WAV file begins; None where there is none."""
    position = RIFF_HEADER
    while _is_wav(content) and position + 8 <= len(content):
        name, size = struct.unpack_from("<4sI", content, position)
        position += 8
        if name == b"data":
            return position
        position += size + size % 2
    return None


def _from_pcm(content: bytes, *, rate_hz: int, channels: int) -> Waveform:
    from scipy.signal import resample_poly  # noqa: PLC0415 (heavy)

    frames = len(content) // (2 * channels)
    samples = np.frombuffer(content, "<i2", count=frames * channels).reshape(frames, channels)
    mono: Waveform = samples.astype(np.float32).mean(axis=1) / np.float32(INT16_FULL_SCALE)
    if not frames or rate_hz == SAMPLE_RATE_HZ:
        return mono
    divisor = int(np.gcd(rate_hz, SAMPLE_RATE_HZ))
    return np.asarray(
        resample_poly(mono, SAMPLE_RATE_HZ // divisor, rate_hz // divisor), dtype=np.float32
    )


def _from_container(content: bytes) -> Waveform:
    import av  # noqa: PLC0415 (heavy)

    try:
        with av.open(io.BytesIO(content), mode="r", metadata_errors="ignore") as container:
            parts = list(_mono_parts(container))
    except (av.error.FFmpegError, ValueError, IndexError) as error:
        raise UnreadableInputError(f"no sound that can be read: {error}") from error
    return np.concatenate([np.zeros(0, dtype=np.float32), *parts])


def _mono_parts(container: "InputContainer") -> Iterator[Waveform]:
    import av  # noqa: PLC0415 (heavy)

    resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE_HZ)
    for frame in chain(_frames(container), [None]):  # None: what the resampler still holds
        for part in resampler.resample(frame):
            yield part.to_ndarray().reshape(-1).astype(np.float32, copy=False)


def _frames(container: "InputContainer") -> Iterator["AudioFrame"]:
    """The recording's frames, up to the first damage after which nothing can be read."""
    import av  # noqa: PLC0415 (heavy)

    has_frames = False
    try:
        for frame in container.decode(audio=0):
            has_frames = True
            yield frame
    except av.error.InvalidDataError:
        if not has_frames:
            raise
