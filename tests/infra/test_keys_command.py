"""`am keys` and `am up`'s part in the master key, over the real stores."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import httpx
import psycopg
import pytest
from typer.testing import CliRunner, Result

from infra.api import environment
from infra.commands.keys import app
from infra.doctor import check_keys
from infra.errors import HomeError
from infra.home import Home
from infra.master_key import ensure_master_key
from infra.ports import choose_free
from infra.stack import SERVER_PARTS, Stack
from ingest_api.settings import Settings
from ingest_api.tokens import Scope, create_token
from resources.blobs import BlobStore
from resources.connections import Connections
from resources.keys import KeyRing
from resources.master_keys import new_master_key
from tests.variables import master_key_file, variables_of

KEY = "blobs/ada/s/2026-03-01/one"
Run = Callable[..., Result]


@pytest.fixture
def place(connections: Connections, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Connections:
    """The module's stores with a copy of the master key, which the tests may renew."""
    shutil.copy(master_key_file(connections), tmp_path / "master.key")
    settings = {**variables_of(connections), "AM_HOME": str(tmp_path)}
    del settings["AM_MASTER_KEY_FILE"]  # the copy lies where it is looked for by itself
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with psycopg.connect(connections.database_url, autocommit=True) as database:
        database.execute("TRUNCATE am.data_key, am.blob")
    return Settings().connections()


@pytest.fixture
def run(place: Connections) -> Run:
    """Runs `am keys …`; it has to go well unless told otherwise."""

    def make(*words: str, exit_code: int = 0) -> Result:
        result = CliRunner().invoke(app, list(words))
        assert result.exit_code == exit_code, result.output
        return result

    return make


def put(place: Connections) -> None:
    """One blob of ada's, as the front door stores it."""
    BlobStore(place).put_all([(KEY, b"content", "text/plain")])
    with psycopg.connect(place.database_url, autocommit=True) as database:
        database.execute(
            "INSERT INTO am.blob (user_id, sha256, blob_key, byte_count, media_type) "
            "VALUES ('ada', 'abc', %s, 7, 'text/plain')",
            (KEY,),
        )


def test_the_data_keys_are_listed_rotated_and_blobs_follow(place: Connections, run: Run) -> None:
    put(place)
    (first,) = json.loads(run("list", "--json").stdout)["keys"]
    assert (first["user_id"], first["retired_at"]) == ("ada", None)
    assert "ada2 has no key" in run("rotate", "--user", "ada2", exit_code=2).output
    run("rotate", "--user", "ada", "--reseal")
    told = json.loads(run("list", "--json").stdout)
    assert [key["retired_at"] is None for key in told["keys"]] == [False, True]
    assert told["to_seal"] == []
    store = BlobStore(place)
    assert str(store.key_of(KEY)) == told["keys"][1]["key_id"]
    assert store.get(KEY) == b"content"
    run("rotate")
    assert "1 under retired keys" in run("list").stderr
    assert "1 sealed" in run("reseal").stdout


def test_the_master_key_is_rotated_and_the_earlier_one_kept_for_older_backups(
    place: Connections, run: Run, tmp_path: Path
) -> None:
    put(place)
    before = json.loads(run("list", "--json").stdout)["master_id"]
    text = (tmp_path / "master.key").read_text()
    told = run("rotate", "--master")
    assert "1 data keys" in told.stdout
    assert f"master-{before}.key" in told.stderr
    assert (tmp_path / f"master-{before}.key").read_text() == text
    assert text not in told.output
    after = json.loads(run("list", "--json").stdout)
    assert after["master_id"] != before
    assert {key["master_id"] for key in after["keys"]} == {after["master_id"]}
    assert BlobStore(place).get(KEY) == b"content"
    run("rotate", "--master", "--reseal", exit_code=2)


def test_a_lost_master_key_is_one_line_that_names_the_file(
    place: Connections, run: Run, tmp_path: Path
) -> None:
    put(place)
    (tmp_path / "master.key").unlink()
    for words in (["list"], ["rotate"], ["rotate", "--master"]):
        told = run(*words, exit_code=1).stderr
        assert str(tmp_path / "master.key") in told
        assert "Traceback" not in told
    (finding,) = check_keys(Stack(tmp_path, settings=Settings()))
    assert (finding.level, "docs/encryption.md" in finding.what) == ("error", True)


def test_the_doctor_tells_of_a_master_key_that_others_may_read(
    place: Connections, tmp_path: Path
) -> None:
    stack = Stack(tmp_path, settings=Settings())
    assert [finding.level for finding in check_keys(stack)] == ["ok"]
    (tmp_path / "master.key").chmod(0o644)
    wrong, _ = check_keys(stack)
    assert (wrong.level, wrong.todo) == ("error", f"chmod 600 {tmp_path / 'master.key'}")


def test_a_master_key_is_made_once_for_its_owner_alone_and_never_in_place_of_a_lost_one(
    place: Connections, tmp_path: Path
) -> None:
    file = tmp_path / "master.key"
    file.unlink()
    ensure_master_key(Settings())
    made = file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    ensure_master_key(Settings())
    assert file.read_text() == made
    put(place)
    file.unlink()
    with pytest.raises(HomeError, match="missing"):
        ensure_master_key(Settings())
    assert not file.exists()


def test_with_a_master_key_in_a_variable_no_file_is_made_and_none_is_written(
    place: Connections, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "master.key").unlink()
    given = run("new").stdout.strip()
    monkeypatch.setenv("AM_MASTER_KEY", given)
    ensure_master_key(Settings())
    assert not (tmp_path / "master.key").exists()
    written = environment(Home.at(tmp_path), Settings(), {})
    assert given not in json.dumps(written)
    KeyRing(Settings().connections()).current("ada")
    monkeypatch.setenv("AM_MASTER_KEY", "short")
    with pytest.raises(HomeError, match="AM_MASTER_KEY"):
        ensure_master_key(Settings())


@pytest.mark.slow
def test_a_stack_with_its_master_key_in_a_variable_seals_and_writes_the_key_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = new_master_key()
    monkeypatch.setenv("AM_MASTER_KEY", key)
    settings = Settings(home=tmp_path, api_port=choose_free(["api"])["api"])
    stack = Stack(tmp_path, parts=(*SERVER_PARTS, "api"), settings=settings)
    stack.start()
    try:
        connections = settings.connections()
        with psycopg.connect(connections.database_url, autocommit=True) as database:
            scopes = frozenset({Scope.ADMIN})
            token = create_token(database, user_id="ada", device_id="*", scopes=scopes)
        with httpx.Client(base_url=settings.api_url, headers={"X-API-Key": token}) as client:
            place = {"stream": "device.audio.raw", "day": "2026-03-01"}
            stored = client.post("/v1/blobs", params=place, content=b"a recording")
            stored.raise_for_status()
            assert client.get(f"/v1/blobs/{stored.json()['blob_key']}").content == b"a recording"
    finally:
        stack.stop()
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path for path in files if key.encode() in path.read_bytes()] == []
    assert not (tmp_path / "master.key").exists()
