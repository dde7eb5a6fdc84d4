"""Fixtures for all tests: one real stack a worker (PostgreSQL, SeaweedFS), on free ports."""

from collections.abc import Iterator

import pytest

from infra.stack import SERVER_PARTS, Stack
from ingest_api.settings import Settings
from resources.connections import Connections

TEST_BUCKET = "am-test"


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
def connections(stack: Stack) -> Connections:
    """Where that stack is."""
    return stack.settings.connections()
