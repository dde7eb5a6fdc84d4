"""Nothing that was collected is lost or sent twice: with no network, API, page or browser."""

import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, Route, expect

from ingest_api.pairing import create_invite
from ingest_api.tokens import list_tokens, revoke_token
from tests.browser.conftest import (
    FAKES,
    PHONE,
    SANDBOX,
    Api,
    expect_counts,
    paired,
    write_note,
)

pytestmark = pytest.mark.slow


def notes(database: psycopg.Connection, user: str) -> list[str]:
    """What a user's notes say, by time."""
    found = database.execute(
        "SELECT content FROM am.digital_notes_raw WHERE user_id = %s ORDER BY ts", (user,)
    )
    return [content for (content,) in found]


def received(database: psycopg.Connection, user: str) -> tuple[int, int, int]:
    """How many elements of a user were stored, duplicate and rejected."""
    found = database.execute(
        "SELECT coalesce(sum(stored), 0)::int, coalesce(sum(duplicate), 0)::int, "
        "coalesce(sum(rejected), 0)::int FROM am.landing WHERE user_id = %s",
        (user,),
    ).fetchone()
    assert found is not None
    return found


def test_without_a_network_the_queue_grows_outlives_a_reload_and_arrives_once(
    context: BrowserContext, phone: Page, database: psycopg.Connection, user: str
) -> None:
    expect(phone.locator("#offline")).to_contain_text("opens without a network")
    context.set_offline(True)
    phone.get_by_role("switch", name="Location").check()
    for text in ("one", "two", "three"):
        write_note(phone, text)
    expect_counts(phone, queued="4", sent="0")
    expect(phone.locator("#state")).to_contain_text("4 items wait here")
    phone.get_by_role("switch", name="Location").uncheck()
    expect(phone.locator("#location-told")).to_have_text("")  # that it is off is written down
    phone.reload()
    expect_counts(phone, queued="4", sent="0")
    assert notes(database, user) == []
    context.set_offline(False)
    expect_counts(phone, queued="0", sent="4")
    assert notes(database, user) == ["one", "two", "three"]
    assert received(database, user) == (4, 0, 0)


@pytest.fixture
def restarted(
    playwright: Playwright, chromium: str, tmp_path: Path
) -> Callable[[], AbstractContextManager[BrowserContext]]:
    """Starts a browser, each time with the same profile on the disk."""

    @contextmanager
    def start() -> Iterator[BrowserContext]:
        context = playwright.chromium.launch_persistent_context(
            tmp_path, executable_path=chromium, args=[*SANDBOX, *FAKES], **PHONE
        )
        yield context
        context.close()

    return start


def test_with_the_api_down_the_queue_outlives_the_browser_and_the_page_is_an_app(
    restarted: Callable[[], AbstractContextManager[BrowserContext]],
    api: Api,
    database: psycopg.Connection,
    user: str,
    link: str,
) -> None:
    with restarted() as context:
        page = paired(context, link)
        expect(page.locator("#offline")).to_contain_text("opens without a network")
        session = context.new_cdp_session(page)
        assert session.send("Page.getInstallabilityErrors")["installabilityErrors"] == []
        manifest = session.send("Page.getAppManifest")
        assert (manifest["url"], manifest["errors"]) == (
            f"{api.url}/collect/manifest.webmanifest",
            [],
        )
        api.stop()
        for text in ("one", "two"):
            write_note(page, text)
        expect(page.locator("#state")).to_contain_text("can't be reached")
    with restarted() as context:
        page = context.pages[0]
        page.goto(f"{api.url}/collect/")  # out of the service worker: nothing answers there
        expect_counts(page, queued="2", sent="0")
        api.start()
        page.get_by_role("button", name="Send now").click()
        expect_counts(page, queued="0", sent="2")
    assert notes(database, user) == ["one", "two"]
    assert received(database, user) == (2, 0, 0)


