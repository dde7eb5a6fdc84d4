"""What a part of the stack is: one frozen description, the same for every server.

The descriptions themselves are in `postgres.py`, `objects.py`, `api.py`, `orchestration.py` and
`hot.py`.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from infra.home import Home, write_private
from infra.launch import PARTS_FILE

# Stages: what is in one starts and stops together; the object store's catalogue is in the database.
DATABASE = 0
STORE = 1
APPS = 2
# They pass from process to process, and never through a file.
NEVER_WRITTEN = ("AM_MASTER_KEY", "AM_MASTER_KEYS_OLD")


def nothing() -> None:
    """The hook of a part that needs none."""


@dataclass(frozen=True)
class Part:
    """One supervised process. `port` None = it listens nowhere.

    `is_ready(started)` raises while the part does not answer as it should; `started` is the epoch
    second at which its process began. `prepare` runs before every start of the stack, `complete`
    once the part is ready; both may run again on a live part.
    """

    name: str
    argv: Sequence[str]
    cwd: Path
    port: int | None
    check: Callable[[float], None]
    stage: int = APPS
    env: Mapping[str, str] = field(default_factory=dict)
    inherits_env: bool = True
    prepare: Callable[[], None] = nothing
    complete: Callable[[], None] = nothing
    stop_signal: str = "TERM"
    stop_patience_s: int = 10
    ready_within_s: int = 300  # of a slow machine that does other things as well


def save_parts(home: Home, parts: Sequence[Part]) -> bool:
    """Write what `infra.launch` reads. Returns whether anything differs from before."""
    plan = {
        p.name: {
            "argv": list(p.argv),
            "cwd": str(p.cwd),
            "env": dict(p.env),
            "inherits_env": p.inherits_env,
        }
        for p in parts
    }
    text = json.dumps(plan, indent=2, sort_keys=True)
    path = home.run / PARTS_FILE
    if path.exists() and path.read_text() == text:
        return False
    write_private(path, text)
    return True
