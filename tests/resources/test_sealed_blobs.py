"""In the object store lies nothing that can be read; what was changed there is never given out."""

import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from infra.doctor import judge_sealing
from resources.blobs import (
    BlobAbsentError,
    BlobCorruptError,
    BlobErasedError,
    BlobKeyError,
    BlobStore,
    user_of,
)
from resources.connections import Connections
from resources.keys import KeyRing
from resources.master_keys import FileMasterKey
from resources.resealing import Resealing
from resources.sealed import BEGINNING, CHUNK, HEADER, SEALED_CHUNK
from tests.planting import object_store

MARK = b"nobody may read this in the object store"
CONTENT = MARK + bytes(range(256)) * 400 + MARK  # seven chunks
INSERT_BLOB = """INSERT INTO am.blob (user_id, sha256, blob_key, byte_count, media_type, is_sealed)
VALUES (%s, %s, %s, %s, 'audio/wav', %s)"""


@pytest.fixture
def user() -> str:
    """A user of this test alone."""
    return f"u-{uuid4().hex[:8]}"


@pytest.fixture
def key(user: str) -> str:
    return f"blobs/{user}/s/2026-03-01/{sha256(CONTENT).hexdigest()}"


@pytest.fixture
def store(connections: Connections) -> BlobStore:
    return BlobStore(connections)


@pytest.fixture
def database(connections: Connections) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(connections.database_url, autocommit=True) as connection:
        yield connection


class Raw:
    """What the object store holds, past AM."""

    def __init__(self, connections: Connections) -> None:
        self._client, self._bucket = object_store(connections), connections.s3_bucket

    def get(self, key: str) -> bytes:
        with self._client.get_object(self._bucket, key) as answer:
            return bytes(answer.read())

    def put(self, key: str, content: bytes) -> None:
        self._client.put_object(
            self._bucket, key, io.BytesIO(content), len(content), content_type="audio/wav"
        )


@pytest.fixture
def raw(connections: Connections) -> Raw:
    return Raw(connections)


def put(store: BlobStore, key: str, content: bytes = CONTENT) -> None:
    """Store one blob."""
    store.put_all([(key, content, "audio/wav")])


def every_reading(store: BlobStore, key: str) -> list[Callable[[], object]]:
    """All ways to read a blob, or nearly all of it."""
    size = len(CONTENT)
    return [
        lambda: store.get(key),
        lambda: list(store.read(key, start=1)),
        lambda: list(store.read(key, start=0, byte_count=size)),
    ]


def in_the_clear(database: psycopg.Connection[Any], raw: Raw, key: str, content: bytes) -> None:
    """A blob as it was stored before there were keys."""
    raw.put(key, content)
    digest = sha256(content).hexdigest()
    database.execute(INSERT_BLOB, (user_of(key), digest, key, len(content), False))


@pytest.fixture
def old_key(database: psycopg.Connection[Any], raw: Raw, key: str) -> str:
    """The key of a blob from before there were keys to seal with."""
    in_the_clear(database, raw, key, CONTENT)
    return key


@pytest.fixture
def resealing(connections: Connections) -> Resealing:
    return Resealing(connections)


