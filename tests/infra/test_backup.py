"""A golden home of an earlier version, migrated; then backed up, restored and rehearsed."""

import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from am_assets.streams.registry import REGISTRY
from infra.backup import Backup, KeyPlace, Taken
from infra.backup_folder import MANIFEST, BackupFolder
from infra.backup_keys import seal, unseal
from infra.errors import BackupError, HomeError
from infra.home import RESTORING, Home, require_whole
from infra.migrate import current_revision, newest_revision
from infra.ports import choose_free
from infra.processes import processes_of
from infra.restore import SCRATCH, Restore, keys_in, serving
from infra.signing import public_key
from infra.stack import Stack
from ingest_api.settings import Settings
from ingest_api.tokens import Scope, create_token
from resources.blobs import BlobStore
from resources.connections import Connections
from resources.hot import HotStore
from resources.lake import Lake
from resources.vectors import VectorStore
from tests.golden.contents import contents
from tests.golden.make import GOLDEN, MODEL, PASSPHRASE
from tests.infra.homes import PROJECT

pytestmark = pytest.mark.slow

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
SECRET = "correct horse battery staple"
TABLES = [stream.table for stream in REGISTRY.values()]


@pytest.fixture(scope="module", params=sorted(GOLDEN.glob("*.tar.gz")), ids=lambda path: path.name)
def golden(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The backup of a home that an earlier version made."""
    root = tmp_path_factory.mktemp("golden")
    with tarfile.open(request.param) as archive:
        archive.extractall(root, filter="data")
    (folder,) = root.iterdir()
    return folder


@pytest.fixture(scope="module")
def migrated(golden: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """That home, restored and started by this version."""
    root = tmp_path_factory.mktemp("migrated") / "home"
    folder = BackupFolder(golden)
    keys = keys_in(folder.generation(), passphrase=PASSPHRASE, folder=None)
    Restore(folder, folder.generation(), keys).into(Home.at(root))
    port = choose_free(["api"])["api"]
    parts = ("postgres", "objects", "api")
    stack = Stack(root, parts=parts, settings=Settings(home=root, api_port=port))
    stack.start()
    try:
        yield stack
    finally:
        stack.stop()


@pytest.fixture(scope="module")
def place(migrated: Stack) -> Connections:
    return migrated.settings.connections()


@pytest.fixture(scope="module")
def backups(migrated: Stack, tmp_path_factory: pytest.TempPathFactory) -> BackupFolder:
    """A backup of it by this version."""
    folder = BackupFolder(tmp_path_factory.mktemp("backups"))
    take(migrated, folder)
    return folder


def take(stack: Stack, folder: BackupFolder, *, later: int = 0, keep: int | None = None) -> Taken:
    job = Backup(stack.settings, folder, KeyPlace(passphrase=SECRET))
    return job.take(now=NOW + timedelta(hours=later), keep=keep)


def wanted_of(golden: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((golden / "contents.json").read_text())
    return found


def copy_of(folder: BackupFolder, root: Path) -> BackupFolder:
    """To be damaged."""
    shutil.copytree(folder.root, root)
    return BackupFolder(root)


def test_an_earlier_versions_home_is_migrated_with_everything_in_it(
    golden: Path, place: Connections
) -> None:
    assert current_revision(place.database_url) == newest_revision()
    wanted = wanted_of(golden)
    moments = wanted.pop("moments")
    assert contents(place.database_url, TABLES) == wanted
    assert VectorStore(place, model_id=MODEL).count() == moments > 0
    assert {state for *_, state, _ in wanted["work_items"]} >= {"done", "empty"}


def test_an_earlier_versions_blobs_are_readable_as_they_were_sent(
    golden: Path, place: Connections
) -> None:
    store = BlobStore(place)
    blobs = wanted_of(golden)["blobs"]
    assert {store.facts(key).byte_count - size for key, _, size in blobs} == {0}
    assert {sha for _, sha, _ in blobs} == {sha256(store.get(key)).hexdigest() for key, *_ in blobs}


def test_an_earlier_versions_lake_equals_its_hot_store(golden: Path, place: Connections) -> None:
    published = wanted_of(golden)["published"]
    hot, lake = HotStore(place.database_url), Lake(place)
    for name, day, count in published:
        stream, when = REGISTRY[name], datetime.fromisoformat(day).date()
        rows = lake.read_day(stream, when).drop_columns("day")
        assert rows.num_rows == count
        wanted = sorted(hot.read_day(stream, when).to_pylist(), key=str)
        assert sorted(rows.to_pylist(), key=str) == wanted, name
    assert len(published) > 100


def test_a_fresh_event_passes_the_doors_of_a_migrated_home(
    migrated: Stack, place: Connections
) -> None:
    with psycopg.connect(place.database_url) as connection:
        scopes = frozenset({Scope.WRITE})
        token = create_token(connection, user_id="ada", device_id="*", scopes=scopes)
    note = {
        "content": "after",
        "note_type": "text",
        "device_id": "phone",
        "recorded_at": datetime.now(UTC).isoformat(),
    }
    url = f"{migrated.settings.api_url}/v1/streams/digital.notes.raw"
    answer = httpx.post(url, json=[note], headers={"Authorization": f"Bearer {token}"}, timeout=30)
    assert answer.status_code == 200, answer.text
    query = "SELECT count(*) FROM am.digital_notes_raw WHERE content = 'after'"
    with psycopg.connect(place.database_url) as connection:
        assert connection.execute(query).fetchone() == (1,)


def test_a_second_backup_copies_only_what_is_new_and_the_oldest_goes(
    migrated: Stack, place: Connections, backups: BackupFolder, tmp_path: Path
) -> None:
    folder = copy_of(backups, tmp_path / "backups")
    before = {path.name for path in folder.root.glob("contents/*/*")}
    key = "blobs/ada/device.audio.raw/2026-11-18/new"
    BlobStore(place).put_all([(key, b"new bytes", "audio/wav")])
    second = take(migrated, folder, later=1, keep=1)
    assert (second.copied_count, second.removed_count) == (1, 1)
    assert [one.name for one in folder.generations()] == ["2026-06-01T130000Z"]
    after = {path.name for path in folder.root.glob("contents/*/*")}
    assert len(after - before) == 1
    named = {one.sha256 for one in second.generation.objects()}
    assert after == named
    BlobStore(place).remove_all([key])
    third = take(migrated, folder, later=2, keep=1)
    assert third.copied_count == 0
    assert after - {path.name for path in folder.root.glob("contents/*/*")} == after - before


def test_a_restored_home_is_as_it_was_and_opens_its_sealed_blobs(
    migrated: Stack, place: Connections, backups: BackupFolder, tmp_path: Path
) -> None:
    key, sound = "blobs/ada/device.audio.raw/2026-11-18/sealed", b"sealed sound"
    BlobStore(place).put_all([(key, sound, "audio/wav")])
    taken = take(migrated, backups, later=3)
    keys = keys_in(taken.generation, passphrase=SECRET, folder=None)
    home = Home.at(tmp_path / "home")
    compared = Restore(backups, taken.generation, keys).into(home)
    assert compared.faults == ()
    assert compared.object_count == taken.object_count
    assert not processes_of(home)
    require_whole(home)
    assert public_key(home.root) == public_key(migrated.home.root)
    with serving(home, place.s3_bucket) as stack:
        again = stack.settings.connections()
        assert contents(again.database_url, TABLES) == contents(place.database_url, TABLES)
        assert BlobStore(again).get(key) == sound
    with pytest.raises(BackupError, match="is not empty"):
        Restore(backups, taken.generation, keys).into(home)


def test_a_drill_compares_counts_and_hashes_and_leaves_nothing(
    migrated: Stack, backups: BackupFolder, tmp_path: Path
) -> None:
    words = ("restore", "--drill", "--json", "--from", backups.root, "--scratch", tmp_path)
    command = [sys.executable, "-m", "infra.cli", *map(str, words)]
    env = os.environ | {"AM_HOME": str(migrated.home.root)}
    done = subprocess.run(
        command, cwd=PROJECT, env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    newest = backups.generation()
    assert found["generation"] == newest.name
    assert found["object_count"] == newest.manifest["objects"]["count"]
    assert found["row_count"] == sum(
        table["row_count"]
        for tables in newest.manifest["databases"].values()
        for table in tables.values()
    )
    assert list(tmp_path.glob(f"{SCRATCH}*")) == []


def test_a_drill_tells_of_a_table_that_is_not_as_it_was(
    backups: BackupFolder, tmp_path: Path
) -> None:
    generation = backups.generation()
    tables = generation.manifest["databases"]["am.dump"]
    tables["am.device"]["row_count"] += 1
    compared = Restore(backups, generation).rehearse(near=tmp_path)
    assert compared.faults == (
        f"table am.device has {tables['am.device']['row_count'] - 1} rows, "
        f"not {tables['am.device']['row_count']}",
    )


def test_a_changed_manifest_or_a_lost_content_is_refused_before_anything_starts(
    backups: BackupFolder, migrated: Stack, tmp_path: Path
) -> None:
    folder = copy_of(backups, tmp_path / "backups")
    generation = folder.generation()
    content = folder.content(generation.objects()[0].sha256)
    content.write_bytes(b"short")
    with pytest.raises(BackupError, match=content.name):
        Restore(folder, generation).rehearse(near=tmp_path)
    manifest = generation.folder / MANIFEST
    manifest.write_text(manifest.read_text().replace('"row_count": 2', '"row_count": 1', 1))
    with pytest.raises(BackupError, match="signature"):
        Restore(folder, folder.generation()).rehearse(near=tmp_path)
    assert list(tmp_path.glob(f"{SCRATCH}*")) == []
    assert not (tmp_path / "home").exists()


def test_the_key_of_another_home_does_not_vouch_for_a_backup(
    backups: BackupFolder, tmp_path: Path
) -> None:
    stranger = public_key(tmp_path)
    with pytest.raises(BackupError, match="signature"):
        Restore(backups, backups.generation()).rehearse(near=tmp_path, known_key=stranger)


def test_a_backup_without_a_place_for_the_keys_is_refused(migrated: Stack, tmp_path: Path) -> None:
    folder = BackupFolder(tmp_path / "backups")
    with pytest.raises(BackupError, match="--passphrase-file"):
        Backup(migrated.settings, folder, KeyPlace()).take(now=NOW, keep=None)
    inside = KeyPlace(folder=folder.root / "keys")
    with pytest.raises(BackupError, match="apart"):
        Backup(migrated.settings, folder, inside).take(now=NOW, keep=None)
    assert not folder.root.exists()


def test_keys_in_a_folder_of_their_own_are_in_no_file_of_the_backup(
    migrated: Stack, tmp_path: Path
) -> None:
    folder, keys = BackupFolder(tmp_path / "backups"), tmp_path / "stick"
    taken = Backup(migrated.settings, folder, KeyPlace(folder=keys)).take(now=NOW, keep=None)
    found = keys_in(taken.generation, passphrase=None, folder=keys)
    assert {"stack.json", "master.key", "signing.key"} <= set(found)
    assert [path for path in keys.rglob("*") if path.is_file() and path.stat().st_mode & 0o77] == []
    secret = found["master.key"].strip()
    holders = [p for p in folder.root.rglob("*") if p.is_file() and secret in p.read_bytes()]
    assert holders == []
    with pytest.raises(BackupError, match="--keys"):
        keys_in(taken.generation, passphrase=None, folder=None)


def test_sealed_keys_open_with_their_passphrase_alone() -> None:
    keys = {"stack.json": b"{}", "master.key": bytes(range(32))}
    sealed = seal(keys, SECRET)
    assert unseal(sealed, SECRET) == keys
    assert keys["master.key"] not in sealed
    with pytest.raises(BackupError, match="passphrase"):
        unseal(sealed, SECRET + " ")
    with pytest.raises(BackupError, match="passphrase"):
        unseal(sealed[:-1] + bytes([sealed[-1] ^ 1]), SECRET)
    with pytest.raises(BackupError, match="at least"):
        seal(keys, "short")


def test_a_home_whose_restore_was_cut_short_is_not_taken_for_a_whole_one(tmp_path: Path) -> None:
    home = Home.at(tmp_path)
    (tmp_path / RESTORING).write_text("")
    with pytest.raises(HomeError, match="cut short"):
        require_whole(home)
