"""What all benches share: the stack, the API as a process, and the page of results."""

import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest

from infra.api import SERVER
from infra.ports import choose_free
from ingest_api.tokens import Scope, create_token
from resources.connections import Connections
from tests.variables import variables_of

RESULTS = Path(__file__).parent / "RESULTS.md"
SECTIONS: dict[str, list[str]] = {}
HEAD = """# Measured

`make bench` writes this page, and each bench its own section of it. Ratios compare things measured
in one run on one machine; absolute numbers are worth little elsewhere. Client and servers share the
machine, and every row and blob is committed and fsynced before its answer."""


@pytest.fixture
def note(request: pytest.FixtureRequest) -> Iterator[list[str]]:
    """Lines for RESULTS.md, under the bench's own heading (its docstring)."""
    lines: list[str] = []
    yield lines
    SECTIONS[(request.function.__doc__ or request.node.name).strip()] = lines


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the sections of the benches that ran, once all of them have run well; keep the rest."""
    if SECTIONS and session.testsfailed == 0:
        found = sections(RESULTS.read_text()) if RESULTS.exists() else {}
        ran = {title: "\n".join([_machine(), "", *part]) for title, part in SECTIONS.items()}
        body = "\n\n".join(f"## {title}\n\n{part}" for title, part in {**found, **ran}.items())
        RESULTS.write_text(f"{HEAD}\n\n{body}\n")


def sections(page: str) -> dict[str, str]:
    """The page's sections by title, as they stand there."""
    parts = page.split("\n## ")[1:]
    pairs = (part.partition("\n") for part in parts)
    return {title.strip(): body.strip() for title, _, body in pairs}


def _machine() -> str:
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
        f"{datetime.now(UTC):%F}, {model}, {os.cpu_count()} cores, {memory_gib:.0f} GiB, "
        f"Linux {platform.release().split('-')[0]}, Python {platform.python_version()}."
    )


@dataclass(frozen=True)
class Served:
    """A server process of a bench."""

    port: int
    pid: int

    @property
    def cpu_s(self) -> float:
        """Seconds of processor time it has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def memory_mib(self) -> float:
        """What it keeps in memory."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.fixture(scope="module")
def api(connections: Connections, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The API as `am up` starts it: a process of its own."""
    with serving(connections, home=tmp_path_factory.mktemp("bench-home")) as served:
        yield served


@contextmanager
def serving(
    connections: Connections, *, home: Path, port: int | None = None, replicas: int = 1
) -> Iterator[Served]:
    """One process of the API. Of several `replicas`, all have one port."""
    port = port or choose_free(["api"])["api"]
    environment = os.environ | {
        "AM_HOME": str(home),
        "AM_API_PORT": str(port),
        "AM_API_REPLICAS": str(replicas),
        **variables_of(connections),
    }
    with subprocess.Popen([sys.executable, "-m", SERVER], env=environment) as process:
        _wait_ready(port)
        if replicas > 1:
            _wait_listening(process.pid, port)
        yield Served(port, process.pid)
        process.terminate()


@pytest.fixture(scope="module")
def api_port(api: Served) -> int:
    """Where it answers."""
    return api.port


def _wait_listening(pid: int, port: int) -> None:
    """Until this very process takes connections, whoever else answers at the port."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        found = psutil.Process(pid).net_connections("tcp")
        if any(one.status == psutil.CONN_LISTEN and one.laddr.port == port for one in found):
            return
        time.sleep(0.1)
    raise RuntimeError("the API does not listen")


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
def token_for(connections: Connections) -> Callable[[str], str]:
    """Makes tokens that may write as any device of a user."""

    def make(user: str) -> str:
        with psycopg.connect(connections.database_url) as connection:
            scopes = frozenset({Scope.ADMIN})
            return create_token(connection, user_id=user, device_id="*", scopes=scopes)

    return make


@pytest.fixture(scope="module")
def token(token_for: Callable[[str], str]) -> str:
    """May write as any device of one user."""
    return token_for("bench")


@pytest.fixture(scope="module")
def tokens(token_for: Callable[[str], str]) -> list[str]:
    """One a connection: each has its own share of what a token may send."""
    return [token_for("bench") for _ in range(16)]
