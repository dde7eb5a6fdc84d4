"""Locks that all processes of an installation agree on: the database's, by number.

The database lets go of one when the session that took it ends, also when its process is killed.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg


def number_of(name: str) -> int:
    """The number of a lock that is known by a name."""
    digest = hashlib.sha256(name.encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True)


@contextmanager
def locked(
    database_url: str, *numbers: int, is_shared: bool = False
) -> Iterator[psycopg.Connection]:
    """Wait for the locks, in this order, and hold them as long as this lasts.

    `is_shared`: together with others who share them. Gives the session that holds them.
    Raises: psycopg.Error.
    """
    take = "SELECT pg_advisory_lock_shared(%s)" if is_shared else "SELECT pg_advisory_lock(%s)"
    with psycopg.connect(database_url, autocommit=True) as session:
        for number in numbers:
            session.execute(take, (number,))
        yield session
