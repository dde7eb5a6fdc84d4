"""The folder that backups are kept in: generations, and the contents they share.

    README.txt
    contents/ab/abcd…            every object's bytes once, named by their SHA-256
    2026-11-21T095300Z/          a generation: manifest.json, manifest.sig, dumps, objects.parquet
    unfinished/                  what a backup that was cut short has copied already

A generation has its name only once it is whole. What no generation names any more goes with the
oldest one.
"""

import errno
import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
from pyarrow import parquet

from infra.digests import file_sha256
from infra.errors import BackupError

FORMAT = 1
MANIFEST, SIGNATURE, OBJECTS = "manifest.json", "manifest.sig", "objects.parquet"
JOURNAL = "journal.jsonl"
REMOVED = "removed-"  # begins the name of a generation that is going
GENERATION = re.compile(r"^\d{4}-\d\d-\d\dT\d{6}Z$")
SHA256 = re.compile(r"^[0-9a-f]{64}$")
PIECE = 1 << 20
README = """Backups of AM, the custodian of one person's digital time series.

Each folder with a date is one backup; contents/ holds the bytes that they share. Keep all of it
together. `am restore --from <this folder>` puts the newest one into an empty AM_HOME. The keys are
either in each backup (keys.sealed, which opens with your passphrase) or in the folder that you
named for them: without them encrypted blobs stay closed for ever.
"""
_NUMBERS = {"byte_count"}
OBJECT_COLUMNS = pa.schema(
    pa.field(name, pa.int64() if name in _NUMBERS else pa.string())
    for name in ("key", "sha256", "byte_count", "etag", "media_type", "metadata")
)


@dataclass(frozen=True)
class StoredObject:
    """One object as it was backed up. `metadata` is JSON: what was stored beside the bytes."""

    key: str
    sha256: str
    byte_count: int
    etag: str
    media_type: str
    metadata: str = "{}"


@dataclass(frozen=True)
class Generation:
    """One whole backup."""

    folder: Path
    manifest: dict[str, Any]

    @property
    def name(self) -> str:
        """When it was taken."""
        return self.folder.name

    def objects(self) -> list[StoredObject]:
        """All objects of it. Raises: BackupError where the list is not what was written."""
        self.check(OBJECTS)
        rows = parquet.read_table(self.folder / OBJECTS, schema=OBJECT_COLUMNS).to_pylist()
        return [StoredObject(**row) for row in rows]

    def check(self, name: str) -> Path:
        """A file of the generation, known to be what was written. Raises: BackupError."""
        path = self.folder / name
        wanted = self.manifest["files"][name]["sha256"]
        if not path.is_file() or file_sha256(path) != wanted:
            raise BackupError(f"{path} is missing or damaged: restore another generation.")
        return path


