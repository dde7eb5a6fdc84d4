"""The obligations book: what was sent and what AM promised, on the client's side, on disk.

A file of JSON lines, written as things happen and read back for the verdict. A message is `sent`
before its first attempt; each attempt then ends as `acked` (2xx: from now on it is owed), `refused`
(an answer that says that nothing was stored) or `lost` (no answer: stored or not, but once).
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO

from tests.oracle.messages import Message


@dataclass(kw_only=True)
class Entry:
    """All that the book knows of one message."""

    id: str
    user: str
    device: str
    stream: str
    ts: str
    door: str
    is_good: bool
    kept: dict[str, Any]
    letter: Any  # what its dead letter must hold; None: anything that names the id
    sha256: str | None
    acked: int = 0
    lost: int = 0
    refused: list[int] = field(default_factory=list)

    @property
    def day(self) -> str:
        """The UTC day of its row."""
        return self.ts[:10]


@dataclass(frozen=True)
class OwedBlob:
    """Bytes that a 2xx said are stored."""

    key: str
    sha256: str


class Book:
    """Open for writing while the load runs."""

    def __init__(self, path: Path) -> None:
        """Begins a new one, or goes on with an old one."""
        self.path = path
        self._file: TextIO = path.open("a", encoding="utf-8")
        self._known: set[str] = set()
        self.counts: dict[str, int] = {}

    def sent(self, messages: Iterable[Message], *, door: str) -> None:
        """Note messages before their first attempt."""
        for message in messages:
            if message.id not in self._known:
                self._known.add(message.id)
                self._write("sent", **_described(message, door))

    def acked(self, ids: Sequence[str]) -> None:
        """AM said 2xx: it owes them."""
        self._write("acked", ids=list(ids))

    def refused(self, ids: Sequence[str], status: int) -> None:
        """AM said that it took nothing."""
        self._write("refused", ids=list(ids), status=status)
        key = f"refused {status}"
        self.counts[key] = self.counts.get(key, 0) + 1

    def lost(self, ids: Sequence[str]) -> None:
        """No answer came."""
        self._write("lost", ids=list(ids))

    def blob(self, key: str, sha256: str) -> None:
        """AM said that these bytes are stored."""
        self._write("blob", key=key, sha256=sha256)

    def close(self) -> None:
        """Nothing is noted any more."""
        self._file.close()

    def _write(self, what: str, **told: Any) -> None:
        self.counts[what] = self.counts.get(what, 0) + 1
        self._file.write(json.dumps({"what": what, **told}) + "\n")
        self._file.flush()


def read_book(path: Path) -> tuple[dict[str, Entry], list[OwedBlob]]:
    """All entries by id, and the blobs that are owed."""
    entries: dict[str, Entry] = {}
    blobs: list[OwedBlob] = []
    for line in _lines(path):
        what = line.pop("what")
        if what == "sent":
            entries[line["id"]] = Entry(**line)
        elif what == "blob":
            blobs.append(OwedBlob(**line))
        else:
            for entry in (entries[one] for one in line["ids"]):
                _note(entry, what, line)
    return entries, blobs


def _note(entry: Entry, what: str, line: dict[str, Any]) -> None:
    if what == "acked":
        entry.acked += 1
    elif what == "lost":
        entry.lost += 1
    else:
        entry.refused.append(line["status"])


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def _described(message: Message, door: str) -> dict[str, Any]:
    return {
        "id": message.id,
        "user": message.user,
        "device": message.device,
        "stream": message.stream,
        "ts": message.ts.isoformat(),
        "door": door,
        "is_good": message.is_good,
        "kept": dict(message.kept),
        "letter": None if message.is_good else dict(message.element),
        "sha256": hashlib.sha256(message.blob).hexdigest() if message.blob else None,
    }
