import io
import struct
import wave

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.errors import UnreadableInputError
from resources.media import decode_sound, unwrap_wav

RATE = 16_000


def _tone(rate: int = RATE, seconds: float = 1.0) -> bytes:
    times = np.arange(int(rate * seconds)) / rate
    return (8000 * np.sin(2 * np.pi * 440 * times)).astype("<i2").tobytes()


def _wav(pcm: bytes, *, rate: int = RATE, channels: int = 1) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(channels)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes(pcm)
    return file.getvalue()


def _peak_hz(waveform: np.ndarray) -> float:
    power = np.abs(np.fft.rfft(waveform))
    return float(np.fft.rfftfreq(len(waveform), 1 / RATE)[power.argmax()])


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000])
def test_a_tone_keeps_its_pitch_and_length_at_every_rate(rate: int) -> None:
    for content, kind in (
        (_wav(_tone(rate), rate=rate), "audio/wav"),
        (_tone(rate), f"audio/L16;rate={rate};channels=1"),
    ):
        waveform = decode_sound(content, kind)
        assert abs(len(waveform) - RATE) <= 40
        assert abs(_peak_hz(waveform) - 440) <= 2
        assert abs(np.abs(waveform).max() - 8000 / 32768) < 0.02


def test_a_wav_inside_a_wav_is_its_inner_sound() -> None:
    inner = _wav(_tone())
    np.testing.assert_array_equal(
        decode_sound(_wav(inner), "audio/wav"), decode_sound(inner, "audio/wav")
    )


def test_raw_pcm_is_little_endian_and_an_odd_last_byte_is_left_out() -> None:
    content = struct.pack("<hh", 16_384, -16_384) + b"\x01"
    found = decode_sound(content, f"audio/L16;rate={RATE};channels=1")
    np.testing.assert_allclose(found, [0.5, -0.5])


def test_two_channels_are_their_mean() -> None:
    content = struct.pack("<hhhh", 16_384, 0, 0, 16_384)
    found = decode_sound(content, f"audio/L16;rate={RATE};channels=2")
    np.testing.assert_allclose(found, [0.25, 0.25])


def test_a_wav_that_was_cut_off_gives_what_is_there() -> None:
    whole = _wav(_tone())
    assert 0 < len(decode_sound(whole[: len(whole) // 2], "audio/wav")) <= RATE


@pytest.mark.parametrize("content", [b"", b"RIFF", b"nonsense" * 40, _wav(b""), _wav(_tone())[:44]])
def test_what_holds_no_sound_is_unreadable(content: bytes) -> None:
    with pytest.raises(UnreadableInputError):
        decode_sound(content, "audio/wav")


@given(st.binary(max_size=200))
def test_bytes_without_a_wav_inside_are_left_alone(content: bytes) -> None:
    assert unwrap_wav(content) == content or content[:4] == b"RIFF"
