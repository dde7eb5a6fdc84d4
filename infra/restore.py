"""Putting a backup back: into an empty home, or into a scratch home to see whether it would work.

Only the database and the object store are started for it; AM's own database can be one of another
server. Everything is compared with what the backup says was there: each table's rows and checksum,
each object's bytes.
"""

import base64
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)
from psycopg import sql

from infra import backup_database, backup_keys
from infra.backup import DAGSTER_DATABASE, DATABASE
from infra.backup_database import Tables, tables_of
from infra.backup_folder import MANIFEST, SIGNATURE, BackupFolder, Generation, StoredObject
from infra.backup_keys import SEALED, Keys
from infra.backup_objects import ObjectCopies
from infra.errors import BackupError
from infra.home import RESTORING, Home, load_state
from infra.migrate import upgrade
from infra.objects import PROBE
from infra.postgres import ADMIN, DAGSTER, OWNER, Postgres
from infra.progress import Progress, no_progress
from infra.signing import KEY_FILE, SignatureError, verify_by
from infra.stack import SERVER_PARTS, Stack
from ingest_api.settings import Settings
from resources.disk import free_on_disk

ARCHIVES = {DATABASE: ("am", OWNER), DAGSTER_DATABASE: ("dagster", DAGSTER)}
SCRATCH = "am-restore-drill-"
ROOM = 500 * 10**6  # of a home without any data, its write-ahead log included
SHOWN = 10  # faults that a message names


@dataclass(frozen=True)
class Compared:
    """What was compared after a restore; `faults` = none where all of it is as it was."""

    generation: str
    table_count: int
    row_count: int
    object_count: int
    byte_count: int
    faults: tuple[str, ...]


@dataclass(frozen=True)
class Restore:
    """One generation, with the secrets of its home; None = they are not put back.

    `database_url`: an empty database of another server that AM's own is restored into; None = the
    embedded server, which has no TimescaleDB.
    """

    folder: BackupFolder
    generation: Generation
    keys: Keys | None = None
    database_url: str | None = None

    @property
    def bucket(self) -> str:
        """What the objects were in."""
        return str(self.generation.manifest["bucket"])

    def check_signature(self, known_key: str | None = None) -> None:
        """See that the manifest is as its home wrote it.

        By `known_key`, the home's public key, where the caller has it; else by the one it names,
        which proves that it is not damaged, not who wrote it. Raises: BackupError.
        """
        text = (self.generation.folder / MANIFEST).read_bytes()
        signature = (self.generation.folder / SIGNATURE).read_text()
        try:
            verify_by(known_key or self.generation.manifest["public_key"], text, signature)
        except SignatureError as cause:
            raise BackupError(f"{self.generation.folder}: {cause}") from cause

    def into(self, home: Home, *, progress: Progress = no_progress) -> Compared:
        """Fill an empty home; its servers are stopped again.

        Raises: BackupError where the home is not empty or something is not as it was, StackError,
        psycopg.Error.
        """
        require_empty(home)
        self.check_signature(signer(self.keys))
        self._check_files()
        home.create()
        mark = home.root / RESTORING
        mark.write_text(f"{self.generation.folder}\n")
        if self.keys:
            backup_keys.put_keys(home, self.keys)
        with serving(home, self.bucket) as stack:
            compared = self._fill(stack, progress)
        if compared.faults:
            raise BackupError(f"{home.root} is not what the backup was: {_some(compared.faults)}")
        mark.unlink()
        return compared

    def rehearse(
        self,
        *,
        near: Path | None = None,
        known_key: str | None = None,
        progress: Progress = no_progress,
    ) -> Compared:
        """The same in a scratch home with servers, ports and secrets of its own; nothing stays.

        `near`: the folder it is made in; None = where temporary files go. `known_key`: see
        `check_signature`. Raises: BackupError, StackError.
        """
        self.check_signature(known_key)
        self._check_files()
        place = near or Path(tempfile.gettempdir())
        self._require_room(place)
        sweep(place)
        scratch = Path(tempfile.mkdtemp(prefix=f"{SCRATCH}{os.getpid()}-", dir=place))
        try:
            with serving(Home.at(scratch), self.bucket) as stack:
                return self._fill(stack, progress)
        finally:
            shutil.rmtree(scratch)

    def _check_files(self) -> None:
        """See that all of it is there, and has somewhere to go, before any server is started."""
        for name in self.generation.manifest["files"]:
            self.generation.check(name)
        if self.database_url:
            backup_database.require_empty(self.database_url)
        elif backup_database.is_of_timescale(self.generation.check(DATABASE)):
            raise BackupError(
                f"{self.generation.name} is of a server with TimescaleDB, which the embedded one "
                "is not: name an empty database of such a server, --database (docs/backup.md)."
            )
        for one in self.generation.objects():
            path = self.folder.content(one.sha256)
            if not path.is_file() or path.stat().st_size != one.byte_count:
                raise BackupError(
                    f"{path} ({one.key}) is missing or damaged: restore another generation."
                )

    def _require_room(self, place: Path) -> None:
        needed = ROOM + self.generation.manifest["objects"]["byte_count"]
        needed += 3 * sum(file["byte_count"] for file in self.generation.manifest["files"].values())
        free = free_on_disk(place)
        if free < needed:
            raise BackupError(
                f"the drill needs about {needed / 1e9:.1f} GB in {place}, and {free / 1e9:.1f} GB "
                "are free: name another folder, --scratch."
            )

    def _fill(self, stack: Stack, progress: Progress) -> Compared:
        objects = self.generation.objects()
        copies = ObjectCopies(stack.settings.connections(), self.folder)
        tables, faults = self._restore_databases(stack.home, progress)
        copies.client.remove_object(copies.bucket, PROBE)
        copies.put_back(objects, lambda done, total: progress("objects", done, total))
        progress("comparing", 0, 1)
        faults += copies.faults(objects)
        progress("comparing", 1, 1)
        return self._compared(tables, objects, faults)

    def _restore_databases(self, home: Home, progress: Progress) -> tuple[Tables, list[str]]:
        state = load_state(home)
        assert state is not None
        postgres = Postgres(home, state)
        wanted = self.generation.manifest["databases"]
        read: Tables = {}
        faults: list[str] = []
        for done, name in enumerate(wanted, start=1):
            database, _ = ARCHIVES[name]
            url = self._restore_database(postgres, name, self.generation.check(name))
            found = tables_of(url)
            faults += _table_faults(wanted[name], found)
            read |= {f"{database}: {table}": facts for table, facts in found.items()}
            progress("database", done, len(wanted))
        upgrade(self.database_url or postgres.url(OWNER, "am"))
        return read, faults

    def _restore_database(self, postgres: Postgres, name: str, archive: Path) -> str:
        """Returns where it is now."""
        if self.database_url and name == DATABASE:
            backup_database.restore_outside(archive, self.database_url, self.generation.manifest)
            return self.database_url
        database, owner = ARCHIVES[name]
        with psycopg.connect(postgres.url(ADMIN, "postgres"), autocommit=True) as admin:
            # It has this version's tables by now, which are not those of the backup.
            drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
            admin.execute(drop.format(sql.Identifier(database)))
            backup_database.make_roles(admin, self.generation.manifest)
        postgres.complete()
        backup_database.restore(archive, postgres.url(ADMIN, database), owner=owner)
        return postgres.url(owner, database)

    def _compared(self, tables: Tables, objects: list[StoredObject], faults: list[str]) -> Compared:
        return Compared(
            generation=self.generation.name,
            table_count=len(tables),
            row_count=sum(facts["row_count"] for facts in tables.values()),
            object_count=len(objects),
            byte_count=sum(one.byte_count for one in objects),
            faults=tuple(faults),
        )


