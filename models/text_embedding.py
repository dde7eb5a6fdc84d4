"""Where a text lies in meaning: the protocol, MiniLM through onnxruntime, sentence-transformers."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from models.model import Model, file_version

if TYPE_CHECKING:
    from onnxruntime import InferenceSession
    from sentence_transformers import SentenceTransformer
    from tokenizers import Encoding, Tokenizer

Vectors = NDArray[np.float32]
"""Shape (texts, dimension); every row has length 1."""

BATCH_TEXTS = 32
MINILM_DIMENSION = 384
MINILM_MAX_TOKENS = 256  # what all-MiniLM-L6-v2 was trained with; the rest of a text is not seen


class TextEmbedder(Model, Protocol):
    """Gives texts vectors whose dot product says how close their meanings are."""

    @property
    def dimension(self) -> int:
        """Length of a vector."""
        ...

    def embed(self, texts: Sequence[str]) -> Vectors:
        """One vector of length 1 a text, in the same order; shape (0, dimension) for none."""
        ...


class MiniLmEmbedder:
    """all-MiniLM-L6-v2 (Apache-2.0) as int8 ONNX: English, 256 tokens, 384 numbers, no torch."""

    model_id = "all-minilm-l6-v2-int8"
    dimension = MINILM_DIMENSION

    def __init__(
        self, session: "InferenceSession", tokenizer: "Tokenizer", *, version: str
    ) -> None:
        self._session = session
        self._tokenizer = tokenizer
        self._inputs = {given.name for given in session.get_inputs()}
        self.model_version = version

    @classmethod
    def load(cls, folder: Path, *, threads: int = 2) -> "MiniLmEmbedder":
        """Load model.onnx and tokenizer.json of a folder."""
        from onnxruntime import InferenceSession, SessionOptions  # noqa: PLC0415 (heavy)
        from tokenizers import Tokenizer  # noqa: PLC0415 (heavy)

        options = SessionOptions()
        options.intra_op_num_threads = threads
        weights = folder / "model.onnx"
        session = InferenceSession(str(weights), options, providers=["CPUExecutionProvider"])
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        tokenizer.enable_truncation(MINILM_MAX_TOKENS)
        tokenizer.no_padding()
        return cls(session, tokenizer, version=file_version(weights))

    def embed(self, texts: Sequence[str]) -> Vectors:
        """One vector a text; see the protocol."""
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        encoded = self._tokenizer.encode_batch(list(texts))
        # Texts of like length share a batch, so that little is computed for padding.
        by_length = sorted(range(len(texts)), key=lambda place: len(encoded[place].ids))
        for first in range(0, len(texts), BATCH_TEXTS):
            places = by_length[first : first + BATCH_TEXTS]
            vectors[places] = self._embed([encoded[place] for place in places])
        return vectors

    def _embed(self, encoded: "Sequence[Encoding]") -> Vectors:
        longest = max(len(text.ids) for text in encoded)
        ids = np.zeros((len(encoded), longest), dtype=np.int64)
        mask = np.zeros_like(ids)
        for row, text in enumerate(encoded):
            ids[row, : len(text.ids)] = text.ids
            mask[row, : len(text.ids)] = 1
        given = {
            "input_ids": ids,
            "attention_mask": mask,
            "token_type_ids": np.zeros_like(ids),
        }
        tokens = self._session.run(None, {name: given[name] for name in self._inputs})[0]
        return mean_of_tokens(cast("NDArray[np.float32]", tokens), mask)


class SentenceTransformersEmbedder:
    """Any sentence-transformers model, read from a folder; on the GPU where there is one."""

    def __init__(self, network: "SentenceTransformer", *, model_id: str, version: str) -> None:
        self._network = network
        self.model_id = model_id
        self.model_version = version
        self.dimension = int(network.encode([""]).shape[1])

    @classmethod
    def load(cls, folder: Path, *, model_id: str) -> "SentenceTransformersEmbedder":
        """Load a folder that `SentenceTransformer.save` or a Hugging Face snapshot made.

        Raises: ImportError without sentence-transformers, OSError for a folder without weights.
        """
        from sentence_transformers import SentenceTransformer

        network = SentenceTransformer(str(folder), local_files_only=True)
        version = file_version(folder / "model.safetensors")
        return cls(network, model_id=model_id, version=version)

    def embed(self, texts: Sequence[str]) -> Vectors:
        """One vector a text; see the protocol."""
        if not texts:
            return np.zeros((0, self.dimension), dtype=np.float32)
        found = self._network.encode(
            list(texts), batch_size=BATCH_TEXTS, normalize_embeddings=True, show_progress_bar=False
        )
        return np.asarray(found, dtype=np.float32)


def mean_of_tokens(tokens: NDArray[np.float32], mask: NDArray[np.int64]) -> Vectors:
    """Mean over the real tokens of each text, scaled to length 1.

    `tokens` (texts, tokens, dimension); `mask` (texts, tokens) is 1 for real tokens, 0 for padding.
    """
    weight = mask[:, :, None].astype(np.float32)
    mean = (tokens * weight).sum(axis=1) / weight.sum(axis=1)
    scaled: Vectors = mean / np.linalg.norm(mean, axis=1, keepdims=True)
    return scaled
