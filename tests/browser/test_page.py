"""The page itself: who may open it, what it may do, how it is paired, how a new one comes."""

import json
import os
import shutil
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect

import ingest_api
from infra.commands.connect import qr_code
from ingest_api.pairing import code_sha256, create_invite
from ingest_api.tokens import list_tokens
from resources.connections import Connections
from tests.browser.conftest import PHONE, Api, paired, write_note
from tests.variables import variables_of

BERLIN = ZoneInfo("Europe/Berlin")


def is_used(database: psycopg.Connection, link: str) -> bool:
    """Whether the code of a link was exchanged."""
    digest = code_sha256(link.partition("pair=")[2])
    found = database.execute(
        "SELECT used_at FROM am.invite WHERE code_sha256 = %s", (digest,)
    ).fetchone()
    assert found is not None
    return found[0] is not None


@pytest.mark.slow
def test_the_qr_code_of_am_pair_pairs_a_browser_with_one_tap(
    context: BrowserContext,
    api: Api,
    connections: Connections,
    database: psycopg.Connection,
    user: str,
) -> None:
    environment = os.environ | {
        **variables_of(connections),
    }
    command = [sys.executable, "-m", "infra.cli", "pair", "--user", user, "--url", api.url]
    told = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    link = f"{api.url}/collect/#pair={told.stdout.strip()}"
    assert link in told.stderr
    assert qr_code(link) in told.stderr
    assert "--tls-cert" in told.stderr  # a phone would not collect over plain HTTP
    page = paired(context, link)
    expect(page.locator("#who")).to_have_text(f"Linux computer, for {user}")
    (token,) = [one for one in list_tokens(database) if one.user_id == user]
    assert token.scopes == ["write"]
    assert (token.device_id or "").startswith("browser-")


def test_the_code_leaves_the_address_at_once_and_works_once(
    browser: Browser, context: BrowserContext, api: Api, database: psycopg.Connection, link: str
) -> None:
    page = context.new_page()
    page.goto(link)
    expect(page.get_by_role("button", name="Pair this device")).to_be_visible()
    assert page.url == f"{api.url}/collect/"
    assert page.evaluate("history.length") <= 2  # the code is in no entry of its own
    assert not is_used(database, link)  # not before the tap
    page.get_by_role("button", name="Pair this device").click()
    expect(page.locator("#paired")).to_be_visible()
    assert is_used(database, link)
    with browser.new_context(**PHONE) as another:
        second = another.new_page()
        second.goto(link)
        second.get_by_role("button", name="Pair this device").click()
        expect(second.get_by_role("alert")).to_contain_text("was used or has expired")
        expect(second.get_by_label("Code, as am pair printed it")).to_be_visible()
        expect(second.locator("#paired")).to_be_hidden()


def test_a_code_can_be_typed(
    context: BrowserContext, api: Api, database: psycopg.Connection, user: str
) -> None:
    code = create_invite(database, user_id=user)
    page = context.new_page()
    page.goto(f"{api.url}/collect")  # without the slash, as people type
    page.get_by_label("Code, as am pair printed it").fill(f" {code.lower()} ")
    page.get_by_label("What you call this device").fill("Ann's phone")
    page.get_by_role("button", name="Pair this device").click()
    expect(page.locator("#who")).to_have_text(f"Ann's phone, for {user}")


def test_over_plain_http_it_says_what_to_do_and_spares_the_code(
    context: BrowserContext, api: Api, database: psycopg.Connection, link: str
) -> None:
    page = context.new_page()
    page.goto(link.replace("127.0.0.1", "phone.test"))
    expect(page.locator("#insecure")).to_contain_text("am up --tls-cert cert.pem --tls-key key.pem")
    expect(page.get_by_role("button", name="Pair this device")).to_be_hidden()
    assert "pair=" not in page.url
    assert not is_used(database, link)


