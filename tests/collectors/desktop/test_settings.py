"""The settings file and the folders."""

import re
from pathlib import Path

import pytest

from collectors.desktop.access import Access, load_access, save_access
from collectors.desktop.errors import SettingsError
from collectors.desktop.settings import (
    SOURCES,
    CollectSettings,
    Folders,
    parse_settings,
    read_settings,
)

PAGE = Path(__file__).parents[3] / "docs" / "desktop.md"

EXAMPLE = """
url = "https://am.example"
device = "desk"

[sources.screenshots]
interval_s = 30
[sources.wifi]
enabled = false

[screenshots]
change = 0.05

[exclude]
apps = ["^signal$"]
private_windows = false
"""


def test_each_part_may_be_left_out_and_what_is_said_holds() -> None:
    settings = parse_settings(EXAMPLE)
    assert settings.source("screenshots").interval_s == 30
    assert not settings.source("wifi").enabled
    assert settings.source("battery").enabled
    assert settings.exclude.rules().hides_app("Signal")
    assert not settings.exclude.rules().has_private_windows
    assert parse_settings("") == CollectSettings()


def test_the_page_for_people_shows_settings_that_work_and_names_every_source() -> None:
    page = PAGE.read_text()
    (example,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    shown = parse_settings(example)
    defaults = CollectSettings()
    assert shown.spool == defaults.spool
    assert shown.idle_after_s == defaults.idle_after_s
    assert set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)) == set(SOURCES)
    assert shown.exclude.rules().hides_app("org.signal", "Signal")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[exclude]\napps = ['(']", "exclude.apps.0"),
        ("[exclude]\napp = ['x']", "exclude.app: there is no such setting"),
        ("[sources.camera]\nenabled = true", "camera"),
        ("[sources.wifi]\ninterval_s = 0", "interval_s"),
        ("url = 'am.example'", "url"),
        ("url = ", "Invalid value"),
    ],
)
def test_a_mistake_is_named_with_its_file_and_place(text: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "collect.toml"
    path.write_text(text)
    with pytest.raises(SettingsError) as caught:
        read_settings(path)
    assert str(path) in str(caught.value)
    assert told in str(caught.value)


def test_a_file_that_was_named_has_to_be_there(tmp_path: Path) -> None:
    assert read_settings(tmp_path / "none.toml") == CollectSettings()
    with pytest.raises(SettingsError):
        read_settings(tmp_path / "none.toml", is_required=True)


def test_folders_are_where_the_desktop_says_and_a_relative_one_counts_as_none() -> None:
    home = Path("/home/ada")
    assert Folders.of({}, home=home).spool == home / ".local/state/am/collect/spool.sqlite"
    said = {"XDG_CONFIG_HOME": "/etc/ada", "XDG_STATE_HOME": "state"}
    folders = Folders.of(said, home=home)
    assert folders.settings == Path("/etc/ada/am/collect.toml")
    assert folders.unit == Path("/etc/ada/systemd/user/am-collect.service")
    assert folders.state == home / ".local/state/am/collect"


def test_the_token_is_for_its_owner_alone_and_no_error_shows_it(tmp_path: Path) -> None:
    path = tmp_path / "am" / "collect.token"
    assert load_access(path) is None
    access = Access(url="http://am.example", token="am_hidden", device_id="desk")
    save_access(path, access)
    save_access(path, access)
    assert load_access(path) == access
    assert path.stat().st_mode & 0o777 == 0o600
    assert [found.name for found in path.parent.iterdir()] == ["collect.token"]
    assert "am_hidden" not in repr(access)
    path.write_text('{"token": "am_hidden", "url": 3}')
    with pytest.raises(SettingsError) as caught:
        load_access(path)
    assert "am_hidden" not in str(caught.value)