def test_the_browser_sends_in_the_background_when_the_page_is_closed(
    context: BrowserContext, phone: Page, api: Api, database: psycopg.Connection, user: str
) -> None:
    expect(phone.locator("#offline")).to_contain_text("opens without a network")
    other = context.new_page()
    session = context.new_cdp_session(other)
    registrations: list[str] = []
    session.on(
        "ServiceWorker.workerRegistrationUpdated",
        lambda told: registrations.extend(one["registrationId"] for one in told["registrations"]),
    )
    other.goto(f"{api.url}/collect/manifest.webmanifest")
    session.send("ServiceWorker.enable")
    context.set_offline(True)
    write_note(phone, "from the background")
    expect_counts(phone, queued="1")
    phone.close()
    context.set_offline(False)
    sync = {"origin": api.url, "registrationId": registrations[-1], "tag": "am-send"}
    session.send("ServiceWorker.dispatchSyncEvent", {**sync, "lastChance": False})
    until(lambda: notes(database, user) == ["from the background"])


def until(is_so: Callable[[], bool]) -> None:
    """Look again until it is so; half a minute at most."""
    deadline = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < deadline
        threading.Event().wait(0.1)


def test_two_tabs_that_send_at_once_send_each_item_once(
    context: BrowserContext, phone: Page, database: psycopg.Connection, user: str
) -> None:
    other = context.new_page()
    other.goto(phone.url)
    context.set_offline(True)
    for number in range(3):
        write_note(phone, f"left {number}")
        write_note(other, f"right {number}")
    expect_counts(phone, queued="6")
    context.set_offline(False)
    for page in (phone, other):
        expect_counts(page, queued="0", sent="6")
    assert len(notes(database, user)) == 6
    assert received(database, user) == (6, 0, 0)


def test_what_becomes_a_dead_letter_is_shown_until_it_is_deleted(
    phone: Page, database: psycopg.Connection, user: str
) -> None:
    phone.clock.set_fixed_time(datetime.now(UTC) + timedelta(days=3))
    write_note(phone, "from the future")
    expect_counts(phone, queued="0", sent="0", refused="1")
    item = phone.locator("#refused-list li")
    expect(item).to_contain_text("set the device's clock")
    expect(item).to_contain_text("AM keeps it as dead letter")
    assert received(database, user) == (0, 0, 1)
    item.get_by_role("button", name="Delete").click()
    phone.get_by_role("button", name="Yes, delete").click()
    expect(item).to_have_count(0)
    expect_counts(phone, refused="0")


def test_what_am_refuses_for_good_stays_with_the_reason_and_its_neighbours_arrive(
    context: BrowserContext, phone: Page, database: psycopg.Connection, user: str
) -> None:
    context.set_offline(True)
    write_note(phone, "before")
    write_note(phone, "x" * 1_100_000)
    write_note(phone, "after")
    context.set_offline(False)
    expect_counts(phone, queued="0", sent="2", refused="1")
    assert sorted(notes(database, user)) == ["after", "before"]
    item = phone.locator("#refused-list li")
    expect(item).to_contain_text("AM_API_MAX_BODY_MB")
    expect(item).to_contain_text("AM does not have it")
    item.get_by_role("button", name="Send again").click()
    expect_counts(phone, queued="0", refused="1")  # refused again, and still here


def test_a_share_that_is_used_up_makes_it_wait_and_then_all_arrive(
    context: BrowserContext,
    api_for: Callable[..., Api],
    database: psycopg.Connection,
    user: str,
) -> None:
    slow = api_for(AM_API_REQUESTS_PER_S="0.5", AM_API_REQUEST_BURST="1")
    code = create_invite(database, user_id=user)
    phone = paired(context, f"{slow.url}/collect/#pair={code}")
    write_note(phone, "one")
    write_note(phone, "two")
    expect(phone.locator("#state")).to_contain_text("more than its share")
    expect_counts(phone, queued="0", sent="2")
    assert notes(database, user) == ["one", "two"]


