"""Make a golden home: a small home of some version, kept so that every later one must migrate it.

    python -m tests.golden.make --source CHECKOUT

`CHECKOUT` is a work tree of the version whose home it is to be (by default this one): it is filled
by that version's own servers and doors, and kept as a backup, with what is in it beside it.
"""

import argparse
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from am_assets.streams.registry import REGISTRY
from infra.backup import Backup, KeyPlace
from infra.backup_folder import BackupFolder
from infra.migrate import current_revision
from infra.stack import Stack
from ingest_api.settings import Settings
from resources.vectors import VectorStore
from tests.golden.contents import contents

PROJECT = Path(__file__).parents[2]
GOLDEN = PROJECT / "tests" / "fixtures" / "golden"
PASSPHRASE = "a golden home hides nothing"
MODEL = "all-minilm-l6-v2-int8"
MAX_BYTES = 2 * 2**20


def main() -> None:
    """Fill, back up, pack."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--source", type=Path, default=PROJECT)
    source = arguments.parse_args().source.resolve()
    with tempfile.TemporaryDirectory(prefix="am-golden-") as scratch:
        home = Path(scratch) / "home"
        stack = Stack(home, settings=Settings(home=home))
        try:
            _fill(home, source)
            path = _pack(Settings(home=home), Path(scratch) / "backup")
        finally:
            stack.stop()
    print(f"{path}: {path.stat().st_size} bytes")
    assert path.stat().st_size <= MAX_BYTES


def _fill(home: Path, source: Path) -> None:
    """By the code of that version, whatever else is installed."""
    ours = {
        "PYTHONPATH": str(source),
        "AM_MODELS_DIR": str(PROJECT / "models" / "weights"),
        "AM_MODELS_PROFILE": "tiny",
    }
    script = PROJECT / "tests" / "golden" / "fill.py"
    command = [sys.executable, str(script), str(home)]
    subprocess.run(command, cwd=source, env=os.environ | ours, check=True)


def _pack(settings: Settings, folder: Path) -> Path:
    connections = settings.connections()
    job = Backup(settings, BackupFolder(folder), KeyPlace(passphrase=PASSPHRASE))
    job.take(now=datetime.now(UTC), keep=None)
    found = contents(connections.database_url, [one.table for one in REGISTRY.values()])
    found["moments"] = VectorStore(connections, model_id=MODEL).count()
    (folder / "contents.json").write_text(json.dumps(found, indent=1, sort_keys=True))
    name = f"{version('am')}-{current_revision(connections.database_url)}"
    path = GOLDEN / f"{name}.tar.gz"
    GOLDEN.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder, arcname=name)
    return path


if __name__ == "__main__":
    main()
