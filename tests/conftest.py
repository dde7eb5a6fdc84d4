"""Fixtures for all tests: real servers, started once, and a place on them for each module."""

import os
from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
from hypothesis import settings
from psycopg import sql

from infra.home import load_state
from infra.migrate import upgrade
from infra.postgres import ADMIN, OWNER, Postgres
from infra.stack import SERVER_PARTS, Stack
from ingest_api.settings import Settings
from resources.connections import Connections

# Hypothesis would fail an example that takes 200 ms by the wall clock: that tells of the machine.
settings.register_profile("am", deadline=None)
settings.load_profile("am")

TEST_BUCKET = "am-test"
TEMPLATE = "template_am"  # a copy of the stack's own database, migrated and otherwise empty


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """PostgreSQL (migrated) and the object store, started once and empty at first."""
    home = tmp_path_factory.mktemp("am-home")
    stack = Stack(home, parts=SERVER_PARTS, settings=Settings(home=home, s3_bucket=TEST_BUCKET))
    stack.start()
    try:
        yield stack
    finally:
        stack.stop()


@pytest.fixture(scope="session")
def admin_url(stack: Stack) -> str:
    """PostgreSQL as its administrator reaches it, with a template for the modules' databases."""
    state = load_state(stack.home)
    assert state is not None
    url = Postgres(stack.home, state).url(ADMIN, "postgres")
    with psycopg.connect(url, autocommit=True) as admin:
        copy = sql.SQL("CREATE DATABASE {} TEMPLATE am").format(sql.Identifier(TEMPLATE))
        admin.execute(copy)
    return url


@pytest.fixture(scope="session")
def server_url(admin_url: str) -> str:
    """The server of the modules' databases, as its administrator reaches it.

    The one with TimescaleDB that `AM_TEST_TIMESCALE_URL` names, where it names one.
    """
    return os.environ.get("AM_TEST_TIMESCALE_URL") or admin_url


@pytest.fixture(scope="module")
def database_url(stack: Stack, server_url: str) -> Iterator[str]:
    """An empty database of the module's own, as AM's owner reaches it."""
    timescale = os.environ.get("AM_TEST_TIMESCALE_URL")
    owner_url = timescale or stack.settings.connections().database_url
    name = f"module_{uuid4().hex[:12]}"
    url = urlsplit(owner_url)._replace(path=f"/{name}").geturl()
    parts = {"name": sql.Identifier(name), "owner": sql.Identifier(OWNER)}
    make = sql.SQL("CREATE DATABASE {name} OWNER {owner}").format(**parts)
    copy = sql.SQL(" TEMPLATE {}").format(sql.Identifier(TEMPLATE))
    with psycopg.connect(server_url, autocommit=True) as admin:
        admin.execute(make if timescale else make + copy)
        if timescale:  # its workers hold on to a template, which can then not be copied
            with psycopg.connect(url, autocommit=True) as database:
                database.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
            upgrade(url)
        yield url
        admin.execute(sql.SQL("DROP DATABASE {name} WITH (FORCE)").format(**parts))


@pytest.fixture(scope="module")
def connections(stack: Stack, database_url: str) -> Connections:
    """The module's own database, and an empty lake and vector store."""
    place = f"s3://{TEST_BUCKET}/{urlsplit(database_url).path.strip('/')}"
    return replace(
        stack.settings.connections(),
        database_url=database_url,
        lake_uri=f"{place}/lake",
        vectors_uri=f"{place}/vectors",
    )
