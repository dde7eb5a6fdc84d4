"""Receipts of texts that can be found by meaning; the vectors are in the vector store."""

from pydantic import Field

from am_assets.streams.stream import Row


class EmbeddedText(Row):
    """That a text was made searchable by meaning; the vectors are in the vector store."""

    text_length: int = Field(ge=0, description="Characters of the text.")
    chunk_count: int = Field(gt=0, description="Moments that it became.")
    dimension: int = Field(gt=0, description="Numbers of each vector.")
