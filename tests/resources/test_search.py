"""Search with and without its model."""

from collections.abc import Sequence
from uuid import uuid4

import numpy as np

from models.errors import ModelUnavailableError
from models.text_embedding import TextEmbedder, Vectors
from resources.connections import Connections
from resources.search import Searcher
from resources.vectors import SearchRequest, VectorStore
from tests.resources.moments_data import DIMENSION, SPEECH, letters, moment, table


class LettersEmbedder:
    """Texts of like letters are near."""

    model_version = "1"
    dimension = DIMENSION

    def __init__(self, model_id: str) -> None:
        self.model_id = model_id

    def embed(self, texts: Sequence[str]) -> Vectors:
        return np.array([letters(text) for text in texts], dtype=np.float32)


class LettersCompute:
    """Has the model."""

    def __init__(self, model_id: str) -> None:
        self.model_id = model_id

    def text_embedding(self) -> TextEmbedder:
        return LettersEmbedder(self.model_id)


class EmptyCompute:
    """Has no model."""

    def text_embedding(self) -> TextEmbedder:
        raise ModelUnavailableError("text_embedding", "weights/letters", "run `am models pull`")


def fill(connections: Connections) -> str:
    model_id = f"letters {uuid4().hex}"
    store = VectorStore(connections, model_id=model_id, dimension=DIMENSION)
    rows = [moment("bread bread"), moment("bubbly", chunk_index=1)]
    store.replace(["e1"], table(rows), user_id="ann", source_stream=SPEECH)
    return model_id


def test_with_its_model_search_finds_by_meaning_too(connections: Connections) -> None:
    model_id = fill(connections)
    searcher = Searcher(connections, LettersCompute(model_id), model_id=model_id)
    answer = searcher.search(SearchRequest(user_id="ann", text="bread"))
    assert {hit.text for hit in answer.hits} == {"bread bread", "bubbly"}
    assert (answer.mode, answer.note) == ("hybrid", None)


def test_without_its_model_search_goes_by_words_and_says_what_to_do(
    connections: Connections,
) -> None:
    searcher = Searcher(connections, EmptyCompute(), model_id=fill(connections))
    answer = searcher.search(SearchRequest(user_id="ann", text="bread"))
    assert [hit.text for hit in answer.hits] == ["bread bread"]
    assert answer.mode == "words"
    assert "am models pull" in (answer.note or "")


def test_a_moment_is_its_owners_only(connections: Connections) -> None:
    searcher = Searcher(connections, EmptyCompute(), model_id=fill(connections))
    made = moment("bread bread")["moment_id"]
    found = searcher.moment(made, user_id="ann")
    assert found is not None
    assert found.text == "bread bread"
    assert searcher.moment(made, user_id="amy") is None
