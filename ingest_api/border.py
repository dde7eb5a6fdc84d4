"""The border where the stores' errors become the front door's."""

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg_pool import PoolTimeout

from ingest_api.errors import NotFoundError, UnavailableError
from resources.blobs import BlobAbsentError, BlobUnreachableError


@contextmanager
def translating() -> Iterator[None]:
    """Turn what the stores raise into what a client is told.

    Raises: NotFoundError, UnavailableError.
    """
    try:
        yield
    except (psycopg.OperationalError, PoolTimeout) as error:
        raise UnavailableError(f"the database does not answer: {error}") from error
    except BlobAbsentError as error:
        raise NotFoundError(str(error)) from error
    except BlobUnreachableError as error:
        raise UnavailableError(str(error)) from error
