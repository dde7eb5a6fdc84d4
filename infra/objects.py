"""The embedded object store: SeaweedFS in one process, its command, its bucket.

Every port it opens is named and on 127.0.0.1: S3, master, volume, filer, admin, each with gRPC.

What it acknowledges has to survive a power cut, and by itself SeaweedFS syncs neither catalogue
nor index. So: a rule has it sync the blobs' bytes, the catalogue is in the embedded PostgreSQL,
and after the machine went down the newest indexes are built again from the bytes.
"""

import io
import json
import logging
import subprocess
import sys
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import urllib3
from minio import Minio
from minio.error import MinioException

from infra.errors import HomeError, NotReadyError
from infra.home import Home, StackState, write_private
from infra.parts import STORE, Part
from infra.ports import LOOPBACK
from resources.s3 import Patience, s3_client

log = logging.getLogger(__name__)

FILER_RULES = {"locations": [{"location_prefix": "/buckets/", "fsync": True}]}
FILER_RULES_PATH = "/etc/seaweedfs/filer.conf"
PROBE = "am-first-write"
WRITE_PATIENCE_S = 4
PATIENCE = Patience(connect_s=2, read_s=WRITE_PATIENCE_S, tries_again=0, connections=1)
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
# The kernel writes back within a minute or so; an index older than this is complete on disk.
RECENT_S = 3600
CATALOGUE = """
[postgres2]
enabled = true
createTable = \"\"\"
  CREATE TABLE IF NOT EXISTS "%s" (
    dirhash BIGINT, name VARCHAR(65535), directory VARCHAR(65535), meta bytea,
    PRIMARY KEY (dirhash, name)
  );
\"\"\"
hostname = "{host}"
port = {port}
username = "objects"
password = "{password}"
database = "objects"
sslmode = "disable"
connection_max_idle = 10
connection_max_open = 30
connection_max_lifetime_seconds = 300
enableUpsert = true
upsertQuery = \"\"\"
  INSERT INTO "%[1]s" (dirhash, name, directory, meta) VALUES ($1, $2, $3, $4)
  ON CONFLICT (dirhash, name) DO UPDATE SET directory = EXCLUDED.directory, meta = EXCLUDED.meta
\"\"\"
"""


