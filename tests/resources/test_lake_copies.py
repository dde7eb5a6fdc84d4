"""Copies of the lake's files: the same rows, one user's only, with or without room for them."""

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from operator import and_, inv, or_
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from am_assets.streams.digital import CLIPBOARD, NOTE
from am_assets.streams.registry import REGISTRY
from resources.connections import Connections
from resources.duck import DuckOptions, connect, query
from resources.lake import Lake
from resources.lake_copies import LakeCopies
from resources.lake_files import LakeFiles, own
from tests.resources.rows import insert

NOON = datetime(2032, 3, 1, 12, tzinfo=UTC)
DAYS = [date(2032, 3, 1) + timedelta(days=n) for n in range(4)]
USERS = ("ann", "ann2", "bob")
ROOM = 10**9
TITLES = "SELECT title FROM lake.am.digital_notes_raw WHERE ts >= ? AND ts < ? ORDER BY title"


@pytest.fixture(scope="module")
def filled(connections: Connections) -> Connections:
    for n, day in enumerate(DAYS):
        for user in USERS:
            row = {"user_id": user, "ts": NOON + timedelta(days=n), "title": f"{user} {n}"}
            insert(connections.database_url, NOTE, [row])
        Lake(connections).publish(NOTE, day)
    return connections


@pytest.fixture
def copies(tmp_path: Path) -> LakeCopies:
    return LakeCopies(tmp_path / "copies", ROOM)


def copied(copies: LakeCopies) -> list[Path]:
    return sorted(path for path in copies.folder.rglob("*") if path.is_file())


def titles(filled: Connections, copies: LakeCopies | None, user: str | None) -> list[str]:
    dataset = own(LakeFiles(filled, copies=copies).open(NOTE), user)
    found = dataset.scanner(columns=["title"]).to_table()["title"].to_pylist()
    return sorted(map(str, found))


@pytest.mark.parametrize("user", [*USERS, "an", None])
def test_copies_give_the_rows_that_the_object_store_gives(
    filled: Connections, copies: LakeCopies, user: str | None
) -> None:
    from_afar = titles(filled, None, user)
    assert titles(filled, copies, user) == from_afar
    assert titles(filled, copies, user) == from_afar


def test_what_was_copied_is_read_from_its_copy_alone(
    filled: Connections, copies: LakeCopies
) -> None:
    opened = LakeFiles(filled, copies=copies).open(NOTE)
    dataset = own(opened, "ann")
    before = dataset.to_table()
    assert all(copies.copy_of(path, size) for path, size in opened.sizes.items())
    assert {path.parent.stat().st_mode & 0o077 for path in copied(copies)} == {0}
    assert dataset.to_table().equals(before)
    for path in copied(copies):
        path.write_bytes(bytes(path.stat().st_size))
    with pytest.raises(pa.ArrowInvalid):  # nobody asked the object store
        own(opened, "ann").to_table()


def test_only_the_days_that_a_question_touches_are_copied(
    filled: Connections, copies: LakeCopies, tmp_path: Path
) -> None:
    options = DuckOptions(extension_directory=tmp_path / "extensions", copies=copies)
    with connect(filled, REGISTRY, user_id="ann", has_hot=False, options=options) as duck:
        span = (NOON - timedelta(hours=1), NOON + timedelta(days=1, hours=1))
        assert query(duck, TITLES, parameters=span)["title"].to_pylist() == ["ann 0", "ann 1"]
        assert {path.parent.name for path in copied(copies)} == {f"day={d}" for d in DAYS[:2]}
        everything = query(duck, "SELECT count(*) AS n FROM lake.am.digital_notes_raw")
    assert everything["n"].to_pylist() == [len(DAYS)]


def test_a_user_who_counts_or_filters_never_meets_another_users_rows(
    filled: Connections, copies: LakeCopies
) -> None:
    dataset = own(LakeFiles(filled, copies=copies).open(NOTE), "ann")
    asked = dataset.filter(pc.field("user_id") == "bob")
    assert asked.scanner().to_table().num_rows == 0
    assert dataset.scanner(filter=pc.field("user_id") != "ann").to_table().num_rows == 0
    assert dataset.count_rows() == len(DAYS)
    assert dataset.head(100).num_rows == len(DAYS)
    assert dataset.to_table().num_rows == len(DAYS)


