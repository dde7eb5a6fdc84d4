"""Empty databases, for what starts with one."""

import os
from collections.abc import Iterator
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from infra.stack import Stack

TIMESCALE = os.environ.get("AM_TEST_TIMESCALE_URL")


def fresh(admin_url: str, owner_url: str) -> Iterator[str]:
    """A database of the test's own on a server, as AM's owner reaches it."""
    name = f"migrate_{uuid4().hex[:8]}"
    owner = sql.Identifier(urlsplit(owner_url).username or "")
    create = sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), owner)
    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute(create)
        yield urlsplit(owner_url)._replace(path=f"/{name}").geturl()
        drop = sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name))
        admin.execute(drop)


@pytest.fixture
def empty(admin_url: str, stack: Stack) -> Iterator[str]:
    """An empty database on plain PostgreSQL."""
    yield from fresh(admin_url, stack.settings.connections().database_url)


@pytest.fixture
def empty_timescale() -> Iterator[str]:
    """An empty database with the extension, on the server that the environment names."""
    if TIMESCALE is None:
        pytest.skip("AM_TEST_TIMESCALE_URL names no server")
    for url in fresh(TIMESCALE, TIMESCALE):
        with psycopg.connect(url, autocommit=True) as database:
            database.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
        yield url