def signer(keys: Keys | None) -> str | None:
    """The public key of the home that was backed up, by its own secrets; None without them."""
    pem = (keys or {}).get(KEY_FILE)
    if pem is None:
        return None
    key = load_pem_private_key(pem, password=None).public_key()
    return base64.b64encode(key.public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()


def sweep(place: Path) -> None:
    """End and remove what drills have left that were killed."""
    for scratch in place.glob(f"{SCRATCH}*"):
        pid = scratch.name.removeprefix(SCRATCH).partition("-")[0]
        if pid.isdecimal() and not psutil.pid_exists(int(pid)):
            Stack(scratch, parts=SERVER_PARTS, settings=Settings(home=scratch)).stop()
            shutil.rmtree(scratch)


@contextmanager
def serving(home: Home, bucket: str) -> Iterator[Stack]:
    """Database and object store of a home, whatever the `AM_…` variables name besides."""
    settings = Settings(
        home=home.root,
        database_url=None,
        s3_endpoint=None,
        s3_access_key=None,
        s3_secret_key=None,
        lake_uri=None,
        vectors_uri=None,
        master_key_file=None,
        s3_bucket=bucket,
    )
    stack = Stack(home.root, parts=SERVER_PARTS, settings=settings)
    stack.start()
    try:
        yield stack
    finally:
        stack.stop()


def keys_in(
    generation: Generation, *, passphrase: str | None, folder: Path | None
) -> dict[str, bytes]:
    """The secrets of a backup. Raises: BackupError where they can't be had."""
    if folder is not None:
        return backup_keys.read_folder(folder)
    if not generation.manifest["keys"]["is_sealed"]:
        raise BackupError("the keys of this backup are in a folder of their own: name it, --keys.")
    if passphrase is None:
        raise BackupError("the keys of this backup are sealed: name --passphrase-file.")
    return backup_keys.unseal(generation.check(SEALED).read_bytes(), passphrase)


def require_empty(home: Home) -> None:
    """Raises: BackupError unless nothing is there yet."""
    if not home.root.exists() or not any(home.root.iterdir()):
        return
    if (home.root / RESTORING).exists():
        raise BackupError(
            f"an earlier restore into {home.root} was cut short: `am down` ends what still runs of "
            "it; then remove that folder and try again."
        )
    raise BackupError(f"{home.root} is not empty: set AM_HOME to a new folder.")


def _table_faults(wanted: dict[str, Any], found: Tables) -> list[str]:
    faults = [f"table {name} is not there" for name in sorted(wanted.keys() - found.keys())]
    for name in sorted(wanted.keys() & found.keys()):
        if wanted[name] != found[name]:
            before, now = wanted[name]["row_count"], found[name]["row_count"]
            differs = f"has {now} rows, not {before}" if before != now else "has other rows"
            faults.append(f"table {name} {differs}")
    return faults


def _some(faults: tuple[str, ...]) -> str:
    more = f" and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
    return "; ".join(faults[:SHOWN]) + more
