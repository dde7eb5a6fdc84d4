"""Search as asked for: the question's vector from the embedder, then the vector store.

Without the embedder (its weights are missing, its process is down) the answer is by words alone and
says so: a worse answer that is marked beats none.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

from models.errors import ModelUnavailableError
from models.text_embedding import TextEmbedder
from resources.connections import Connections
from resources.vectors import Hit, SearchRequest, VectorStore


class Embedding(Protocol):
    """What gives the embedder; `resources.compute.Compute` does."""

    def text_embedding(self) -> TextEmbedder:
        """Gives texts vectors. Raises: ModelUnavailableError."""
        ...


@dataclass(frozen=True)
class Answer:
    """What was found, best first, and how: `note` says why it was by words alone."""

    hits: list[Hit]
    mode: Literal["hybrid", "words"]
    note: str | None = None


class Searcher:
    """Answers questions over the moments of the model that is set."""

    def __init__(self, connections: Connections, embedding: Embedding, *, model_id: str) -> None:
        """`model_id` is the embedder's, known before it is loaded, and without it."""
        self._embedding = embedding
        self._store = VectorStore(connections, model_id=model_id)

    def search(self, request: SearchRequest) -> Answer:
        """The best moments of the request's user."""
        try:
            vector = self._embedding.text_embedding().embed([request.text])[0]
        except ModelUnavailableError as error:
            return Answer(self._store.search(request, None), "words", f"by words alone: {error}")
        return Answer(self._store.search(request, vector.tolist()), "hybrid")

    def moment(self, moment_id: str, *, user_id: str) -> Hit | None:
        """One moment of this user; None when there is none by that id."""
        return self._store.get(moment_id, user_id)
