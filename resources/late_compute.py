"""Compute that is connected when the first model is asked for, and not before.

A cluster that does not answer blocks the items that need a model and nothing else.
"""

from collections.abc import Callable
from threading import Lock

from models.activity import ActivityClassifier
from models.speech_recognition import SpeechRecognizer
from models.text_embedding import TextEmbedder
from models.text_reading import TextReader
from models.voice_activity import VoiceActivityDetector
from resources.compute import Compute, ModelState


class LateCompute:
    """A `Compute` whose every method connects first. Raises what connecting raises."""

    def __init__(self, connect: Callable[[], Compute]) -> None:
        """`connect` is called once, or again after it raised."""
        self._connect = connect
        self._compute: Compute | None = None
        self._lock = Lock()

    def voice_activity(self) -> VoiceActivityDetector:
        """Finds speech."""
        return self._connected().voice_activity()

    def speech_recognition(self) -> SpeechRecognizer:
        """Writes speech down."""
        return self._connected().speech_recognition()

    def text_reading(self) -> TextReader:
        """Reads images."""
        return self._connected().text_reading()

    def text_embedding(self) -> TextEmbedder:
        """Gives texts vectors."""
        return self._connected().text_embedding()

    def activity(self) -> ActivityClassifier:
        """Names activities."""
        return self._connected().activity()

    def models_state(self) -> tuple[ModelState, ...]:
        """One line a task."""
        return self._connected().models_state()

    def _connected(self) -> Compute:
        with self._lock:
            if self._compute is None:
                self._compute = self._connect()
            return self._compute