@pytest.fixture(scope="module")
def pasted(connections: Connections) -> Connections:
    """Days of one user alone and of several, with midnights, and a column that lacks some."""
    for n, day in enumerate(DAYS):
        midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
        for user in USERS[: 1 + n % 2 * 2]:
            rows = [
                {"user_id": user, "ts": midnight + timedelta(hours=hour), "source_app": app}
                for hour, app in ((0, None), (12, "mail"), (23, None))
            ]
            insert(connections.database_url, CLIPBOARD, rows)
        Lake(connections).publish(CLIPBOARD, day)
    return connections


TIMES = st.sampled_from([NOON + timedelta(hours=12 * n) for n in range(-3, 10)])
CONDITIONS = st.recursive(
    TIMES.map(lambda at: pc.field("ts") >= at)
    | TIMES.map(lambda at: pc.field("ts") < at)
    | st.sampled_from(DAYS).map(lambda day: pc.field("day") <= day)
    | st.sampled_from(USERS).map(lambda user: pc.field("user_id") == user)
    | st.sampled_from(["mail", "web"]).map(lambda app: pc.field("source_app") == app)
    | st.just(pc.field("source_app").is_null()),
    lambda some: st.builds(and_, some, some) | st.builds(or_, some, some) | some.map(inv),
    max_leaves=4,
)


@settings(max_examples=30)  # each asks the object store
@given(wanted=CONDITIONS, user=st.sampled_from([*USERS, None]))
def test_whatever_is_asked_exactly_the_rows_that_are_so_come_out(
    pasted: Connections, tmp_path_factory: pytest.TempPathFactory, wanted: Any, user: str | None
) -> None:
    names = ["user_id", "ts", "source_app", "day"]
    everything = Lake(pasted).open(CLIPBOARD)
    assert everything is not None
    rows = everything.to_pyarrow_table().select(names)
    whose = rows if user is None else rows.filter(pc.field("user_id") == user)
    copies = LakeCopies(tmp_path_factory.getbasetemp() / "asked", ROOM)
    dataset = own(LakeFiles(pasted, copies=copies).open(CLIPBOARD), user)
    found = dataset.scanner(columns=names, filter=wanted).to_table()
    expected = whose.filter(wanted).to_pylist()
    assert sorted(map(repr, found.to_pylist())) == sorted(map(repr, expected))
    counted = dataset.scanner(columns=[], filter=wanted).count_rows()
    assert counted == len(expected)


def test_a_question_that_is_too_large_for_copies_makes_none(
    filled: Connections, copies: LakeCopies
) -> None:
    tiny = replace(copies, limit_bytes=100)
    assert titles(filled, tiny, "ann") == titles(filled, None, "ann")
    assert copied(tiny) == []


def test_a_copy_that_was_cut_off_is_made_anew(filled: Connections, copies: LakeCopies) -> None:
    before = titles(filled, copies, "bob")
    for path in copied(copies):
        path.write_bytes(path.read_bytes()[:10])
    assert titles(filled, copies, "bob") == before
    assert all(path.stat().st_size > 10 for path in copied(copies))


def test_a_folder_that_takes_nothing_does_not_keep_questions_from_being_answered(
    filled: Connections, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    blocked = LakeCopies(tmp_path / "file" / "copies", ROOM)
    assert titles(filled, blocked, "ann") == titles(filled, None, "ann")


@given(share=st.integers(min_value=2, max_value=14))
def test_copies_that_nobody_uses_make_room_and_those_in_use_stay(
    filled: Connections, folders: Iterator[Path], share: int
) -> None:
    copies = LakeCopies(next(folders), ROOM)
    everything = titles(filled, copies, "ann")
    in_use = copied(copies)
    needed = sum(path.stat().st_size for path in in_use)
    old = [copies.folder / f"old{n}" for n in range(10)]
    for n, path in enumerate(old):
        path.write_bytes(bytes(needed))
        os.utime(path, (n, n))
    in_use[0].unlink()  # so that there is something to copy
    limited = replace(copies, limit_bytes=share * needed)
    assert titles(filled, limited, "ann") == everything
    assert all(path.exists() for path in in_use)
    kept = [path for path in old if path.exists()]
    assert kept == old[len(old) - min(share - 1, len(old)) :]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    return (tmp_path_factory.mktemp("limited") for _ in range(10_000))
