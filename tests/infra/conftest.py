"""Empty databases, for what starts with one."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from infra.stack import Stack

TIMESCALE = os.environ.get("AM_TEST_TIMESCALE_URL")
SMALL_TIMESCALE = Path(__file__).parent / "timescale"


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
def named_timescale() -> Iterator[str]:
    """An empty database with the extension, on the server that the environment names."""
    if TIMESCALE is None:
        pytest.skip("AM_TEST_TIMESCALE_URL names no server")
    for url in fresh(TIMESCALE, TIMESCALE):
        with psycopg.connect(url, autocommit=True) as database:
            database.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
        yield url


@pytest.fixture
def empty_timescale(request: pytest.FixtureRequest) -> Iterator[str]:
    """The same; where no server is named, on one that takes its clients in turns.

    That one lacks background workers, `COPY`, and statements at the same time.
    """
    if TIMESCALE is None:
        yield from small_timescale()
    else:
        yield request.getfixturevalue("named_timescale")


def small_timescale() -> Iterator[str]:
    """A real TimescaleDB compiled to WebAssembly, in a process of its own."""
    node = shutil.which("node")
    if node is None or not (SMALL_TIMESCALE / "node_modules").is_dir():
        refuse = pytest.fail if os.environ.get("CI") else pytest.skip
        refuse("Node.js is missing: install it with npm, then `make setup-dev`")
    server = subprocess.Popen(
        [node, "server.mjs"], cwd=SMALL_TIMESCALE, stdout=subprocess.PIPE, text=True
    )
    with server:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
        server.terminate()