@dataclass(frozen=True)
class Objects:
    """One home's object store; `has_database`: whether the embedded PostgreSQL runs beside it."""

    home: Home
    state: StackState
    bucket: str
    has_database: bool

    @property
    def endpoint(self) -> str:
        """Where S3 clients go."""
        return f"http://{LOOPBACK}:{self.state.ports['s3']}"

    def part(self) -> Part:
        """The supervised server."""
        return Part(
            name="objects",
            argv=[str(program()), "-logtostderr=true", "mini", *self._flags()],
            cwd=self.home.objects,
            port=self.state.ports["s3"],
            stage=STORE,
            env=self._environment(),
            inherits_env=False,
            prepare=self.prepare,
            complete=self.complete,
            check=lambda _: self.check(),
            stop_patience_s=20,
        )

    def prepare(self) -> None:
        """Make the folder and the catalogue's configuration, and mend what a power cut has left.

        Raises: HomeError where the catalogue of earlier blobs would be lost from sight.
        """
        folder = self.home.objects
        folder.mkdir(mode=0o700, exist_ok=True)
        # It would bring back ports that have been chosen anew since.
        (folder / "mini.options").unlink(missing_ok=True)
        self._place_catalogue(folder / "filer.toml", folder / "filerldb2")
        if BOOT_ID.exists():
            self._mend_after_reboot(folder / "boot_id", BOOT_ID.read_text())

    def _place_catalogue(self, in_database: Path, in_folder: Path) -> None:
        was_elsewhere = in_folder.exists() if self.has_database else in_database.exists()
        if was_elsewhere:
            raise HomeError(
                f"The catalogue of {self.home.objects} is "
                + ("in that folder" if self.has_database else "in the embedded PostgreSQL")
                + ": set or unset AM_DATABASE_URL as at its first start, or set AM_HOME elsewhere."
            )
        if self.has_database:
            password, port = self.state.secrets["objects"], self.state.ports["postgres"]
            text = CATALOGUE.format(host=LOOPBACK, port=port, password=password)
            write_private(in_database, text)

    def _mend_after_reboot(self, mark: Path, boot_id: str) -> None:
        if not mark.exists() or mark.read_text() != boot_id:
            for volume in recent_volumes(self.home.objects):
                self._rebuild_index(volume)
        write_private(mark, boot_id)

    def _rebuild_index(self, volume: str) -> None:
        log.warning("building the index of volume %s again after a restart of the machine", volume)
        command = [str(program()), "fix", f"-volumeId={volume}", str(self.home.objects)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise HomeError(f"the index of volume {volume} cannot be built: {done.stderr[-500:]}")

    def complete(self) -> None:
        """Have writes reach the disk before they are acknowledged, make the bucket, write once.

        Raises: NotReadyError where the store does not do it yet: right after a start a write may
        hang although the store lists its buckets.
        """
        self._set_rules()
        client = self.client()
        try:
            if not client.bucket_exists(self.bucket):
                client.make_bucket(self.bucket)
            client.put_object(self.bucket, PROBE, io.BytesIO(b"ready"), 5)
            client.remove_object(self.bucket, PROBE)
        except (MinioException, urllib3.exceptions.HTTPError) as cause:
            raise NotReadyError(f"object store: first write: {cause}") from cause

    def check(self) -> None:
        """Raise NotReadyError unless the store lists its buckets for our key."""
        try:
            self.client().list_buckets()
        except (MinioException, urllib3.exceptions.HTTPError) as cause:
            raise NotReadyError(f"object store: {cause}") from cause

    def client(self) -> Minio:
        """A client that fails at once instead of trying again."""
        return s3_client(
            self.endpoint,
            access_key=self.state.secrets["s3_access_key"],
            secret_key=self.state.secrets["s3_secret_key"],
            patience=PATIENCE,
        )

    def _set_rules(self) -> None:
        if self._ask_filer("GET") == FILER_RULES:
            return
        self._ask_filer("PUT", json.dumps(FILER_RULES))
        found = self._ask_filer("GET")
        if found != FILER_RULES:
            raise NotReadyError(f"object store keeps other rules than ours: {found}")

    def _ask_filer(self, method: str, body: str | None = None) -> Any:
        filer = HTTPConnection(LOOPBACK, self.state.ports["filer"], timeout=WRITE_PATIENCE_S)
        try:
            filer.request(method, FILER_RULES_PATH, body, {"Content-Type": "application/json"})
            answer = filer.getresponse()
            content = answer.read()
            return json.loads(content) if answer.status == 200 else None
        except (OSError, HTTPException, ValueError) as cause:
            raise NotReadyError(f"object store: rule for durable writes: {cause}") from cause
        finally:
            filer.close()

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": "/usr/bin:/bin",
            "HOME": str(self.home.objects),
            "TMPDIR": str(self.home.sockets()),  # it puts unix sockets there
            "AWS_ACCESS_KEY_ID": self.state.secrets["s3_access_key"],
            "AWS_SECRET_ACCESS_KEY": self.state.secrets["s3_secret_key"],
        }

    def _flags(self) -> list[str]:
        ports = self.state.ports
        values = {
            "dir": self.home.objects,
            "ip": LOOPBACK,
            "ip.bind": LOOPBACK,
            "s3.port": ports["s3"],
            "s3.port.grpc": ports["s3_grpc"],
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            # Not in the common temporary folder, where another user's may lie under the same name.
            "s3.localSocket": self.home.sockets() / "s3.sock",
            "filer.localSocket": self.home.sockets() / "filer.sock",
            "master.port": ports["master"],
            "master.port.grpc": ports["master_grpc"],
            "volume.port": ports["volume"],
            "volume.port.grpc": ports["volume_grpc"],
            "filer.port": ports["filer"],
            "filer.port.grpc": ports["filer_grpc"],
            "admin.port": ports["admin"],
            "admin.port.grpc": ports["admin_grpc"],
            "admin.ui": "false",
            "webdav": "false",
            "master.telemetry": "false",
            "master.volumeSizeLimitMB": 1024,
        }
        return [f"-{name}={value}" for name, value in values.items()]


def recent_volumes(folder: Path) -> list[str]:
    """The numbers of the volumes that were written in the hour before the last write to any."""
    written = {path: path.stat().st_mtime for path in folder.glob("*.dat")}
    newest = max(written.values(), default=0.0)
    recent = [path for path, at in written.items() if at >= newest - RECENT_S]
    return [path.stem.rpartition("_")[2] for path in recent]


def program() -> Path:
    """The `weed` program beside this Python.

    Raises: HomeError where its package is not installed here.
    """
    found = Path(sys.executable).parent / "weed"
    if not found.exists():
        raise HomeError(f"{found} is missing: run `make setup`.")
    return found
