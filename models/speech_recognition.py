"""What was said: the protocol, and Whisper through faster-whisper (CTranslate2)."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from models.model import Model, file_version
from models.voice_activity import Waveform

if TYPE_CHECKING:
    from faster_whisper import WhisperModel
    from faster_whisper.transcribe import Segment

BEAM_SIZE = 5  # 1 is a fifth faster and a little worse on long sentences


@dataclass(frozen=True)
class Word:
    """One word; times in seconds from the first sample, `confidence` its probability (0…1)."""

    text: str
    start_s: float
    end_s: float
    confidence: float


@dataclass(frozen=True)
class Transcript:
    """What one waveform says; nothing said is an empty text and no words.

    `language` is ISO 639-1 as the model heard it and `language_probability` its own 0…1; both are
    null where nothing was said, because silence has no language.
    """

    text: str
    words: tuple[Word, ...]
    language: str | None
    language_probability: float | None


NOTHING_SAID = Transcript(text="", words=(), language=None, language_probability=None)


class SpeechRecognizer(Model, Protocol):
    """Writes down what waveforms say."""

    def transcribe(self, waveforms: Sequence[Waveform]) -> list[Transcript]:
        """One transcript a waveform, in the same order."""
        ...


class WhisperRecognizer:
    """Any Whisper in CTranslate2 form, read from a folder and never from the network.

    The folder holds model.bin, config.json, tokenizer.json, vocabulary.json (large-v3 also
    preprocessor_config.json). int8 on a CPU, float16 on a GPU.
    """

    def __init__(self, network: "WhisperModel", *, model_id: str, version: str) -> None:
        self._network = network
        self.model_id = model_id
        self.model_version = version

    @classmethod
    def load(cls, folder: Path, *, model_id: str, cpu_threads: int = 2) -> "WhisperRecognizer":
        """Load the model of a folder onto the GPU where there is one, else the CPU.

        Raises: OSError, or RuntimeError of CTranslate2, for a folder that holds no such model.
        """
        from faster_whisper import WhisperModel

        device, compute_type = _device()
        network = WhisperModel(
            str(folder),
            device=device,
            compute_type=compute_type,
            cpu_threads=cpu_threads,
            local_files_only=True,
        )
        return cls(network, model_id=model_id, version=file_version(folder / "model.bin"))

    def transcribe(self, waveforms: Sequence[Waveform]) -> list[Transcript]:
        """One transcript a waveform; see the protocol."""
        return [self._transcribe(waveform) for waveform in waveforms]

    def _transcribe(self, waveform: Waveform) -> Transcript:
        if not waveform.size:
            return NOTHING_SAID
        # The filter keeps Whisper from inventing sentences where it hears only noise.
        segments, info = self._network.transcribe(
            waveform,
            beam_size=BEAM_SIZE,
            word_timestamps=True,
            condition_on_previous_text=False,
            vad_filter=True,
            vad_parameters={"threshold": 0.3, "min_silence_duration_ms": 300},
        )
        said = list(segments)  # a generator: nothing is computed before this line
        words = _words(said)
        if not words:
            return NOTHING_SAID
        text = "".join(segment.text for segment in said).strip()
        return Transcript(text, words, info.language, float(info.language_probability))


def _words(segments: Iterable["Segment"]) -> tuple[Word, ...]:
    return tuple(
        Word(word.word.strip(), float(word.start), float(word.end), float(word.probability))
        for segment in segments
        for word in segment.words or ()
        if word.word.strip()
    )


def _device() -> tuple[str, str]:
    import ctranslate2  # noqa: PLC0415 (heavy)

    return ("cuda", "float16") if ctranslate2.get_cuda_device_count() else ("cpu", "int8")
