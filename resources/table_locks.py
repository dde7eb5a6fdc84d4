"""One writer a table of the lake, for the tables that are no stream's."""

from collections.abc import Iterator
from contextlib import contextmanager

from resources.advisory_locks import locked, number_of


@contextmanager
def table_lock(database_url: str, name: str) -> Iterator[None]:
    """Held by whoever writes to the table, over all processes. Raises: psycopg.Error."""
    with locked(database_url, number_of(f"am.table/{name}")):
        yield
