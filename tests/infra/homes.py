"""A second place on the session's servers: a database, a bucket, a lake of its own."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
from psycopg import sql

from infra.migrate import upgrade
from infra.postgres import OWNER
from resources.connections import Connections
from resources.master_keys import GivenMasterKey, LocalKey
from tests.conftest import TEMPLATE
from tests.planting import object_store

PROJECT = Path(__file__).parents[2]


@contextmanager
def elsewhere(connections: Connections, admin_url: str) -> Iterator[Connections]:
    """An empty stack as far as its stores go, under another master key."""
    name = f"elsewhere-{uuid4().hex[:12]}"
    url = urlsplit(connections.database_url)._replace(path=f"/{name}").geturl()
    parts = {
        "name": sql.Identifier(name),
        "owner": sql.Identifier(OWNER),
        "template": sql.Identifier(TEMPLATE),
    }
    object_store(connections).make_bucket(name)
    timescale = os.environ.get("AM_TEST_TIMESCALE_URL")
    make = sql.SQL("CREATE DATABASE {name} OWNER {owner}").format(**parts)
    copy = sql.SQL(" TEMPLATE {template}").format(**parts)
    with psycopg.connect(timescale or admin_url, autocommit=True) as admin:
        admin.execute(make if timescale else make + copy)
        if timescale:
            with psycopg.connect(url, autocommit=True) as database:
                database.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
            upgrade(url)
        yield replace(
            connections,
            database_url=url,
            s3_bucket=name,
            lake_uri=f"s3://{name}/lake",
            vectors_uri=f"s3://{name}/vectors",
            master_key=GivenMasterKey(LocalKey(b"k" * 32, "the test")),
        )
        admin.execute(sql.SQL("DROP DATABASE {name} WITH (FORCE)").format(**parts))
