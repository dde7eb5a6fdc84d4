"""What the asking routes share: the stores they read, and how their errors are answered."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, HTTPException, Request, status

from am_assets.streams.registry import Registry
from ingest_api.auth import require
from ingest_api.border import translating
from ingest_api.tokens import Principal, Scope
from resources.blobs import BlobStore
from resources.connections import Connections
from resources.hot import HotStore
from resources.search import Embedding, Searcher
from resources.timeline import TimelineError


@dataclass(frozen=True)
class Asking:
    """The parts behind the asking routes; `Services.asking` holds one."""

    registry: Registry
    hot: HotStore
    searcher: Searcher
    blobs: BlobStore

    @classmethod
    def build(
        cls, connections: Connections, registry: Registry, embedding: Embedding, *, model_id: str
    ) -> "Asking":
        """`embedding` is a `Compute`; `model_id` that of the text embedder it will give."""
        return cls(
            registry=registry,
            hot=HotStore(connections.database_url),
            searcher=Searcher(connections, embedding, model_id=model_id),
            blobs=BlobStore(connections),
        )


def get_asking(request: Request) -> Asking:
    """The one that the application was started with."""
    asking: Asking = request.app.state.services.asking
    return asking


Reader = Annotated[Principal, Depends(require(Scope.READ))]
Stores = Annotated[Asking, Depends(get_asking)]


@contextmanager
def answering() -> Iterator[None]:
    """Turn what the stores raise into what a client is told."""
    with translating():
        try:
            yield
        except TimelineError as error:
            raise HTTPException(status.HTTP_422_UNPROCESSABLE_CONTENT, str(error)) from error
