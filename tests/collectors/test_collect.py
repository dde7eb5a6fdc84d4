"""`am collect` as people run it: a real desktop, a real API, and what may go wrong between them."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from collectors.desktop.access import Access, save_access
from collectors.desktop.settings import Folders
from collectors.desktop.spool import Report, Spool
from ingest_api.pairing import create_invite
from resources.blobs import BlobStore
from resources.connections import Connections
from tests.collectors.conftest import PATIENCE_S, Api, SwallowedAnswers, until
from tests.collectors.desktop.x_programs import Screen

FAST = """
send_every_s = 0.2
[sources.screenshots]
interval_s = 0.3
[sources.clipboard]
interval_s = 0.2
[sources.window]
interval_s = 0.2
[screenshots]
settle_s = 0.2
"""
MARKER = "marzipan-7f3a"
COPIED = """
SELECT content_text, count(*) FROM am.digital_clipboard_raw WHERE device_id = %s
GROUP BY content_text ORDER BY 1
"""
SHOTS = "SELECT blob_key FROM am.device_image_screenshot_raw WHERE device_id = %s"
WINDOWS = """
SELECT app_identifier, window_title FROM am.os_events_app_lifecycle_raw
WHERE device_id = %s AND event_type = 'foreground' ORDER BY ts
"""
STAYED = """
SELECT duration_s FROM am.os_events_app_lifecycle_raw
WHERE device_id = %s AND window_title = 'notes.txt' AND duration_s > 0
"""
LEDGER = """
SELECT coalesce(sum(received), 0), coalesce(sum(stored), 0), coalesce(sum(rejected), 0)
FROM am.landing WHERE device_id = %s
"""


@dataclass
class Desk:
    """A machine with a home of its own, on which the command is typed."""

    home: Path
    display: str
    device: str
    starter: ExitStack

    @property
    def environment(self) -> dict[str, str]:
        inherited = {name: os.environ[name] for name in ("PATH", "CI") if name in os.environ}
        return inherited | {
            "DISPLAY": self.display,
            "HOME": str(self.home),
            "TMPDIR": str(self.tmp),
            "AM_HOME": str(self.home / "am"),
        }

    @property
    def tmp(self) -> Path:
        return self.home / "tmp"

    @property
    def folders(self) -> Folders:
        return Folders.of({}, home=self.home)

    def configure(self, text: str) -> None:
        self.folders.config.mkdir(parents=True, exist_ok=True)
        self.folders.settings.write_text(text)

    def allow(self, url: str, token: str) -> None:
        access = Access(url=url, token=token, device_id=self.device)
        save_access(self.folders.access, access)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "infra.cli", "collect", *words]
        return subprocess.run(
            command,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
        )

    def start(self, *words: str) -> subprocess.Popen[str]:
        """The command in the background, once it collects; it ends with the test."""
        path = self.home / "log.txt"
        log = self.starter.enter_context(path.open("w"))
        command = [sys.executable, "-m", "infra.cli", "collect", *words]
        running = subprocess.Popen(command, env=self.environment, stdout=log, stderr=log, text=True)
        self.starter.callback(running.wait)
        self.starter.callback(running.kill)
        until(lambda: "\ncollecting: " in path.read_text(), what="a collector")
        return running

    def waiting(self) -> int:
        return self.report().waiting

    def report(self) -> Report:
        spool = Spool(self.folders.spool)
        try:
            return spool.report()
        finally:
            spool.close()

    def all_bytes(self) -> bytes:
        """Everything that lies on this machine's disk."""
        return b"".join(path.read_bytes() for path in self.home.rglob("*") if path.is_file())


@pytest.fixture
def desk(tmp_path: Path, display: str, device: str) -> Iterator[Desk]:
    with ExitStack() as starter:
        desk = Desk(tmp_path, display, device, starter)
        desk.tmp.mkdir()
        desk.configure(FAST)
        yield desk


Copied = Callable[[], dict[str, int]]


@pytest.fixture
def copied(database: psycopg.Connection, device: str) -> Copied:
    """What has arrived of the clipboard, and how often."""
    return lambda: dict(database.execute(COPIED, (device,)).fetchall())


def copy_and_await(screen: Screen, desk: Desk, text: str) -> None:
    """Copy something once the collector listens, until it has it in its spool or has sent it."""

    def has_it() -> bool:
        return text.encode() in desk.all_bytes()

    screen.copy_text(text)
    until(has_it, what=f"{text} in the spool")


