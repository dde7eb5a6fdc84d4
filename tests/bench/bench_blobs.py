"""What sealing costs: blobs through `BlobStore`, and the same bytes in the clear, turn by turn."""

import io
import os
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from uuid import UUID, uuid4

from minio import Minio

from resources.blobs import BlobStore
from resources.connections import Connections
from resources.sealed import BEGINNING, Sealing, opened, read_head
from tests.planting import object_store

SIZES = {"32 KB": (32_000, 150), "8 MB": (8_000_000, 12)}
PART = 64_000  # bytes out of the middle
SECRET = bytes(range(32))


@dataclass(frozen=True)
class Clear:
    """The object store without AM in between, as it was used before blobs were sealed."""

    client: Minio
    bucket: str

    def put(self, key: str, content: bytes) -> None:
        self.client.put_object(self.bucket, key, io.BytesIO(content), len(content))

    def get(self, key: str) -> bytes:
        with self.client.get_object(self.bucket, key) as answer:
            return bytes(answer.read())

    def part(self, key: str, start: int) -> bytes:
        with self.client.get_object(self.bucket, key, start, PART) as answer:
            return bytes(answer.read())


@dataclass(frozen=True)
class Sealed:
    """The same through AM."""

    store: BlobStore

    def put(self, key: str, content: bytes) -> None:
        self.store.put_all([(key, content, "audio/wav")])

    def get(self, key: str) -> bytes:
        return self.store.get(key)

    def part(self, key: str, start: int) -> bytes:
        return b"".join(self.store.read(key, start=start, byte_count=PART))


def bench_sealed_blobs(connections: Connections, note: list[str]) -> None:
    """Blobs: sealed and in the clear"""
    clear = Clear(object_store(connections), connections.s3_bucket)
    sealed = Sealed(BlobStore(connections))
    note += [
        "| what | in the clear, ms | sealed, ms | sealed, MB/s | sealed/clear |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, (size, count) in SIZES.items():
        for what, pairs in measured(clear, sealed, size=size, count=count).items():
            before, after = (statistics.median(times) * 1_000 for times in pairs)
            moved = PART if "part" in what else size
            note.append(
                f"| {what} of {name} | {before:.1f} | {after:.1f} | {moved / after / 1_000:,.1f} "
                f"| {after / before:.2f} |"
            )
    note += ["", f"By processor time alone, 8 MB: {in_memory()}."]


def measured(
    clear: Clear, sealed: Sealed, *, size: int, count: int
) -> dict[str, tuple[list[float], list[float]]]:
    """Seconds by what was done, of each way; both take turns, so that others disturb both alike."""
    times: dict[str, tuple[list[float], list[float]]] = {}
    ways: tuple[Clear | Sealed, ...] = (clear, sealed)
    for _ in range(count):
        content = os.urandom(size)
        for number, way in enumerate(ways):
            key = f"blobs/bench-{number}/s/2026-03-01/{uuid4().hex}"
            for what, seconds in one_blob(way, key, content):
                times.setdefault(what, ([], []))[number].append(seconds)
    return times


def one_blob(way: Clear | Sealed, key: str, content: bytes) -> Iterator[tuple[str, float]]:
    """Put, get whole, get a part."""
    middle = len(content) // 2
    yield "put", timed(lambda: way.put(key, content))
    got: list[bytes] = []
    yield "get", timed(lambda: got.append(way.get(key)))
    if len(content) > PART:
        yield "get a part of 64 KB", timed(lambda: got.append(way.part(key, middle)))
    assert got == [content, content[middle : middle + PART]][: len(got)]


def timed(do: Callable[[], object], *, clock: Callable[[], float] = time.perf_counter) -> float:
    """How long it takes, by this clock."""
    begin = clock()
    do()
    return clock() - begin


def in_memory() -> str:
    """How fast bytes are sealed and opened where nothing is stored."""
    content, name = os.urandom(8_000_000), "blobs/bench/s/2026-03-01/x"
    sealing: list[bytes] = []
    opening: list[bytes] = []

    def seal() -> None:
        file = Sealing(
            io.BytesIO(content),
            byte_count=len(content),
            key_id=UUID(int=1),
            secret=SECRET,
            name=name,
        )
        sealing.append(file.read(file.size))

    def unseal() -> None:
        head = read_head(sealing[-1][:BEGINNING])
        assert head is not None
        chunks = iter([sealing[-1][BEGINNING:]])
        opening.append(b"".join(opened(head, chunks, secret=SECRET, name=name)))

    clock = time.process_time
    rates = [
        8 / statistics.median(timed(do, clock=clock) for _ in range(9)) for do in (seal, unseal)
    ]
    assert opening[-1] == content
    return f"sealed at {rates[0]:,.0f} MB/s, opened at {rates[1]:,.0f} MB/s"