@pytest.mark.slow
def test_a_new_version_reaches_a_phone_that_has_the_old_one(
    phone: Page, api: Api, tmp_path: Path
) -> None:
    expect(phone.locator("#offline")).to_contain_text("opens without a network")
    expect(phone.locator("#state")).to_have_text("All is sent.")
    old = phone.locator("#version").text_content()
    assert old
    copy = tmp_path / "ingest_api"
    shutil.copytree(Path(ingest_api.__path__[0]), copy)
    words = copy / "web" / "collector" / "words.js"
    words.write_text(words.read_text().replace("All is sent.", "Nothing waits."))
    api.stop()
    api.code = tmp_path
    try:
        api.start()
        phone.reload()
        expect(phone.locator("#state")).to_have_text("Nothing waits.")
        expect(phone.locator("#version")).not_to_have_text(old)
    finally:
        api.stop()
        api.code = None
        api.start()


def test_who_is_writing_is_not_interrupted_by_a_new_version(phone: Page) -> None:
    expect(phone.locator("#offline")).to_contain_text("opens without a network")
    phone.reload()
    expect(phone.locator("#offline")).to_contain_text("opens without a network")
    phone.get_by_label("Text").fill("half a sentence")
    phone.evaluate("() => navigator.serviceWorker.dispatchEvent(new Event('controllerchange'))")
    expect(phone.get_by_role("button", name="Use the new version")).to_be_visible()
    expect(phone.get_by_label("Text")).to_have_value("half a sentence")


def test_nothing_of_the_page_comes_from_or_goes_to_anywhere_else(
    context: BrowserContext, link: str, api: Api
) -> None:
    asked: list[str] = []
    problems: list[str] = []
    context.on("request", lambda request: asked.append(request.url))
    context.on("console", lambda message: problems.append(message.text))
    page = paired(context, link)
    write_note(page, "hello")
    expect(page.locator("#sent")).to_have_text("1")
    expect(page.locator("#offline")).to_contain_text("opens without a network")
    assert {url for url in asked if not url.startswith(api.url)} == set()
    assert problems == []


def js(page: Page, module: str, expression: str, argument: Any = None) -> Any:
    """What an expression over one of the page's modules, `m`, gives for an argument, `it`."""
    script = (
        f"async (it) => {{ const m = await import('/collect/{module}'); return {expression}; }}"
    )
    return page.evaluate(script, argument)


@pytest.fixture(scope="module")
def berlin(browser: Browser, api: Api) -> Page:
    """A page in a zone with summer time, for its modules alone."""
    page = browser.new_page(timezone_id="Europe/Berlin")
    page.goto(f"{api.url}/collect/")
    return page


@pytest.mark.parametrize(
    "instant",
    [
        "1970-01-01T00:00:00+00:00",
        "2026-03-29T00:59:59.999+00:00",  # the last of winter
        "2026-03-29T01:00:00.001+00:00",
        "2026-10-25T00:30:00+00:00",  # this local time comes twice
        "2026-10-25T01:30:00+00:00",
        "2026-12-31T23:30:00+00:00",  # already next year there
    ],
)
def test_a_time_carries_the_offset_of_its_own_instant(berlin: Page, instant: str) -> None:
    when = datetime.fromisoformat(instant)
    stamped = js(berlin, "messages.js", "m.stamp(it)", when.timestamp() * 1000)
    offset = when.astimezone(BERLIN).utcoffset()
    assert offset is not None
    assert stamped["tz_offset_min"] == offset.total_seconds() / 60
    sent = datetime.fromisoformat(stamped["recorded_at"])
    assert (sent, sent.utcoffset()) == (when, offset)


