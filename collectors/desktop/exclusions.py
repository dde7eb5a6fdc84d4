"""What must not be collected: rules over observations, applied before anything is stored. Pure.

A rule's name is all that is ever kept of what it has held back.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from collectors.desktop.observation import Observation, Window

URL = re.compile(r"\b[a-z][a-z0-9+.-]{1,20}://[^\s<>\"']+", re.IGNORECASE)
# Any value counts: some programs write "secret", others "1". The second is a media type's form.
PASSWORD_HINTS = frozenset({"x-kde-passwordManagerHint", "text/x-kde-passwordManagerHint"})
DIGITS = re.compile(r"\d+(?:[ -]\d+)*")
CARD_LENGTHS = range(13, 20)
PRIVATE_FLAGS = frozenset(
    {"--incognito", "-incognito", "--private-window", "-private-window", "--private", "-private"}
    | {"--inprivate", "-inprivate"}
)

PASSWORD_APPS = (
    "keepass",
    "1password",
    "bitwarden",
    "lastpass",
    "dashlane",
    "enpass",
    "proton.?pass",
    "passbolt",
    "keeper ?password",
    "keyguard",
    "qtpass",
    "seahorse",
    "kwallet",
    "pinentry",
    "polkit",
    "gcr-prompter",
    "ssh-askpass",
)
# Firefox and its kin name the mode in the title, in the language of the person.
PRIVATE_TITLES = (
    r"private browsing",
    r"\bincognito\b",
    r"\binprivate\b",
    r"\bprivate window\b",
    r"privater modus",
    r"navigation priv[ée]e",
    r"navegaci[óo]n privada",
    r"navega[çc][ãa]o privada",
    r"navigazione (anonima|privata)",
    r"priv[ée]navigatie",
    r"tryb prywatny",
    r"tor browser",
)
SECRETS = (
    r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY( BLOCK)?-----",
    r"\bAGE-SECRET-KEY-1[0-9A-Z]{50,}",
    r"\b(gh[pousr]_|github_pat_|glpat-|xox[abpr]-)[A-Za-z0-9_-]{20,}",
    r"\bam_[A-Za-z0-9_-]{43}(?![A-Za-z0-9_-])",  # AM's own
    r"\b(AKIA|ASIA)[0-9A-Z]{16}\b",
    r"\bsk-[A-Za-z0-9_-]{20,}",
    r"\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}",
    r"\botpauth(-migration)?://",
    r"://[^/\s:@]+:[^/\s:@]+@",  # a password within an address
)


def compiled(pattern: str) -> re.Pattern[str]:
    """A rule's expression: found anywhere, upper and lower case alike. Raises: re.error."""
    return re.compile(pattern, re.IGNORECASE)


def _all(patterns: Iterable[str]) -> tuple[re.Pattern[str], ...]:
    return tuple(compiled(pattern) for pattern in patterns)


BUILTIN_APPS = _all(PASSWORD_APPS)
BUILTIN_TITLES = _all(PRIVATE_TITLES)
BUILTIN_SECRETS = _all(SECRETS)


@dataclass(frozen=True)
class Exclusions:
    """The owner's rules, and the built-in ones as far as they were not switched off.

    `apps` are held against both halves of WM_CLASS and the names of programs; `titles` against
    titles; `urls` against the addresses in titles and copied text; `clipboard` against copied text.
    """

    apps: tuple[re.Pattern[str], ...] = ()
    titles: tuple[re.Pattern[str], ...] = ()
    urls: tuple[re.Pattern[str], ...] = ()
    clipboard: tuple[re.Pattern[str], ...] = ()
    has_password_apps: bool = True
    has_private_windows: bool = True
    has_secrets: bool = True
    has_card_numbers: bool = True
    has_locked_screen: bool = True

    def rule_against(self, observation: Observation, *, is_locked: bool) -> str | None:
        """The name of the first rule that keeps an observation out; None = it may be stored."""
        if is_locked and self.has_locked_screen and observation.is_of_screen:
            return "screen locked"
        if PASSWORD_HINTS & observation.targets:
            return "password manager"
        rules = (self.rule_against_window(window) for window in observation.windows)
        texts = (self._rule_against_text(text) for text in observation.texts)
        return next((rule for rule in (*rules, *texts) if rule), None)

    def rule_against_window(self, window: Window) -> str | None:
        """The name of the first rule that keeps a window out."""
        named = (window.app, window.instance, *window.command[:1])
        if self.hides_app(*named):
            return "app"
        if self.has_private_windows and _is_private(window):
            return "private window"
        if _finds(self.titles, window.title):
            return "title"
        return "url" if self._has_url(window.title) else None

    def hides_app(self, *names: str) -> bool:
        """Whether an app that goes by any of these names is not to be seen at all."""
        rules = self.apps + (BUILTIN_APPS if self.has_password_apps else ())
        return any(_finds(rules, name) for name in names)

    def _rule_against_text(self, text: str) -> str | None:
        if self.has_secrets and _finds(BUILTIN_SECRETS, text):
            return "secret"
        if self.has_card_numbers and has_card_number(text):
            return "card number"
        if _finds(self.clipboard, text):
            return "clipboard"
        return "url" if self._has_url(text) else None

    def _has_url(self, text: str) -> bool:
        return bool(self.urls) and any(_finds(self.urls, url) for url in URL.findall(text))


def has_card_number(text: str) -> bool:
    """Whether some groups of digits next to each other, 13 to 19 in all, have a card's check digit.

    Groups are parted by one blank or dash; what stands before or after a card does not hide it.
    """
    return any(
        luhn(digits) == 0
        for run in DIGITS.finditer(text)
        for digits in _joined(re.split("[ -]", run.group()))
    )


def _joined(groups: list[str]) -> Iterable[list[int]]:
    """The digits of neighbouring groups, as many as a card has and not all the same."""
    for first in range(len(groups)):
        joined = ""
        for group in groups[first : first + max(CARD_LENGTHS)]:
            joined += group
            if len(joined) in CARD_LENGTHS and len(set(joined)) > 1:
                yield [int(digit) for digit in joined]


def luhn(digits: list[int]) -> int:
    """The remainder of Luhn's sum by 10; 0 = the last digit checks the others."""
    doubled = (digit * 2 for digit in digits[-2::-2])
    return (sum(digits[-1::-2]) + sum(digit - 9 * (digit > 9) for digit in doubled)) % 10


def _is_private(window: Window) -> bool:
    return bool(PRIVATE_FLAGS & set(window.command)) or _finds(BUILTIN_TITLES, window.title)


def _finds(rules: Iterable[re.Pattern[str]], text: str) -> bool:
    return bool(text) and any(rule.search(text) for rule in rules)
