"""The service that starts the collector with the owner's graphical session."""

import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

NAME = "am-collect.service"
RELOAD = ("systemctl", "--user", "daemon-reload")
ENABLE = ("systemctl", "--user", "enable", "--now", NAME)
DISABLE = ("systemctl", "--user", "disable", "--now", NAME)


def unit_text(command: Sequence[str]) -> str:
    """The unit: it begins and ends with the graphical session, and comes back after a failure."""
    started = " ".join(_quoted(word) for word in command)
    return f"""\
[Unit]
Description=AM: collect what happens on this desktop
PartOf=graphical-session.target
After=graphical-session.target

[Service]
ExecStart={started}
Restart=on-failure
RestartSec=10
UMask=0077
NoNewPrivileges=yes
# No core dump: what the rules keep out may be in memory.
LimitCORE=0

[Install]
WantedBy=graphical-session.target
"""


def _quoted(word: str) -> str:
    """A word as systemd reads it: it takes % and $ for its own."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"')
    escaped = escaped.replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"' if escaped != word or " " in word else word


def install(path: Path, text: str) -> None:
    """Write the unit."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def tell_systemd(*commands: Sequence[str], runtime: str | None) -> list[str]:
    """Run these where the user has a systemd of their own; the lines that were not, or failed.

    `runtime` is XDG_RUNTIME_DIR.
    """
    lines = [shlex.join(command) for command in commands]
    is_there = runtime is not None and (Path(runtime) / "systemd/private").exists()
    if not is_there or shutil.which("systemctl") is None:
        return lines
    done = [subprocess.run(command, check=False, timeout=60) for command in commands]
    return [line for line, found in zip(lines, done, strict=True) if found.returncode != 0]
