"""A backup of a running stack: the database first, then the objects that its rows refer to.

Objects that came after the database was read do no harm: nothing names them. What must not happen
in between is that blobs are removed (`resources.removals`) or that the lake runs ahead of its
receipts, so its logs are copied at the same moment (`resources.lake.Lake.paused`).
"""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from am_assets.streams.registry import REGISTRY
from infra import backup_keys
from infra.backup_database import Dumping, as_of_now
from infra.backup_folder import (
    FORMAT,
    JOURNAL,
    OBJECTS,
    BackupFolder,
    Generation,
    StoredObject,
    facts_of,
    told,
    write_durably,
    write_objects,
)
from infra.backup_keys import SEALED
from infra.backup_objects import ObjectCopies
from infra.errors import BackupError
from infra.home import Home, load_state
from infra.postgres import DAGSTER, Postgres
from infra.progress import Progress, no_progress
from infra.signing import public_key, sign
from ingest_api.settings import Settings
from resources.lake import Lake
from resources.master_keys import FileMasterKey
from resources.removals import copying

NAME = "%Y-%m-%dT%H%M%SZ"
DATABASE, DAGSTER_DATABASE = "am.dump", "dagster.dump"


@dataclass(frozen=True)
class KeyPlace:
    """Where the secrets go: sealed into the backup, or as files into a folder elsewhere."""

    passphrase: str | None = None
    folder: Path | None = None


@dataclass(frozen=True)
class Taken:
    """What a backup did."""

    generation: Generation
    object_count: int
    copied_count: int
    removed_count: int


@dataclass(frozen=True)
class Backup:
    """Backups of one home's stack, wherever its database and store are, into one folder."""

    settings: Settings
    folder: BackupFolder
    keys: KeyPlace

    def take(self, *, now: datetime, keep: int | None, progress: Progress = no_progress) -> Taken:
        """Take one and remove the oldest beyond `keep`; None keeps all.

        Raises: BackupError, HomeError, psycopg.Error, StackNotFoundError.
        """
        self._check_key_place()
        self._check_places()
        self.folder.prepare()
        with self.folder.locked(), copying(self._url):
            self._tidy()
            manifest, objects, copied = self._put_together(progress)
            manifest |= {"made_at": now.isoformat(), "am_version": version("am"), "format": FORMAT}
            manifest["keys"] = self._write_keys()
            generation = self._finish(now, manifest)
            removed = self.folder.prune(keep) if keep else 0
        return Taken(generation, len(objects), copied, removed)

    @property
    def home(self) -> Home:
        """Whose secrets these are."""
        return Home.at(self.settings.home)

    @property
    def _url(self) -> str:
        return self.settings.connections().database_url

    def _check_key_place(self) -> None:
        if (self.keys.passphrase is None) == (self.keys.folder is None):
            raise BackupError(
                "a backup is worth nothing without the keys: say where they go. Either "
                "--passphrase-file seals them into the backup, or --keys-to puts them into a "
                "folder of their own (on another disk, or a USB stick in a drawer)."
            )
        folder = self.keys.folder
        if folder and folder.resolve().is_relative_to(self.folder.root.resolve()):
            raise BackupError("--keys-to names a folder within the backups: keep them apart.")

    def _check_places(self) -> None:
        """Raises: BackupError where something is kept where this does not look."""
        at = self.settings.connections()
        for name, uri in (("AM_LAKE_URI", at.lake_uri), ("AM_VECTORS_URI", at.vectors_uri)):
            if not uri.startswith(f"s3://{at.s3_bucket}/"):
                raise BackupError(
                    f"{name} is {uri}, which is not in the bucket {at.s3_bucket}: a backup covers "
                    "one bucket. Keep that place by the means of whoever runs it."
                )

    def _tidy(self) -> None:
        """Forget what was cut short, but for the contents that it has copied."""
        for path in self.folder.unfinished.iterdir():
            if path.name != JOURNAL:
                path.unlink()

    def _put_together(self, progress: Progress) -> tuple[dict[str, Any], list[StoredObject], int]:
        copies = ObjectCopies(self.settings.connections(), self.folder)
        known = self.folder.known_objects()

        def tell(what: str) -> Callable[[int, int], None]:
            return lambda done, total: progress(what, done, total)

        with ExitStack() as stack:
            lake = Lake(self.settings.connections())
            with lake.paused(REGISTRY.values()):
                # Nothing is committed to the lake between these two.
                database = stack.enter_context(as_of_now(self._url))
                logs, new_logs = copies.copy(copies.logs(), known, tell("logs of tables"))
            manifest = self._dump(database, progress)
        files, new_files = copies.copy(copies.files(), known, tell("objects"))
        objects = [*logs, *files]
        with told("writing the list of objects"):
            write_objects(self.folder.unfinished / OBJECTS, objects)
        manifest["objects"] = {
            "count": len(objects),
            "byte_count": sum(one.byte_count for one in objects),
        }
        return manifest, objects, new_logs + new_files

    def _dump(self, database: Dumping, progress: Progress) -> dict[str, Any]:
        progress("database", 0, 2)
        database.dump(self.folder.unfinished / DATABASE)
        progress("database", 1, 2)
        found = {
            "revision": database.revision(),
            "bucket": self.settings.s3_bucket,
            "databases": {DATABASE: database.tables()},
            **database.roles(),
        }
        with self._dagster() as dagster:
            if dagster:
                dagster.dump(self.folder.unfinished / DAGSTER_DATABASE)
                found["databases"][DAGSTER_DATABASE] = dagster.tables()
        progress("database", 2, 2)
        return found

    @contextmanager
    def _dagster(self) -> Iterator[Dumping | None]:
        """Dagster's own database; None where it is a part of the other."""
        state = load_state(self.home)
        if self.settings.database_url or state is None:
            yield None
            return
        with as_of_now(Postgres(self.home, state).url(DAGSTER, "dagster")) as found:
            yield found

    def _write_keys(self) -> dict[str, Any]:
        master = self.settings.master()
        keys = backup_keys.keys_of(self.home, master)
        with told("writing the keys"):
            if self.keys.passphrase:
                sealed = backup_keys.seal(keys, self.keys.passphrase)
                write_durably(self.folder.unfinished / SEALED, sealed)
            elif self.keys.folder:
                backup_keys.write_folder(keys, self.keys.folder)
        return {
            "is_sealed": bool(self.keys.passphrase),
            "names": sorted(keys),
            "has_master_key": isinstance(master, FileMasterKey),
        }

    def _finish(self, now: datetime, manifest: dict[str, Any]) -> Generation:
        names = [DATABASE, OBJECTS, *([SEALED] if manifest["keys"]["is_sealed"] else [])]
        if DAGSTER_DATABASE in manifest["databases"]:
            names.append(DAGSTER_DATABASE)
        with told("finishing the backup"):
            files = {name: facts_of(self.folder.unfinished / name) for name in names}
            manifest |= {"files": files, "public_key": public_key(self.home.root)}
            text = json.dumps(manifest, indent=1, sort_keys=True).encode()
            return self.folder.finish(f"{now:{NAME}}", text, sign(self.home.root, text))