def test_a_revoked_token_keeps_the_queue_for_a_new_code(
    phone: Page, database: psycopg.Connection, user: str
) -> None:
    (token,) = [one for one in list_tokens(database) if one.user_id == user]
    assert revoke_token(database, token.token_id)
    write_note(phone, "one")
    expect(phone.locator("#state")).to_contain_text("Make a code with `am pair`")
    expect_counts(phone, queued="1", refused="0")
    phone.get_by_text("Pair anew", exact=True).first.click()
    phone.locator("#code-anew").fill(create_invite(database, user_id=user))
    phone.get_by_role("button", name="Pair anew").click()
    expect_counts(phone, queued="0", sent="1")
    devices = {one.device_id for one in list_tokens(database) if one.user_id == user}
    assert devices == {token.device_id}
    assert notes(database, user) == ["one"]


def test_the_queue_of_one_user_is_never_sent_as_another(
    context: BrowserContext, phone: Page, database: psycopg.Connection, user: str
) -> None:
    (token,) = [one for one in list_tokens(database) if one.user_id == user]
    assert revoke_token(database, token.token_id)
    write_note(phone, "mine")
    expect(phone.locator("#state")).to_contain_text("am pair")
    phone.get_by_text("Pair anew", exact=True).first.click()
    phone.locator("#code-anew").fill(create_invite(database, user_id=f"{user}-b"))
    phone.get_by_role("button", name="Pair anew").click()
    expect(phone.locator("#state")).to_contain_text("another user's pairing")
    write_note(phone, "theirs")
    expect_counts(phone, queued="1", sent="1")
    assert notes(database, f"{user}-b") == ["theirs"]
    assert notes(database, user) == []


def test_full_storage_is_told_and_what_was_typed_stays(
    context: BrowserContext, api: Api, link: str
) -> None:
    page = context.new_page()
    session = context.new_cdp_session(page)
    quota = {"origin": api.url, "quotaSize": 1_000_000}
    session.send("Storage.overrideQuotaForOrigin", quota)
    paired(context, link)
    page.get_by_role("switch", name="Location").check()
    expect_counts(page, sent="1")
    text = secrets.token_hex(600_000)
    page.get_by_label("Text").fill(text)
    page.get_by_role("button", name="Keep the note").click()
    expect(page.get_by_role("alert")).to_contain_text("storage is full")
    expect(page.get_by_role("switch", name="Location")).not_to_be_checked()
    expect(page.get_by_label("Text")).to_have_value(text)
    expect_counts(page, queued="0", sent="1", refused="0")


def test_an_item_at_which_am_fails_waits_behind_the_others(
    browser: Browser, link: str, database: psycopg.Connection, user: str
) -> None:
    """The one answer that no healthy AM gives is given by the test."""

    def answer(route: Route) -> None:
        if "poison" in (route.request.post_data or ""):
            failed = {"status": "error", "detail": "AM has a bug here", "trace_id": "t"}
            route.fulfill(status=500, json=failed)
        else:
            route.continue_()

    with browser.new_context(**PHONE, service_workers="block") as context:
        phone = paired(context, link)
        context.route("**/v1/streams/**", answer)
        context.set_offline(True)
        for text in ("poison", "one", "two"):
            write_note(phone, text)
        context.set_offline(False)
        expect_counts(phone, queued="1", sent="2", refused="0")
        expect(phone.locator("#state")).to_contain_text("AM has a bug here")
        assert notes(database, user) == ["one", "two"]
        context.unroute("**/v1/streams/**")
        phone.get_by_role("button", name="Send now").click()
        expect_counts(phone, queued="0", sent="3")


@pytest.mark.parametrize("answer", ["yes", "no"])
def test_a_device_is_forgotten_only_after_a_yes(phone: Page, answer: str) -> None:
    phone.get_by_role("button", name="Forget this device").click()
    name = "Yes, delete" if answer == "yes" else "Cancel"
    phone.get_by_role("button", name=name).click()
    expect(phone.locator("#pairing")).to_be_visible(visible=answer == "yes")
