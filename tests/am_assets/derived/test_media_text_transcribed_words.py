import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from am_assets.derived.media_text_transcribed_words import (
    PER_MS,
    Piece,
    Stretch,
    join,
    words_in_time,
)
from models.speech_recognition import Transcript, Word
from models.voice_activity import Waveform


def sound(length_ms: int, *, first_ms: int = 0) -> Waveform:
    """Each sample holds the millisecond of the whole recording that it is of."""
    at = np.arange(first_ms, first_ms + length_ms, dtype=np.float32)
    return np.repeat(at, PER_MS)


def chunk(
    number: int, at_ms: int, *spans: tuple[int, int], length_ms: int = 3_000
) -> list[Stretch]:
    heard = sound(length_ms, first_ms=at_ms)
    return [
        Stretch(f"{number}-{start}", str(number), at_ms, start, end, heard) for start, end in spans
    ]


def joined(pieces: list[Piece]) -> list[int]:
    whole = np.concatenate([piece.sound for piece in pieces])
    return [int(at) for at in whole[::PER_MS]]


@given(st.lists(st.integers(0, 1_000), min_size=1, max_size=6))
def test_speech_across_chunks_that_follow_each_other_is_heard_without_a_missing_millisecond(
    starts: list[int],
) -> None:
    # Speech is found somewhere in each chunk; what lies between is heard as well.
    stretches = [
        stretch
        for number, start in enumerate(starts)
        for stretch in chunk(number, number * 3_000, (start, 2_500))
    ]
    last_ms = (len(starts) - 1) * 3_000 + 2_500
    assert joined(join(stretches)) == list(range(starts[0], last_ms))


def test_two_stretches_of_one_chunk_are_heard_with_what_is_between_them() -> None:
    assert joined(join(chunk(0, 0, (100, 900), (1_500, 2_000)))) == list(range(100, 2_000))


def test_a_missing_chunk_is_silence_of_its_length() -> None:
    stretches = [*chunk(0, 0, (2_000, 3_000)), *chunk(1, 4_500, (0, 1_000))]
    pieces = join(stretches)
    told = joined(pieces)
    assert len(told) == 3_500
    assert told[:1_000] == list(range(2_000, 3_000))
    assert set(told[1_000:2_500]) == {0}
    assert told[2_500:] == list(range(4_500, 5_500))


def test_what_two_chunks_both_hold_is_heard_once() -> None:
    stretches = [*chunk(0, 0, (0, 3_000)), *chunk(1, 2_000, (0, 3_000))]
    assert joined(join(stretches)) == list(range(5_000))


@given(st.integers(-300, 300), st.integers(0, 5_999))
def test_a_word_keeps_its_time_and_its_stretch_though_the_chunks_clock_wavers(
    wavers_ms: int, said_ms: int
) -> None:
    stretches = [*chunk(0, 0, (0, 3_000)), *chunk(1, 3_000 + wavers_ms, (0, 3_000))]
    word = Word("word", said_ms / 1000, (said_ms + 1) / 1000, 1.0)
    (told,) = words_in_time(Transcript("word", (word,), "en", 1.0), join(stretches))
    is_second = said_ms >= 3_000
    assert told["source_event_id"] == ("1-0" if is_second else "0-0")
    assert told["start_ms"] == said_ms + (wavers_ms if is_second else 0)
    assert told["end_ms"] >= told["start_ms"]
