"""What the rules hold back, and what they let through."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from collectors.desktop.exclusions import Exclusions, has_card_number, luhn
from collectors.desktop.observation import Observation, Window
from collectors.desktop.settings import ExcludeSettings

WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Nd"]), max_size=30)
TEXT = Observation(
    source="clipboard",
    stream="digital.clipboard.raw",
    ts=datetime(2026, 3, 1, tzinfo=UTC),
    values={},
    is_of_screen=True,
)
OWN = ExcludeSettings(
    apps=["^signal$"], titles=["payslip"], urls=[r"//([^/]*\.)?bank\.example"], clipboard=["sesame"]
).rules()


def verdict(rules: Exclusions, *texts: str, windows: tuple[Window, ...] = ()) -> str | None:
    return rules.rule_against(replace(TEXT, texts=texts, windows=windows), is_locked=False)


def windows(*titles: str, app: str = "Editor") -> tuple[Window, ...]:
    return tuple(Window(app=app, instance=app.lower(), title=title) for title in titles)


@given(st.lists(WORDS), st.lists(WORDS), st.sampled_from(["Signal", "signal", "SIGNAL"]))
def test_one_excluded_window_holds_back_whatever_else_is_seen(
    before: list[str], after: list[str], app: str
) -> None:
    seen = (*windows(*before), *windows("any", app=app), *windows(*after))
    assert verdict(OWN, windows=seen) is not None


@given(WORDS, WORDS)
def test_an_excluded_title_address_or_text_is_found_anywhere_in_it(left: str, right: str) -> None:
    assert verdict(OWN, windows=windows(f"{left} Payslip {right}"))
    assert verdict(OWN, f"{left} sesame {right}")
    for address in ("https://bank.example/x", "HTTPS://my.BANK.example"):
        assert verdict(OWN, f"{left} {address} {right}")
        assert verdict(OWN, windows=windows(f"{left} {address} {right}"))


@given(WORDS)
def test_words_that_no_rule_names_pass(words: str) -> None:
    plain = Exclusions()
    if "://" not in words and "-" not in words:
        assert verdict(plain, words) is None


@pytest.mark.parametrize(
    "app", ["KeePassXC", "keepassxc", "1Password", "Bitwarden", "org.gnome.seahorse.Application"]
)
def test_password_managers_are_excluded_unless_that_is_switched_off(app: str) -> None:
    assert verdict(Exclusions(), windows=windows("x", app=app)) == "app"
    assert verdict(Exclusions(has_password_apps=False), windows=windows("x", app=app)) is None


@pytest.mark.parametrize(
    "title",
    [
        "Bread — Mozilla Firefox Private Browsing",
        "Brot — Mozilla Firefox Privater Modus",
        "Pain — Navigation privée de Mozilla Firefox",
        "Bread - Chromium (Incognito)",
        "Bread - [InPrivate] - Microsoft Edge",
        "Bread - Tor Browser",
    ],
)
def test_private_windows_are_known_by_their_titles(title: str) -> None:
    assert verdict(Exclusions(), windows=windows(title)) == "private window"
    assert verdict(Exclusions(has_private_windows=False), windows=windows(title)) is None


@pytest.mark.parametrize("flag", ["--incognito", "--private-window", "--inprivate"])
def test_a_browser_that_was_started_private_is_known_by_its_command_line(flag: str) -> None:
    window = Window("Chromium", "chromium", "Bread - Chromium", 7, ("chromium", flag))
    assert verdict(Exclusions(), windows=(window,)) == "private window"


@given(st.frozensets(st.text(max_size=10)))
def test_the_mark_of_a_password_manager_holds_back_what_is_copied(others: frozenset[str]) -> None:
    for mark in ("x-kde-passwordManagerHint", "text/x-kde-passwordManagerHint"):
        marked = replace(TEXT, targets=others | {mark})
        everything_off = Exclusions(
            has_password_apps=False, has_secrets=False, has_card_numbers=False
        )
        assert everything_off.rule_against(marked, is_locked=False) == "password manager"


def card(digits: list[int]) -> str:
    check = next(last for last in range(10) if luhn([*digits, last]) == 0)
    return "".join(map(str, [*digits, check]))


@given(
    st.lists(st.integers(0, 9), min_size=12, max_size=18).filter(lambda d: len(set(d)) > 1),
    st.sampled_from(["", " ", "-"]),
    st.integers(2, 6),
    st.sampled_from([("", ""), ("card: ", ", thanks"), ("12 ", " 123"), ("(", ")")]),
)
def test_a_card_number_is_found_however_it_is_grouped_and_whatever_stands_round_it(
    digits: list[int], gap: str, width: int, around: tuple[str, str]
) -> None:
    number = card(digits)
    groups = [number[start : start + width] for start in range(0, len(number), width)]
    assert has_card_number(gap.join(groups).join(around))


@given(st.lists(st.integers(0, 9), min_size=12, max_size=18).filter(lambda d: len(set(d)) > 1))
def test_a_number_with_a_wrong_check_digit_is_none(digits: list[int]) -> None:
    number = card(digits)
    wrong = number[:-1] + str((int(number[-1]) + 1) % 10)
    assert not has_card_number(wrong)
    assert not has_card_number(f"{wrong}0000000")  # too long


@pytest.mark.parametrize(
    "text",
    [
        "-----BEGIN OPENSSH PRIVATE KEY-----\nb3BlbnNzaA",
        "token: ghp_" + "a1B2" * 9,
        "am_" + "a1-B" * 10 + "xyz",
        "AKIA" + "ABCD1234" * 2,
        "otpauth://totp/x?secret=JBSWY3DP",
        "postgresql://am:hunter2@127.0.0.1/am",
    ],
)
def test_keys_and_passwords_within_addresses_are_secrets(text: str) -> None:
    assert verdict(Exclusions(), f"look: {text} !") == "secret"
    assert verdict(Exclusions(has_secrets=False), f"look: {text} !") is None


def test_nothing_of_a_locked_screen_passes_and_the_battery_does() -> None:
    assert Exclusions().rule_against(TEXT, is_locked=True) == "screen locked"
    battery = replace(TEXT, is_of_screen=False)
    assert Exclusions().rule_against(battery, is_locked=True) is None
