"""Facts about a blob, measured from its bytes: what clients claim is often wrong."""

import base64
import binascii
import io
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import av
import pi_heif
from av.error import FFmpegError
from PIL import Image, UnidentifiedImageError

from am_assets.streams.stream import Media
from ingest_api.errors import Reason, RejectedError

PCM_FORMATS = frozenset({"pcm", "raw", "pcm16", "pcm_s16le", "s16le", "l16"})
PCM_BYTES = 2
WAV_HEADER = 44  # bytes of the plain header that some clients put before another one
CONTAINER_TYPES = {
    "wav": "audio/wav",
    "flac": "audio/flac",
    "mp3": "audio/mpeg",
    "ogg": "audio/ogg",
    "matroska": "audio/webm",
    "mov": "audio/mp4",
    "aac": "audio/aac",
    "amr": "audio/amr",
    "caf": "audio/x-caf",
}


VIDEO_TYPES = {
    "matroska": "video/webm",
    "mov": "video/mp4",
    "avi": "video/x-msvideo",
    "mpegts": "video/mp2t",
}
FILE_TYPES = {b"%PDF-": "application/pdf", b"PK\x03\x04": "application/zip"}


@dataclass(frozen=True)
class Measured:
    """What the bytes are, and the values of the columns that describe them."""

    media_type: str
    facts: Mapping[str, int]


def decode_base64(text: Any) -> bytes:
    """The bytes of a base64 text, with or without a `data:` prefix and line breaks.

    Bytes, as Arrow brings them, are taken as they are.
    Raises: RejectedError when it is neither, or empty.
    """
    content = text if isinstance(text, bytes) else _from_base64(text)
    if not content:
        raise RejectedError(Reason.EMPTY_BLOB, "the blob holds 0 bytes")
    return content


def _from_base64(text: Any) -> bytes:
    if not isinstance(text, str):
        raise RejectedError(Reason.BAD_BLOB, "the blob must be base64 text")
    payload = text.partition(",")[2] if text.startswith("data:") else text
    try:
        return base64.b64decode("".join(payload.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise RejectedError(Reason.BAD_BLOB, f"the blob is not base64: {error}") from error


def measure(content: bytes, *, media: Media, claims: Mapping[str, Any]) -> Measured:
    """Look into the bytes; `claims` (the message) only helps with headerless PCM.

    Raises: RejectedError when they are not what the stream takes.
    """
    if media is Media.IMAGE:
        return _measure_image(content)
    if media is Media.VIDEO:
        return _measure_video(content)
    if media is Media.FILE:
        return Measured(_file_type(content), {})
    if str(claims.get("format", "")).lower() in PCM_FORMATS and content[:4] != b"RIFF":
        return _measure_pcm(content, claims)
    return _measure_audio(_unwrap(content))


def _measure_image(content: bytes) -> Measured:
    if content[4:8] == b"ftyp" and pi_heif.is_supported(content):
        return _measure_heif(content)
    try:
        with Image.open(io.BytesIO(content)) as image:
            kind = Image.MIME.get(image.format or "", "application/octet-stream")
            return Measured(kind, {"width_px": image.width, "height_px": image.height})
    except (UnidentifiedImageError, OSError, ValueError, Image.DecompressionBombError) as error:
        raise RejectedError(Reason.BAD_BLOB, f"no picture that can be read: {error}") from error


def _measure_heif(content: bytes) -> Measured:
    """What iPhones take, as it is shown: turned and cropped as the file itself says."""
    try:
        image = pi_heif.open_heif(content)
    except (ValueError, EOFError, OSError) as error:
        raise RejectedError(Reason.BAD_BLOB, f"no picture that can be read: {error}") from error
    width_px, height_px = image.size
    return Measured(image.mimetype, {"width_px": width_px, "height_px": height_px})


def _measure_video(content: bytes) -> Measured:
    try:
        with av.open(io.BytesIO(content), mode="r") as container:
            (stream, *_) = container.streams.video
            size = {"width_px": stream.width, "height_px": stream.height}
            name = container.format.name.split(",")[0]
            ends = [
                (packet.pts or 0) + (packet.duration or 0) for packet in container.demux(stream)
            ]
            seconds = float(max(ends, default=0) * (stream.time_base or 0))
    except (FFmpegError, ValueError, IndexError) as error:
        raise RejectedError(Reason.BAD_BLOB, f"no film that can be read: {error}") from error
    kind = VIDEO_TYPES.get(name, f"video/x-{name}")
    return Measured(kind, {**size, "duration_ms": round(seconds * 1000)})


def _file_type(content: bytes) -> str:
    """What the first bytes tell; text where all of it is, else only that it is bytes."""
    known = next((kind for magic, kind in FILE_TYPES.items() if content.startswith(magic)), None)
    if known is not None:
        return known
    try:
        content.decode()
    except UnicodeDecodeError:
        return "application/octet-stream"
    return "text/plain"


def _measure_pcm(content: bytes, claims: Mapping[str, Any]) -> Measured:
    rate, channels = claims.get("sample_rate"), claims.get("channels", 1)
    if not (isinstance(rate, int) and isinstance(channels, int) and rate > 0 and channels > 0):
        raise RejectedError(Reason.BAD_VALUE, "raw PCM needs sample_rate and channels as integers")
    frames = len(content) // (PCM_BYTES * channels)
    return _audio_facts(
        f"audio/L16;rate={rate};channels={channels}", rate=rate, channels=channels, frames=frames
    )


def _measure_audio(content: bytes) -> Measured:
    try:
        with av.open(io.BytesIO(content), mode="r") as container:
            (stream, *_) = container.streams.audio
            rate, channels = stream.codec_context.sample_rate, stream.codec_context.channels
            name = container.format.name.split(",")[0]
            ticks = sum(packet.duration or 0 for packet in container.demux(stream))
            seconds = float(ticks * (stream.time_base or 0))
    except (FFmpegError, ValueError, IndexError) as error:
        raise RejectedError(Reason.BAD_BLOB, f"no sound that can be read: {error}") from error
    kind = CONTAINER_TYPES.get(name, f"audio/x-{name}")
    return _audio_facts(kind, rate=rate, channels=channels, frames=round(seconds * rate))


def _audio_facts(media_type: str, *, rate: int, channels: int, frames: int) -> Measured:
    if frames == 0:
        raise RejectedError(Reason.EMPTY_BLOB, "the recording holds no samples")
    duration_ms = round(frames * 1000 / rate)
    facts = {"sample_rate_hz": rate, "channels": channels, "duration_ms": duration_ms}
    return Measured(media_type, facts)


def _unwrap(content: bytes) -> bytes:
    """The inner recording where a WAV file was wrapped into a second WAV header."""
    inner = content[WAV_HEADER : WAV_HEADER + 12]
    is_wrapped = content[:4] == inner[:4] == b"RIFF" and inner[8:] == b"WAVE"
    if not is_wrapped:
        return content
    (size,) = struct.unpack("<I", inner[4:8])
    return content[WAV_HEADER : WAV_HEADER + 8 + size]
