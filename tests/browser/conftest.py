"""A real browser with fake devices, before a real API process over the real stack."""

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, expect, sync_playwright

from infra.ports import choose_free
from ingest_api.pairing import create_invite
from resources.connections import Connections
from tests.variables import variables_of

PHONE: dict[str, Any] = {
    "viewport": {"width": 390, "height": 844},
    "geolocation": {"latitude": 45.2269, "longitude": 13.5966, "accuracy": 8},
    "permissions": ["geolocation", "camera", "microphone", "accelerometer", "gyroscope"],
    "timezone_id": "Asia/Kolkata",  # +05:30, so that an offset of whole hours would be seen
    "locale": "en-GB",
}
SANDBOX = ["--no-sandbox"] if os.geteuid() == 0 else []
FAKES = ["--use-fake-device-for-media-stream"]
ELSEWHERE = ["--host-resolver-rules=MAP phone.test 127.0.0.1"]
expect.set_options(timeout=15_000)


@dataclass
class Api:
    """The API as `am up` starts it; it can be stopped and started again on its port."""

    connections: Connections
    home: Path
    port: int
    settings: dict[str, str] = field(default_factory=dict)
    code: Path | None = None  # where another version of `ingest_api` lies
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        found = self.connections
        environment = os.environ | {
            "AM_HOME": str(self.home),
            "AM_API_PORT": str(self.port),
            "AM_API_MAX_BODY_MB": "1",
            **variables_of(found),
            **self.settings,
        }
        command = [sys.executable, "-m", "ingest_api.serve"]
        self.process = subprocess.Popen(command, env=environment, cwd=self.code)
        self._wait_ready()

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(20)
            self.process = None

    def _wait_ready(self) -> None:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            assert self.process is None or self.process.poll() is None, "the API has ended"
            with suppress(httpx.TransportError):
                if httpx.get(f"{self.url}/readyz").is_success:
                    return
            threading.Event().wait(0.1)
        raise RuntimeError("the API did not become ready")


@pytest.fixture(scope="module")
def api_for(
    connections: Connections, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Api]]:
    """Starts APIs over the module's database, with settings of their own."""
    started: list[Api] = []

    def make(**settings: str) -> Api:
        port = choose_free(["api"])["api"]
        api = Api(connections, tmp_path_factory.mktemp("home"), port, settings)
        started.append(api)
        api.start()
        return api

    yield make
    for api in started:
        api.stop()


@pytest.fixture(scope="module")
def api(api_for: Callable[..., Api]) -> Api:
    """The module's API, which runs throughout unless a test stops it and starts it again."""
    return api_for()


@pytest.fixture(scope="session")
def chromium() -> str:
    """Debian's browser."""
    if found := shutil.which("chromium"):
        return found
    problem = "there is no chromium (apt-get install chromium)"
    if os.environ.get("CI"):
        pytest.fail(problem)
    pytest.skip(problem)


@pytest.fixture(scope="package")
def playwright() -> Iterator[Playwright]:
    """Ends with this folder: while it lives no other test could use asyncio."""
    with sync_playwright() as running:
        yield running


@pytest.fixture(scope="package")
def browser(playwright: Playwright, chromium: str) -> Iterator[Browser]:
    """One browser; each test has its own profile in it."""
    arguments = [*SANDBOX, *FAKES, *ELSEWHERE]
    browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
    yield browser
    browser.close()


@pytest.fixture
def context(browser: Browser) -> Iterator[BrowserContext]:
    """A phone's browser, fresh."""
    context = browser.new_context(**PHONE)
    yield context
    context.close()


@pytest.fixture
def database(connections: Connections) -> Iterator[psycopg.Connection]:
    """A look behind the door."""
    with psycopg.connect(connections.database_url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def user(request: pytest.FixtureRequest) -> str:
    """A user of this test alone."""
    return f"u-{abs(hash(request.node.nodeid)):x}"


@pytest.fixture
def link(api: Api, database: psycopg.Connection, user: str) -> str:
    """What a QR code of `am pair` leads to."""
    return f"{api.url}/collect/#pair={create_invite(database, user_id=user)}"


@pytest.fixture
def phone(context: BrowserContext, link: str) -> Page:
    """The collector's page, paired."""
    return paired(context, link)


def paired(context: BrowserContext, link: str) -> Page:
    """Open a link and pair with one tap."""
    page = context.pages[0] if context.pages else context.new_page()
    page.goto(link)
    page.get_by_role("button", name="Pair this device").click()
    expect(page.locator("#paired")).to_be_visible()
    return page


def write_note(page: Page, text: str) -> None:
    page.get_by_label("Text").fill(text)
    page.get_by_role("button", name="Keep the note").click()
    expect(page.get_by_label("Text")).to_have_value("")


def expect_counts(page: Page, **counts: str) -> None:
    """What the page counts in the end: `queued`, `sent`, `refused`."""
    for name, count in counts.items():
        expect(page.locator(f"#{name}")).to_have_text(count)