@dataclass(frozen=True)
class BackupFolder:
    """A folder of backups, on another disk if possible."""

    root: Path

    def prepare(self) -> None:
        """Make it, readable by the owner alone. Raises: BackupError where it is something else."""
        with told("the folder of the backups"):
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            strange = [path.name for path in self.root.iterdir() if not _is_ours(path.name)]
            if strange and not (self.root / "README.txt").exists():
                raise BackupError(
                    f"{self.root} holds other things ({', '.join(sorted(strange)[:3])}): "
                    "name a folder for backups alone."
                )
            (self.root / "README.txt").write_text(README)
            for folder in (self.unfinished, self.root / "contents"):
                folder.mkdir(mode=0o700, exist_ok=True)

    @property
    def unfinished(self) -> Path:
        """Where the next generation is put together."""
        return self.root / "unfinished"

    def generations(self) -> list[Generation]:
        """The whole ones, from early to late. Raises: BackupError for an unreadable manifest."""
        if not self.root.is_dir():
            return []
        found = sorted(p for p in self.root.iterdir() if GENERATION.match(p.name))
        return [Generation(folder, _manifest(folder)) for folder in found]

    def generation(self, name: str | None = None) -> Generation:
        """One by its name, or the newest. Raises: BackupError where there is none."""
        known = self.generations()
        chosen = [one for one in known if name in (None, one.name)]
        if not chosen:
            there = ", ".join(one.name for one in known) or "none"
            raise BackupError(f"{self.root} has no backup {name or ''}: there is {there}.")
        return chosen[-1]

    def content(self, sha256: str) -> Path:
        """Where the bytes with this hash are. Raises: BackupError for what is no hash."""
        if not SHA256.match(sha256):
            raise BackupError(f"{sha256[:80]!r} is not a SHA-256: the backup's list is damaged.")
        return self.root / "contents" / sha256[:2] / sha256

    def known_objects(self) -> dict[str, StoredObject]:
        """Objects whose bytes are here, by key: of the newest backup and of an unfinished one."""
        newest = self.generations()[-1:]
        listed = [one for generation in newest for one in generation.objects()]
        both = [*listed, *_journal(self.unfinished / JOURNAL)]
        return {one.key: one for one in both if self._has(one)}

    def finish(self, name: str, manifest: bytes, signature: str) -> Generation:
        """Give the generation that was put together its name: it counts from now on."""
        write_durably(self.unfinished / SIGNATURE, signature.encode())
        write_durably(self.unfinished / MANIFEST, manifest)
        (self.unfinished / JOURNAL).unlink(missing_ok=True)
        os.sync()  # the contents' bytes too: a backup that a power cut undoes is none
        target = self.root / name
        self.unfinished.rename(target)
        return Generation(target, json.loads(manifest))

    def prune(self, keep: int) -> int:
        """Remove all but the newest generations and what only they needed. Returns how many."""
        old = self.generations()[:-keep]
        for generation in old:
            # Its name first: a generation half removed is then none at all.
            generation.folder.rename(self.root / f"{REMOVED}{generation.name}")
        going = list(self.root.glob(f"{REMOVED}*"))  # also of a backup that was cut short here
        if not going:
            return 0
        needed = {one.sha256 for left in self.generations() for one in left.objects()}
        for path in (self.root / "contents").glob("??/*"):
            if path.name not in needed:
                path.unlink()
        for folder in going:  # last: while it is there, contents may be left that only it needed
            shutil.rmtree(folder)
        return len(old)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One backup at a time into one folder. Raises: BackupError while another is under way."""
        with (self.root / ".lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as cause:
                raise BackupError(f"another backup into {self.root} is under way.") from cause
            yield

    def _has(self, one: StoredObject) -> bool:
        path = self.content(one.sha256)
        return path.exists() and path.stat().st_size == one.byte_count


@contextmanager
def told(what: str) -> Iterator[None]:
    """The one border to the file system's own errors."""
    try:
        yield
    except OSError as cause:
        if cause.errno in {errno.ENOSPC, errno.EDQUOT}:
            raise BackupError(
                f"the disk is full ({what}): make room and run the same command again, it goes on "
                "where it stopped."
            ) from cause
        raise BackupError(f"{what}: {cause}") from cause


def write_objects(path: Path, objects: Iterable[StoredObject]) -> None:
    """The list of a generation's objects, by key."""
    rows = [vars(one) for one in sorted(objects, key=lambda one: one.key)]
    parquet.write_table(pa.Table.from_pylist(rows, schema=OBJECT_COLUMNS), path, compression="zstd")


def write_durably(path: Path, content: bytes) -> None:
    """A file of the owner's alone, on disk when this returns."""
    with private_file(path) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def private_file(path: Path, *, is_appending: bool = False) -> BinaryIO:
    """A file to write to that only the owner may read."""
    how = os.O_APPEND if is_appending else os.O_TRUNC
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | how, 0o600), "wb")


def facts_of(path: Path) -> dict[str, Any]:
    """What a manifest says of a file."""
    return {"sha256": file_sha256(path), "byte_count": path.stat().st_size}


def _is_ours(name: str) -> bool:
    ours = {"README.txt", "contents", "unfinished", ".lock", "lost+found"}
    return name in ours or GENERATION.match(name.removeprefix(REMOVED)) is not None


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError) as cause:
        raise BackupError(f"{folder} has no readable {MANIFEST}: remove that folder.") from cause
    if found.get("format") != FORMAT:
        raise BackupError(f"{folder} is of another version of AM: use that one to restore it.")
    return found


def _journal(path: Path) -> list[StoredObject]:
    """What was copied before it was cut short."""
    return [StoredObject(**line) for line in whole_lines(path)]


def whole_lines(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a journal. One that was torn does not count, nor what was written behind it."""
    for line in path.read_text(errors="replace").splitlines() if path.exists() else ():
        with suppress(ValueError):
            yield json.loads(line)
