"""Installed programs, as their .desktop files describe them."""

import configparser
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

GROUP = "Desktop Entry"
APP_GROUP = re.compile(
    r"/app-(?:(?P<scoped>[^/]+)-[^-/]+\.scope|(?P<served>[^/@]+)(?:@[^/]*)?\.service)$",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Program:
    """One installed program: its id, its name as people know it, what it runs, its WM_CLASS."""

    program_id: str
    name: str
    command: str
    wm_class: str


def data_folders(environment: Mapping[str, str], *, home: Path) -> list[Path]:
    """Where programs are described, the owner's own first."""
    own = Path(environment.get("XDG_DATA_HOME") or home / ".local/share")
    rest = environment.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share"
    flatpak = [own / "flatpak/exports/share", Path("/var/lib/flatpak/exports/share")]
    folders = [own, *map(Path, rest.split(":")), *flatpak]
    return [folder / "applications" for folder in dict.fromkeys(folders)]


def installed(folders: Iterable[Path]) -> Iterator[Program]:
    """All programs that have a file, those of earlier folders first."""
    for folder in folders:
        for path in sorted(folder.glob("**/*.desktop")):
            found = described(path)
            if found is not None:
                yield found


def described(path: Path) -> Program | None:
    """One file; None where it can't be read, or describes no program."""
    reader = configparser.RawConfigParser(strict=False, delimiters=("=",))
    reader.optionxform = str  # type: ignore[assignment,method-assign] # keys are case-sensitive
    try:
        reader.read(path, encoding="utf-8")
        told = dict(reader[GROUP])
        words = shlex.split(told["Exec"])
    except (OSError, KeyError, ValueError, configparser.Error):
        return None
    command = next((word for word in words if "=" not in word and Path(word).name != "env"), None)
    if command is None or not told.get("Name"):
        return None
    return Program(path.stem, told["Name"], Path(command).name, told.get("StartupWMClass", ""))


class Names:
    """What people call the programs, by whatever a window or a process calls itself."""

    def __init__(self, programs: Iterable[Program]) -> None:
        """Earlier programs win."""
        self._names: dict[str, str] = {}
        self._commands: dict[str, Program] = {}
        self._programs: dict[str, Program] = {}
        for program in programs:
            self._commands.setdefault(program.command, program)
            self._programs.setdefault(program.program_id, program)
            for key in (program.wm_class, program.program_id, program.command):
                self._names.setdefault(key.lower(), program.name)

    def of_app(self, identifier: str) -> str | None:
        """The name of an app; None = nobody knows."""
        return self._names.get(identifier.lower())

    def of_process(self, command: str, *, cgroup: str) -> Program | None:
        """The program of a process: by the group its desktop put it in, else by its name."""
        named = self._programs.get(program_id(cgroup) or "")
        return named or self._commands.get(command)


def program_id(cgroup: str) -> str | None:
    """The program that a control group is named after, as desktops name them; None = none. Pure.

    `app[-launcher]-ID-random.scope` or `app[-launcher]-ID[@random].service`, where a dash in the id
    is written `\\x2d`.
    """
    match = APP_GROUP.search(cgroup)
    if match is None:
        return None
    name = (match["scoped"] or match["served"]).rpartition("-")[2]
    return re.sub(r"\\x([0-9a-f]{2})", _unescaped, name)


def _unescaped(match: re.Match[str]) -> str:
    return chr(int(match[1], 16))
