"""Sources on a real X server, with small programs in front of it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from io import BytesIO

import psutil
import pytest
from PIL import Image

from collectors.desktop.clock import look_at_clocks
from collectors.desktop.errors import SourceUnavailableError
from collectors.desktop.exclusions import Exclusions, compiled
from collectors.desktop.observation import Observation
from collectors.desktop.settings import ScreenshotSettings
from collectors.desktop.sources.clipboard import ClipboardSource
from collectors.desktop.sources.idle import IdleSource
from collectors.desktop.sources.screenshots import ScreenshotSource
from collectors.desktop.sources.source import Source
from collectors.desktop.sources.window import WindowSource
from collectors.desktop.x11 import Desk
from tests.collectors.conftest import running_display, until
from tests.collectors.desktop.x_programs import Screen

RULES = Exclusions(titles=(compiled("payslip"),))
RED, BLUE = 0xCC2020, 0x2020CC


@contextmanager
def opened(source: Source) -> Iterator[Callable[..., list[Observation]]]:
    """A look at a source, some seconds from now."""

    def look(*, in_s: float = 0, is_locked: bool = False) -> list[Observation]:
        now = look_at_clocks()
        later = replace(now, boot_s=now.boot_s + in_s, awake_s=now.awake_s + in_s)
        return source.poll(replace(later, is_locked=is_locked))

    source.open()
    try:
        yield look
    finally:
        source.close(look_at_clocks())


def windows(display: str) -> WindowSource:
    return WindowSource(partial(Desk, display), RULES, app_name={"Editor": "The Editor"}.get)


def told(observations: list[Observation]) -> list[tuple[object, ...]]:
    names = ("event_type", "app_identifier", "window_title")
    return [tuple(row.values[name] for name in names) for row in observations]


def test_the_window_in_front_is_told_with_its_app_title_and_program(screen: Screen) -> None:
    editor = screen.open("Editor", "notes.txt")
    with opened(windows(screen.name)) as look:
        assert look() == []
        screen.front(editor)
        (row,) = look()
        assert told([row]) == [("foreground", "Editor", "notes.txt")]
        assert row.values["app_name"] == "The Editor"
        assert row.windows[0].pid is not None
        assert row.windows[0].command == tuple(psutil.Process().cmdline())
        assert look() == []


def test_one_stay_is_one_event_whose_length_grows(screen: Screen) -> None:
    editor, mail = screen.open("Editor", "notes.txt"), screen.open("Mail", "Inbox")
    screen.front(editor)
    with opened(windows(screen.name)) as look:
        (first,) = look()
        (again,) = look(in_s=61)
        assert (again.event_id, again.ts) == (first.event_id, first.ts)
        assert again.values["duration_s"] >= 61 > first.values["duration_s"]
        screen.title(editor, "letter.txt")
        old, new = look(in_s=62)
        assert old.event_id == first.event_id != new.event_id
        assert told([old, new])[1] == ("foreground", "Editor", "letter.txt")
        screen.front(mail)
        assert [row.values["app_identifier"] for row in look()] == ["Editor", "Mail"]


def test_where_nothing_follows_the_last_window_goes_to_the_background(screen: Screen) -> None:
    editor = screen.open("Editor", "notes.txt")
    screen.front(editor)
    with opened(windows(screen.name)) as look:
        look()
        assert [kind for kind, *_ in told(look(is_locked=True))] == ["foreground", "background"]
        assert look(is_locked=True) == []
        assert told(look()) == [("foreground", "Editor", "notes.txt")]


def test_a_night_asleep_is_no_part_of_a_stay(screen: Screen) -> None:
    screen.front(screen.open("Editor", "notes.txt"))
    source = windows(screen.name)
    source.open()
    evening = look_at_clocks()
    source.poll(evening)
    morning = replace(evening, boot_s=evening.boot_s + 28_800, awake_s=evening.awake_s + 1)
    ended, background, fresh = source.poll(morning)
    assert ended.values["duration_s"] == 0
    assert background.values["event_type"] == "background"
    assert fresh.event_id != ended.event_id
    source.close(morning)


def test_an_excluded_window_ends_what_was_before_and_is_told_once_to_be_counted(
    screen: Screen,
) -> None:
    editor, secret = screen.open("Editor", "notes.txt"), screen.open("Reader", "Payslip March")
    screen.front(editor)
    with opened(windows(screen.name)) as look:
        look()
        screen.front(secret)
        rows = look()
        passed = [row for row in rows if not RULES.rule_against(row, is_locked=False)]
        assert [kind for kind, *_ in told(passed)] == ["foreground", "background"]
        assert {app for _, app, _ in told(passed)} == {"Editor"}
        assert len(rows) == 3
        assert look() == []


def test_without_a_window_manager_the_window_with_the_keyboard_is_in_front(screen: Screen) -> None:
    editor = screen.open("Editor", "notes.txt")
    screen.forget_front()
    screen.focus(editor)
    with opened(windows(screen.name)) as look:
        assert told(look()) == [("foreground", "Editor", "notes.txt")]


def test_a_window_that_closes_while_it_is_in_front_harms_nothing(screen: Screen) -> None:
    editor = screen.open("Editor", "notes.txt")
    screen.front(editor)
    with opened(windows(screen.name)) as look:
        look()
        screen.destroy(editor)
        assert [kind for kind, *_ in told(look())] == ["foreground", "background"]


def test_nobody_at_the_mouse_is_afk_until_it_is_moved(screen: Screen) -> None:
    rows: list[Observation] = []
    with opened(IdleSource(partial(Desk, screen.name), after_s=0.3)) as look:

        def comes(state: str, *, is_moving: bool) -> bool:
            if is_moving:
                screen.touch_mouse()
            rows.extend(look())
            return bool(rows[-1].values["event_type"] == state)

        until(lambda: comes("not-afk", is_moving=True), what="somebody")
        until(lambda: comes("afk", is_moving=False), what="nobody")
        until(lambda: comes("not-afk", is_moving=True), what="somebody again")
    stretches = {row.event_id: row for row in rows}  # the last telling of each
    *_, before, away, after = stretches.values()
    assert [one.values["event_type"] for one in (before, away, after)] == [
        "not-afk",
        "afk",
        "not-afk",
    ]
    assert away.values["duration_s"] >= 0.3
    ends_s = [one.ts.timestamp() + float(one.values["duration_s"]) for one in (before, away)]
    starts_s = [one.ts.timestamp() for one in (away, after)]
    assert ends_s == pytest.approx(starts_s, abs=0.05)


def copies(display: str) -> ClipboardSource:
    return ClipboardSource(partial(Desk, display))


@pytest.mark.parametrize(
    ("formats", "kind", "text"),
    [
        ({"UTF8_STRING": "bake at 220 °C".encode()}, "text", "bake at 220 °C"),
        ({"UTF8_STRING": b"https://bread.example/x?y"}, "url", "https://bread.example/x?y"),
        ({"text__uri-list": b"file:///home/ada/a.txt\r\n"}, "file", "file:///home/ada/a.txt\r\n"),
        ({"image__png": b"\x89PNG"}, "image", None),
    ],
)
def test_what_is_copied_is_told_with_its_kind_and_the_app_in_front(
    screen: Screen, formats: dict[str, bytes], kind: str, text: str | None
) -> None:
    with opened(copies(screen.name)) as look:
        assert look() == []
        screen.front(screen.open("Editor", "notes.txt"))
        screen.copy(**formats)
        (row,) = look()
        assert (row.values["content_type"], row.values["content_text"]) == (kind, text)
        assert row.values["source_app"] == "Editor"
        assert look() == []


def test_a_large_copy_comes_in_pieces_and_is_told_whole(screen: Screen) -> None:
    text = "".join(f"line {number} – ü\n" for number in range(20_000))
    with opened(copies(screen.name)) as look:
        screen.copy_text(text)
        (row,) = look()
        assert row.values["content_text"] == text
        screen.copy_text("a small one after it")
        assert [row.values["content_text"] for row in look()] == ["a small one after it"]


def test_a_password_is_not_even_asked_for(screen: Screen) -> None:
    with opened(copies(screen.name)) as look:
        screen.copy_text("hunter2", **{"x-kde-passwordManagerHint": b"secret"})
        (row,) = look()
        assert row.values["content_text"] is None
        assert row.texts == ()
        assert Exclusions().rule_against(row, is_locked=False) == "password manager"


def test_of_two_copies_the_last_is_told_and_none_of_a_locked_screen(screen: Screen) -> None:
    with opened(copies(screen.name)) as look:
        screen.copy_text("one")
        screen.copy_text("two")
        assert [row.values["content_text"] for row in look()] == ["two"]
        screen.copy_text("three")
        assert look(is_locked=True) == []
        assert look() == []


def shots(display: str, **settings: float) -> ScreenshotSource:
    return ScreenshotSource(partial(Desk, display), ScreenshotSettings(**settings), RULES)


def test_a_screenshot_is_taken_when_enough_has_changed(screen: Screen) -> None:
    editor = screen.open("Editor", "notes.txt", colour=BLUE)
    screen.front(editor)
    screen.paint(editor, BLUE)
    with opened(shots(screen.name, settle_s=0, change=0.1)) as look:
        (row,) = look()
        assert row.values["metadata"] == {"app": "Editor", "title": "notes.txt"}
        assert row.picture is not None
        with Image.open(BytesIO(row.picture.content)) as image:
            assert image.size == (800, 600)
            red, _, blue = image.convert("RGB").resize((1, 1)).tobytes()
            assert blue > 150 > red
        assert look() == []
        screen.paint(editor, RED, height=12)  # 2 %
        assert look() == []
        screen.paint(editor, RED, height=300)
        assert len(look()) == 1


def test_no_picture_is_taken_while_an_excluded_window_is_anywhere_on_the_screen(
    screen: Screen,
) -> None:
    secret = screen.open("Reader", "Payslip March")
    screen.front(screen.open("Editor", "notes.txt"))
    with opened(shots(screen.name, settle_s=0)) as look:
        (row,) = look()
        assert row.picture is None
        assert RULES.rule_against(row, is_locked=False) == "title"
        screen.hide(secret)
        (row,) = look()
        assert row.picture is not None


def test_a_picture_is_thrown_away_if_its_window_turns_out_to_be_excluded(screen: Screen) -> None:
    page = screen.open("Browser", "loading …")
    screen.front(page)
    source = shots(screen.name, settle_s=2)
    with opened(source) as look:
        assert look() == []
        assert source.soon_s() == 2
        screen.title(page, "Payslip March")
        (row,) = look(in_s=2)
        assert row.picture is None
        assert RULES.rule_against(row, is_locked=False) == "title"


def test_a_picture_that_is_held_is_thrown_away_when_the_screen_is_locked(screen: Screen) -> None:
    screen.front(screen.open("Editor", "notes.txt"))
    with opened(shots(screen.name, settle_s=2)) as look:
        assert look() == []
        assert look(in_s=2, is_locked=True) == []
        assert look(in_s=4) == []  # taken anew, and held
        assert len(look(in_s=7)) == 1


def test_sources_say_that_the_x_server_has_gone_and_leave_without_an_error() -> None:
    with running_display() as (display, end):
        sources: list[Source] = [windows(display), copies(display), shots(display)]
        for source in sources:
            source.open()
        end()
        for source in sources:
            with pytest.raises(SourceUnavailableError, match="gone"):
                source.poll(look_at_clocks())
            source.close(look_at_clocks())
            with pytest.raises(SourceUnavailableError, match="does not let us in"):
                source.open()
