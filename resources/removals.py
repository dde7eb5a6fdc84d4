"""Who removes bytes for good, and who copies them, are not at it at the same time.

One lock over all processes: whoever removes blobs or files of the lake takes it for itself, a
backup or an export shares it with others of their kind.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from resources.advisory_locks import locked

LOCK = 4_122_019  # any number, the same in all processes


@contextmanager
def removing(database_url: str) -> Iterator[None]:
    """Wait until nobody copies; nobody begins to before this ends. Raises: psycopg.Error."""
    with locked(database_url, LOCK):
        yield


@contextmanager
def copying(database_url: str) -> Iterator[None]:
    """Wait until nobody removes; nobody begins to before this ends. Raises: psycopg.Error."""
    with locked(database_url, LOCK, is_shared=True):
        yield
