"""Each user has keys of their own, wrapped by a master key without which nothing goes on."""

import base64
import pickle
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from infra.master_key import renew
from ingest_api.settings import Settings
from resources.connections import Connections
from resources.keys import DestroyedKeyError, KeyRing, KeyStoreError, UnknownKeyError
from resources.master_keys import (
    FileMasterKey,
    GivenMasterKey,
    LocalKey,
    MasterKey,
    MasterKeyError,
    Wrapped,
    new_master_key,
)


@pytest.fixture
def master(tmp_path: Path) -> FileMasterKey:
    """A master key of the test's own."""
    path = tmp_path / "master.key"
    path.write_text(new_master_key())
    return FileMasterKey(path)


@pytest.fixture
def at(connections: Connections, master: FileMasterKey) -> Connections:
    """The module's database with that master key, and no data key of other tests."""
    with psycopg.connect(connections.database_url, autocommit=True) as database:
        database.execute("DELETE FROM am.data_key")
    return replace(connections, master_key=master)


def test_a_user_has_one_key_in_every_process_and_nobody_elses(at: Connections) -> None:
    here, there = KeyRing(at), KeyRing(at)
    ada = here.current("ada")
    assert there.current("ada") == ada
    assert here.current("adb").secret != ada.secret
    assert there.find("ada", ada.key_id) == ada
    with pytest.raises(UnknownKeyError, match="adb"):
        there.find("adb", ada.key_id)
    with pytest.raises(UnknownKeyError):
        there.find("ada", uuid4())


def test_a_new_key_seals_from_then_on_and_the_earlier_one_still_opens(at: Connections) -> None:
    here, there = KeyRing(at), KeyRing(at)
    first = there.current("ada")
    second = here.rotate("ada")
    assert second.key_id != first.key_id
    assert here.current("ada") == second
    assert here.find("ada", first.key_id) == first
    assert there.still_current([first]) == set()  # asked after each blob that is stored
    assert there.current("ada") == second


def test_a_destroyed_key_is_gone_from_the_database_and_the_next_blob_gets_another(
    at: Connections,
) -> None:
    here, there = KeyRing(at), KeyRing(at)
    first, second = here.current("ada"), here.rotate("ada")
    other = here.current("adb")
    assert here.destroy("ada") == 2
    for gone in (first, second):
        with pytest.raises(DestroyedKeyError):
            here.find("ada", gone.key_id)
    with psycopg.connect(at.database_url) as database:
        kept = database.execute("SELECT wrapped FROM am.data_key WHERE user_id = 'ada'").fetchall()
    assert kept == [(None,), (None,)]
    assert here.destroy("ada") == 0
    assert KeyRing(at).find("adb", other.key_id) == other
    assert there.still_current([second]) == set()
    assert there.current("ada") not in (first, second)


def test_the_database_alone_opens_nothing(at: Connections, master: FileMasterKey) -> None:
    key = KeyRing(at).current("ada")
    with psycopg.connect(at.database_url) as database:
        row = database.execute("SELECT d::text, wrapped FROM am.data_key AS d").fetchone()
    assert row is not None
    assert key.secret.hex() not in row[0]
    assert key.secret not in row[1]
    other = replace(at, master_key=GivenMasterKey(LocalKey(bytes(32), "AM_MASTER_KEY")))
    for ask in (KeyRing(other).check, lambda: KeyRing(other).current("ada")):
        with pytest.raises(MasterKeyError, match=f"{master.master_id}.*AM_MASTER_KEY"):
            ask()


def test_a_key_that_was_moved_to_another_user_is_refused(at: Connections) -> None:
    ring = KeyRing(at)
    ring.current("ada")
    with psycopg.connect(at.database_url, autocommit=True) as database:
        database.execute("UPDATE am.data_key SET user_id = 'eve'")
    with pytest.raises(MasterKeyError, match="changed"):
        KeyRing(at).current("eve")


def test_without_a_master_key_the_error_names_what_to_do(
    at: Connections, master: FileMasterKey
) -> None:
    KeyRing(at).current("ada")
    aside = master.path.read_text()
    for content, told in (
        (None, "there is no master key at .*master.key"),
        ("!", "base64"),
        (base64.b64encode(b"short").decode(), "5 bytes, not 32"),
    ):
        master.path.unlink(missing_ok=True)
        if content is not None:
            master.path.write_text(content)
        for ask in (KeyRing(at).check, partial(KeyRing(at).current, "ada")):
            with pytest.raises(MasterKeyError, match=f"{told}.*docs/encryption.md"):
                ask()
    with pytest.raises(MasterKeyError, match="name no master key"):
        KeyRing(replace(at, master_key=None)).current("ada")
    master.path.write_text(aside)
    KeyRing(at).check()