def test_a_paired_desktop_sends_windows_copies_and_pictures(
    api: Api, desk: Desk, screen: Screen, database: psycopg.Connection, connections: Connections
) -> None:
    code = create_invite(database, user_id="ada")
    desk.start("--url", api.url, "--pair", code, "--device", desk.device)
    editor = screen.open("Editor", "notes.txt", colour=0x2020CC)
    screen.front(editor)
    copy_and_await(screen, desk, "bake at 220 °C")
    until(lambda: database.execute(SHOTS, (desk.device,)).fetchall(), what="a picture")
    until(
        lambda: ("Editor", "notes.txt") in database.execute(WINDOWS, (desk.device,)).fetchall(),
        what="the window",
    )
    until(lambda: database.execute(COPIED, (desk.device,)).fetchall(), what="the copy")
    screen.front(screen.open("Mail", "Inbox"))
    until(lambda: database.execute(STAYED, (desk.device,)).fetchall(), what="how long it stayed")
    (key,) = database.execute(SHOTS, (desk.device,)).fetchone() or ("",)
    assert BlobStore(connections).get(key)[:4] == b"RIFF"  # as WebP begins
    assert desk.folders.access.stat().st_mode & 0o777 == 0o600
    assert desk.folders.spool.stat().st_mode & 0o777 == 0o600
    again = desk.run("--url", api.url, "--pair", code, "--once")
    assert (again.returncode, "used or has expired" in again.stderr) == (1, True)


def test_nothing_is_lost_or_doubled_while_the_api_is_down(
    api: Api, desk: Desk, screen: Screen, copied: Copied, token: str
) -> None:
    desk.allow(api.url, token)
    desk.start("--sources", "clipboard,window")
    copy_and_await(screen, desk, "before")
    until(lambda: copied() == {"before": 1}, what="the first copy")
    api.kill()
    try:
        for number in range(5):
            copy_and_await(screen, desk, f"meanwhile {number}")
        assert desk.waiting() >= 5
    finally:
        api.start()
    expected = {"before": 1} | {f"meanwhile {number}": 1 for number in range(5)}
    until(lambda: copied() == expected, what="what was copied meanwhile")
    until(lambda: desk.waiting() == 0, what="an empty spool")


def test_a_collector_that_is_killed_while_it_sends_sends_each_thing_once(
    api: Api,
    desk: Desk,
    screen: Screen,
    copied: Copied,
    token: str,
    swallowed_answers: SwallowedAnswers,
) -> None:
    desk.allow(swallowed_answers.url, token)
    running = desk.start("--sources", "clipboard")
    copy_and_await(screen, desk, "sent, and not known to be")
    until(lambda: copied() == {"sent, and not known to be": 1}, what="the copy at the API")
    assert desk.waiting() == 1
    copy_and_await(screen, desk, "not sent yet")
    running.send_signal(signal.SIGKILL)
    running.wait()
    assert desk.waiting() == 2
    desk.allow(api.url, token)
    assert desk.run("--once", "--sources", "network").returncode == 0
    assert copied() == {"not sent yet": 1, "sent, and not known to be": 1}
    assert desk.waiting() == 0


BY_TITLE = {("window", "title"), ("screenshots", "title"), ("clipboard", "title")}


def held_back(desk: Desk) -> set[tuple[str, str]]:
    """Source and rule of what was excluded so far."""
    tallies = desk.report().tallies
    return {(one.source, one.reason) for one in tallies if one.fate == "excluded"}


def show_and_copy_what_is_excluded(screen: Screen, desk: Desk) -> None:
    """The marker in a title, on the screen, copied, and copied by a password manager."""
    secret = screen.open("Reader", f"secret {MARKER}", colour=0x20CC20)
    screen.front(secret)
    screen.copy_text(MARKER)
    until(lambda: held_back(desk) >= BY_TITLE, what="windows, pictures and copies held back")
    screen.hide(secret)
    screen.front(screen.open("Editor", "notes.txt"))
    copy_and_await(screen, desk, "one that passes")
    screen.copy_text(f"again {MARKER}")
    until(lambda: ("clipboard", "clipboard") in held_back(desk), what="a copy held back")
    screen.copy_text(MARKER, **{"x-kde-passwordManagerHint": b"secret"})
    until(lambda: ("clipboard", "password manager") in held_back(desk), what="a password")
    copy_and_await(screen, desk, "another that passes")


