"""Reading the parts' logs: the last lines, and what comes after them."""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

POLL_S = 0.2


def tail(path: Path, *, lines: int) -> str:
    """The last lines of a log; empty where there is none yet."""
    if not path.exists():
        return ""
    with path.open(errors="replace") as log:
        return "".join(deque(log, maxlen=lines))


class Follower:
    """Gives the lines written to a log since the last look, also when the log was rotated."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = path.stat() if path.exists() else None
        self._offset = self._seen.st_size if self._seen else 0

    def new_lines(self) -> list[str]:
        """Whole lines only; what is still being written comes with a later look."""
        if not self._path.exists():
            return []
        now = self._path.stat()
        if self._seen is None or now.st_ino != self._seen.st_ino or now.st_size < self._offset:
            self._offset = 0
        self._seen = now
        with self._path.open("rb") as log:
            log.seek(self._offset)
            whole = log.read().rpartition(b"\n")
        self._offset += len(whole[0]) + len(whole[1])
        return whole[0].decode(errors="replace").splitlines() if whole[1] else []


def follow(paths: Sequence[Path]) -> Iterator[tuple[str, str]]:
    """New lines of several logs as (part, line), for ever."""
    followers = [(path.stem, Follower(path)) for path in paths]
    while True:
        for part, follower in followers:
            for line in follower.new_lines():
                yield part, line
        time.sleep(POLL_S)