def test_the_content_is_not_in_the_object_store_and_its_facts_are_those_of_the_content(
    store: BlobStore, raw: Raw, key: str
) -> None:
    put(store, key)
    store.put_file(f"{key}-2", io.BytesIO(CONTENT), byte_count=len(CONTENT), media_type="a/b")
    for name in (key, f"{key}-2"):
        assert MARK not in raw.get(name)
        assert store.get(name) == CONTENT
        assert store.facts(name).byte_count == len(CONTENT)
    assert store.facts(f"{key}-2").media_type == "a/b"


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 4 * CHUNK])
def test_a_blob_of_any_size_comes_back_in_any_stretch(
    store: BlobStore, key: str, size: int
) -> None:
    content = (CONTENT * 2)[:size]
    put(store, key, content)
    assert store.get(key) == content
    for start in sorted({0, 1, size // 2, max(0, size - 1), size, size + 5}):
        assert b"".join(store.read(key, start=start)) == content[start:]
        for length in (1, CHUNK, size + 1):
            given = b"".join(store.read(key, start=start, byte_count=length))
            assert given == content[start : start + length]


def test_a_large_blob_is_stored_in_parts_and_read_in_the_middle(store: BlobStore, key: str) -> None:
    content = bytes(range(251)) * 50_000  # 12 MB: more than one part of an upload
    store.put_file(key, io.BytesIO(content), byte_count=len(content), media_type="video/mp4")
    digest = sha256()
    for piece in store.read(key):
        digest.update(piece)
    assert digest.digest() == sha256(content).digest()
    assert b"".join(store.read(key, start=9_999_999, byte_count=99)) == content[9_999_999:][:99]


def test_whatever_is_changed_in_the_object_store_is_told_and_not_given(
    store: BlobStore, raw: Raw, key: str, user: str
) -> None:
    put(store, key)
    put(store, f"{key}-other")
    whole, other = raw.get(key), raw.get(f"{key}-other")
    last = bytearray(whole)
    last[-1] ^= 1
    header = bytearray(whole)
    header[HEADER.size - 1] ^= 1  # the size that it tells
    key_id = bytearray(whole)
    key_id[9] ^= 1
    chunks = [whole[n : n + SEALED_CHUNK] for n in range(BEGINNING, len(whole), SEALED_CHUNK)]
    for changed in (
        bytes(last),
        bytes(header),
        bytes(key_id),
        whole[:-1],
        whole[:-SEALED_CHUNK],
        whole[: BEGINNING - 1],
        whole + b"\0",
        whole[:BEGINNING] + b"".join(reversed(chunks[:-1])) + chunks[-1],
        other,  # of the same user, under the same key, of the same size: another's name
        CONTENT,  # the very bytes, in the clear
        b"",
    ):
        raw.put(key, changed)
        for read in every_reading(store, key):
            with pytest.raises(BlobCorruptError, match=key):
                read()
    assert store.absent([key]) == {key}  # so that it is asked for, and sent again
    put(store, key)
    assert store.get(key) == CONTENT


def test_damage_in_one_stretch_leaves_the_others_readable(
    store: BlobStore, raw: Raw, key: str
) -> None:
    put(store, key)
    changed = bytearray(raw.get(key))
    changed[BEGINNING + 3 * SEALED_CHUNK] ^= 1
    raw.put(key, bytes(changed))
    assert b"".join(store.read(key, start=CHUNK, byte_count=9)) == CONTENT[CHUNK:][:9]
    with pytest.raises(BlobCorruptError):
        list(store.read(key, start=3 * CHUNK, byte_count=1))


def test_another_users_blob_put_in_its_place_is_refused(
    store: BlobStore, raw: Raw, key: str, user: str
) -> None:
    theirs = key.replace(user, f"{user}2")
    put(store, theirs)
    put(store, key, CONTENT[::-1])
    raw.put(key, raw.get(theirs))
    with pytest.raises(BlobCorruptError):
        store.get(key)


def test_a_destroyed_key_erases_a_users_blobs_and_nobody_elses(
    store: BlobStore, raw: Raw, connections: Connections, key: str, user: str
) -> None:
    theirs = key.replace(user, f"{user}2")
    put(store, key)
    put(store, theirs)
    KeyRing(connections).destroy(user)
    later = BlobStore(connections)
    for read in (*every_reading(later, key), lambda: later.facts(key)):
        with pytest.raises(BlobErasedError):
            read()
    assert raw.get(key)  # the bytes are still there, and are noise
    assert later.absent([key, theirs]) == {key}
    assert later.get(theirs) == CONTENT


def test_what_comes_after_the_erasure_is_sealed_with_a_key_that_is_kept(
    store: BlobStore, connections: Connections, key: str, user: str
) -> None:
    put(store, key)  # this process remembers the key
    KeyRing(connections).destroy(user)
    put(store, f"{key}-2")
    store.put_file(f"{key}-3", io.BytesIO(CONTENT), byte_count=len(CONTENT), media_type="a/b")
    later = BlobStore(connections)
    assert later.get(f"{key}-2") == later.get(f"{key}-3") == CONTENT


def test_without_the_master_key_nothing_is_stored_in_the_clear_or_read(
    connections: Connections, store: BlobStore, raw: Raw, key: str, tmp_path: Path
) -> None:
    put(store, key)
    lost = BlobStore(replace(connections, master_key=FileMasterKey(tmp_path / "master.key")))
    for ask in (
        lambda: put(lost, f"{key}-2"),
        lambda: lost.put_file(f"{key}-2", io.BytesIO(b"x"), byte_count=1, media_type="a/b"),
        lambda: lost.get(key),
        lambda: lost.facts(key),
        lost.check,
    ):
        with pytest.raises(BlobKeyError, match=r"no master key at .*master.key"):
            ask()
    assert store.absent([f"{key}-2"]) == {f"{key}-2"}


def test_a_blob_from_before_is_read_as_ever_until_it_is_sealed(
    resealing: Resealing, store: BlobStore, raw: Raw, old_key: str, user: str
) -> None:
    assert store.get(old_key) == CONTENT
    assert store.facts(old_key).byte_count == len(CONTENT)
    assert b"".join(store.read(old_key, start=7, byte_count=70)) == CONTENT[7:77]
    assert b"".join(store.read(old_key, byte_count=70)) == CONTENT[:70]
    (left,) = resealing.to_do(user)
    assert (left.in_the_clear, left.under_older_keys) == (1, 0)
    assert judge_sealing([left]).level == "note"
    assert resealing.run(user).sealed_count == 1
    assert MARK not in raw.get(old_key)
    assert store.get(old_key) == CONTENT
    assert store.facts(old_key).media_type == "audio/wav"
    assert resealing.to_do(user) == []
    raw.put(old_key, CONTENT)  # from now on nobody can put it back in the clear
    with pytest.raises(BlobCorruptError):
        store.get(old_key)


def test_a_large_dead_letter_from_before_is_sealed_too(
    resealing: Resealing,
    store: BlobStore,
    raw: Raw,
    database: psycopg.Connection[Any],
    user: str,
) -> None:
    key = f"dead_letters/{user}/2026-03-01/{uuid4()}"
    raw.put(key, CONTENT)
    database.execute(
        "INSERT INTO am.dead_letter (dead_letter_id, user_id, device_id, stream, day, door, code, "
        "reason, payload_key, is_sealed) VALUES (%s, %s, 'd', 's', %s, '/x', 'c', 'r', %s, false)",
        (uuid4(), user, datetime.now(UTC).date(), key),
    )
    assert store.get(key) == CONTENT
    assert resealing.run(user).sealed_count == 1
    assert MARK not in raw.get(key)
    assert store.get(key) == CONTENT


def test_resealing_puts_all_under_the_new_key_and_goes_on_where_it_broke_off(
    connections: Connections, store: BlobStore, database: psycopg.Connection[Any], user: str
) -> None:
    contents = {sha256(content).hexdigest(): content for content in (b"0", b"1", b"2", b"3")}
    keys = [f"blobs/{user}/s/2026-03-01/{digest}" for digest in sorted(contents)]
    for key, digest in zip(keys, sorted(contents), strict=True):
        put(store, key, contents[digest])
        database.execute(INSERT_BLOB, (user, digest, key, 1, True))
    resealing, ring = Resealing(connections), KeyRing(connections)
    assert resealing.to_do(user) == []
    first, second = ring.current(user), ring.rotate(user)
    assert {store.key_of(key) for key in keys} == {first.key_id}
    store.remove_all([keys[3]])

    def stop(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        resealing.run(user, on_progress=stop)
    (left,) = resealing.to_do(user)
    assert left.under_older_keys == 3
    done = resealing.run(user)
    assert (done.sealed_count, done.gone_count, done.damaged) == (2, 1, [])
    assert resealing.to_do(user) == []
    later = BlobStore(connections)
    assert {later.key_of(key) for key in keys[:3]} == {second.key_id}
    for key in keys[:3]:
        assert sha256(later.get(key)).hexdigest() in key


def test_a_damaged_blob_is_left_as_it_is_and_named(
    resealing: Resealing, raw: Raw, old_key: str, user: str
) -> None:
    raw.put(old_key, CONTENT[:-1])
    for _ in range(2):
        assert resealing.run(user).damaged == [old_key]
    assert raw.get(old_key) == CONTENT[:-1]


def test_a_blob_that_was_removed_meanwhile_is_not_brought_back(
    resealing: Resealing,
    store: BlobStore,
    raw: Raw,
    database: psycopg.Connection[Any],
    old_key: str,
    user: str,
) -> None:
    second = old_key.replace("2026-03-01", "2026-03-02")
    in_the_clear(database, raw, second, CONTENT)

    def erase(_: object) -> None:
        database.execute("DELETE FROM am.blob WHERE blob_key = %s", (second,))
        store.remove_all([second])

    resealing.run(user, on_progress=erase)
    with pytest.raises(BlobAbsentError):
        raw_or_absent(store, second)


def raw_or_absent(store: BlobStore, key: str) -> None:
    """Raises: BlobAbsentError where there is nothing at all."""
    list(store.received(key))


def test_a_key_without_a_user_is_refused_before_anything_is_stored(store: BlobStore) -> None:
    for key in ("x", "blobs/x", "blobs//x"):
        with pytest.raises(ValueError, match="<kind>/<user>/<name>"):
            put(store, key)
