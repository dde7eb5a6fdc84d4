"""The border where the stores' errors become the front door's."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg_pool import PoolTimeout

from ingest_api.errors import DamagedError, NotFoundError, UnavailableError
from resources.blobs import BlobAbsentError, BlobCorruptError, BlobUnreachableError

log = logging.getLogger(__name__)


@contextmanager
def translating() -> Iterator[None]:
    """Turn what the stores raise into what a client is told.

    Raises: NotFoundError, DamagedError, UnavailableError.
    """
    try:
        yield
    except (psycopg.OperationalError, PoolTimeout) as error:
        raise UnavailableError(f"the database does not answer: {error}") from error
    except BlobAbsentError as error:
        raise NotFoundError(str(error)) from error
    except BlobCorruptError as error:
        log.exception("a blob is not what was stored")
        raise DamagedError(str(error)) from error
    except BlobUnreachableError as error:
        raise UnavailableError(str(error)) from error
