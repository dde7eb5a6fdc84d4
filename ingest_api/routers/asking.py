"""What the asking routes share: the stores they read, and how their errors are answered."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated

from deltalake.exceptions import DeltaError
from fastapi import Depends, HTTPException, Request, status

from am_assets.streams.registry import Registry
from ingest_api.auth import require
from ingest_api.border import translating
from ingest_api.errors import UnavailableError
from ingest_api.tokens import Principal, Scope
from resources.blobs import BlobStore
from resources.connections import Connections
from resources.hot import HotStore
from resources.lake_files import LakeFilesError
from resources.search import Embedding, Searcher
from resources.timeline import TimelineError
from resources.vectors import MomentsUnreadableError
from resources.whole import WholeStore

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Asking:
    """The parts behind the asking routes; `Services.asking` holds one."""

    registry: Registry
    whole: WholeStore
    searcher: Searcher
    blobs: BlobStore

    @property
    def hot(self) -> HotStore:
        """The database alone, without the days that have left it."""
        return self.whole.hot

    @classmethod
    def build(
        cls, connections: Connections, registry: Registry, embedding: Embedding, *, model_id: str
    ) -> "Asking":
        """`embedding` is a `Compute`; `model_id` that of the text embedder it will give."""
        return cls(
            registry=registry,
            whole=WholeStore(connections),
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
        except (LakeFilesError, DeltaError, OSError) as error:
            log.warning("the lake can't be read: %s", error)
            raise UnavailableError("the lake does not answer: ask again later") from error
        except MomentsUnreadableError as error:
            log.warning("%s", error)
            raise UnavailableError("search does not answer: ask again later") from error
