"""Known speech is written down; silence stays silent."""

import pytest

from infra.demo.score import word_error_rate
from models.speech_recognition import NOTHING_SAID, WhisperRecognizer
from tests.models.media import SAID, noise, silence, sound, tiny_weights


@pytest.fixture(scope="module")
def recognizer() -> WhisperRecognizer:
    return WhisperRecognizer.load(tiny_weights() / "whisper-base", model_id="whisper-base")


@pytest.mark.slow
def test_at_most_one_word_in_ten_of_known_speech_is_wrong(recognizer: WhisperRecognizer) -> None:
    found = recognizer.transcribe([sound(name) for name in SAID])
    heard = " ".join(transcript.text for transcript in found)
    assert word_error_rate(" ".join(SAID.values()), heard) <= 0.1
    assert {transcript.language for transcript in found} == {"en"}


def test_words_follow_each_other_inside_the_recording(recognizer: WhisperRecognizer) -> None:
    waveform = sound("austen-0920")
    (found,) = recognizer.transcribe([waveform])
    times = [time for word in found.words for time in (word.start_s, word.end_s)]
    assert times == sorted(times)
    assert times[0] >= 0
    assert times[-1] <= len(waveform) / 16_000 + 0.1
    assert all(0 < word.confidence <= 1 for word in found.words)
    assert "".join(word.text for word in found.words) == found.text.replace(" ", "")


def test_where_nobody_speaks_no_word_and_no_language_is_made_up(
    recognizer: WhisperRecognizer,
) -> None:
    unspoken = [silence(0), silence(0.01), silence(5), noise(3), sound("birds")]
    assert recognizer.transcribe(unspoken) == [NOTHING_SAID] * len(unspoken)


def test_version_is_the_hash_of_the_weights(recognizer: WhisperRecognizer) -> None:
    assert recognizer.model_version == "905e5bf8336b"
