"""Fixtures for all tests: real servers, started once, and a place on them for each module."""

from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
from hypothesis import settings
from psycopg import sql

from infra.home import load_state
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


@pytest.fixture(scope="module")
def connections(stack: Stack, admin_url: str) -> Iterator[Connections]:
    """An empty database, lake and vector store of the module's own."""
    name = f"module_{uuid4().hex[:12]}"
    parts = {"name": sql.Identifier(name), "owner": sql.Identifier(OWNER)}
    make = sql.SQL("CREATE DATABASE {name} OWNER {owner} TEMPLATE {template}")
    found = stack.settings.connections()
    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute(make.format(**parts, template=sql.Identifier(TEMPLATE)))
        yield replace(
            found,
            database_url=urlsplit(found.database_url)._replace(path=f"/{name}").geturl(),
            lake_uri=f"s3://{TEST_BUCKET}/{name}/lake",
            vectors_uri=f"s3://{TEST_BUCKET}/{name}/vectors",
        )
        admin.execute(sql.SQL("DROP DATABASE {name} WITH (FORCE)").format(**parts))
