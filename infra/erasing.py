"""The last part of an erasure: nothing of it is left in the embedded servers' files, nor in logs.

The database keeps what was deleted in its log of changes, the object store in its volumes. Of
servers that are not embedded nothing is done here: they are their keeper's.
"""

import io
import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import urllib3
from psycopg import sql

from infra.errors import NotReadyError
from infra.home import Home, StackState
from infra.objects import Objects
from infra.ports import LOOPBACK
from infra.postgres import ADMIN, Postgres
from ingest_api.settings import COPIES
from resources.connections import Connections

PATIENCE_S = 60.0
POLL_S = 0.1
ANY_GARBAGE = 1e-9  # the share of a volume from which on it is written anew
# Segments of the log beyond the one that is written now: old ones that wait to be used again.
_WAITING = """SELECT count(*) FROM pg_ls_waldir()
WHERE name ~ '^[0-9A-F]{24}$' AND name > pg_walfile_name(pg_current_wal_lsn())"""


@dataclass(frozen=True)
class EmbeddedStorage:
    """The files of one home's servers. `connections` say which databases and buckets are in use."""

    home: Home
    state: StackState
    connections: Connections

    def clean(self) -> dict[str, Any]:
        """Take what was deleted off the disk; tells what was done, for the receipt.

        Raises: psycopg.Error, NotReadyError where the object store does not do it.
        """
        told: dict[str, Any] = {}
        if self._is_ours(self.connections.database_url, "postgres"):
            told["database"] = self._clean_database()
        if self._is_ours(self.connections.s3_endpoint, "s3"):
            told["object_store"] = self._clean_objects()
        copies = self.home.root / COPIES
        if copies.exists():
            shutil.rmtree(copies)
            told["copies"] = "removed"
        return {**told, "logs": empty_logs(self.home)}

    def _is_ours(self, address: str, port: str) -> bool:
        found = urlsplit(address)
        return (found.hostname, found.port) == (LOOPBACK, self.state.ports[port])

    def _clean_database(self) -> str:
        postgres = Postgres(self.home, self.state)
        database = urlsplit(self.connections.database_url).path.strip("/")
        with psycopg.connect(postgres.url(ADMIN, database), autocommit=True) as admin:
            admin.execute("ALTER SYSTEM SET wal_recycle = off")
            try:
                admin.execute("SELECT pg_reload_conf()")
                _await_setting(admin, "off")
                _renew_log(admin)
            finally:
                admin.execute("ALTER SYSTEM RESET wal_recycle")
                admin.execute("SELECT pg_reload_conf()")
        return "log of changes written anew"

    def _clean_objects(self) -> str:
        """Write the volumes anew that have anything deleted in them."""
        self._await_deletions()
        self._get("master", f"/vol/vacuum?garbageThreshold={ANY_GARBAGE}")
        left = [one["Id"] for one in self._volumes() if one["DeletedByteCount"]]
        if left:
            raise NotReadyError(f"object store: volumes {left} still have deleted blobs in them")
        return "volumes written anew"

    def _await_deletions(self) -> None:
        """The store deletes in the background, in order: wait until it has what comes last."""
        bucket, key = self.connections.s3_bucket, f"am-erased/{uuid4()}"
        client = Objects(self.home, self.state, bucket, True).client()
        client.put_object(bucket, key, io.BytesIO(b"erased"), 6)
        entry = json.loads(self._get("filer", f"/buckets/{bucket}/{key}?metadata=true"))
        pieces = [chunk["file_id"] for chunk in entry["chunks"]]
        client.remove_object(bucket, key)
        deadline = time.monotonic() + PATIENCE_S
        while any(self._has(piece) for piece in pieces):
            if time.monotonic() > deadline:
                raise NotReadyError("object store: what was deleted does not go: try again later")
            time.sleep(POLL_S)

    def _volumes(self) -> list[Mapping[str, Any]]:
        found: list[Mapping[str, Any]] = json.loads(self._get("volume", "/status"))["Volumes"]
        return found

    def _has(self, piece: str) -> bool:
        return bool(self._ask("volume", f"/{piece}").status == 200)

    def _get(self, port: str, path: str) -> bytes:
        answer = self._ask(port, path)
        if answer.status != 200:
            raise NotReadyError(f"object store: {path} gives {answer.status}")
        return bytes(answer.data)

    def _ask(self, port: str, path: str) -> Any:
        place = f"http://{LOOPBACK}:{self.state.ports[port]}{path}"
        try:
            return urllib3.request("GET", place, timeout=600.0, retries=False)
        except urllib3.exceptions.HTTPError as cause:
            raise NotReadyError(f"object store: {cause}") from cause


def empty_logs(home: Home) -> str:
    """Empty the parts' logs, and remove older ones and what runs have printed.

    They hold no content by rule; but an error may have quoted some.
    """
    for path in home.logs.glob("*.log"):
        with path.open("r+b") as log:  # its writer appends, so that it goes on at the beginning
            log.truncate(0)
    old = [*home.logs.glob("*.log.*"), *_printed(home.dagster / "compute_logs")]
    for path in old:
        path.unlink(missing_ok=True)
    return "emptied"


def _printed(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def _await_setting(admin: psycopg.Connection, value: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while admin.execute("SHOW wal_recycle").fetchone() != (value,):
        if time.monotonic() > deadline:
            raise NotReadyError("the database does not read its settings again")
        time.sleep(POLL_S)


def _renew_log(admin: psycopg.Connection) -> None:
    """Leave the segment that is written now, and go through those that wait to be used again."""
    admin.execute("CHECKPOINT")
    for _ in range(1 + _count(admin)):
        admin.execute("SELECT pg_logical_emit_message(false, 'am', 'erased')")
        admin.execute("SELECT pg_switch_wal()")
    admin.execute("CHECKPOINT")


def _count(admin: psycopg.Connection) -> int:
    row = admin.execute(sql.SQL(_WAITING)).fetchone()
    assert row is not None
    return int(row[0])
