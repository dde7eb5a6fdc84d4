"""What all benches share: the stack, the API as a process, and the page of results."""

import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psycopg
import pytest

from infra.ports import choose_free
from ingest_api.tokens import Scope, create_token
from resources.connections import Connections

RESULTS = Path(__file__).parent / "RESULTS.md"
SECTIONS: dict[str, list[str]] = {}


@pytest.fixture
def note(request: pytest.FixtureRequest) -> Iterator[list[str]]:
    """Lines for RESULTS.md, under the bench's own heading (its docstring)."""
    lines: list[str] = []
    yield lines
    SECTIONS[(request.function.__doc__ or request.node.name).strip()] = lines


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the page once all benches have run well."""
    if SECTIONS and session.testsfailed == 0:
        body = "\n\n".join(f"## {title}\n\n" + "\n".join(part) for title, part in SECTIONS.items())
        RESULTS.write_text(f"{_head()}\n\n{body}\n")


def _head() -> str:
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.machine(),
    )
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        "# Measured\n\n`make bench` writes this page. Ratios compare things measured in one run on "
        "one machine;\nabsolute numbers are worth little elsewhere.\n\n"
        f"{datetime.now(UTC):%F}, {model}, {os.cpu_count()} cores, {memory_gib:.0f} GiB, "
        f"Linux {platform.release().split('-')[0]}, Python {platform.python_version()}. "
        "Client and servers share the machine."
    )


@pytest.fixture(scope="module")
def api_port(connections: Connections, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The API as `am up` starts it: a process of its own."""
    port = choose_free(["api"])["api"]
    environment = os.environ | {
        "AM_HOME": str(tmp_path_factory.mktemp("bench-home")),
        "AM_DATABASE_URL": connections.database_url,
        "AM_S3_ENDPOINT": connections.s3_endpoint,
        "AM_S3_ACCESS_KEY": connections.s3_access_key,
        "AM_S3_SECRET_KEY": connections.s3_secret_key,
        "AM_S3_BUCKET": connections.s3_bucket,
        "AM_LAKE_URI": connections.lake_uri,
        "AM_VECTORS_URI": connections.vectors_uri,
    }
    command = [sys.executable, "-m", "uvicorn", "--factory", "--port", str(port)]
    command += ["--no-access-log", "ingest_api.main:app_from_environment"]
    with subprocess.Popen(command, env=environment) as process:
        _wait_ready(port)
        yield port
        process.terminate()


def _wait_ready(port: int) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/readyz").is_success:
                return
        except httpx.TransportError:
            time.sleep(0.1)
    raise RuntimeError("the API did not become ready")


@pytest.fixture(scope="module")
def token(connections: Connections) -> str:
    """May write as any device of one user."""
    with psycopg.connect(connections.database_url) as connection:
        return create_token(
            connection, user_id="bench", device_id="*", scopes=frozenset({Scope.ADMIN})
        )
