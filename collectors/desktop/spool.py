"""What waits to be sent, in one SQLite file: kept until the server has said that it has it.

Every change is on disk before the method returns (WAL, synchronous=FULL). Only what the rules have
let through comes here; of all else there are counts.
"""

import fcntl
import json
import os
import sqlite3
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

from collectors.desktop.errors import AlreadyCollectingError, SpoolError
from collectors.desktop.observation import Picture

SCHEMA = """
CREATE TABLE IF NOT EXISTS waiting (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    event_id TEXT NOT NULL UNIQUE, stream TEXT NOT NULL, byte_count INTEGER NOT NULL,
    element TEXT NOT NULL, content BLOB, media_type TEXT
);
CREATE TABLE IF NOT EXISTS refused (
    seq INTEGER PRIMARY KEY,
    event_id TEXT NOT NULL UNIQUE, stream TEXT NOT NULL, byte_count INTEGER NOT NULL,
    element TEXT NOT NULL, content BLOB, media_type TEXT,
    status INTEGER NOT NULL, reason TEXT NOT NULL, refused_at TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS tally (
    fate TEXT NOT NULL, source TEXT NOT NULL, reason TEXT NOT NULL, count INTEGER NOT NULL,
    PRIMARY KEY (fate, source, reason)
);
"""
NAMED = "event_id, stream, byte_count, element, content, media_type"
COLUMNS = f"seq, {NAMED}"
ADD = f"INSERT INTO waiting ({NAMED}) VALUES (?, ?, ?, ?, ?, ?)"
REPLACED = "DELETE FROM waiting WHERE event_id = ? RETURNING byte_count"
ARRIVED = "DELETE FROM waiting WHERE seq = ? RETURNING byte_count"
REFUSED_BEFORE = "DELETE FROM refused WHERE event_id = ? RETURNING byte_count"
OLDEST = f"SELECT {COLUMNS} FROM waiting ORDER BY seq LIMIT ?"
REFUSE = f"""
INSERT INTO refused ({COLUMNS}, status, reason, refused_at)
SELECT {COLUMNS}, ?, ?, ? FROM waiting WHERE seq = ?
"""
# What waits under the same name is newer.
AGAIN = f"INSERT OR IGNORE INTO waiting ({NAMED}) SELECT {NAMED} FROM refused ORDER BY seq"
COUNT = """
INSERT INTO tally (fate, source, reason, count) VALUES (?, ?, ?, ?)
ON CONFLICT (fate, source, reason) DO UPDATE SET count = count + excluded.count
"""
SIZES = """
SELECT coalesce((SELECT sum(byte_count) FROM waiting), 0)
    + coalesce((SELECT sum(byte_count) FROM refused), 0)
"""
# The first one only counts before there is a table; temporary files could hold content.
PRAGMAS = (
    "auto_vacuum=INCREMENTAL",
    "journal_mode=WAL",
    "synchronous=FULL",
    "secure_delete=ON",
    "temp_store=MEMORY",
)
ROW_OVERHEAD = 200  # bytes: about what a line costs besides its content
BUSY_S = 10


@dataclass(frozen=True)
class Item:
    """One message that waits, and the picture that belongs to it."""

    seq: int
    event_id: str
    stream: str
    element: Mapping[str, Any] = field(repr=False)
    picture: Picture | None
    byte_count: int


@dataclass(frozen=True)
class Tally:
    """How many observations had one fate, by source and reason.

    `sent`, `excluded` (by a rule), `left_out` (no room), `rejected` (kept by the server as a dead
    letter).
    """

    fate: str
    source: str
    reason: str
    count: int


@dataclass(frozen=True)
class Refused:
    """A message that the server does not take; it stays here until somebody decides."""

    event_id: str
    stream: str
    status: int
    reason: str
    refused_at: str


@dataclass(frozen=True)
class Report:
    """What the spool holds and has seen."""

    waiting: int
    waiting_since: str | None
    byte_count: int
    refused: Sequence[Refused]
    tallies: Sequence[Tally]


