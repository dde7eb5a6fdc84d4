"""SQLite files of the owner, asked beside AM's own tables."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from am_assets.streams.registry import REGISTRY
from resources.attached import attachable, catalog_name, opened_copy
from resources.connections import Connections
from resources.duck import DuckOptions, NotReadOnlyError, connect, query


def write(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE memo (id INTEGER PRIMARY KEY, content TEXT)")
        connection.execute("INSERT INTO memo (content) VALUES (?)", (content,))
    return path


def test_a_files_tables_are_asked_by_the_files_name_and_one_user_sees_only_ones_own(
    connections: Connections, tmp_path: Path
) -> None:
    folder = tmp_path / "attach"
    write(folder / "memos_prod.db", "everybody's")
    write(folder / "ann" / "Bread & Co.sqlite", "Ann's")
    options = DuckOptions(extension_directory=tmp_path / "extensions", attach=folder)
    with connect(connections, REGISTRY, has_hot=False, options=options) as owner:
        found = query(owner, "SELECT content FROM memos_prod.memo").to_pylist()
        assert found == [{"content": "everybody's"}]
        with pytest.raises(NotReadOnlyError):
            query(owner, "SELECT * FROM bread_co.memo")
    with connect(connections, REGISTRY, user_id="ann", has_hot=False, options=options) as ann:
        found = query(ann, "SELECT content FROM bread_co.main.memo").to_pylist()
        assert found == [{"content": "Ann's"}]
        with pytest.raises(NotReadOnlyError):
            query(ann, "SELECT * FROM memos_prod.memo")


def test_a_damaged_file_stops_no_question_but_those_that_name_it(
    connections: Connections, tmp_path: Path
) -> None:
    folder = tmp_path / "attach"
    write(folder / "what? 100%.db", "whole")
    (folder / "broken.db").write_bytes(b"SQLite format 3\x00" + bytes(range(256)) * 20)
    (folder / "gone.db").symlink_to(tmp_path / "nowhere.db")
    options = DuckOptions(extension_directory=tmp_path / "extensions", attach=folder)
    with connect(connections, REGISTRY, has_hot=False, options=options) as owner:
        assert query(owner, "SELECT 1 AS one").to_pylist() == [{"one": 1}]
        assert query(owner, "SELECT content FROM what_100.memo").to_pylist() == [
            {"content": "whole"}
        ]
        with pytest.raises(NotReadOnlyError, match="there is no broken"):
            query(owner, "SELECT * FROM broken.memo")


def test_a_file_in_use_with_a_damaged_page_stops_no_question_but_those_that_name_it(
    connections: Connections, tmp_path: Path
) -> None:
    folder = tmp_path / "attach"
    path = write(folder / "places.sqlite", "x" * 100_000)
    with closing(sqlite3.connect(path)) as program:
        program.execute("PRAGMA journal_mode = wal")
        program.execute("INSERT INTO memo (content) VALUES ('in the log')")
        program.commit()
        damaged = bytearray(path.read_bytes())
        damaged[40960:45056] = bytes(range(256)) * 16  # a page that the log does not hold
        path.write_bytes(damaged)
        options = DuckOptions(extension_directory=tmp_path / "extensions", attach=folder)
        with connect(connections, REGISTRY, has_hot=False, options=options) as owner:
            assert query(owner, "SELECT 1 AS one").to_pylist() == [{"one": 1}]
            with pytest.raises(NotReadOnlyError, match="there is no places"):
                query(owner, "SELECT * FROM places.memo")


@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_a_file_that_its_program_holds_locked_is_copied_and_asked(
    tmp_path: Path, journal: str
) -> None:
    path = write(tmp_path / "places.sqlite", "before")
    with closing(sqlite3.connect(path)) as program:
        program.execute(f"PRAGMA journal_mode = {journal}")
        program.execute("PRAGMA wal_autocheckpoint = 0")
        program.execute("INSERT INTO memo (content) VALUES ('in the log')")
        program.commit()
        program.execute("PRAGMA locking_mode = EXCLUSIVE")
        program.execute("BEGIN EXCLUSIVE")
        taken = opened_copy(path)
        assert taken.path != path
        with closing(sqlite3.connect(taken.path)) as copy:
            contents = [row[0] for row in copy.execute("SELECT content FROM memo ORDER BY id")]
        assert contents == ["before", "in the log"]
        taken.close()
        assert not taken.path.exists()
        program.rollback()


def test_a_link_to_a_browsers_file_is_asked_with_what_its_log_holds(tmp_path: Path) -> None:
    path = write(tmp_path / "profile" / "places.sqlite", "before")
    link = tmp_path / "attach" / "firefox.sqlite"
    link.parent.mkdir()
    link.symlink_to(path)
    with closing(sqlite3.connect(path)) as program:
        program.execute("PRAGMA journal_mode = wal")
        program.execute("INSERT INTO memo (content) VALUES ('in the log')")
        program.commit()
        (name, found), *others = attachable(tmp_path / "attach", user_id=None).items()
        assert (name, others) == ("firefox", [])
        taken = opened_copy(found)
        with closing(sqlite3.connect(taken.path)) as copy:
            assert copy.execute("SELECT count(*) FROM memo").fetchone() == (2,)
        taken.close()


def test_only_sqlite_files_are_taken_and_none_from_elsewhere(tmp_path: Path) -> None:
    folder = tmp_path / "attach"
    write(folder / "History", "of Chrome")
    (folder / "notes.db").write_text("a text that is called so")
    write(tmp_path / "other" / "secret.db", "elsewhere")
    (folder / "eve").symlink_to(tmp_path / "other")
    assert attachable(folder, user_id=None) == {"history": folder / "History"}
    for user in ("eve", "../other", "..", ".", ""):
        assert attachable(folder, user_id=user) == {}
    assert attachable(None, user_id=None) == {}
    assert attachable(tmp_path / "none", user_id=None) == {}


def test_a_file_can_not_take_the_name_of_a_catalog() -> None:
    names = {name: catalog_name(Path(name)) for name in ("hot.db", "Lake.sqlite", "1.db", "é.db")}
    assert names == {
        "hot.db": "file_hot",
        "Lake.sqlite": "file_lake",
        "1.db": "file_1",
        "é.db": "file_",
    }
