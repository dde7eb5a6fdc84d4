"""Clients of the object store. How long they wait and how often they ask again is the caller's."""

from dataclasses import dataclass

import urllib3
from minio import Minio

from resources.connections import REGION


@dataclass(frozen=True)
class Patience:
    """What a client bears. `tries_again` 0: the first fault is told.

    `connections`: how many it keeps open for the next request.
    """

    connect_s: float
    read_s: float
    tries_again: int
    connections: int


def s3_client(endpoint: str, *, access_key: str, secret_key: str, patience: Patience) -> Minio:
    """A client of the store at an address with its scheme; asks nothing yet."""
    return Minio(
        endpoint.split("://", 1)[-1].rstrip("/"),
        access_key=access_key,
        secret_key=secret_key,
        secure=endpoint.startswith("https://"),
        region=REGION,
        http_client=urllib3.PoolManager(
            timeout=urllib3.Timeout(connect=patience.connect_s, read=patience.read_s),
            retries=urllib3.Retry(patience.tries_again) if patience.tries_again else False,
            maxsize=patience.connections,
        ),
    )
