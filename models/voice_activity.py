"""When somebody speaks: the protocol, and Silero's network through onnxruntime."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from models.model import Model, file_version

if TYPE_CHECKING:
    from faster_whisper.vad import SileroVADModel

Waveform = NDArray[np.float32]
"""Mono sound at 16 kHz, samples in −1…1, shape (samples,)."""

SAMPLE_RATE_HZ = 16_000
WINDOW_SAMPLES = 512  # what Silero hears at once: 32 ms
WINDOW_S = WINDOW_SAMPLES / SAMPLE_RATE_HZ
END_MARGIN = 0.15  # speech goes on until its probability is this far below the threshold


@dataclass(frozen=True)
class SpeechSpan:
    """Somebody speaks from `start_s` to `end_s`, counted from the first sample.

    `confidence` is the mean speech probability (0…1) that the network gave over the span. The
    ends are those of the network's windows (32 ms), without a margin: who cuts sound adds one.
    """

    start_s: float
    end_s: float
    confidence: float


@dataclass(frozen=True)
class SpanRules:
    """How probabilities become spans."""

    threshold: float = 0.3
    min_speech_s: float = 0.1
    min_silence_s: float = 0.3


class VoiceActivityDetector(Model, Protocol):
    """Finds speech in waveforms."""

    def detect(self, waveforms: Sequence[Waveform]) -> list[list[SpeechSpan]]:
        """Spans of each waveform in order of time; none where nobody speaks."""
        ...


class SileroDetector:
    """Silero v6 (MIT), the ONNX file inside the faster-whisper package.

    Measured on 2 CPU cores: 0.002 s of computing per second of sound.
    """

    model_id = "silero-vad-v6"

    def __init__(self, network: "SileroVADModel", *, version: str, rules: SpanRules) -> None:
        self._network = network
        self._rules = rules
        self.model_version = version

    @classmethod
    def load(cls, rules: SpanRules | None = None) -> "SileroDetector":
        """Open the packaged weights; `rules` default to those of `SpanRules`."""
        from faster_whisper.utils import get_assets_path
        from faster_whisper.vad import SileroVADModel

        path = Path(get_assets_path()) / "silero_vad_v6.onnx"
        network = SileroVADModel(str(path))
        return cls(network, version=file_version(path), rules=rules or SpanRules())

    def detect(self, waveforms: Sequence[Waveform]) -> list[list[SpeechSpan]]:
        """Spans of each waveform; see the protocol."""
        return [self._detect(waveform) for waveform in waveforms]

    def probabilities(self, waveform: Waveform) -> NDArray[np.float32]:
        """Speech probability of every window of 512 samples; the last window is zero-padded."""
        if not waveform.size:
            return np.zeros(0, dtype=np.float32)
        windows = -(-waveform.size // WINDOW_SAMPLES)
        # One window more than needed: the network's wrapper blanks the end of the last one.
        padding = (windows + 1) * WINDOW_SAMPLES - waveform.size
        found = self._network(np.pad(waveform, (0, padding)))
        return cast("NDArray[np.float32]", found.reshape(-1)[:windows])

    def _detect(self, waveform: Waveform) -> list[SpeechSpan]:
        probabilities = self.probabilities(waveform)
        return speech_spans(
            probabilities, duration_s=waveform.size / SAMPLE_RATE_HZ, rules=self._rules
        )


def speech_spans(
    probabilities: NDArray[np.float32], *, duration_s: float, rules: SpanRules
) -> list[SpeechSpan]:
    """Turn one probability a window (32 ms) into spans, none of which ends after `duration_s`.

    A span opens at the threshold and closes where the probability stays below the threshold less
    `END_MARGIN` for `min_silence_s`; spans shorter than `min_speech_s` are dropped.
    """
    return [
        SpeechSpan(
            start_s=first * WINDOW_S,
            end_s=min(last * WINDOW_S, duration_s),
            confidence=float(np.mean(probabilities[first:last], dtype=np.float64)),
        )
        for first, last in _window_spans(probabilities, rules)
        if min(last * WINDOW_S, duration_s) - first * WINDOW_S > rules.min_speech_s
    ]


def _window_spans(
    probabilities: NDArray[np.float32], rules: SpanRules
) -> Iterator[tuple[int, int]]:
    """Half-open ranges of windows that speak, closed after enough silence."""
    quiet_below = max(rules.threshold - END_MARGIN, 0.01)
    start: int | None = None
    quiet_since: int | None = None
    for window, probability in enumerate(probabilities.tolist()):
        if probability >= rules.threshold:
            start = window if start is None else start
            quiet_since = None
        elif start is not None and probability < quiet_below:
            quiet_since = window if quiet_since is None else quiet_since
            if (window - quiet_since) * WINDOW_S >= rules.min_silence_s:
                yield start, quiet_since
                start = quiet_since = None
    if start is not None:
        yield start, len(probabilities)
