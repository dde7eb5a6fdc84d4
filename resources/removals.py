"""Who removes bytes for good, and who copies them, are not at it at the same time.

One lock over all processes: whoever removes blobs or files of the lake takes it for itself, a
backup or an export shares it with others of their kind.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg

LOCK = 4_122_019  # any number, the same in all processes


@contextmanager
def removing(database_url: str) -> Iterator[None]:
    """Wait until nobody copies; nobody begins to before this ends. Raises: psycopg.Error."""
    with psycopg.connect(database_url, autocommit=True) as guard:
        guard.execute("SELECT pg_advisory_lock(%s)", (LOCK,))
        yield  # the session's end lets go, also when the process is killed


@contextmanager
def copying(database_url: str) -> Iterator[None]:
    """Wait until nobody removes; nobody begins to before this ends. Raises: psycopg.Error."""
    with psycopg.connect(database_url, autocommit=True) as guard:
        guard.execute("SELECT pg_advisory_lock_shared(%s)", (LOCK,))
        yield
