"""Blobs go in and come out as they are, and what goes wrong is told apart."""

import io
from dataclasses import replace
from datetime import timedelta
from uuid import uuid4

import httpx
import pytest

from resources.blobs import BlobAbsentError, BlobFacts, BlobStore, BlobUnreachableError
from resources.connections import Connections

CONTENT = bytes(range(256)) * 5_000  # more than one piece


@pytest.fixture
def key() -> str:
    return f"blobs/u/s/2026-03-01/{uuid4().hex}"


@pytest.fixture
def store(connections: Connections) -> BlobStore:
    return BlobStore(connections)


def test_a_blob_comes_back_whole_and_in_any_stretch(store: BlobStore, key: str) -> None:
    store.put_all([(key, CONTENT, "audio/wav"), (key, CONTENT, "audio/wav")])
    assert store.get(key) == CONTENT
    assert b"".join(store.read(key)) == CONTENT
    assert b"".join(store.read(key, start=300_000, byte_count=7)) == CONTENT[300_000:300_007]
    facts = store.facts(key)
    assert facts == BlobFacts(key, len(CONTENT), "audio/wav", facts.etag)


def test_a_file_is_stored_from_where_it_stands(store: BlobStore, key: str) -> None:
    file = io.BytesIO(b"skipped" + CONTENT)
    file.seek(7)
    store.put_file(key, file, byte_count=len(CONTENT), media_type="image/png")
    assert store.get(key) == CONTENT


def test_an_absent_blob_is_told_by_every_way_to_read_it(store: BlobStore, key: str) -> None:
    for read in (store.get, store.facts, lambda name: list(store.read(name))):
        with pytest.raises(BlobAbsentError, match=key):
            read(key)


def test_removing_makes_absent_and_may_be_done_twice(store: BlobStore, key: str) -> None:
    store.put_all([(key, b"x", "text/plain")])
    assert store.absent([key, f"{key}-2"]) == {f"{key}-2"}
    for _ in range(2):
        store.remove_all([key])
    assert store.absent([key]) == {key}


def test_a_folder_is_listed_with_all_below_it_and_nothing_beside_it(store: BlobStore) -> None:
    user = uuid4().hex
    keys = [f"blobs/{user}/s/2026-03-01/one", f"blobs/{user}/t/two"]
    store.put_all([(key, b"x", "text/plain") for key in (*keys, f"blobs/{user}-2/three")])
    assert sorted(store.listed(f"blobs/{user}/")) == keys
    assert store.listed(f"blobs/{user}-3/") == []


def test_a_presigned_address_takes_one_blob_and_gives_none(store: BlobStore, key: str) -> None:
    url = store.presigned_put(key, valid_for=timedelta(minutes=1))
    assert httpx.put(url, content=b"by the client").status_code == 200
    assert b"".join(store.received(key)) == b"by the client"
    assert httpx.get(url).status_code == 403
    assert httpx.put(url.replace(key, f"{key}-2"), content=b"x").status_code == 403


def test_a_presigned_address_names_the_store_as_clients_see_it(store: BlobStore, key: str) -> None:
    url = store.presigned_put(
        key, valid_for=timedelta(minutes=1), endpoint="https://objects.example:9000/"
    )
    assert url.startswith(f"https://objects.example:9000/am-test/{key}?")


def test_a_store_that_does_not_answer_is_unreachable_not_empty(
    connections: Connections, key: str
) -> None:
    nobody = BlobStore(replace(connections, s3_endpoint="http://127.0.0.1:1"))
    for ask in (
        nobody.check,
        lambda: nobody.get(key),
        lambda: nobody.facts(key),
        lambda: nobody.absent([key]),
        lambda: nobody.listed("blobs/u/"),
        lambda: nobody.put_all([(key, b"x", "text/plain")]),
    ):
        with pytest.raises(BlobUnreachableError):
            ask()
    elsewhere = BlobStore(replace(connections, s3_bucket="am-none"))
    with pytest.raises(BlobUnreachableError, match="am-none"):
        elsewhere.check()
