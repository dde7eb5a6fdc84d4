"""Texts that mean the same lie close together."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.text_embedding import MiniLmEmbedder, mean_of_tokens
from tests.models.media import tiny_weights

QUESTIONS = [
    "When does the train to Vienna leave?",
    "How much do I owe the dentist?",
    "Which groceries do we need?",
]
ANSWERS = [
    "The railway connection to Vienna departs at 7:45.",
    "The invoice for your teeth cleaning is 80 euros.",
    "We are out of milk, eggs and bread.",
    "The match ended two to one.",
    "Restart the server after changing the configuration.",
]


@pytest.fixture(scope="module")
def embedder() -> MiniLmEmbedder:
    return MiniLmEmbedder.load(tiny_weights() / "all-minilm-l6-v2-int8")


def test_the_answer_to_a_question_is_its_nearest_text(embedder: MiniLmEmbedder) -> None:
    likeness = embedder.embed(QUESTIONS) @ embedder.embed(ANSWERS).T
    assert likeness.argmax(axis=1).tolist() == [0, 1, 2]


def test_every_vector_has_length_one_even_of_no_text(embedder: MiniLmEmbedder) -> None:
    vectors = embedder.embed(["", "a", "word " * 2_000, "日本語 😀"])
    assert vectors.shape == (4, embedder.dimension)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(4), abs=1e-5)


def test_neighbours_in_a_batch_hardly_change_a_vector(embedder: MiniLmEmbedder) -> None:
    texts = [*QUESTIONS, *ANSWERS, "word " * 200] * 9
    together = embedder.embed(texts)
    alone = np.concatenate([embedder.embed([text]) for text in texts[:9]])
    assert (together[:9] * alone).sum(axis=1).min() > 0.98  # int8 scales follow the batch
    assert together[:9] == pytest.approx(together[9:18], abs=0.1)


def test_no_texts_give_no_vectors(embedder: MiniLmEmbedder) -> None:
    assert embedder.embed([]).shape == (0, embedder.dimension)


@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 4))
def test_padding_does_not_count(texts: int, tokens: int, padding: int) -> None:
    values = np.random.default_rng(texts * 10 + tokens).normal(size=(texts, tokens, 3)) + 5
    given_tokens = np.concatenate([values, np.full((texts, padding, 3), 99.0)], axis=1)
    mask = np.array([[1] * tokens + [0] * padding] * texts)
    padded = mean_of_tokens(given_tokens.astype(np.float32), mask)
    bare = mean_of_tokens(values.astype(np.float32), mask[:, :tokens])
    assert padded == pytest.approx(bare, abs=1e-5)