def test_a_database_that_does_not_answer_is_told_apart(at: Connections) -> None:
    nobody = replace(at, database_url="postgresql://am_owner@127.0.0.1:1/none")
    with pytest.raises(KeyStoreError):
        KeyRing(nobody).current("ada")


def test_a_connection_that_was_cut_is_made_anew(at: Connections) -> None:
    ring = KeyRing(at)
    ada = ring.current("ada")
    with psycopg.connect(at.database_url, autocommit=True) as database:
        database.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    with suppress(KeyStoreError):  # the one call that it may break off
        ring.still_current([ada])
    assert ring.still_current([ada]) == {ada.key_id}


def test_a_new_master_key_rewraps_all_and_running_processes_go_on(
    at: Connections, master: FileMasterKey
) -> None:
    before, running = master.master_id, KeyRing(at)
    ada, adb = running.current("ada"), running.current("adb")
    assert KeyRing(at).rewrap(partial(renew, master)) == 2
    assert master.master_id != before
    assert {line.master_id for line in running.lines()} == {master.master_id}
    assert running.current("ada") == ada
    assert KeyRing(at).find("adb", adb.key_id) == adb
    assert running.current("new").user_id == "new"
    master.aside(before).unlink()  # no longer needed for what is in the database now
    KeyRing(at).check()
    for path in master.path.parent.iterdir():
        assert path.stat().st_mode & 0o077 == 0


def test_a_rotation_that_broke_off_loses_nothing_and_is_done_by_the_next(
    at: Connections, master: FileMasterKey
) -> None:
    ada = KeyRing(at).current("ada")

    def break_off() -> None:
        renew(master)
        raise ConnectionError("the machine went down")

    with pytest.raises(ConnectionError):
        KeyRing(at).rewrap(break_off)
    assert KeyRing(at).find("ada", ada.key_id) == ada  # by the key that was put aside
    assert KeyRing(at).rewrap() == 1
    assert {line.master_id for line in KeyRing(at).lines()} == {master.master_id}


def test_a_master_key_in_a_variable_is_exchanged_by_naming_both(at: Connections) -> None:
    old, new = new_master_key(), new_master_key()
    ada = KeyRing(replace(at, master_key=Settings(master_key=old).master())).current("ada")
    both = replace(at, master_key=Settings(master_key=new, master_keys_old=old).master())
    assert KeyRing(both).find("ada", ada.key_id) == ada
    assert KeyRing(both).rewrap() == 1
    alone = replace(at, master_key=Settings(master_key=new).master())
    assert KeyRing(alone).find("ada", ada.key_id) == ada


class Service:
    """Keeps its keys to itself, as a key management service does."""

    master_id = "arn:service:key/1"
    key = LocalKey(bytes(range(32)), "the service")

    def wrap(self, secret: bytes, context: dict[str, str]) -> Wrapped:
        """As the service names it."""
        return Wrapped(self.key.wrap(secret, context).content, self.master_id)

    def unwrap(self, wrapped: Wrapped, context: dict[str, str]) -> bytes:
        """Only what it has wrapped for this very key and user."""
        return self.key.unwrap(wrapped, context)


def test_a_key_management_service_is_a_class_and_a_setting(at: Connections) -> None:
    settings = Settings(master_key_provider=f"{__name__}:Service")
    made: MasterKey = settings.master()
    ring = KeyRing(replace(at, master_key=made))
    ada = ring.current("ada")
    assert [line.master_id for line in ring.lines()] == [Service.master_id]
    again = KeyRing(replace(at, master_key=settings.master()))
    assert again.find("ada", ada.key_id) == ada


def test_no_key_is_shown_by_what_holds_it(at: Connections, master: FileMasterKey) -> None:
    text = master.path.read_text().strip()
    secret = base64.b64decode(text)
    given = Settings(master_key=text)
    ring = KeyRing(at)
    key = ring.current("ada")
    shown = repr((master, given, given.master(), master.newest(), at, key, ring, ring.lines()))
    for hidden in (text, secret, key.secret):
        assert str(hidden) not in shown
        assert repr(hidden)[2:-1] not in shown
    assert text.encode() not in pickle.dumps(at)  # a path travels to other processes, not a key


def test_who_only_reads_sees_that_there_are_keys_but_not_the_wrapped_ones(at: Connections) -> None:
    KeyRing(at).current("ada")
    KeyRing(at).current("adb")
    with psycopg.connect(at.database_url) as database:
        database.execute("SET ROLE am_reader")
        database.execute("SELECT set_config('app.user_id', 'ada', false)")
        assert database.execute("SELECT user_id FROM am.data_key").fetchall() == [("ada",)]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            database.execute("SELECT wrapped FROM am.data_key")
