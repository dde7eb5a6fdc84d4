"""The stack's folder: its paths, and `stack.json` with the ports and secrets chosen for it.

Ports and secrets are chosen at the first start and stay; a port that somebody else has taken in
the meantime is chosen anew.
"""

import hashlib
import json
import logging
import os
import secrets
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infra.errors import HomeError
from infra.ports import PAIR_CHOICE, choose_free, is_free, shuffled

STACK_FILE = "stack.json"
RESTORING = "restore.unfinished"  # is there while a backup is put back
SUN_PATH_MAX = 100  # a unix socket's path ends at 107 bytes; supervisor adds a suffix while binding
INTERNAL_PORTS = (
    "postgres",
    "s3",
    "s3_grpc",
    "master",
    "master_grpc",
    "volume",
    "volume_grpc",
    "filer",
    "filer_grpc",
    "dagster_code",
)
# SeaweedFS's own worker looks for its admin's gRPC there, whatever the flag says.
ADMIN_GRPC_OFFSET = 10_000
SECRETS = ("postgres", "am_owner", "dagster", "objects", "s3_access_key", "s3_secret_key")

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Home:
    """Where one stack keeps everything. `root` is absolute; nothing is created by asking."""

    root: Path

    @classmethod
    def at(cls, path: Path) -> "Home":
        """The home at this path, whether it exists or not."""
        return cls(path.expanduser().resolve())

    @property
    def stack_id(self) -> str:
        """What marks this stack's processes: 16 hex digits that follow from the path."""
        return hashlib.sha256(os.fsencode(self.root)).hexdigest()[:16]

    @property
    def run(self) -> Path:
        """Configuration of the supervisor and the parts, lock and pid files."""
        return self.root / "run"

    @property
    def logs(self) -> Path:
        """One rotated log a part."""
        return self.root / "logs"

    @property
    def postgres(self) -> Path:
        """The database cluster is in `data` below."""
        return self.root / "postgres"

    @property
    def objects(self) -> Path:
        """The object store's volumes and catalogue."""
        return self.root / "objects"

    @property
    def dagster(self) -> Path:
        """DAGSTER_HOME: `dagster.yaml`, `workspace.yaml`, compute logs."""
        return self.root / "dagster"

    @property
    def stack_file(self) -> Path:
        """Ports, secrets and addresses, readable by the owner alone."""
        return self.root / STACK_FILE

    def log_of(self, part: str) -> Path:
        """The log a part writes now; older ones have `.1`, `.2` appended."""
        return self.logs / f"{part}.log"

    def sockets(self) -> Path:
        """A private folder whose path is short enough for unix sockets."""
        if len(os.fsencode(self.run / "supervisor.sock")) <= SUN_PATH_MAX:
            return self.run
        return Path(tempfile.gettempdir()) / f"am-{os.getuid()}-{self.stack_id}"

    def forget_sockets(self) -> None:
        """Remove what a stopped stack has left in the temporary folder, and its socket."""
        folder = self.sockets()
        (folder / "supervisor.sock").unlink(missing_ok=True)
        if folder != self.run:
            shutil.rmtree(folder)

    def create(self) -> None:
        """Make the folders, readable by the owner alone.

        Raises: HomeError where a folder is somebody else's or cannot be written.
        """
        for folder in (self.root, self.run, self.logs, self.dagster, self.sockets()):
            _make_private(folder)


def _make_private(folder: Path) -> None:
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.lstat().st_uid != os.getuid():
            raise HomeError(f"{folder} belongs to another user: remove it or set AM_HOME.")
        folder.chmod(0o700)
    except OSError as cause:
        raise HomeError(f"{folder} cannot be used: {cause}. Set AM_HOME elsewhere.") from cause


@dataclass(frozen=True)
class StackState:
    """The internal ports and the secrets of one home, by name."""

    ports: dict[str, int]
    secrets: dict[str, str]


def load_state(home: Home) -> StackState | None:
    """What an earlier start chose; None before the first one.

    Raises: HomeError where `stack.json` is not what a start wrote.
    """
    if not home.stack_file.exists():
        return None
    try:
        found = json.loads(home.stack_file.read_text())
        return StackState(ports=dict(found["ports"]), secrets=dict(found["secrets"]))
    except (ValueError, KeyError, TypeError) as cause:
        raise HomeError(
            f"{home.stack_file} is damaged ({cause!r}): restore it from a backup."
        ) from cause


def choose_state(home: Home) -> StackState:
    """Ports and secrets for the next start: the earlier ones, less ports that are taken now.

    Raises: HomeError where data exists but the secrets that open it are gone.
    """
    earlier = load_state(home)
    if earlier is None and (home.postgres / "data").exists():
        raise HomeError(
            f"{home.stack_file} is missing, and it holds the password of {home.postgres}: "
            "restore it from a backup, or set AM_HOME to a new folder."
        )
    kept = earlier or StackState(ports={}, secrets={})
    ports = _keep_free_ports(kept.ports)
    fresh = {name: secrets.token_hex(20) for name in SECRETS if name not in kept.secrets}
    return StackState(ports=ports, secrets={**kept.secrets, **fresh})


def _keep_free_ports(earlier: dict[str, int]) -> dict[str, int]:
    kept = {n: earlier[n] for n in INTERNAL_PORTS if n in earlier and is_free(earlier[n])}
    kept |= _keep_admin_ports(earlier)
    wanted = (n for n in INTERNAL_PORTS if n not in kept)
    fresh = choose_free(wanted, taken={*earlier.values(), *kept.values()})
    for name in fresh.keys() & earlier.keys():
        log.warning("port %d of %s is taken, using %d", earlier[name], name, fresh[name])
    return {**kept, **fresh}


def _keep_admin_ports(earlier: dict[str, int]) -> dict[str, int]:
    pair = [earlier[name] for name in ("admin", "admin_grpc") if name in earlier]
    if not pair or not all(is_free(port) for port in pair):
        low = next(
            p for p in shuffled(PAIR_CHOICE) if is_free(p) and is_free(p + ADMIN_GRPC_OFFSET)
        )
        pair = [low, low + ADMIN_GRPC_OFFSET]
    return {"admin": pair[0], "admin_grpc": pair[1]}


def require_whole(home: Home) -> None:
    """Raises: HomeError where a restore into this home was cut short."""
    if (home.root / RESTORING).exists():
        raise HomeError(
            f"a restore into {home.root} was cut short, so it holds a part of the data only: "
            "`am down`, remove that folder and run `am restore` again."
        )


def save_state(home: Home, state: StackState, *, addresses: dict[str, Any]) -> None:
    """Write `stack.json` whole, readable by the owner alone. `addresses` are what clients read."""
    text = json.dumps({**addresses, "ports": state.ports, "secrets": state.secrets}, indent=2)
    write_private(home.stack_file, text + "\n")


def write_private(path: Path, text: str) -> None:
    """Replace a file at once, mode 0600, on disk before its name changes."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "w") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    Path(name).replace(path)