def test_what_is_excluded_never_touches_the_disk_and_is_counted(
    desk: Desk, screen: Screen, token: str
) -> None:
    desk.configure(f'{FAST}[exclude]\nclipboard = ["marzi.an"]\ntitles = ["^secret "]\n')
    desk.allow("http://127.0.0.1:1", token)  # nobody there: all that is collected stays
    running = desk.start()
    show_and_copy_what_is_excluded(screen, desk)
    running.send_signal(signal.SIGTERM)
    assert running.wait(PATIENCE_S) == 0
    everything = desk.all_bytes()
    assert b"another that passes" in everything
    for form in (MARKER.encode(), MARKER.encode("utf-16-le"), MARKER.encode("utf-32-le")):
        assert form not in everything
    assert list(desk.tmp.iterdir()) == []
    status = desk.run("--status").stdout
    assert "screenshots (title)" in status
    assert MARKER not in status


def test_a_second_collector_on_the_same_spool_is_turned_away(
    api: Api, desk: Desk, token: str
) -> None:
    desk.allow(api.url, token)
    first = desk.start("--sources", "network")
    second = desk.run("--once", "--sources", "network")
    assert second.returncode == 1
    assert f"process {first.pid} collects" in second.stderr
    first.send_signal(signal.SIGTERM)
    assert first.wait(PATIENCE_S) == 0
    assert desk.run("--once", "--sources", "network").returncode == 0


def test_what_the_server_refuses_is_put_aside_and_shown_and_the_rest_goes_on(
    api: Api, desk: Desk, database: psycopg.Connection, token: str
) -> None:
    desk.allow(api.url, token)
    spool = Spool(desk.folders.spool)
    spool.add("no.such.stream.raw", {"event_id": "1", "recorded_at": "2026-03-01T12:00:00Z"})
    spool.close()
    assert desk.run("--once", "--sources", "network").returncode == 0
    status = desk.run("--status").stdout
    assert "waiting: 0" in status
    assert "refused: 1" in status
    assert "no.such.stream.raw 404: there is no stream" in status
    received, stored, rejected = database.execute(LEDGER, (desk.device,)).fetchone() or ()
    assert (received, rejected) == (stored, 0)
    assert received > 0
    assert "1 messages wait" in desk.run("--retry-refused").stdout
    assert desk.waiting() == 1


def test_a_token_that_was_revoked_holds_everything_back_and_loses_nothing(
    api: Api, desk: Desk, database: psycopg.Connection, token: str
) -> None:
    desk.allow(api.url, "am_unknown")
    told = desk.run("--once", "--sources", "network")
    assert told.returncode == 1
    assert "pair this machine again" in told.stderr
    waiting = desk.waiting()
    assert waiting > 0
    desk.allow(api.url, token)
    assert desk.run("--once", "--sources", "network").returncode == 0
    assert desk.waiting() == 0


def test_a_dry_run_shows_what_would_be_sent_and_leaves_no_file(desk: Desk, screen: Screen) -> None:
    screen.front(screen.open("Editor", "notes.txt"))
    shown = desk.run("--dry-run", "--once", "--sources", "window,screenshots")
    assert shown.returncode == 0, shown.stderr
    assert '"window_title": "notes.txt"' in shown.stdout
    assert '"picture": "image/webp' in shown.stdout
    assert not desk.folders.state.exists()


def test_the_list_says_of_each_source_why_it_can_not_run(desk: Desk) -> None:
    lines = dict(line.split(maxsplit=1) for line in desk.run("--list").stdout.splitlines())
    assert lines["window"] == lines["clipboard"] == lines["screenshots"] == "ready"
    desk.display = ""
    assert "DISPLAY is not set" in desk.run("--list", "--sources", "window").stdout


def test_mistakes_are_told_in_one_line(desk: Desk) -> None:
    for words, told in (
        (("--sources", "camera"), "no source camera; there are: window"),
        (("--once",), "not paired"),
        (("--once", "--url", "http://127.0.0.1:1", "--pair", "X"), "can't be reached"),
    ):
        found = desk.run(*words)
        assert found.returncode == 1
        assert told in found.stderr
        assert "Traceback" not in found.stderr


def test_the_service_starts_this_command_with_the_session_and_is_removed_again(
    desk: Desk, token: str
) -> None:
    desk.allow("http://127.0.0.1:1", token)
    told = desk.run("--install-service", "--sources", "window,idle")
    assert told.returncode == 0, told.stderr
    text = desk.folders.unit.read_text()
    started = next(line for line in text.splitlines() if line.startswith("ExecStart="))
    assert started.endswith("collect --sources window,idle")
    assert Path(started.removeprefix("ExecStart=").split()[0]).is_absolute()
    assert "WantedBy=graphical-session.target" in text
    assert token not in text
    assert "now type: systemctl --user enable --now am-collect.service" in told.stdout
    assert desk.run("--uninstall-service").returncode == 0
    assert not desk.folders.unit.exists()
