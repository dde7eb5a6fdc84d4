"""The object store in a backup: what is new is copied, what is known is named.

Tables of the lake and of the vectors are whole only together with their logs. Logs are copied
first, while nobody commits, and later commits left out; files are never changed once written, so
that whatever a copied log names can be copied afterwards.
"""

import hashlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import urllib3
from minio.error import MinioException, S3Error

from infra.backup_folder import (
    JOURNAL,
    PIECE,
    BackupFolder,
    StoredObject,
    private_file,
    told,
)
from infra.digests import file_sha256
from infra.errors import BackupError
from infra.objects import PROBE
from resources.connections import Connections
from resources.s3 import Patience, s3_client

PARALLEL = 8
PATIENCE = Patience(connect_s=3.0, read_s=60.0, tries_again=2, connections=2 * PARALLEL)
LOGS = re.compile(r"/(_delta_log|_versions|_transactions)/")
HINT = "/_delta_log/_last_checkpoint"  # may name one that is left out; readers do without it
ABSENT = {"NoSuchKey", "NoSuchObject"}

Count = Callable[[int, int], None]  # how many are done, of how many


@dataclass(frozen=True)
class Listed:
    """One object as the store lists it."""

    key: str
    etag: str
    byte_count: int

    def is_as(self, copied: StoredObject | None) -> bool:
        """Whether it has not changed since it was copied."""
        mine = (self.etag, self.byte_count)
        return copied is not None and mine == (copied.etag, copied.byte_count)


class ObjectCopies:
    """Copies of one object store's bucket in a folder of backups."""

    def __init__(self, connections: Connections, folder: BackupFolder) -> None:
        """Opens nothing yet."""
        self.bucket = connections.s3_bucket
        self.client = s3_client(
            connections.s3_endpoint,
            access_key=connections.s3_access_key,
            secret_key=connections.s3_secret_key,
            patience=PATIENCE,
        )
        self.folder = folder
        self._journal_lock = Lock()

    def listed(self) -> list[Listed]:
        """All objects there are now. Raises: BackupError."""
        with store_told():
            found = self.client.list_objects(self.bucket, recursive=True)
            return [
                Listed(one.object_name, (one.etag or "").strip('"'), one.size or 0)
                for one in found
                if one.object_name and not one.is_dir and one.object_name != PROBE
            ]

    def logs(self) -> list[Listed]:
        """Those that say which files tables consist of."""
        return [one for one in self.listed() if LOGS.search(one.key) and not is_hint(one.key)]

    def files(self) -> list[Listed]:
        """All others."""
        return [one for one in self.listed() if not LOGS.search(one.key)]

    def copy(
        self, wanted: Iterable[Listed], known: Mapping[str, StoredObject], progress: Count
    ) -> tuple[list[StoredObject], int]:
        """What is wanted, as it is in the folder then, and how many had to be copied.

        An object that is gone by now is left out. Raises: BackupError.
        """
        asked = list(wanted)
        new = [one for one in asked if not one.is_as(known.get(one.key))]
        kept = [known[one.key] for one in asked if one.is_as(known.get(one.key))]
        copied: list[StoredObject] = []
        with ThreadPoolExecutor(PARALLEL) as pool:
            for done in pool.map(self._copy, new):
                copied += [done] if done else []
                progress(len(kept) + len(copied), len(asked))
        return [*kept, *copied], len(copied)

    def put_back(self, objects: Iterable[StoredObject], progress: Count) -> None:
        """Put copies into an empty bucket. Raises: BackupError for a damaged one."""
        every = list(objects)
        with ThreadPoolExecutor(PARALLEL) as pool:
            for count, _ in enumerate(pool.map(self._put, every), start=1):
                progress(count, len(every))

    def faults(self, objects: Iterable[StoredObject]) -> list[str]:
        """Where the bucket differs from what was backed up: every byte is read again."""
        wanted = {one.key: one for one in objects}
        there = {one.key for one in self.listed()}
        faults = [f"{key} is not there" for key in sorted(wanted.keys() - there)]
        faults += [f"{key} is there and was not" for key in sorted(there - wanted.keys())]
        both = [wanted[key] for key in sorted(wanted.keys() & there)]
        with ThreadPoolExecutor(PARALLEL) as pool:
            for one, found in zip(both, pool.map(self._hash, both), strict=True):
                if found != one.sha256:
                    faults.append(f"{one.key} has other bytes")
        return faults

    def _copy(self, one: Listed) -> StoredObject | None:
        try:
            with store_told(), self._reading(one.key) as answer:
                sha256, size = self._keep(answer)
                headers = dict(answer.headers)
        except FileNotFoundError:
            return None
        kept = StoredObject(
            key=one.key,
            sha256=sha256,
            byte_count=size,
            etag=one.etag,
            media_type=headers.get("Content-Type", "application/octet-stream"),
            metadata=_metadata(headers),
        )
        self._note(kept)
        return kept

    @contextmanager
    def _reading(self, key: str) -> Iterator[Any]:
        try:
            answer = self.client.get_object(self.bucket, key)
        except S3Error as error:
            if error.code in ABSENT:
                raise FileNotFoundError(key) from error
            raise
        try:
            yield answer
        finally:
            answer.close()
            answer.release_conn()

    def _keep(self, answer: Any) -> tuple[str, int]:
        """Write the bytes under their own hash. Returns it and how many they are."""
        digest, size = hashlib.sha256(), 0
        temporary = self.folder.unfinished / f"incoming-{os.getpid()}-{id(answer)}"
        with told("copying objects"):
            with private_file(temporary) as file:
                for piece in answer.stream(PIECE):
                    digest.update(piece)
                    size += file.write(piece)
            target = self.folder.content(digest.hexdigest())
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            temporary.rename(target)
        return digest.hexdigest(), size

    def _note(self, kept: StoredObject) -> None:
        line = json.dumps(asdict(kept)) + "\n"
        with (
            self._journal_lock,
            told("copying objects"),
            private_file(self.folder.unfinished / JOURNAL, is_appending=True) as journal,
        ):
            journal.write(line.encode())

    def _put(self, one: StoredObject) -> None:
        path = self.folder.content(one.sha256)
        _check_content(path, one)
        with store_told(), told(f"reading {path}"):
            self.client.fput_object(
                self.bucket,
                one.key,
                str(path),
                content_type=one.media_type,
                metadata=json.loads(one.metadata),
            )

    def _hash(self, one: StoredObject) -> str:
        digest = hashlib.sha256()
        try:
            with store_told(), self._reading(one.key) as answer:
                for piece in answer.stream(PIECE):
                    digest.update(piece)
        except FileNotFoundError:
            return "gone"
        return digest.hexdigest()


def is_hint(key: str) -> bool:
    """Whether an object only points at the newest checkpoint."""
    return key.endswith(HINT)


@contextmanager
def store_told() -> Iterator[None]:
    """The one border to the object store's own errors."""
    try:
        yield
    except (MinioException, urllib3.exceptions.HTTPError) as error:
        raise BackupError(f"the object store: {error}") from error


def _check_content(path: Path, one: StoredObject) -> None:
    with told(f"reading {path}"):
        if file_sha256(path) != one.sha256:
            raise BackupError(f"{path} is damaged: restore another generation.")


def _metadata(headers: Mapping[str, str]) -> str:
    own = {name.lower(): value for name, value in headers.items()}
    kept = {name: value for name, value in own.items() if name.startswith("x-amz-meta-")}
    return json.dumps(kept, sort_keys=True)
