"""The tables of moments against a real object store: kept in order, and seen when they are not."""

import threading
from datetime import timedelta
from uuid import uuid4

import pytest

from resources.connections import Connections
from resources.vector_upkeep import VectorUpkeep
from resources.vectors import MomentsUnreadableError, SearchRequest, VectorStore
from tests.resources.moments_data import DIMENSION, NOON, SPEECH, letters, moment, table
from tests.resources.objects import Folder

WORDS = ("bread", "butter", "cat", "dog", "cab")


@pytest.fixture
def upkeep(connections: Connections) -> VectorUpkeep:
    return VectorUpkeep(connections)


@pytest.fixture
def store(connections: Connections) -> VectorStore:
    """Twelve moments of two users, written one by one."""
    made = VectorStore(connections, model_id=f"letters {uuid4().hex}", dimension=DIMENSION)
    for n in range(12):
        add(made, n)
    return made


def add(store: VectorStore, n: int) -> None:
    user = "ann" if n % 3 else "amy"
    text = f"{WORDS[n % len(WORDS)]} number {n}"
    row = moment(text, source_event_id=f"e{n}", user_id=user, ts=NOON + timedelta(hours=n))
    store.replace([f"e{n}"], table([row]), user_id=user, source_stream=SPEECH)


def answers(store: VectorStore) -> list[list[str]]:
    """What questions of every sort give; those that fit alike come in no order."""
    return [
        sorted(hit.text for hit in store.search(request, vector))
        for user in ("ann", "amy")
        for vector in (None, letters("bread and butter"))
        for request in (
            SearchRequest(user_id=user, text="bread number"),
            SearchRequest(user_id=user, text="number", begin=NOON + timedelta(hours=5)),
        )
    ]


def folder(connections: Connections, store: VectorStore) -> Folder:
    return Folder(connections, f"{connections.vectors_uri}/{store.table_name}.lance")


def anew(connections: Connections, store: VectorStore) -> VectorStore:
    """As another process would open it."""
    return VectorStore(connections, model_id=store.table_name.removeprefix("moments_"))


def test_search_answers_the_same_before_during_and_after_compaction(
    upkeep: VectorUpkeep, store: VectorStore
) -> None:
    before = answers(store)
    during: list[list[list[str]]] = []
    is_done = threading.Event()

    def ask() -> None:
        during.append(answers(store))
        while not is_done.is_set():
            during.append(answers(store))

    asker = threading.Thread(target=ask)
    asker.start()
    kept = upkeep.keep(store.table_name)
    is_done.set()
    asker.join()
    assert kept.row_count == 12
    assert during
    assert all(found == before for found in during)
    assert answers(store) == before


def test_old_versions_go_after_the_horizon_and_what_was_deleted_with_them(
    upkeep: VectorUpkeep, store: VectorStore, connections: Connections
) -> None:
    before = answers(store)[:4]
    assert any(before)
    assert store.delete("amy", begin=NOON, end=NOON + timedelta(days=1)) == 4
    kept = upkeep.keep(store.table_name)
    assert kept.objects[1] >= kept.objects[0]
    freed = upkeep.keep(store.table_name, horizon=timedelta(0))
    assert freed.byte_counts[1] < freed.byte_counts[0]
    data = [name for name in folder(connections, store).names() if name.startswith("data/")]
    assert len(data) == 1
    assert b"number 3" not in folder(connections, store).get(data[0])
    assert answers(anew(connections, store))[:4] == before


def test_a_sound_table_has_no_fault_and_one_without_moments_neither(
    upkeep: VectorUpkeep, store: VectorStore
) -> None:
    assert store.table_name in upkeep.tables()
    assert upkeep.faults(store.table_name) == []
    store.delete("ann")
    store.delete("amy")
    assert upkeep.faults(store.table_name) == []


def test_an_index_whose_files_are_gone_is_found_and_made_again(
    upkeep: VectorUpkeep, store: VectorStore, connections: Connections
) -> None:
    upkeep.keep(store.table_name)
    before = answers(store)
    objects = folder(connections, store)
    lost = [name for name in objects.names() if name.startswith("_indices/")]
    for name in lost:
        objects.remove(name)
    found = upkeep.faults(store.table_name)
    assert len(found) == 4
    assert {fault.part for fault in found} == {"index"}
    with pytest.raises(MomentsUnreadableError, match="am doctor --deep --repair"):
        answers(anew(connections, store))
    upkeep.rebuild_indexes(store.table_name)
    assert upkeep.faults(store.table_name) == []
    assert answers(anew(connections, store)) == before


def test_a_table_whose_rows_are_gone_is_found_and_can_be_dropped_and_filled_again(
    upkeep: VectorUpkeep, store: VectorStore, connections: Connections
) -> None:
    objects = folder(connections, store)
    for name in [name for name in objects.names() if name.startswith("data/")]:
        objects.remove(name)
    (fault,) = upkeep.faults(store.table_name)
    assert (fault.table, fault.part) == (store.table_name, "table")
    upkeep.drop(store.table_name)
    assert objects.names() == []
    assert store.table_name not in upkeep.tables()
    again = VectorStore(
        connections, model_id=store.table_name.removeprefix("moments_"), dimension=DIMENSION
    )
    add(again, 1)
    assert again.count() == 1
    assert upkeep.faults(store.table_name) == []


def test_a_manifest_that_is_cut_off_is_found(
    upkeep: VectorUpkeep, store: VectorStore, connections: Connections
) -> None:
    objects = folder(connections, store)
    newest = next(name for name in objects.names() if name.endswith(".manifest"))
    objects.cut(newest, keep=0.1)
    assert [fault.part for fault in upkeep.faults(store.table_name)] == ["table"]
    upkeep.drop(store.table_name)


def test_every_source_of_a_moment_is_listed_once(upkeep: VectorUpkeep, store: VectorStore) -> None:
    mine = {("ann" if n % 3 else "amy", SPEECH, f"e{n}") for n in range(12)}
    assert upkeep.sources([store.table_name]) == mine