class Spool:
    """The file. One thread at a time; one collector at a time, see `alone`.

    Every method raises SpoolError where the disk does not take or give it.
    """

    def __init__(self, path: Path) -> None:
        """Open, or make, a spool that only its owner can read."""
        with _translating(path):
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            # SQLite gives its other files the mode of the first.
            os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
            self._connection = sqlite3.connect(
                path, timeout=BUSY_S, isolation_level=None, check_same_thread=False
            )
            for pragma in PRAGMAS:
                self._connection.execute(f"PRAGMA {pragma}")
            self._connection.executescript(SCHEMA)
            self._byte_count: int = self._connection.execute(SIZES).fetchone()[0]
        self.path = path

    @property
    def byte_count(self) -> int:
        """Bytes of all that is kept."""
        return self._byte_count

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def add(self, stream: str, element: Mapping[str, Any], picture: Picture | None = None) -> None:
        """Keep a message. One that waits under the same `event_id` gives way to it.

        The new one gets a new number: the old one may be on its way, and its arrival must not make
        us forget the new one.
        """
        text = json.dumps(element, ensure_ascii=False, separators=(",", ":"))
        content = picture.content if picture else None
        size = len(text.encode()) + len(content or b"") + ROW_OVERHEAD
        media_type = picture.media_type if picture else None
        name = element["event_id"]
        with self._changing() as connection:
            freed = _sum(connection.execute(REPLACED, (name,)))
            connection.execute(ADD, (name, stream, size, text, content, media_type))
        self._byte_count += size - freed

    def oldest(self, limit: int) -> list[Item]:
        """What has waited longest, in the order it was observed."""
        with _translating(self.path):
            return [_item(row) for row in self._connection.execute(OLDEST, (limit,))]

    def delivered(self, items: Collection[Item], *, rejected: int = 0) -> None:
        """Forget what the server has; `rejected` of it are dead letters there."""
        with self._changing() as connection:
            freed = self._forget(connection, items)
            for stream in {item.stream for item in items}:
                count = sum(item.stream == stream for item in items)
                connection.execute(COUNT, ("sent", stream, "", count))
            if rejected:
                first = next(iter(items))
                connection.execute(COUNT, ("rejected", first.stream, "dead letter", rejected))
        self._byte_count -= freed
        if self._byte_count == 0:  # give the disk back what an outage has taken
            with _translating(self.path):
                self._connection.execute("PRAGMA incremental_vacuum").fetchall()
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def refuse(self, item: Item, *, status: int, reason: str) -> None:
        """Put aside what the server will not take, so that it holds up nothing."""
        when = datetime.now(UTC).isoformat(timespec="seconds")
        with self._changing() as connection:
            # Refused before, when it was shorter: that one gives way.
            freed = _sum(connection.execute(REFUSED_BEFORE, (item.event_id,)))
            connection.execute(REFUSE, (status, reason, when, item.seq))
            self._forget(connection, [item])
        self._byte_count -= freed

    def send_again(self) -> int:
        """Let all refused messages wait once more; how many they are."""
        with self._changing() as connection:
            count = connection.execute(AGAIN).rowcount
            connection.execute("DELETE FROM refused")
        with _translating(self.path):
            self._byte_count = self._connection.execute(SIZES).fetchone()[0]
        return count

    def count(self, fate: str, *, source: str, reason: str, count: int = 1) -> None:
        """Note how many observations had a fate, and nothing else of them."""
        with self._changing() as connection:
            connection.execute(COUNT, (fate, source, reason, count))

    def report(self) -> Report:
        """What it holds and has seen."""
        with _translating(self.path):
            ask = self._connection.execute
            (waiting,) = ask("SELECT count(*) FROM waiting").fetchone()
            refused = ask(
                "SELECT event_id, stream, status, reason, refused_at FROM refused ORDER BY seq"
            )
            tallies = ask("SELECT fate, source, reason, count FROM tally ORDER BY 1, 2, 3")
            return Report(
                waiting=waiting,
                waiting_since=next((item.element["recorded_at"] for item in self.oldest(1)), None),
                byte_count=ask(SIZES).fetchone()[0],
                refused=[Refused(*row) for row in refused],
                tallies=[Tally(*row) for row in tallies],
            )

    def _forget(self, connection: sqlite3.Connection, items: Collection[Item]) -> int:
        """How many bytes that frees: fewer than they had where one has given way meanwhile."""
        return sum(_sum(connection.execute(ARRIVED, (item.seq,))) for item in items)

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        """One transaction, on disk at the end or undone."""
        with _translating(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:  # SQLite itself undoes some errors
                    self._connection.execute("ROLLBACK")
                raise


def _sum(sizes: sqlite3.Cursor) -> int:
    return sum(size for (size,) in sizes.fetchall())


def _item(row: Sequence[Any]) -> Item:
    seq, event_id, stream, size, text, content, media_type = row
    picture = Picture(content, media_type) if content is not None else None
    return Item(seq, event_id, stream, json.loads(text), picture, size)


@contextmanager
def _translating(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise SpoolError(f"{path}: {error}") from error


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Be the only collector of this spool. Raises: AlreadyCollectingError, SpoolError."""
    with _translating(folder):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        file = (folder / "lock").open("a+")
    with file:
        _lock(file, folder)
        yield


def _lock(file: IO[str], folder: Path) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.seek(0)
        holder = file.read().strip() or "another process"
        raise AlreadyCollectingError(f"{holder} collects into {folder} already") from error
    file.truncate(0)
    file.write(f"process {os.getpid()}")
    file.flush()