def test_zones_of_any_offset_are_written_as_iso_8601(browser: Browser, api: Api) -> None:
    for zone in ("America/St_Johns", "Asia/Kathmandu", "UTC", "Pacific/Marquesas"):
        with browser.new_context(timezone_id=zone) as context:
            page = context.new_page()
            page.goto(f"{api.url}/collect/")
            stamped = js(page, "messages.js", "m.stamp(it)", 1_770_000_000_123)
        sent = datetime.fromisoformat(stamped["recorded_at"])
        assert sent.timestamp() == 1_770_000_000.123
        assert sent.utcoffset() == sent.astimezone(ZoneInfo(zone)).utcoffset()


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        ({"status": 200, "body": {"received": 2}}, "taken"),
        ({"status": 200, "body": {"received": 1}}, "server"),
        ({"status": 200, "body": None}, "server"),
        ({"status": 200, "body": None, "isAm": False}, "network"),  # a hotel's sign-in page
        ({"status": 404, "body": None, "isAm": False}, "network"),
        ({"status": 302, "body": None}, "network"),
        ({"status": 401, "body": {"detail": "unknown"}}, "unpaired"),
        ({"status": 403, "body": {"detail": "lacks write"}}, "unpaired"),
        ({"status": 408, "body": None}, "server"),
        ({"status": 429, "body": None, "retry_after": "7"}, "server after 7000 ms"),
        ({"status": 500, "body": None}, "server"),
        ({"status": 503, "body": None, "retry_after": "2"}, "server after 2000 ms"),
        ({"status": 400, "body": {"detail": "no JSON"}}, "refused 400"),
        ({"status": 404, "body": {"detail": "no stream"}}, "refused 404"),
        ({"status": 413, "body": None, "isAm": False}, "refused 413"),  # a proxy's limit
        ({"status": 422, "body": None}, "refused 422"),
    ],
)
def test_only_ams_own_word_ends_an_item(berlin: Page, answer: dict[str, Any], outcome: str) -> None:
    said = """(() => {
      try { m.understand({ isAm: true, retry_after: null, count: 2, ...it }, 0); return "taken"; }
      catch (error) {
        if (error instanceof m.Refused) return `refused ${error.status}`;
        return error.kind + (error.after_ms === null ? "" : ` after ${error.after_ms} ms`);
      }
    })()"""
    assert js(berlin, "api.js", said, answer) == outcome


@pytest.mark.parametrize(
    ("header", "wait_ms"),
    [
        ("5", 5000),
        ("0", 0),
        ("Thu, 01 Jan 1970 00:00:09 GMT", 8000),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("soon", None),
        ("", None),
        (None, None),
    ],
)
def test_a_retry_after_is_seconds_or_a_date(
    berlin: Page, header: str | None, wait_ms: int | None
) -> None:
    assert js(berlin, "api.js", "m.retryAfter(it, 1000)", header) == wait_ms


def test_waiting_doubles_to_five_minutes_and_is_spread(berlin: Page) -> None:
    waits = "[1, 2, 3, 9, 99].map((n) => [m.backoff(n, 0), m.backoff(n, 1)])"
    assert js(berlin, "sender.js", waits) == [
        [500, 1_000],
        [1_000, 2_000],
        [2_000, 4_000],
        [128_000, 256_000],
        [150_000, 300_000],
    ]


def test_what_is_unknown_is_left_out_and_zero_is_kept(berlin: Page) -> None:
    fields = "{ a: null, b: undefined, c: NaN, d: 0, e: '', f: false }"
    told = js(berlin, "messages.js", f"m.message({{ device_id: 'd' }}, 0, {fields})")
    assert {name: told.get(name, "left out") for name in "abcdef"} == {
        **dict.fromkeys("abc", "left out"),
        "d": 0,
        "e": "",
        "f": False,
    }
    assert json.dumps(told["device_id"]) == '"d"'


def test_every_control_has_a_name_that_a_screen_reader_says(phone: Page) -> None:
    for role in ("button", "textbox", "switch", "meter"):
        for control in phone.get_by_role(role).all():
            assert control.aria_snapshot().partition('"')[2], control.inner_html()


def test_it_fits_a_narrow_screen(phone: Page) -> None:
    phone.set_viewport_size({"width": 320, "height": 568})
    assert phone.evaluate("document.documentElement.scrollWidth") <= 320
